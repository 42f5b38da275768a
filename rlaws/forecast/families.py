"""Families of sizes: how the parameters of a curve's law go with model size, and the curve of a size not yet trained.

Each size gets the curve law (log10 y = E - k log10 x, unless another is asked) with draws from its autocorrelated
residuals. x is divided by one reference for all sizes, the middle of the data, so that E is the level there and not at
x = 1, far outside. Every parameter then gets laws of size - constant, linear in log N, power, saturation - fitted to
its values with their errors, and weights from leaving out the larger sizes in turn. What scatters around a law of size
by more than its errors is added to the prediction.

A forecast for a size is labelled **predicted** if nothing of that size was used, and **fitted** if its level was
fitted to some of its own points, however few: a slope from the family and an intercept from the answer is no
extrapolation (the "E0 compensation" of a published 72B forecast).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.fitted import Fit, FitStatus, evaluate, finite_rows
from rlaws.fitting import fit
from rlaws.forecast.curves import Curve, Metric, as_curves
from rlaws.laws import law as find_law
from rlaws.resampling import Points
from rlaws.sentences import Said, said

Array = NDArray[np.float64]

SIZE_LAWS: tuple[str, ...] = ("constant", "linear_log", "power", "slope_saturation")
FEWEST_SIZES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A curve law at several sizes, and what its parameters do with size.

    Attributes:
        law: Name of the curve law.
        sizes: Sizes, rising, [S].
        reference: x in units of which the law was fitted.
        fits: Size -> fit of its curves.
        params: Parameter -> its estimates [S].
        errors: Parameter -> their standard errors [S].
        laws: Parameter -> law of size -> its weight.
        by_size: Parameter -> law of size -> its fit.
        scatter: Parameter -> law of size -> standard deviation around it beyond the errors.
        metric: The metric.
    """

    law: str
    sizes: Array
    reference: float
    fits: Mapping[float, Fit]
    params: Mapping[str, Array]
    errors: Mapping[str, Array]
    laws: Mapping[str, Mapping[str, float]]
    by_size: Mapping[str, Mapping[str, Fit]]
    scatter: Mapping[str, Mapping[str, float]]
    metric: Metric

    def parameter(self, name: str, size: float, draws: int = 2000, seed: int = 0) -> Array:
        """Return draws of a parameter at a size, from all laws of size by their weights, [draws]."""
        rng = np.random.default_rng([seed, 3])
        weights = self.laws[name]
        count = rng.multinomial(draws, list(weights.values()))
        parts = [
            _at_size(self.by_size[name][n], size, self.scatter[name][n], int(c), rng)
            for n, c in zip(weights, count, strict=True)
            if c
        ]
        out = np.concatenate(parts)
        param = next(p for p in find_law(self.law).params if p.name == name)
        return np.asarray(np.clip(rng.permutation(out), param.low, param.high))


@dataclass(frozen=True, slots=True, eq=False)
class FamilyForecast:
    """The curve of a size, from its family.

    Attributes:
        size: The size.
        at: x, [X].
        label: "predicted", or "fitted" if points of this size were used.
        used: Number of its points that were used.
        mean_draws: Draws of its mean curve, [D, X].
        run_draws: Draws of one run's points, [D, X].
        sentence: What the label means here.
    """

    size: float
    at: Array
    label: str
    used: int
    mean_draws: Array
    run_draws: Array
    sentence: Said

    def point(self) -> Array:
        """Return the median of the mean curve, [X]."""
        return np.asarray(np.median(self.mean_draws, axis=0))

    def mean_interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Return the band of the mean curve, low and high [X]."""
        low, high = np.quantile(self.mean_draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return np.asarray(low), np.asarray(high)

    def new_run_interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Return the band of one run's points, low and high [X]."""
        low, high = np.quantile(self.run_draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return np.asarray(low), np.asarray(high)


def family(
    curves: Mapping[float, Curve | Sequence[Curve]],
    *,
    law: str = "log_linear",
    size_laws: Sequence[str] = SIZE_LAWS,
    metric: Metric | None = None,
    draws: int = 300,
    seed: int = 0,
) -> Family:
    """Fit a law to the curves of every size, and laws of size to its parameters.

    Args:
        curves: Size -> its run or runs.
        law: The curve law, of one variable.
        size_laws: Laws that a parameter may follow with size.
        metric: The metric; log-scale laws need positive values.
        draws: Draws of each fit.
        seed: Seed.

    Raises:
        InputError: Fewer than three sizes, a size that is not positive, or curves that cannot be fitted.
    """
    metric = metric or Metric()
    sizes = np.array(sorted(curves), dtype=float)
    if sizes.size < FEWEST_SIZES or sizes.min() <= 0:
        raise InputError(said("few_sizes", least=FEWEST_SIZES, sizes=sizes.tolist()))
    form = find_law(law)
    kept = {float(n): as_curves(curves[n], len(form.params) + 2) for n in sorted(curves)}
    reference = float(np.exp(np.mean([np.log(c.x).mean() for runs in kept.values() for c in runs])))
    fits = {n: _fit_size(law, runs, reference, draws, seed) for n, runs in kept.items()}
    names = [p.name for p in form.params]
    table = {n: np.array([f.value(n) for f in fits.values()]) for n in names}
    replicas = {n: np.column_stack([f.draws[:, f.index(n)] for f in fits.values()]) for n in names}
    by_size, weights, scatter = {}, {}, {}
    for n in names:
        by_size[n], scatter[n], weights[n] = _laws_of(table[n], replicas[n], sizes, size_laws, seed)
    errors = {n: np.array([f.stderr(n) for f in fits.values()]) for n in names}
    return Family(law, sizes, reference, fits, table, errors, weights, by_size, scatter, metric)


def _fit_size(law: str, runs: Sequence[Curve], reference: float, draws: int, seed: int) -> Fit:
    x = np.concatenate([c.x for c in runs]) / reference
    y = np.concatenate([c.y for c in runs])
    label = np.concatenate([np.full(c.x.size, c.run) for c in runs])
    ids = np.array([f"{c.run}:{i}" for c in runs for i in range(c.x.size)])
    points = Points({"x": x}, y, None, label, ids, len(runs), "y", "1")
    return fit(find_law(law), points, {"x": "x"}, draws=draws, seed=seed)


def _laws_of(
    values: Array, replicas: Array, sizes: Array, laws: Sequence[str], seed: int
) -> tuple[dict[str, Fit], dict[str, float], dict[str, float]]:
    """Return the fits of the laws of size that describe a parameter, their scatter and their weights."""
    fits, scatter, score = {}, {}, {}
    for name in laws:
        found = _fit_law(name, values, replicas, sizes, seed)
        if found is None:
            continue
        fits[name] = found
        scatter[name] = _scatter(found, values, replicas, sizes)
        score[name] = _leave_larger_out(name, values, replicas, sizes, seed)
    if not fits:
        raise InputError(said("no_size_law", laws=", ".join(laws)))
    top = max(score.values())
    raw = {n: float(np.exp(s - top)) for n, s in score.items()}
    return fits, scatter, {n: w / sum(raw.values()) for n, w in raw.items()}


def _fit_law(name: str, values: Array, replicas: Array, sizes: Array, seed: int) -> Fit | None:
    """Return a law of size, or None if it has too many parameters or no sound fit."""
    form = find_law(name)
    if values.size < len(form.params):
        return None
    label = np.full(sizes.size, "all")
    points = Points({"x": sizes}, values, replicas, label, sizes.astype(str), sizes.size, "parameter", "1")
    found = fit(form, points, {"x": "x"}, scale="linear", loss="least_squares", seed=seed)
    usable = np.isfinite(found.draws).all(axis=1).mean() > 0.8 and np.isfinite(found.theta).all()
    return found if usable and found.status is not FitStatus.NOT_FINITE else None


def _scatter(found: Fit, values: Array, replicas: Array, sizes: Array) -> float:
    """Return the standard deviation around a law of size beyond the errors of the values (method of moments).

    Without a degree of freedom left, the spread of the values stands for what cannot be seen.
    """
    dof = sizes.size - len(found.theta)
    if dof < 1:
        return float(np.std(values, ddof=1))
    variance = np.nanvar(replicas, axis=0, ddof=1)
    excess = np.sum((values - found.predict({"x": sizes})) ** 2) / dof - float(np.mean(variance))
    return float(np.sqrt(max(excess, 0.0)))


def _leave_larger_out(name: str, values: Array, replicas: Array, sizes: Array, seed: int) -> float:
    """Return the summed log density that a law gives to each larger size from the smaller ones (from the third on)."""
    total = 0.0
    rng = np.random.default_rng([seed, 4])
    error = np.nanstd(replicas, axis=0, ddof=1)
    for i in range(2, sizes.size):
        found = _fit_law(name, values[:i], replicas[:, :i], sizes[:i], seed)
        if found is None:
            found = _fit_law("constant", values[:i], replicas[:, :i], sizes[:i], seed)
            assert found is not None
        drawn = _at_size(found, float(sizes[i]), _scatter(found, values[:i], replicas[:, :i], sizes[:i]), 400, rng)
        sd = float(np.hypot(np.std(drawn), error[i])) + 1e-300
        z = (values[i] - float(np.median(drawn))) / sd
        total += float(-2.5 * np.log1p(z**2 / 4.0) - np.log(sd))  # t with four degrees: one miss does not decide
    return total


def _at_size(found: Fit, size: float, scatter: float, number: int, rng: np.random.Generator) -> Array:
    """Return draws of a parameter at a size, with a t-distributed scatter around the law, [number]."""
    curve = finite_rows(found.predict_draws({"x": np.array([size])}, extrapolate=True))[:, 0]
    dof = max(found.n_points - len(found.theta), 1)
    return np.asarray(rng.choice(curve, number) + scatter * np.clip(rng.standard_t(dof, number), -20.0, 20.0))


def extrapolate(
    found: Family,
    size: float,
    at: Array | Sequence[float],
    *,
    own: Curve | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> FamilyForecast:
    """Return the curve of a size from the laws of its family.

    Args:
        found: The family.
        size: The size, in the unit of the family's.
        at: x of the forecast, [X].
        own: Points of this size to which the level is fitted, or None. With them the result is labelled "fitted".
        draws: Number of draws D.
        seed: Seed.

    Raises:
        InputError: A size or x that is not positive.
    """
    x = np.atleast_1d(np.asarray(at, dtype=float))
    if size <= 0 or x.min() <= 0:
        raise InputError(said("bad_size", size=size))
    form = find_law(found.law)
    theta = np.column_stack([found.parameter(p.name, size, draws, seed + j) for j, p in enumerate(form.params)])
    curve = evaluate(form, theta, [x / found.reference])
    log = form.scale == "log"
    rng = np.random.default_rng([seed, 6])
    noise = rng.choice([f.noise.sd for f in found.fits.values()], draws)[:, None]
    if own is not None:
        curve = _levelled(curve, evaluate(form, theta, [own.x / found.reference]), own.y, log)
    scattered = noise * rng.standard_normal(curve.shape)
    run = curve * np.exp(scattered) if log else curve + scattered
    low = -np.inf if found.metric.low is None else found.metric.low
    high = np.inf if found.metric.high is None else found.metric.high
    used = frozenset() if own is None else frozenset(own.x.tolist())
    inside = bool(used) or size in found.fits
    label = "fitted" if inside else "predicted"
    predicted = said("size_predicted", size=size, sizes=_listed(found.sizes))
    text = said("size_fitted", size=size) if inside else predicted
    return FamilyForecast(size, x, label, len(used), np.clip(curve, low, high), np.clip(run, low, high), text)


def _levelled(curve: Array, at_own: Array, y: Array, log: bool) -> Array:
    """Shift every drawn curve to the level of the size's own points: a factor on the log scale, else a constant."""
    if log:
        return np.asarray(curve * np.exp(np.mean(np.log(y) - np.log(at_own), axis=1, keepdims=True)))
    return np.asarray(curve + np.mean(y - at_own, axis=1, keepdims=True))


def _listed(sizes: Array) -> str:
    return ", ".join(f"{n:g}" for n in sizes)
