"""Pieces that several laws share: exponentials that neither overflow nor warn, and a ratio of gamma functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]

LIMIT = 690.0  # exp(690) = 1e299: room for one more factor of 1e8 before double precision ends


def safe_exp(z: Any) -> Array:
    """Return exp(z) with z held inside [-690, 690]: 1e-300 stands for anything smaller, 1e300 for anything larger."""
    return np.asarray(np.exp(np.clip(z, -LIMIT, LIMIT)))


def exp10(z: Any) -> Array:
    """Return 10^z with the exponent held as in ``safe_exp``."""
    return safe_exp(np.log(10.0) * np.asarray(z))


def _stirling(z: Array) -> Array:
    """Return lgamma(z) - [(z - 1/2) log z - z + log(2 pi) / 2] for z >= 10 (Abramowitz & Stegun 6.1.41)."""
    w = 1.0 / (z * z)
    return np.asarray((1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / z)


def log_gamma_ratio(z: Any, a: Any) -> Array:
    """Return log(Gamma(z + a) / Gamma(z)) without the cancellation of two large log-gammas.

    For z >= 10 the difference of the two Stirling series is taken term by term:
    (z - 1/2) log1p(a/z) + a log(z + a) - a + s(z + a) - s(z).

    Args:
        z: Positive, any shape.
        a: Non-negative, broadcasts with z.
    """
    z, a = np.broadcast_arrays(np.asarray(z, dtype=float), np.asarray(a, dtype=float))
    big = np.maximum(z, 10.0)
    series = (big - 0.5) * np.log1p(a / big) + a * np.log(big + a) - a + _stirling(big + a) - _stirling(big)
    return np.asarray(np.where(z >= 10.0, series, gammaln(z + a) - gammaln(z)))
