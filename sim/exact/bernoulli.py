"""Closed forms of best-of-N with an oracle verifier, written from the mathematics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, gammaln

Array = NDArray[np.float64]


def failure(p: ArrayLike, n: ArrayLike) -> Array:
    """Probability that all of n samples are wrong, (1 - p)^n."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.asarray(n, dtype=np.float64) * np.log1p(-np.asarray(p, dtype=np.float64))))


def beta_failure(alpha: float, beta: float, n: ArrayLike) -> Array:
    """Mean failure over p ~ Beta(alpha, beta): G(a+b) G(b+n) / (G(b) G(a+b+n)) (arXiv 2502.17578)."""
    k = np.asarray(n, dtype=np.float64)
    log = gammaln(alpha + beta) + gammaln(beta + k) - gammaln(beta) - gammaln(alpha + beta + k)
    return np.asarray(np.exp(log))


def beta_tail(alpha: float, beta: float, n: ArrayLike) -> Array:
    """Limit of ``beta_failure`` for large n: G(a+b)/G(b) n^-a."""
    k = np.asarray(n, dtype=np.float64)
    return np.asarray(np.exp(gammaln(alpha + beta) - gammaln(beta) - alpha * np.log(k)))


def beta_local_exponent(alpha: float, beta: float, n: ArrayLike) -> Array:
    """Local exponent -d log(failure) / d log(n) = n (psi(a+b+n) - psi(b+n)); rises to alpha."""
    k = np.asarray(n, dtype=np.float64)
    return np.asarray(k * (digamma(alpha + beta + k) - digamma(beta + k)))
