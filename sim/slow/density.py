"""Slow twin of the density world: central differences and explicit steps, no linear algebra, no fitting.

dp_i/dt = -(J_{i+1/2} - J_{i-1/2})/w with J = f p - D dp/dx, p at a face the mean of its two cells; Heun steps far below
the stability limit. It agrees with the finite volumes of ``sim.density`` to the second order in the cell width.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise


def evolve(
    drift: Callable[[float], float], diffusion: float, low: float, high: float, p: Sequence[float], time: float
) -> list[float]:
    """Return the cell averages after a time.

    Args:
        drift: f(x).
        diffusion: D.
        low: Lower end of the interval; ``high`` the upper one.
        high: See above.
        p: Cell averages at the start.
        time: Time to cover.
    """
    n = len(p)
    width = (high - low) / n
    force = [drift(low + i * width) for i in range(1, n)]
    steps = math.ceil(time * (4 * diffusion / width**2 + max(abs(f) for f in force) / width))
    h = time / steps
    state = list(p)
    for _ in range(steps):
        first = _rate(state, force, diffusion, width)
        guess = [a + h * b for a, b in zip(state, first, strict=True)]
        second = _rate(guess, force, diffusion, width)
        state = [a + 0.5 * h * (b + c) for a, b, c in zip(state, first, second, strict=True)]
    return state


def _rate(p: Sequence[float], force: Sequence[float], diffusion: float, width: float) -> list[float]:
    """Return dp/dt of every cell."""
    flux = [0.0]
    for i, f in enumerate(force):
        flux.append(f * 0.5 * (p[i] + p[i + 1]) - diffusion * (p[i + 1] - p[i]) / width)
    flux.append(0.0)
    return [-(b - a) / width for a, b in pairwise(flux)]


def walk(
    drift: Callable[[float], float], temperature: float, start: float, time: float, steps: int, rng: random.Random
) -> float:
    """Return where one particle ends: Euler-Maruyama steps of dx = f dt + sqrt(2T) dW."""
    x, h = start, time / steps
    for _ in range(steps):
        x += h * drift(x) + math.sqrt(2 * temperature * h) * rng.gauss(0.0, 1.0)
    return x
