"""Autocorrelated scatter of curves: one AR(1) coefficient for all curves, and replicas of their residuals.

A training curve is not a set of independent points: its residuals remember each other, e_t = rho e_{t-1} + eta_t.
Residuals of a fit are smaller and less correlated than the noise itself, because the fit follows part of it. Here
rho and the variance are therefore chosen so that the *expected* residual moments match the observed ones: with M the
matrix that removes the fitted directions and R(rho) the correlation matrix,

    sum e_t e_{t+1} / sum e_t^2  =  tr(M A M R) / tr(M R),      sum e_t^2 = sigma^2 tr(M R),

A the symmetric lag-one matrix. For M = I this is the textbook estimator. Source: the method of moments for linear
models with AR(1) errors (Cochrane & Orcutt 1949), with the exact expectation in place of its large-sample limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.str_]

LOWEST, HIGHEST = -0.9, 0.995
FEWEST_OWN = 10  # a curve with fewer innovations borrows those of all curves


@dataclass(frozen=True, slots=True, eq=False)
class SeriesNoise:
    """AR(1) noise of a set of curves.

    Attributes:
        rho: Correlation of neighbouring points, one value for all curves.
        rho_error: Its standard error, sqrt((1 - rho^2) / pairs); replicas carry it along.
        sd: Standard deviation of a point around the curve, pooled, on the fit scale.
        innovations: Curve -> centred innovations of the right variance, to resample.
        pooled: Innovations of all curves, for a curve that is not in ``innovations``.
    """

    rho: float
    rho_error: float
    sd: float
    innovations: Mapping[str, Array]
    pooled: Array


def _rows(series: Labels) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each curve, in their order."""
    return {str(name): np.flatnonzero(series == name) for name in np.unique(series)}


def _lag_products(a: Array, b: Array) -> Array:
    """Return C[lag] = sum_t (a_t b_{t+lag}^T + a_{t+lag} b_t^T), halved at lag 0, for a, b [n, q]; C is [n, q, q]."""
    n = len(a)
    size = 1 << int(np.ceil(np.log2(max(2 * n, 2))))
    fa, fb = np.fft.rfft(a, size, axis=0), np.fft.rfft(b, size, axis=0)
    ahead = np.fft.irfft(np.conj(fa)[:, :, None] * fb[:, None, :], size, axis=0)[:n]
    behind = np.fft.irfft(fa[:, :, None] * np.conj(fb)[:, None, :], size, axis=0)[:n]
    out = ahead + behind
    out[0] *= 0.5
    return np.asarray(out)


def _neighbour_sum(q: Array) -> Array:
    """Return A q for the symmetric lag-one matrix A of one curve (1/2 beside the diagonal)."""
    out = np.zeros_like(q)
    out[1:] += 0.5 * q[:-1]
    out[:-1] += 0.5 * q[1:]
    return out


class _Moments:
    """Expected residual moments as functions of rho, for curves whose fitted directions are the columns of J."""

    def __init__(self, jacobian: Array, rows: Mapping[str, NDArray[np.intp]]) -> None:
        left, strength, _ = np.linalg.svd(jacobian, full_matrices=False)
        q = left[:, strength > 1e-10 * max(strength.max(initial=0.0), 1e-300)]
        self.n, self.pairs = len(q), len(q) - len(rows)
        blocks = [q[r] for r in rows.values()]
        self.plain = [_lag_products(b, b) for b in blocks]
        self.shifted = [np.trace(_lag_products(_neighbour_sum(b), b), axis1=1, axis2=2) for b in blocks]
        self.lag_one = sum((b.T @ _neighbour_sum(b) for b in blocks), np.zeros((q.shape[1], q.shape[1])))

    def at(self, rho: float) -> tuple[float, float]:
        """Return tr(M A M R) and tr(M R)."""
        inside = np.zeros_like(self.lag_one)
        crossed = 0.0
        for plain, shifted in zip(self.plain, self.shifted, strict=True):
            powers = rho ** np.arange(len(plain))
            inside += np.tensordot(powers, plain, axes=1)
            crossed += float(powers @ shifted)
        lagged = self.pairs * rho - 2.0 * crossed + float(np.sum(self.lag_one * inside.T))
        return lagged, self.n - float(np.trace(inside))


def _solve_rho(moments: _Moments, observed: float) -> float:
    """Return the rho whose expected ratio of moments is the observed one, by bisection; held inside [-0.9, 0.995]."""

    def excess(rho: float) -> float:
        lagged, total = moments.at(rho)
        return lagged / max(total, 1e-300) - observed

    low, high = LOWEST, HIGHEST
    if excess(low) >= 0:
        return low
    if excess(high) <= 0:
        return high
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return 0.5 * (low + high)


def estimate(residual: Array, series: Labels, jacobian: Array) -> SeriesNoise:
    """Estimate the noise of curves from the residuals of a fit.

    Args:
        residual: Observed less fitted, on the fit scale, [n]; points of a curve in the order in which they were made,
            evenly spaced.
        series: Curve of each point, [n].
        jacobian: Directions that the fit could follow, [n, q] (parameters and free factors).
    """
    rows = _rows(series)
    power = float(residual @ residual)
    if power <= 0.0 or len(residual) <= jacobian.shape[1]:
        zero = np.zeros(1)
        return SeriesNoise(0.0, 0.0, 0.0, dict.fromkeys(rows, zero), zero)
    moments = _Moments(jacobian, rows)
    lagged = sum(float(residual[r][1:] @ residual[r][:-1]) for r in rows.values())
    rho = _solve_rho(moments, lagged / power) if moments.pairs > 0 else 0.0
    free = max(moments.at(rho)[1], 1.0)
    inflate = len(residual) / free
    innovations = {}
    for name, r in rows.items():
        e = residual[r]
        eta = e[1:] - rho * e[:-1] if e.size > 1 else e * np.sqrt(1.0 - rho**2)
        spread = np.sqrt(inflate * float(e @ e) / e.size * (1.0 - rho**2))
        innovations[name] = _standardise(eta) * spread
    pooled = np.concatenate(list(innovations.values()))
    own = {name: eta if eta.size >= FEWEST_OWN else pooled for name, eta in innovations.items()}
    error = float(np.sqrt((1.0 - rho**2) / moments.pairs)) if moments.pairs > 0 else 0.0
    return SeriesNoise(rho, error, float(np.sqrt(power / free)), own, pooled)


def _standardise(eta: Array) -> Array:
    """Centre and scale to unit root mean square; a single value becomes plus and minus one."""
    if eta.size < 3:
        return np.array([-1.0, 1.0])
    centred = eta - eta.mean()
    return np.asarray(centred / max(float(np.sqrt(np.mean(centred**2))), 1e-300))


def simulate(noise: SeriesNoise, series: Labels, draws: int, rng: np.random.Generator) -> Array:
    """Return replicas of the noise, [B, n], each curve started in its stationary state.

    Every replica has a rho of its own, drawn from the estimate's normal distribution: the long-run variance, and with
    it the width of any interval, depends on 1 / (1 - rho)^2 and is not known better than rho is.
    """
    out = np.zeros((draws, len(series)))
    rho = np.clip(noise.rho + noise.rho_error * rng.standard_normal(draws), LOWEST, HIGHEST)
    for name, rows in _rows(series).items():
        eta = rng.choice(noise.innovations.get(name, noise.pooled), size=(draws, rows.size))
        e = eta[:, 0] / np.sqrt(1.0 - rho**2)
        out[:, rows[0]] = e
        for t in range(1, rows.size):
            e = rho * e + eta[:, t]
            out[:, rows[t]] = e
    return out
