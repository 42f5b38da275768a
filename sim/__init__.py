"""Numba simulators of synthetic reasoning worlds, with closed forms and slow twins."""
