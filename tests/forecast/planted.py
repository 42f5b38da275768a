"""Planted curves whose truth is known."""

import numpy as np

from rlaws.forecast import Curve

X = np.arange(1.0, 101.0)


def ar1(n, rho, sd, rng):
    """AR(1) noise in its stationary state."""
    e = np.empty(n)
    e[0] = sd * rng.standard_normal()
    for t in range(1, n):
        e[t] = rho * e[t - 1] + sd * np.sqrt(1 - rho**2) * rng.standard_normal()
    return e


def lawful(rng, x=X):
    """A curve of one of four shapes between two random levels inside (0, 1)."""
    kind = rng.integers(4)
    low, high = np.sort(rng.uniform(0.1, 0.9, 2))
    if kind == 0:
        return 1 - (1 - low) * x ** -rng.uniform(0.02, 0.3)
    if kind == 1:
        return low + (high - low) / (1 + (np.exp(rng.uniform(np.log(3), np.log(80))) / x) ** rng.uniform(0.6, 3))
    if kind == 2:
        return high - (high - low) * np.exp(-x / np.exp(rng.uniform(np.log(5), np.log(100))))
    return low + (high - low) / 2 * np.log10(x)


def broken(rng, x=X):
    """A curve that changes its course: a plateau begins, or a rise sets in, at a random x."""
    low, high = np.sort(rng.uniform(0.1, 0.9, 2))
    at = np.exp(rng.uniform(np.log(5), np.log(80)))
    if rng.random() < 0.5:
        return low + (high - low) * np.minimum(x / at, 1.0)
    return low + (high - low) * -np.expm1(-rng.uniform(1, 3) * np.maximum(np.log(x / at), 0.0))


def noisy(truth, rng, sd, rho, x=X, run="run"):
    """The curve with AR(1) noise, inside (0, 1)."""
    return Curve(x, np.clip(truth + ar1(x.size, rho, sd, rng), 1e-3, 1 - 1e-3), run)
