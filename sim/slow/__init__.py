"""Slow plain-Python twins, written from the equations and never from a kernel."""
