"""Two members without a form: a level, or a slope, that wanders as log x grows.

    wandering level   z = c + w(t) + e                   w Brownian motion in t = log x
    wandering slope   z = c0 + c1 t + int w dt + e       the slope is Brownian motion

They are the naive forecasts (last value; straight line in log x) with bands that widen with the distance, and they
say how far a curve may go when no law is right. eta, the variance that t = 1 adds in units of the noise, and kappa,
the spread between runs, run over grids; coefficients and noise are in closed form as in ``posterior``.

Source: local level and local linear trend models (Harvey 1989, ch. 2), as Gaussian processes (Wahba 1978).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.forecast.curves import Runs, Scale
from rlaws.forecast.posterior import FLOOR, KAPPA, Sample, back_substitute

Array = NDArray[np.float64]

ETA = np.geomspace(1e-3, 1e4, 12)
FEW_KAPPA = KAPPA[[0, 2, 4, 5]]


@dataclass(frozen=True, slots=True)
class Wandering:
    """A member whose level (order 1) or slope (order 2) is Brownian motion in log x."""

    name: str
    order: int

    @property
    def size(self) -> int:
        """Number of fitted numbers."""
        return self.order + 1

    def columns(self, t: Array) -> Array:
        """Return the columns with free coefficients, [X, q]."""
        return np.vander(t, self.order, increasing=True)

    def kernel(self, a: Array, b: Array) -> Array:
        """Return the covariance of the wandering part at t = a [A] and b [B], zero at t = 0."""
        least, most = np.minimum(a[:, None], b[None]), np.maximum(a[:, None], b[None])
        return np.asarray(least if self.order == 1 else least**2 * (3.0 * most - least) / 6.0)

    def sample(self, runs: Runs, scale: Scale, at: Array, draws: int, rng: np.random.Generator) -> Sample | None:
        """Return draws, as ``posterior.sample`` does; curves that leave the range are drawn again, then held to it."""
        if runs.z.size < self.size + 1:
            return None
        parts = [_fit(self, runs, scale, at, eta, kappa) for eta in ETA for kappa in _kappas(runs)]
        log_weight = np.array([p.log_weight for p in parts])
        weight = np.exp(log_weight - log_weight.max())
        count = rng.multinomial(draws, weight / weight.sum())
        found = [p.draw(int(c), scale, rng) for p, c in zip(parts, count, strict=True) if c]
        curve, sd, offset = (np.concatenate([f[i] for f in found]) for i in range(3))
        order = rng.permutation(draws)
        nothing = np.zeros(draws)
        return Sample(curve[order], nothing, nothing, sd[order], offset[order])


MEMBERS = (Wandering("wandering_level", 1), Wandering("wandering_slope", 2))


def _kappas(runs: Runs) -> Array:
    return FEW_KAPPA if runs.number > 1 else FEW_KAPPA[:1]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Posterior at one eta and kappa: mean [X] and covariance in units of sigma^2, [X, X]."""

    log_weight: float
    mean: Array
    covariance: Array
    rss: float
    dof: int
    kappa: float

    def draw(self, number: int, scale: Scale, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Draw curves [number, X], the noise [number] and the spread of runs [number]."""
        curve, sigma = self._raw(4 * number, rng)
        outside = np.maximum(scale.low - curve, curve - scale.high).max(axis=1)
        rows = np.argsort(np.maximum(outside, 0.0), kind="stable")[:number]
        return np.clip(curve[rows], scale.low, scale.high), sigma[rows], sigma[rows] * np.sqrt(self.kappa)

    def _raw(self, number: int, rng: np.random.Generator) -> tuple[Array, Array]:
        sigma = np.sqrt(self.rss / rng.chisquare(self.dof, number))
        values, axes = np.linalg.eigh(0.5 * (self.covariance + self.covariance.T))
        root = axes * np.sqrt(np.maximum(values, 0.0))
        normal = rng.standard_normal((number, self.mean.size))
        return self.mean + sigma[:, None] * (normal @ root.T), sigma


def _fit(member: Wandering, runs: Runs, scale: Scale, at: Array, eta: float, kappa: float) -> _Part:
    """Return the posterior of the wandering curve at ``at``, noise of unit variance times sigma^2."""
    origin = float(np.log(runs.x.min()))
    t, new = np.log(runs.x) - origin, np.log(at) - origin
    same = runs.run[:, None] == runs.run[None]
    cover = eta * member.kernel(t, t) + np.eye(t.size) + kappa * same
    low = np.linalg.cholesky(cover)
    g, z = member.columns(t), runs.z
    solved = np.linalg.solve(low, np.column_stack([g, z, eta * member.kernel(t, new)]))
    q = g.shape[1]
    w, y, cross = solved[:, :q], solved[:, q], solved[:, q + 1 :]
    inner = np.asarray(np.linalg.cholesky(w.T @ w), dtype=float)
    beta = back_substitute(inner, np.asarray(np.linalg.solve(inner, w.T @ y), dtype=float))
    rss = float(np.sum((y - w @ beta) ** 2)) + z.size * (FLOOR * (scale.high - scale.low)) ** 2
    gap = member.columns(new) - cross.T @ w
    mean = member.columns(new) @ beta + cross.T @ (y - w @ beta)
    lifted = np.linalg.solve(inner, gap.T)
    covariance = eta * member.kernel(new, new) - cross.T @ cross + lifted.T @ lifted
    dof = z.size - q + 1
    log_weight = -np.log(np.diag(low)).sum() - np.log(np.diag(inner)).sum() - 0.5 * dof * np.log(rss)
    return _Part(float(log_weight), mean, covariance, rss, dof, kappa)
