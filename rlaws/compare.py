"""Held-out comparison of a law with its rivals: who predicts the largest x better, and by how many standard errors.

Every law is fitted to the training part only and scored on the sealed part,

    score = mean over held-out points of ((y - f) / s)^2,

with s the standard error of each point for clusters, one for curves (whose residuals are taken on the fit scale, so
the score of a log fit is a mean squared log residual). The difference to a rival, rival less law, is positive where
the law predicts better. Its standard error comes from the paired bootstrap: each draw resamples clusters once, refits
every law to the draw's training part and scores it on the same draw's held-out part. Curves have no clusters; their
draws are the observed curve plus one AR(1) replica of the residual noise of the law that fits the training part best,
running on through the held-out part, the same for all laws.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rlaws.autoregression import simulate
from rlaws.fitted import Fit, finite_rows
from rlaws.fitting import Options, Prepared, prepare, stderr_of, to_scale
from rlaws.forecasts import FORECASTS, curve_labels
from rlaws.jsonable import plain
from rlaws.laws.base import Law
from rlaws.resampling import Points, split

Array = NDArray[np.float64]

RIVAL_Z = 2.0  # a difference counts from twice its standard error on
SAME = 1e-5  # a law whose best fit to another's curve is this near (relative, root mean square) contains it
POWER_DRAWS = 200
MIDDLE = 3.2897  # standard deviations between the 5 % and 95 % points of a normal distribution
WORST = 1e6  # a standardised residual beyond this is as bad as this
ALIKE = 1e-6  # scores that agree to this are equal: what is left is rounding, and has no standard error of its own
LEAST_LEFT = 0.15  # share of a trend that the law must leave visible for the trend to be tested


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What a held-out comparison found.

    Attributes:
        law: Name of the law that the claim is about.
        fits: Law name -> fit to the training part, for the law and its rivals.
        scores: Law or forecast name -> held-out score.
        differences: Rival -> (score of the rival less that of the law, its standard error); positive: the law is
            better.
        naive: The same for the naive forecasts, "last_value" and "straight_line" (in log x), that apply.
        power: Rival -> chance that this design tells the two apart by twice the standard error. For a rival that the
            law contains as a special case, data are planted from the law and the law must win; for any other, data are
            planted from the rival and the rival must win. A rival that contains the law is left out: where the law
            holds it predicts the same. 0 where the points are too few for any difference.
        label: "predicted", or "fitted" if a fit touched a held-out point.
        held: The held-out points.
        relative_error: |mean of (f - y) / |y|| over the held-out points of the curve that is predicted worst.
        relative_error_draws: Its draws, signed like the estimate, so that their spread is that of the error, [B].
        trend_slope: The smoothest trend of the residuals that the law cannot absorb, in standard errors.
        trend_curvature: The next smoothest one.
    """

    law: str
    fits: Mapping[str, Fit]
    scores: Mapping[str, float]
    differences: Mapping[str, tuple[float, float]]
    naive: Mapping[str, tuple[float, float]]
    power: Mapping[str, float]
    label: str
    held: Points
    relative_error: float
    relative_error_draws: Array
    trend_slope: float
    trend_curvature: float

    def to_json(self) -> str:
        """Return the comparison as JSON; the held-out points by id, x and y."""
        record = {n: getattr(self, n) for n in self.__dataclass_fields__ if n not in ("fits", "held")}
        record["fits"] = {name: json.loads(found.to_json()) for name, found in self.fits.items()}
        record["held"] = {"ids": self.held.ids, "x": dict(self.held.x), "y": self.held.y}
        return json.dumps(plain(record), allow_nan=False)


def compare(
    primary: Law,
    rivals: Sequence[Law],
    points: Points,
    columns: Mapping[str, str],
    *,
    along: str,
    largest: int = 0,
    after: float = 1.0,
    scale: str | None = None,
    weights: str = "stderr",
    loss: str = "huber",
    free_scale: str | None = None,
    starts: int = 32,
    draws: int = 400,
    seed: int = 0,
) -> Comparison:
    """Compare a law with its rivals on held-out points.

    Args:
        primary: The law that the claim is about.
        rivals: Its rivals, with the same roles.
        points: All points of a regime.
        columns: Role -> data column, for all laws.
        along: Design variable along which the largest values are held out.
        largest: Number of its largest distinct values to hold out, or 0 to use ``after``.
        after: Share of each curve, in the order of ``along``, that is fitted.
        scale: "log" or "linear" for all laws; default: the primary law's for curves, "linear" for clusters.
        weights: See ``fitting.fit``.
        loss: See ``fitting.fit``.
        free_scale: See ``fitting.fit``; every held-out group needs training points of its own.
        starts: See ``fitting.fit``.
        draws: Number of draws for curves; clusters bring their own.
        seed: Seed of starts, curve noise and power.

    Raises:
        InputError: Nothing to hold out, an unknown column, or a held-out group without a fitted factor.
    """
    scale = scale or (primary.scale if points.draws is None else "linear")
    options = Options(scale, weights, loss, None, free_scale, {}, starts, draws, seed)
    train, sealed = split(points, along, largest=largest, after=after)
    ready = {law.name: prepare(law, train, columns, options) for law in (primary, *rivals)}
    if points.draws is None:
        points = _with_curve_draws(points, ready, draws, np.random.default_rng([seed, 2]))
        train, sealed = split(points, along, largest=largest, after=after)
    assert train.draws is not None
    fits = {name: r.fit(train.draws) for name, r in ready.items()}
    held, label = sealed.open(frozenset().union(*(f.touched for f in fits.values())))
    court = _Court(held, scale == "log", ready[primary.name].points.draws is None)
    scores, differences = _judge(court, primary.name, fits)
    naive = {} if held.draws is None else _naive(court, train, along, fits[primary.name], scores)
    error, error_draws = relative_error(fits[primary.name], held)
    slope, curvature = residual_trend(ready[primary.name], fits[primary.name], train, along)
    power = {
        r.name: p
        for r in rivals
        if (p := _power(court, ready[primary.name], ready[r.name], points, held, options)) is not None
    }
    return Comparison(
        primary.name, fits, scores, differences, naive, power, label, held, error, error_draws, slope, curvature
    )


def _with_curve_draws(points: Points, ready: Mapping[str, Prepared], draws: int, rng: np.random.Generator) -> Points:
    """Attach draws to curves: what was observed plus AR(1) noise like the residuals of the best training fit."""
    best = min(ready.values(), key=lambda r: float(r.best.solution.loss[0]))
    log = best.task.log
    noise = simulate(best.noise_of_curves(), points.series, draws, rng)
    with np.errstate(all="ignore"):
        replicas = points.y * np.exp(noise) if log else points.y + noise
    return replace(points, draws=replicas)


# -------------------------------------------------------------------------------------------------------------- scores


@dataclass(frozen=True, slots=True, eq=False)
class _Court:
    """Held-out points and how a prediction of them is scored."""

    held: Points
    log: bool
    curves: bool

    def stderr(self) -> Array:
        """Standard error of each held-out point on the fit scale, [X]; ones for curves."""
        if self.curves or self.held.draws is None:
            return np.ones(self.held.y.size)
        return stderr_of(to_scale(self.held.draws, log=self.log))

    def score(self, predicted: Array, observed: Array) -> Array:
        """Return the mean squared standardised residual of predictions [..., X]; none counts above a million."""
        r = (to_scale(observed, log=self.log) - to_scale(predicted, log=self.log)) / self.stderr()
        seen = np.isfinite(r)
        r = np.clip(r, -WORST, WORST)
        total = np.where(seen, r, 0.0) ** 2
        count = seen.sum(axis=-1)
        return np.where(count > 0, total.sum(axis=-1) / np.maximum(count, 1), np.nan)


def _judge(
    court: _Court, primary: str, fits: Mapping[str, Fit]
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return every law's score, and each rival's difference to the law with its paired standard error."""
    held = court.held
    assert held.draws is not None
    x = inputs(held)
    scores = {n: float(court.score(f.predict(x, extrapolate=True), held.y)) for n, f in fits.items()}
    replicas = {n: court.score(f.predict_draws(x, extrapolate=True), held.draws) for n, f in fits.items()}
    inflate = small_sample(fits[primary])
    differences = {}
    for n in (n for n in fits if n != primary):
        least = ALIKE * (scores[n] + scores[primary])
        spread = inflate * _sd(replicas[n] - replicas[primary])
        differences[n] = (scores[n] - scores[primary], max(spread, least))
    return scores, differences


def inputs(points: Points) -> dict[str, NDArray[np.generic]]:
    """Return the design variables and the curve labels, as ``Fit.predict`` takes them."""
    return {**points.x, "series": points.series}


def _sd(values: Array) -> float:
    """Return the standard deviation that the middle 90 % of the draws imply under a normal distribution.

    A rival that runs away in a few draws would otherwise make every difference insignificant.
    """
    kept = values[np.isfinite(values)]
    if kept.size < 2:
        return float("nan")
    low, high = np.quantile(kept, [0.05, 0.95], method="weibull")
    return float(high - low) / MIDDLE


def small_sample(found: Fit) -> float:
    """Return the factor by which a standard error over few resampled clusters must grow.

    sqrt(n/(n-1)) for the bootstrap's variance, times t over normal at the 97.5 % point for its uncertainty.
    """
    from scipy.special import ndtri, stdtrit

    if found.resampled != "clusters" or found.clusters < 2:
        return 1.0
    n = found.clusters
    return float(np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.975) / ndtri(0.975))


def _naive(
    court: _Court, train: Points, along: str, primary: Fit, scores: dict[str, float]
) -> dict[str, tuple[float, float]]:
    """Score the naive forecasts beside the law; ``scores`` gains theirs."""
    held = court.held
    assert held.draws is not None
    assert train.draws is not None
    reference = court.score(primary.predict_draws(inputs(held), extrapolate=True), held.draws)
    found: dict[str, tuple[float, float]] = {}
    for name, forecast in FORECASTS.items():
        predicted = forecast(train, held, along, np.vstack([train.y[None], train.draws]))
        if not np.isfinite(predicted[0]).all():
            continue
        scores[name] = float(court.score(predicted[0], held.y))
        spread = small_sample(primary) * _sd(court.score(predicted[1:], held.draws) - reference)
        found[name] = (scores[name] - scores[primary.law], spread)
    return found


def relative_error(found: Fit, held: Points) -> tuple[float, Array]:
    """Return the size of the mean relative error of the curve predicted worst, and its draws [B] with the same sign.

    A curve is what shares all columns of the law but the held-out one; averaging (f - y) / |y| over a curve's held-out
    points keeps the noise of single points out of the estimate, and the draws resample both f and y.
    """
    assert held.draws is not None
    x = inputs(held)
    size = np.maximum(np.abs(held.y), 1e-300)
    error = (found.predict(x, extrapolate=True) - held.y) / size
    draws = (found.predict_draws(x, extrapolate=True) - held.draws) / np.maximum(np.abs(held.draws), 1e-300)
    curves = curve_labels(held, _varying(found, held))
    means = {c: float(np.mean(error[curves == c])) for c in np.unique(curves)}
    worst = max(means, key=lambda c: abs(means[c]))
    sign = -1.0 if means[worst] < 0 else 1.0
    return abs(means[worst]), np.asarray(sign * np.mean(draws[:, curves == worst], axis=1))


def _varying(found: Fit, held: Points) -> str:
    """Return the law's column with most distinct held-out values: the one that runs along a curve."""
    return max(found.columns.values(), key=lambda c: np.unique(held.x[c]).size)


# --------------------------------------------------------------------------------------------------------------- trend


def residual_trend(ready: Prepared, found: Fit, train: Points, along: str) -> tuple[float, float]:
    """Return two standardised trends of the training residuals against the order of x.

    Polynomials of rising degree in the rank of x are cleared of what the law can absorb (the columns of its Jacobian);
    the two smoothest that keep at least 15 % of their length are projected on the residuals, and divided by the spread
    of the same projection over the draws. For a law with neither level nor slope that is slope and curvature; for one
    with both, curvature and skew. |z| > 3.3 in either is a trend; by chance that happens once in 500. Zero where too
    few points are left to test.

    Args:
        ready: The fit before its draws.
        found: The fit.
        train: The training points with draws.
        along: The variable whose order counts.
    """
    assert train.draws is not None
    log = ready.task.log
    x = inputs(train)
    weight = ready.task.weight
    residual = (to_scale(train.y, log=log) - to_scale(found.predict(x), log=log)) * weight
    draws = (to_scale(train.draws, log=log) - to_scale(found.predict_draws(x), log=log)) * weight
    contrasts = _contrasts(ready.directions() * weight[:, None], train.x[along])
    good = finite_rows(draws)
    if not len(contrasts) or len(good) < 20 or not np.isfinite(residual).all():
        return 0.0, 0.0
    spread = small_sample(found) * np.std(good @ contrasts.T, axis=0, ddof=1)
    z = (contrasts @ residual) / np.maximum(spread, 1e-300)
    negligible = np.abs(contrasts @ residual) <= 1e-9 * np.linalg.norm(weight * to_scale(train.y, log=log))
    z = np.where(negligible, 0.0, z)
    return float(z[0]), float(z[1]) if z.size > 1 else 0.0


def _contrasts(directions: Array, x: Array) -> Array:
    """Return up to two unit vectors [<= 2, X], the smoothest polynomials in the rank of x that the law leaves over."""
    rank = np.unique(x, return_inverse=True)[1].ravel().astype(float)
    degrees = int(min(rank.max(), 4 + directions.shape[1]))
    if degrees < 1:
        return np.empty((0, x.size))
    t = 2.0 * rank / rank.max() - 1.0
    basis, strength, _ = np.linalg.svd(directions, full_matrices=False)
    taken = [*basis[:, strength > 1e-9 * strength.max(initial=0.0)].T]
    found: list[Array] = []
    for degree in range(1, degrees + 1):
        v = np.polynomial.legendre.legval(t, np.eye(degree + 1)[degree])
        length = np.linalg.norm(v)
        for _ in range(2):  # twice is enough (Kahan)
            for q in taken:
                v = v - (q @ v) * q
        if np.linalg.norm(v) > LEAST_LEFT * length:
            v = v / np.linalg.norm(v)
            found.append(v)
            taken.append(v)
        if len(found) == 2:
            break
    return np.array(found).reshape(-1, x.size)


# --------------------------------------------------------------------------------------------------------------- power


def _power(
    court: _Court, law: Prepared, rival: Prepared, points: Points, held: Points, options: Options
) -> float | None:
    """Return the chance that the design tells a law from a rival; None where the rival contains the law.

    A rival with no more parameters that takes the law's values at every point does not contain the law: the points are
    too few to tell the two, as two sizes are for any pair of laws of size with two parameters.
    """
    log = law.task.log
    law_curve, rival_curve = _curve_at(law, points), _curve_at(rival, points)
    if not _possible(law_curve, log):
        return None
    quiet = replace(options, loss="least_squares", delta=None, weights="equal" if court.curves else options.weights)
    rival_on_law = _fitted_to(rival, points, law_curve, quiet)
    if _distance(rival_on_law, points, law_curve) < SAME:
        return None if rival.task.needed > law.task.needed else 0.0
    law_on_rival = _fitted_to(law, points, rival_curve, quiet) if _possible(rival_curve, log) else None
    contains = law_on_rival is None or _distance(law_on_rival, points, rival_curve) < SAME
    truth = law_curve if contains else rival_curve
    starts: tuple[Array | None, Array | None] = (None, rival_on_law.best.solution.u[0])
    if law_on_rival is not None and not contains:
        starts = (law_on_rival.best.solution.u[0], None)
    planted = _planted(truth, points, log)
    train = ~np.isin(points.ids, held.ids)
    law_scores, rival_scores = (
        court.score(_predict(p, p.refit(planted[:, train], s), points, ~train), planted[:, ~train])
        for p, s in zip((law, rival), starts, strict=True)
    )
    difference = rival_scores - law_scores
    difference = difference[np.isfinite(difference)] * (1.0 if contains else -1.0)
    spread = _sd(difference)
    return float(np.mean(difference > RIVAL_Z * spread)) if difference.size > 1 else 0.0


def _possible(curve: Array, log: bool) -> bool:
    """Tell whether data can be planted on a curve: finite, and positive where residuals are logarithmic."""
    return bool(np.isfinite(curve).all() and (not log or np.all(curve > 0)))


def _planted(truth: Array, points: Points, log: bool) -> Array:
    """Return draws around a planted curve, [B, X] of responses, with the noise of the observed draws."""
    assert points.draws is not None
    draws = points.draws[:POWER_DRAWS]
    noise = to_scale(draws, log=log) - to_scale(points.y, log=log)
    return np.asarray(truth * np.exp(noise) if log else truth + noise)


def _predict(p: Prepared, drawn: tuple[Array, Array], points: Points, rows: NDArray[np.bool_]) -> Array:
    """Return the curves of refitted parameters at some points, [B, rows]."""
    carrier = p.bare()
    return replace(carrier, draws=drawn[0], group_draws=drawn[1]).predict_draws(
        inputs(points.take(rows)), extrapolate=True
    )


def _curve_at(p: Prepared, points: Points) -> Array:
    return p.bare().predict(inputs(points), extrapolate=True)


def _fitted_to(p: Prepared, points: Points, curve: Array, options: Options) -> Prepared:
    """Fit a law to another law's exact curve at all points, with the weights of the data."""
    return prepare(p.task.form, replace(points, y=curve), p.columns, options)


def _distance(p: Prepared, points: Points, curve: Array) -> float:
    """Return the relative root mean square distance between a law's fit and the curve it was fitted to."""
    if not p.best.found:
        return float("inf")
    away = _curve_at(p, points) - curve
    return float(np.sqrt(np.mean(away**2)) / max(float(np.sqrt(np.mean(curve**2))), 1e-300))
