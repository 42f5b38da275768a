"""Power: what a design would find, by planting laws in its own noise and putting them through the whole verdict.

For every regime point and reading the claim's law is planted with its parameter in the middle of the predicted region
and the noise of a pilot measurement scaled to the full budget: how often is it supported? For a form each rival is
planted at its best fit: how often does it pass for the law?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.analysis import Analyst, regimes_of
from rlaws.claims import Form, Interval, Limit, Outcome, Prediction, Reading, all_of, over_grid
from rlaws.errors import InputError
from rlaws.fitted import Fit, FitStatus
from rlaws.judging import Evidence, describe, judge, quantities, sidak
from rlaws.measurement import concat
from rlaws.probes.base import Budget
from rlaws.resampling import Points
from rlaws.seeding import generator
from rlaws.study import Study, regime_of

Array = NDArray[np.float64]
DRAWS = 150  # replicas of a planted experiment: enough for its interval, cheap enough to plant hundreds
MOST_POINTS = 6


@dataclass(frozen=True, slots=True)
class PlanRow:
    """Power of one prediction at one regime point.

    For a parameter, ``power`` is the share of planted laws that are supported; for a form, the chance to tell the law
    from its nearest rival (``compare.Comparison.power``), and ``wrong`` the chance that this rival passes for the law.
    """

    regime: Mapping[str, Any]
    reading: str
    prediction: str
    power: float | None
    wrong: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a study would cost and find.

    Attributes:
        study: Its id.
        cells: Number of cells; ``points`` the number of regime points.
        seconds: Estimated seconds of one core at the asked budget, from the pilot.
        rows: Power by regime point and prediction; at most ``MOST_POINTS`` points, evenly chosen.
    """

    study: str
    cells: int
    points: int
    seconds: float
    rows: tuple[PlanRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def plan_study(study: Study, *, pilot: float = 0.25, simulations: int = 40) -> Plan:
    """Return cost and power of a study, spending ``pilot`` of its budget on measuring the noise.

    Args:
        study: The study.
        pilot: Share of the budget for the pilot, in (0, 1].
        simulations: Planted experiments for each regime point and law.

    Raises:
        InputError: If the pilot's share or the number of simulations is not usable.
    """
    if not 0 < pilot <= 1 or simulations < 10:
        raise InputError(f"plan: pilot = {pilot} must lie in (0, 1] and simulations = {simulations} be at least 10.")
    small = replace(study, budget=Budget(study.budget.name, study.budget.scale * pilot, max(DRAWS, 200)))
    began = perf_counter()
    cells = small.cells()
    measured = concat([regime_of(small, c.point, c.measure()) for c in cells])
    seconds = (perf_counter() - began) / pilot
    analyst = Analyst(study.claim, measured, DRAWS, study.seed)
    rows = [
        row
        for reading in study.claim.readings
        for row in _reading_rows(analyst, study, reading, np.sqrt(pilot), simulations)
    ]
    points = len(measured.regimes())
    return Plan(study.id, len(cells), points, seconds, tuple(rows))


def _reading_rows(
    analyst: Analyst, study: Study, reading: Reading, shrink: float, simulations: int
) -> Iterator[PlanRow]:
    regimes = regimes_of(analyst.measured, reading)
    chosen = [regimes[i] for i in np.unique(np.linspace(0, len(regimes) - 1, MOST_POINTS).astype(int))]
    for regime in chosen:
        for link in study.claim.links or (None,):
            e = analyst.evidence(reading, regime, link)
            level = sidak(study.claim.decision.level, len(regimes) * quantities(e))
            where = dict(regime) if link is None else {**regime, "link": link}
            for p in reading.predictions:
                yield _row(analyst, e, p, where, level, shrink, simulations)


def _row(
    analyst: Analyst,
    e: Evidence,
    p: Prediction,
    where: Mapping[str, Any],
    level: float,
    shrink: float,
    simulations: int,
) -> PlanRow:
    """Plant the law and count verdicts; a form's rivals were planted by its comparison."""
    if e.fit.status is not FitStatus.OK:
        return PlanRow(where, e.reading.id, describe(p), None, None)
    if isinstance(p, Form):
        told = min(e.compared.power.values(), default=None) if e.compared is not None else None
        return PlanRow(where, e.reading.id, describe(p), told, None if told is None else 1.0 - told)
    rng = generator(analyst.seed, "power", sorted(where.items()), e.reading.id, describe(p))
    return PlanRow(
        where,
        e.reading.id,
        describe(p),
        supported(analyst, e, p, planted(e, p), level, shrink, simulations, rng),
        None,
    )


def planted(e: Evidence, p: Prediction) -> Array:
    """Return the curve of the claim's law with the predicted parameter in the middle of its region, [X]."""
    fitted: Fit = e.fit
    if isinstance(p, Interval | Limit):
        low, high = p.region()
        if np.isfinite(low) and np.isfinite(high):
            theta = fitted.theta.copy()
            theta[[q.name for q in fitted.params].index(p.param)] = (low + high) / 2
            fitted = replace(fitted, theta=theta)
    return fitted.predict(e.points.x, extrapolate=True)


def supported(
    analyst: Analyst,
    e: Evidence,
    p: Prediction,
    truth: Array,
    level: float,
    shrink: float,
    simulations: int,
    rng: np.random.Generator,
) -> float:
    """Return the share of planted experiments in which the prediction is supported.

    Args:
        analyst: Fits what is planted with the claim's own options.
        e: Evidence of the pilot: its design points and its noise.
        p: The prediction.
        truth: The planted curve at the design points, [X].
        level: Level of the intervals.
        shrink: Factor from the pilot's noise to the full budget's.
        simulations: Number of experiments.
        rng: Source of the noise.
    """
    hits = 0
    for number in range(simulations):
        points = _experiment(e, truth, shrink, rng)
        found = analyst.planted(e, points, number)
        hits += judge(p, found, level, analyst.claim.decision).outcome is Outcome.SUPPORTED
    return hits / simulations


def _experiment(e: Evidence, truth: Array, shrink: float, rng: np.random.Generator) -> Points:
    """Return planted points: the truth plus one noise vector of the pilot, with draws of the same noise around it."""
    if e.points.draws is not None:
        noise = shrink * (e.points.draws - np.nanmean(e.points.draws, axis=0))
        y = truth + np.nan_to_num(noise[rng.integers(len(noise))])
        return replace(e.points, y=y, draws=y + noise[:DRAWS])
    y = truth.copy()
    for name in np.unique(e.points.series):
        rows = np.flatnonzero(e.points.series == name)
        wobble = ar1((rows.size,), e.fit.noise.sd, e.fit.noise.rho, rng)
        y[rows] = truth[rows] * np.exp(wobble) if e.fit.scale == "log" else truth[rows] + wobble
    return replace(e.points, y=y)


def ar1(shape: tuple[int, ...], sd: float, rho: float, rng: np.random.Generator) -> Array:
    """Return stationary AR(1) noise of standard deviation sd along the last axis, [..., T]."""
    out = np.empty(shape)
    out[..., 0] = rng.standard_normal(shape[:-1])
    shocks = np.sqrt(1.0 - rho**2) * rng.standard_normal(shape)
    for t in range(1, shape[-1]):
        out[..., t] = rho * out[..., t - 1] + shocks[..., t]
    return np.asarray(sd * out)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a claim gets on one set of rows.

    Attributes:
        outcome: Of the claim.
        readings: Of each reading.
        blind: Reading -> rivals that its form could not be told from (``compare.Comparison.power``).
        problem: Why nothing could be judged, or "".
    """

    outcome: Outcome
    readings: Mapping[str, Outcome]
    blind: Mapping[str, frozenset[str]]
    problem: str = ""


def judged(analyst: Analyst) -> Judged:
    """Put rows through the verdict, as ``analysis.analyse`` does, without panels and texts."""
    outcomes: dict[str, Outcome] = {}
    blind: dict[str, frozenset[str]] = {}
    decision = analyst.claim.decision
    for reading in analyst.claim.readings:
        points = regimes_of(analyst.measured, reading)
        found = [analyst.evidence(reading, r, link) for r in points for link in analyst.claim.links or (None,)]
        level = sidak(decision.level, sum(quantities(e) for e in found))
        verdicts = [all_of([judge(p, e, level, decision).outcome for p in reading.predictions]) for e in found]
        outcomes[reading.id] = over_grid(verdicts)
        compared = [e.compared for e in found if e.compared is not None]
        blind[reading.id] = frozenset(r for c in compared for r, told in c.power.items() if told < decision.power)
    deciding = [outcomes[r.id] for r in analyst.claim.readings if r.decides]
    return Judged(over_grid(deciding), outcomes, blind)
