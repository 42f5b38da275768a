"""Beta-binomial maximum likelihood: the spread of difficulty behind a table of right answers, by Newton's method.

For problem i with c_i right answers among n_i and success rate p_i ~ Beta(alpha, beta), the log-likelihood is, up to
a constant, a sum over tail counts instead of over problems:

    sum_j R_j log(alpha + j) + sum_j W_j log(beta + j) - sum_j T_j log(alpha + beta + j)

with R_j the number of problems with c > j, W_j those with n - c > j and T_j those with n > j (Griffiths 1973). All
resampled data sets are solved in one batch, in the coordinates (log alpha, log beta).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.fitted import FitStatus, interval_from_draws

Array = NDArray[np.float64]

BLOCK = 4_000_000  # doubles in the largest temporary array
LOWEST, HIGHEST = np.log(1e-5), np.log(1e6)


@dataclass(frozen=True, slots=True, eq=False)
class BetaFit:
    """Shapes of a Beta distribution of success rates.

    Attributes:
        alpha: Shape at rate 0: the exponent of the tail of pass@k's failure.
        beta: Shape at rate 1.
        draws: Both for resampled problems, [B, 2].
        status: Whether to believe it.
        clusters: Number of problems.
    """

    alpha: float
    beta: float
    draws: Array
    status: FitStatus
    clusters: int

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Return the interval of "alpha" or "beta" over resampled problems."""
        j = ("alpha", "beta").index(name)
        low, high = interval_from_draws((self.alpha, self.beta)[j], self.draws[:, j], level, self.clusters - 1)
        return float(low), float(high)


def fit_beta_binomial(n: NDArray[np.int64], c: NDArray[np.int64], *, draws: int = 400, seed: int = 0) -> BetaFit:
    """Return the maximum-likelihood shapes, with draws that resample problems.

    Args:
        n: Samples of each problem, [P].
        c: Right ones among them, [P].
        draws: Number of bootstrap draws.
        seed: Seed of the resampling.

    Raises:
        InputError: Fewer than two problems, or a count out of range, naming the row.
    """
    n, c = np.asarray(n, dtype=np.int64), np.asarray(c, dtype=np.int64)
    bad = np.flatnonzero((c < 0) | (c > n) | (n < 1))
    if bad.size:
        raise InputError(f"Row {bad[0]}: n_correct = {c[bad[0]]} is not between 0 and n_samples = {n[bad[0]]}.")
    if n.size < 2:
        raise InputError(f"{n.size} problem(s) given; a distribution over problems needs at least 2, better 50.")
    weights = np.ones((1, n.size))
    resampled = np.random.default_rng(seed).multinomial(n.size, np.full(n.size, 1 / n.size), size=draws)
    best, settled = _solve(weights, n, c)
    shapes, _ = _solve(resampled.astype(float), n, c)
    edge = bool(np.any((np.log(best[0]) <= LOWEST + 1e-6) | (np.log(best[0]) >= HIGHEST - 1e-6)))
    known = bool(settled[0] and np.any(n > 1))  # one sample a problem shows the mean rate, never its spread
    status = FitStatus.NOT_IDENTIFIED if not known else FitStatus.AT_BOUND if edge else FitStatus.OK
    return BetaFit(float(best[0, 0]), float(best[0, 1]), shapes, status, int(n.size))


def _tails(values: NDArray[np.int64], weights: Array) -> Array:
    """Return how many (weighted) problems exceed j, for j = 0 .. max - 1: [B, J]."""
    size = int(values.max(initial=0))
    counts = np.zeros((len(weights), size + 1))
    for column in np.unique(values):
        counts[:, column] = weights[:, values == column].sum(axis=1)
    return np.asarray(np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, 1:])


def _solve(weights: Array, n: NDArray[np.int64], c: NDArray[np.int64]) -> tuple[Array, NDArray[np.bool_]]:
    """Return (alpha, beta) [B, 2] for every row of weights [B, P], and whether Newton settled."""
    size = max(1, BLOCK // max(int(n.max()), 1))
    parts = [_solve_block(weights[i : i + size], n, c) for i in range(0, len(weights), size)]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _solve_block(weights: Array, n: NDArray[np.int64], c: NDArray[np.int64]) -> tuple[Array, NDArray[np.bool_]]:
    """Damped Newton ascent in (log alpha, log beta); a step that lowers the likelihood is shortened."""
    tails = (_tails(c, weights), _tails(n - c, weights), _tails(n, weights))
    at = _moment_start(weights, n, c)
    value, gradient, hessian = _likelihood(at, tails)
    damping = np.full(len(weights), 1e-3)
    settled = np.zeros(len(weights), dtype=bool)
    for _ in range(100):
        size = np.sqrt(np.abs(np.einsum("bii->bi", hessian))) + 1e-12
        scaled = -hessian / (size[:, :, None] * size[:, None, :])
        lowest = np.linalg.eigvalsh(scaled)[:, 0]
        ridge = damping + np.maximum(0.0, 1e-3 - lowest)
        step = np.linalg.solve(scaled + ridge[:, None, None] * np.eye(2), (gradient / size)[..., None])[..., 0] / size
        trial = np.clip(at + np.clip(step, -2.0, 2.0), LOWEST, HIGHEST)
        new = _likelihood(trial, tails)
        better = new[0] >= value
        settled = np.abs(trial - at).max(axis=1) < 1e-9
        at = np.where(better[:, None], trial, at)
        value = np.where(better, new[0], value)
        gradient = np.where(better[:, None], new[1], gradient)
        hessian = np.where(better[:, None, None], new[2], hessian)
        damping = np.clip(np.where(better, damping * 0.1, damping * 100.0), 1e-12, 1e9)
        if settled.all():
            break
    return np.asarray(np.exp(at)), settled


def _moment_start(weights: Array, n: NDArray[np.int64], c: NDArray[np.int64]) -> Array:
    """Return logs of shapes whose mean and (rough) variance match the observed rates, [B, 2]."""
    rate = c / n
    total = weights.sum(axis=1)
    mean = np.clip(weights @ rate / total, 1e-4, 1 - 1e-4)
    var = np.maximum(weights @ rate**2 / total - mean**2, 1e-9)
    strength = np.clip(mean * (1 - mean) / var - 1.0, 0.05, 1e3)
    return np.asarray(np.log(np.column_stack([mean * strength, (1 - mean) * strength])))


def _likelihood(at: Array, tails: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """Return log-likelihood [B], gradient [B, 2] and Hessian [B, 2, 2] in the logs of the shapes."""
    shape = np.exp(at)
    both = shape.sum(axis=1)
    parts = []
    for start, tail in zip((shape[:, 0], shape[:, 1], both), tails, strict=True):
        z = start[:, None] + np.arange(tail.shape[1])
        ratio = tail / z
        parts.append(((tail * np.log(z)).sum(axis=1), ratio.sum(axis=1), -(ratio / z).sum(axis=1)))
    (va, ga, ha), (vb, gb, hb), (vt, gt, ht) = parts
    slope = np.column_stack([ga - gt, gb - gt])
    gradient = slope * shape
    hessian = np.empty((len(at), 2, 2))
    hessian[:, 0, 0] = (ha - ht) * shape[:, 0] ** 2 + gradient[:, 0]
    hessian[:, 1, 1] = (hb - ht) * shape[:, 1] ** 2 + gradient[:, 1]
    hessian[:, 0, 1] = hessian[:, 1, 0] = -ht * shape[:, 0] * shape[:, 1]
    return np.asarray(va + vb - vt), gradient, hessian
