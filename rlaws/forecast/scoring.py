"""Scores of forecasts on the rest of a curve: error, CRPS, interval score and coverage, beside naive forecasts.

    interval score   (high - low) + (2 / alpha) (low - y)_+ + (2 / alpha) (y - high)_+      at level 1 - alpha
    CRPS             mean |d - y| - mean |d - d'| / 2   over draws d, d' of the forecast

both in the unit of the metric, smaller is better. Source: Gneiting & Raftery 2007, eqs. 20 and 43.

The naive forecasts are the last value and the straight line in log x of ``rlaws.forecasts``. Their draws add the errors
that the same forecast made within the data, at the same number of points ahead as far as the data reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.forecast.bands import forecast
from rlaws.forecast.curves import FEWEST, Curve, Metric
from rlaws.forecasts import FORECASTS
from rlaws.resampling import Points

Array = NDArray[np.float64]

MIXTURE = "mixture"
SHARES = (0.3, 0.5, 0.7)


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of one forecast of the rest of one curve, means over its points.

    Attributes:
        run: Name of the run.
        share: Share of its points that was seen.
        method: "mixture", "last_value" or "straight_line".
        points: Number of points that were forecast.
        covered: Share of them inside the band of single points.
        error: Mean absolute error of the median.
        crps: Mean CRPS.
        interval: Mean interval score.
        width: Range of the whole curve, to compare curves of different units.
    """

    run: str
    share: float
    method: str
    points: int
    covered: float
    error: float
    crps: float
    interval: float
    width: float


def crps(draws: Array, y: Array) -> Array:
    """Return the CRPS of draws [D, X] at y [X], exactly for the draws' empirical distribution."""
    ordered = np.sort(draws, axis=0)
    number = len(draws)
    rank = (2.0 * np.arange(1, number + 1) - number - 1.0)[:, None]
    spread = 2.0 * np.sum(rank * ordered, axis=0) / number**2
    return np.asarray(np.mean(np.abs(draws - y), axis=0) - 0.5 * spread)


def interval_score(low: Array, high: Array, y: Array, level: float) -> Array:
    """Return the interval score of bands at a level, [X]."""
    each = 2.0 / (1.0 - level)
    return np.asarray(high - low + each * np.maximum(low - y, 0.0) + each * np.maximum(y - high, 0.0))


def naive_draws(curve: Curve, at: Array, method: str, draws: int, rng: np.random.Generator) -> Array:
    """Return draws of a naive forecast with its own earlier errors, [D, X]; the first row is its point forecast.

    Args:
        curve: What was seen.
        at: x of the forecast, [X].
        method: A name of ``rlaws.forecasts.FORECASTS``.
        draws: Number of draws D.
        rng: Source of the errors.
    """
    point = _naive(curve, at, method)
    n = curve.x.size
    earlier: list[list[float]] = [[] for _ in range(n)]
    for m in range(2, n):
        errors = curve.y[m:] - _naive(curve.first(m), curve.x[m:], method)
        for ahead, e in enumerate(errors):
            earlier[ahead].append(float(e))
    usable = [k for k in range(n) if len(earlier[k]) >= 3]
    out = np.tile(point, (draws, 1))
    for j in range(at.size):
        pool = earlier[min(j, usable[-1])] if usable else [e for part in earlier for e in part] or [0.0]
        out[1:, j] += rng.choice(np.array(pool), draws - 1) * rng.choice([-1.0, 1.0], draws - 1)
    return out


def _naive(curve: Curve, at: Array, method: str) -> Array:
    def points(x: Array, y: Array) -> Points:
        label = np.full(x.size, curve.run)
        return Points({"x": x}, y, None, label, label, 1, "y", "1")

    return np.asarray(FORECASTS[method](points(curve.x, curve.y), points(at, at), "x", curve.y[None])[0])


def score(curve: Curve, share: float, metric: Metric, level: float = 0.9, **options: object) -> list[Score]:
    """Forecast the rest of a curve from its first share, and score the mixture and both naive forecasts.

    Args:
        curve: The whole curve.
        share: Share of its points that is seen, in (0, 1).
        metric: The metric.
        level: Level of the bands.
        options: Passed on to ``forecast``.

    Raises:
        InputError: Too few points before or after the cut.
    """
    seen = int(np.ceil(share * curve.x.size))
    if seen < FEWEST or seen >= curve.x.size:
        raise InputError(
            f"The first {share:.0%} of run '{curve.run}' are {seen} of {curve.x.size} points; at least {FEWEST} must "
            "be seen and one left."
        )
    past, at, y = curve.first(seen), curve.x[seen:], curve.y[seen:]
    found = forecast(past, at, metric=metric, level=level, **options)  # type: ignore[arg-type]
    rng = np.random.default_rng([11, seen])
    scored = [_scored(curve, share, MIXTURE, found.run_draws, found.point(), y, level)]
    for method in FORECASTS:
        draws = naive_draws(past, at, method, len(found.run_draws), rng)
        scored.append(_scored(curve, share, method, draws, draws[0], y, level))
    return scored


def _scored(curve: Curve, share: float, method: str, draws: Array, point: Array, y: Array, level: float) -> Score:
    tail = 0.5 * (1.0 - level)
    low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    return Score(
        curve.run, share, method, y.size, float(np.mean((y >= low) & (y <= high))), float(np.mean(np.abs(point - y))),
        float(np.mean(crps(draws, y))), float(np.mean(interval_score(low, high, y, level))), float(np.ptp(curve.y)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """Scores of one method over the curves of a source at one share, pooled over points.

    Errors, CRPS and interval scores are in units of each curve's range, so that curves of any metric can be pooled.

    Attributes:
        source: Name of the source, or "all".
        share: Share that was seen, or 0 for all shares.
        method: The method.
        curves: Number of curves.
        points: Number of points.
        covered: Share of the points inside the band.
        error: Mean absolute error.
        crps: Mean CRPS.
        interval: Mean interval score.
    """

    source: str
    share: float
    method: str
    curves: int
    points: int
    covered: float
    error: float
    crps: float
    interval: float


def table(scores: Mapping[str, Sequence[Score]]) -> list[Row]:
    """Return rows by source, share and method, and pooled over all.

    Args:
        scores: Source -> scores of its curves.
    """
    rows = []
    everything = [s for each in scores.values() for s in each]
    methods = list(dict.fromkeys(s.method for s in everything))
    shares = sorted({s.share for s in everything})
    for source, each in [*scores.items(), ("all", everything)]:
        for share in [*shares, 0.0]:
            for method in methods:
                chosen = [s for s in each if s.method == method and share in (0.0, s.share)]
                if chosen:
                    rows.append(_row(source, share, method, chosen))
    return rows


def _row(source: str, share: float, method: str, chosen: Sequence[Score]) -> Row:
    points = np.array([s.points for s in chosen], dtype=float)
    width = np.array([s.width or 1.0 for s in chosen])
    covered = np.array([s.covered for s in chosen])
    parts = [np.array([getattr(s, n) for s in chosen]) / width for n in ("error", "crps", "interval")]
    means = [float(np.average(v, weights=points)) for v in (covered, *parts)]
    return Row(source, share, method, len({s.run for s in chosen}), int(points.sum()), *means)
