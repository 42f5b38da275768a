"""Closed forms and quadratures of the density world, written from the mathematics."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import dblquad, quad

Array = NDArray[np.float64]
Reward = Callable[[float], float]


def ornstein_uhlenbeck(
    stiffness: float, temperature: float, mean: float, variance: float, t: float
) -> tuple[float, float]:
    """Mean and variance of dx = -k x dt + sqrt(2T) dW: x0 e^{-kt}; v0 e^{-2kt} + (T/k)(1 - e^{-2kt})."""
    decay = np.exp(-stiffness * t)
    return float(mean * decay), float(variance * decay**2 + temperature / stiffness * -np.expm1(-2 * stiffness * t))


def normal_entropy(variance: float) -> float:
    """Differential entropy of a normal density, log(2 pi e v)/2."""
    return float(0.5 * np.log(2 * np.pi * np.e * variance))


def gibbs_averages(reward: Reward, temperature: float, edges: Array) -> Array:
    """Cell averages of exp(U/T)/Z on the cells between ``edges``, by quadrature."""
    top = max(reward(float(x)) for x in np.linspace(edges[0], edges[-1], 4001))
    cells = [quad(lambda x: np.exp((reward(x) - top) / temperature), a, b)[0] for a, b in pairwise(edges)]
    weights = np.array(cells)
    return np.asarray(weights / weights.sum() / np.diff(edges))


def kramers_rate(barrier: float, temperature: float, top: float, saddle: float) -> float:
    """Escape rate over a barrier dU in the limit dU >> T: sqrt(|U''(a) U''(b)|)/(2 pi) exp(-dU/T) (Kramers 1940)."""
    return float(np.sqrt(abs(top * saddle)) / (2 * np.pi) * np.exp(-barrier / temperature))


def first_passage(reward: Reward, temperature: float, low: float, start: float, goal: float) -> float:
    """Mean time from ``start`` up to ``goal``, reflected at ``low``.

    (1/T) integral_start^goal dy integral_low^y dz exp((U(z) - U(y))/T).

    Exact for any barrier (Gardiner, Handbook of Stochastic Methods, eq. 5.2.160).
    """
    value, _ = dblquad(
        lambda z, y: np.exp((reward(z) - reward(y)) / temperature), start, goal, low, lambda y: y, epsabs=0, epsrel=1e-8
    )
    return float(value / temperature)
