"""From sums over clusters to the response that a law describes: exact expectations from counts, ratios of sums.

A *statistic* maps the sums of a few columns over clusters to the response y (and, for gains, to the reference y0).
Everything a bootstrap needs is then one matrix product: weights [B, C] times the table of clusters [C, X, S].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A response as a function of column sums.

    Attributes:
        name: Key used by a probe.
        columns: The columns that are summed over clusters.
        response: ``response(*sums) -> y``; each sum is an array of any shape.
        bounded: True where y is a share in [0, 1], so that the four links apply.
        reference: ``reference(*sums) -> y0`` for gains over a reference, else None.
    """

    name: str
    columns: tuple[str, ...]
    response: Callable[..., Array]
    bounded: bool = False
    reference: Callable[..., Array] | None = None


def _ratio(a: Array, b: Array) -> Array:
    """Return a / b, NaN where nothing was counted."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b > 0, a / np.where(b > 0, b, 1.0), np.nan)


def _signed_ratio(a: Array, b: Array) -> Array:
    """Return a / b of sums that may have either sign, as slopes have; NaN where b is 0."""
    return np.where(b != 0, a / np.where(b != 0, b, 1.0), np.nan)


def _snr(n: Array, s1: Array, s2: Array) -> Array:
    """Return mean / standard deviation of a quantity with sums n, sum g, sum g^2."""
    mean = _ratio(s1, n)
    var = _ratio(s2, n) - mean**2
    return _ratio(mean, np.sqrt(np.maximum(var, 0.0)))


def _snr_vector(signal: Array, square: Array, weight: Array) -> Array:
    """Return |E g| / sqrt(tr Var g) from sums of estimates of |E g|^2 and of |g|^2; negative where the former is."""
    mean = _ratio(signal, weight)
    ratio = _ratio(mean, _ratio(square, weight) - mean)
    return np.asarray(np.sign(ratio) * np.sqrt(np.abs(ratio)))


STATISTICS: dict[str, Statistic] = {
    s.name: s
    for s in (
        Statistic("mean", ("total", "weight"), _ratio),
        Statistic("ratio", ("above", "below"), _signed_ratio),
        Statistic("share", ("total", "weight"), _ratio, bounded=True),
        Statistic("rate", ("n_hits", "n_trials"), _ratio, bounded=True),
        Statistic("failure", ("n_hits", "n_trials"), lambda h, n: 1.0 - _ratio(h, n), bounded=True),
        Statistic("snr", ("n", "s1", "s2"), _snr),
        Statistic("snr_vector", ("signal", "square", "weight"), _snr_vector),
        Statistic(
            "gain",
            ("after", "before", "weight"),
            lambda a, b, w: _ratio(a, w),
            bounded=True,
            reference=lambda a, b, w: _ratio(b, w),
        ),
    )
}


def statistic(name: str) -> Statistic:
    """Return the statistic of that name.

    Raises:
        InputError: If there is none; the nearest name is suggested.
    """
    if name not in STATISTICS:
        raise InputError(f"There is no statistic '{name}'.{suggest(name, STATISTICS)}")
    return STATISTICS[name]


def pass_at_k(n: NDArray[np.int64], c: NDArray[np.int64], k: NDArray[np.int64]) -> Array:
    """Unbiased pass@k of each problem, 1 - C(n-c, k) / C(n, k) (arXiv 2107.03374, eq. 1).

    Computed by the recurrence fail(c+1) = fail(c) (n-c-k)/(n-c) over c for each distinct n, so that no difference
    of large log-gammas loses digits.

    Args:
        n: Samples of each problem, [P].
        c: Right ones among them, [P], 0 <= c <= n.
        k: Draws, [K], each <= min(n).

    Returns:
        Estimates [P, K].

    Raises:
        InputError: If c > n, c < 0 or k > n, naming the row.
    """
    n, c, k = (np.atleast_1d(np.asarray(v, dtype=np.int64)) for v in (n, c, k))
    bad = np.flatnonzero((c < 0) | (c > n))
    if bad.size:
        i = int(bad[0])
        raise InputError(f"Row {i}: n_correct = {c[i]} is not between 0 and n_samples = {n[i]}.")
    if k.min() < 1 or k.max() > n.min():
        raise InputError(f"k = {k.min()}..{k.max()} asked, but a problem has only {n.min()} samples; ask k <= that.")
    fail = np.empty((n.size, k.size))
    for size in np.unique(n):
        rows = n == size
        taken = np.arange(c[rows].max() + 1)[:-1, None]
        steps = np.maximum(size - taken - k[None, :], 0) / (size - taken)
        table = np.vstack([np.ones((1, k.size)), np.cumprod(steps, axis=0)])
        fail[rows] = table[c[rows]]
    return 1.0 - fail


def centred(reward: Array, problems: int) -> Array:
    """Return R - b of each rollout, b the mean over the others of its batch to the same problem (or over all others).

    Args:
        reward: R, [batches, rollouts]; rollout i is on problem i modulo ``problems``.
        problems: Number of problems.
    """
    of = np.arange(reward.shape[1]) % problems
    if reward.shape[1] < 2 * problems:
        of = np.zeros_like(of)
    size = np.bincount(of)[of]
    total = np.stack([np.bincount(of, weights=row)[of] for row in reward])
    return np.asarray(reward - (total - reward) / (size - 1))
