"""Workloads beside their peers and their limit: ``python -m benchmarks.run``. Not run by the tests."""
