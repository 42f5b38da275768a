"""Closed forms, written from the mathematics and never from a kernel."""
