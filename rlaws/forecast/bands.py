"""Forecast of a training curve: a mixture of laws, with a band for the mean and one for a new run.

Every law is fitted with autocorrelated noise (``posterior``), the weights come from earlier origins of the same runs
(``weights``), and two members without a form (``wandering``) stand for what no law describes. Several runs of a recipe
are clusters: the mean band is that of the recipe, and a new run adds the spread between runs and the scatter of its
points. One run is one cluster. Its bands are about that run: the mean band is its curve without the scatter, the other
its next points; neither holds the spread from seed to seed, and the forecast says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.forecast.bends import Bend, refuse
from rlaws.forecast.breaks import changed
from rlaws.forecast.curves import Curve, Metric, Runs, Scale, as_curves, lay_out, scale_of
from rlaws.forecast.members import Member, members_of
from rlaws.forecast.posterior import Sample
from rlaws.forecast.wandering import MEMBERS
from rlaws.forecast.weights import AnyMember, Origin, draw, gaps_after, origins_of, stack
from rlaws.jsonable import plain
from rlaws.laws.base import Law
from rlaws.links import LINKS
from rlaws.sentences import said

Array = NDArray[np.float64]

LAWS: tuple[str, ...] = (
    "constant", "linear_log", "log_linear", "power_floor", "exponential_floor", "sigmoid", "power_tail"
)  # fmt: skip
ONE_RUN = said("one_run")


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """A forecast at some x.

    Attributes:
        at: x of the forecast, [X].
        metric: The metric.
        link: Scale on which the laws were fitted.
        weights: Member -> its weight in the mixture.
        scores: Member -> mean log density that it gave to held-out points at earlier origins (on the scale of the
            fit; NaN where it gave none).
        origins: The last x that was fitted at each origin.
        mean_draws: Draws of the mean curve, in the metric, [D, X].
        run_draws: Draws of the points of one run, in the metric, [D, X]: this run's next points if there is one run,
            else a new run's.
        runs: Number of runs.
        points: Number of points.
        last_x: Largest x that was seen.
        level: Level of intervals where none is asked.
        notes: Sentences that belong to the numbers.
    """

    at: Array
    metric: Metric
    link: str
    weights: Mapping[str, float]
    scores: Mapping[str, float]
    origins: tuple[float, ...]
    mean_draws: Array
    run_draws: Array
    runs: int
    points: int
    last_x: float
    level: float
    notes: tuple[str, ...]

    def point(self) -> Array:
        """Return the median of the mean curve, [X]."""
        return np.asarray(np.median(self.mean_draws, axis=0))

    def mean_interval(self, level: float | None = None) -> tuple[Array, Array]:
        """Return the band of the mean curve, low and high [X]."""
        return _quantiles(self.mean_draws, level or self.level)

    def new_run_interval(self, level: float | None = None) -> tuple[Array, Array]:
        """Return the band of one run's points, low and high [X]."""
        return _quantiles(self.run_draws, level or self.level)

    def to_json(self) -> str:
        """Return the forecast as JSON: bands instead of draws."""
        low, high = self.mean_interval()
        run_low, run_high = self.new_run_interval()
        skip = ("mean_draws", "run_draws", "metric")
        record = {n: getattr(self, n) for n in self.__dataclass_fields__ if n not in skip}
        record |= {"metric": {n: getattr(self.metric, n) for n in ("name", "low", "high", "better")}}
        record |= {"origins": list(self.origins), "notes": list(self.notes), "point": self.point()}
        record |= {"mean_low": low, "mean_high": high, "new_run_low": run_low, "new_run_high": run_high}
        return json.dumps(plain(record), allow_nan=False)


def _quantiles(draws: Array, level: float) -> tuple[Array, Array]:
    tail = 0.5 * (1.0 - level)
    low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def forecast(
    curves: Curve | Sequence[Curve],
    at: Array | Sequence[float],
    *,
    metric: Metric | None = None,
    laws: Sequence[Law | str] = LAWS,
    link: str = "absolute",
    reference: float | None = None,
    wandering: bool = True,
    bends: bool = True,
    breaks: bool = True,
    level: float = 0.9,
    draws: int = 2000,
    seed: int = 0,
) -> Forecast:
    """Forecast the curve of a run, or of several runs of one recipe.

    Args:
        curves: One run or several; points at x = 0 have no logarithm and are left out.
        at: x of the forecast, rising, from the last x of the data on.
        metric: Its range and direction. Without a range, a curve may leave its data by three of their widths.
        laws: Laws of the mixture, or their names.
        link: Scale of the fit; all but "absolute" need both ends of the range.
        reference: Value before training, for the links that take one.
        wandering: Whether the two members without a form belong to the mixture.
        bends: Whether laws that cannot turn back refuse a curve that does.
        breaks: Whether the curve may change its course after the data (``breaks``).
        level: Level of the intervals, in (0, 1).
        draws: Number of draws D.
        seed: Seed of the draws.

    Returns:
        The forecast.

    Raises:
        InputError: Curves that cannot be read, a value outside the range, no law left.
        BentError: The curve turns back, and no law of the list can.
    """
    metric = metric or Metric()
    kept = as_curves(curves)
    at = _checked(at, max(float(c.x[-1]) for c in kept))
    scale = scale_of(metric, link, reference, np.concatenate([c.y for c in kept]))
    runs = lay_out(kept, scale)
    found, notes = members_of(laws, scale, np.concatenate([runs.x, at]))
    found, bend_notes = _without_refused(found, kept, metric, at) if bends else (found, [])
    members: list[AnyMember] = [*found, *(MEMBERS if wandering else ())]
    if not members:
        raise InputError("No law is left to forecast with; give at least one, or wandering=True.")
    return _mixture(members, runs, scale, at, level, draws, seed, breaks, [*notes, *bend_notes])


def _checked(at: Array | Sequence[float], last: float) -> Array:
    x = np.atleast_1d(np.asarray(at, dtype=float))
    if not x.size or not np.isfinite(x).all() or x.min() <= 0 or np.any(np.diff(x) <= 0):
        raise InputError("The x of a forecast must be positive, finite and rising; give for example [2e3, 5e3, 1e4].")
    if x[0] < last:
        raise InputError(f"A forecast starts where the data end, at x = {last:g}; {x[0]:g} lies before.")
    return x


def _without_refused(
    members: list[Member], curves: list[Curve], metric: Metric, at: Array
) -> tuple[list[Member], list[str]]:
    """Leave out the laws that cannot turn where a run does."""
    bent: Bend | None = refuse(curves, metric)
    if bent is None:
        return members, []
    everywhere = np.concatenate([*(c.x for c in curves), at])
    turning = [m for m in members if m.turns(everywhere)]
    if not turning:
        raise bent.error()
    gone = sorted({m.law.name for m in members} - {m.law.name for m in turning})
    return turning, [said("bend_left_out", bend=bent.sentence, laws=", ".join(gone))]


def _mixture(
    members: Sequence[AnyMember], runs: Runs, scale: Scale, at: Array, level: float, draws: int, seed: int,
    breaks: bool, notes: list[str],
) -> Forecast:  # fmt: skip
    """Weigh the members at earlier origins, draw from each in proportion, and map the draws to the metric."""
    rng = np.random.default_rng([seed, 5])
    origins = origins_of(members, runs, scale, rng)
    samples = [draw(m, runs, scale, at, draws, rng) for m in members]
    prior = np.array([0.0 if s is None else 1.0 for s in samples]) / _views_of(members)
    if not prior.any():
        raise InputError(said("no_fit"))
    if not origins:
        notes.append(said("no_origin"))
    weight = stack(origins, prior)
    if runs.number == 1:
        notes.append(ONE_RUN)
    mean, run = _draws(samples, weight, gaps_after(runs, at), runs.within, draws, rng)
    if breaks:
        moved = changed(mean, runs, scale, at, rng) - mean
        mean, run = mean + moved, run + moved
    names = [m.name for m in members]
    return Forecast(
        at, scale.metric, scale.link, dict(zip(names, weight.tolist(), strict=True)), _scores(names, origins),
        tuple(o.cut for o in origins), scale.back(mean), scale.back(run), runs.number, runs.z.size,
        float(runs.x.max()), level, tuple(notes),
    )  # fmt: skip


def _views_of(members: Sequence[AnyMember]) -> Array:
    """Return in how many views each member's law appears, so that laws rather than views have equal prior weight."""
    names = [m.law.name if isinstance(m, Member) else m.name for m in members]
    return np.array([names.count(n) for n in names], dtype=float)


def _scores(names: Sequence[str], origins: Sequence[Origin]) -> dict[str, float]:
    if not origins:
        return dict.fromkeys(names, float("nan"))
    each = np.array([o.log_density.mean(axis=1) for o in origins]).mean(axis=0)
    return {n: float(v) if np.isfinite(v) else float("nan") for n, v in zip(names, each, strict=True)}


def _draws(
    samples: Sequence[Sample | None], weight: Array, gaps: Array, within: float, draws: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return draws of the mean and of a run's points from the mixture, each [draws, X]."""
    count = rng.multinomial(draws, weight / weight.sum())
    mean, run = [], []
    for s, c in zip(samples, count, strict=True):
        if s is None or not c:
            continue
        part = s.take(np.arange(c))
        mean.append(part.curve)
        run.append(paths(part, gaps, within, rng))
    return np.concatenate(mean), np.concatenate(run)


def paths(part: Sample, gaps: Array, within: float, rng: np.random.Generator) -> Array:
    """Return the points of a run along each drawn curve, [D, X], neighbours sharing their noise as rho says."""
    curve, rho, sd = part.curve, part.rho, part.sd
    noise = np.empty_like(curve)
    state, before = part.last, 0.0
    fresh = not np.any(part.last)
    for j, gap in enumerate(gaps):
        step = max(float(gap) - before, 0.0)
        memory = np.zeros_like(rho) if j == 0 and fresh else np.sign(rho) ** round(step) * np.abs(rho) ** step
        state = memory * state + np.sqrt(1.0 - memory**2) * sd * rng.standard_normal(len(rho))
        noise[:, j] = state
        before = float(gap)
    offset = part.offset[:, None] * rng.standard_normal((len(rho), 1))
    return np.asarray(curve + noise + offset + np.sqrt(within) * rng.standard_normal(curve.shape))


def forecast_links(
    curves: Curve | Sequence[Curve], at: Array | Sequence[float], *, metric: Metric, reference: float | None = None,
    laws: Sequence[Law | str] = LAWS, bends: bool = True, level: float = 0.9, draws: int = 2000, seed: int = 0,
) -> dict[str, Forecast]:  # fmt: skip
    """Forecast a bounded metric under each of the four links; all results are in the metric. See ``forecast``."""
    return {
        link: forecast(
            curves, at, metric=metric, laws=laws, link=link, reference=reference, bends=bends, level=level,
            draws=draws, seed=seed,
        )
        for link in LINKS
    }  # fmt: skip


def disagreement(forecasts: Mapping[str, Forecast]) -> float:
    """Return how far the links disagree: the largest distance of two medians, in half-widths of the mean band."""
    points = np.array([f.point() for f in forecasts.values()])
    halves = np.array([0.5 * (high - low) for low, high in (f.mean_interval() for f in forecasts.values())])
    spread = points.max(axis=0) - points.min(axis=0)
    return float(np.max(spread / np.maximum(np.median(halves, axis=0), 1e-300)))
