"""Fit a law to points: bounded multi-start robust fit, a status that says whether to believe it, and draws.

What is resampled decides whether an interval is honest. Points on one curve share their samples, so the unit is the
cluster (problem, seed, batch), never the point: with 200 problems, 256 samples and a pass@k exponent fitted on six k,
nominal 90 % intervals covered 34.5 % (residual standard error), 39.3 % (bootstrap over points) and 86.5 % (bootstrap
over problems). Curves ("series") are resampled by autocorrelated residuals instead.

What an interval covers. Clusters: the spread over clusters drawn from the same population. Several runs as series:
the scatter within and between the runs, as far as it looks like AR(1) noise around the common curve. One run: the
scatter of that run only; another seed may differ by more, and no number in a single run can tell by how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rlaws import autoregression, solver
from rlaws.beta_binomial import BetaFit, fit_beta_binomial
from rlaws.errors import InputError, suggest
from rlaws.fitted import Fit, FitStatus, Noise, evaluate, finite_rows, interval_from_draws, labels
from rlaws.laws.base import Law
from rlaws.resampling import Points
from rlaws.starts import starting_points

__all__ = ["BetaFit", "Fit", "FitStatus", "Noise", "Options", "fit", "fit_beta_binomial", "interval_from_draws"]

Array = NDArray[np.float64]
Labels = NDArray[np.str_]

HUBER = 1.345  # 95 % efficiency for normal residuals
POLISHED = 8  # ends of starts that are refined to full precision
LIKE = 3.84  # twice the log-likelihood by which another basin may be worse and still compete (95 %, one parameter)
BEYOND = 1e4  # a location this many times outside the fitted range leaves no trace inside it
ALONE = np.zeros(1, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class Options:
    """How to fit; see ``fit`` for what each means."""

    scale: str | None = None
    weights: str = "stderr"
    loss: str = "huber"
    delta: float | None = None
    free_scale: str | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    starts: int = 32
    draws: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, possible in (
            ("scale", self.scale or "log", ("log", "linear")),
            ("weights", self.weights, ("stderr", "equal")),
            ("loss", self.loss, ("huber", "least_squares")),
        ):
            if value not in possible:
                raise InputError(f"{name} = '{value}' is not known.{suggest(value, possible)}")


def fit(
    law: Law,
    points: Points,
    columns: Mapping[str, str],
    *,
    scale: str | None = None,
    weights: str = "stderr",
    loss: str = "huber",
    delta: float | None = None,
    free_scale: str | None = None,
    fixed: Mapping[str, float] | None = None,
    starts: int = 32,
    draws: int = 400,
    seed: int = 0,
) -> Fit:
    """Fit a law to points.

    Every start runs in one batch; the best few are refined; then the law is refitted to every draw from the best
    parameters. Draws are ``points.draws`` (resampled clusters) or, for curves, the fitted curve plus AR(1) noise with
    the residuals' own innovations (``autoregression``).

    Args:
        law: The law.
        points: Points of one regime.
        columns: Role of the law -> column of ``points.x``. Roles that the law does not know are ignored, so that one
            mapping serves a law and its rivals.
        scale: "log" takes residuals between logarithms, "linear" between responses. Default: the law's own scale for
            curves, "linear" for clusters.
        weights: "stderr" divides by the standard error of each point (clusters; a point whose standard error is
            below a hundredth of the median gets that hundredth), "equal" does not. Curves have no standard errors.
        loss: "huber" or "least_squares".
        delta: Huber threshold in units of the weighted residual: standard errors under weights="stderr", the unit of y
            (or of log y) for curves and under "equal". Default: 1.345 robust scales (1.4826 MAD of the residuals); a
            scale below one standard error counts as one.
        free_scale: Column of ``points.x`` (or "series"): each of its values gets a factor of its own, profiled out.
            A parameter of the law that is such a factor itself is then held at 1 (0 if it is a logarithm).
        fixed: Parameters to hold, with their values.
        starts: Number of starting points.
        draws: Number of draws for curves; clusters bring their own.
        seed: Seed of the starts and of the curves' resampling.

    Raises:
        InputError: An option, column or parameter is unknown, or a response is not positive on the log scale.
    """
    options = Options(scale, weights, loss, delta, free_scale, dict(fixed or {}), starts, draws, seed)
    ready = prepare(law, points, columns, options)
    if points.draws is not None:
        return ready.fit(points.draws)
    rng = np.random.default_rng([seed, 1])
    return ready.fit(ready.replicas(ready.curve(), ready.noise_of_curves(), points.series, draws, rng))


def prepare(law: Law, points: Points, columns: Mapping[str, str], options: Options) -> Prepared:
    """Find the best parameters, without draws yet; see ``fit``."""
    scale = options.scale or (law.scale if points.draws is None else "linear")
    task = _task(law, points, columns, scale, options)
    return Prepared(task, _best(task, options, np.random.default_rng(options.seed)), points, dict(columns), options)


# ------------------------------------------------------------------------------------------------------------ the task


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """The data of one fit: design x, responses y [X], weights on the fit scale [X], held parameters, groups [X, G]."""

    form: Law
    x: list[Array]
    y: Array
    weight: Array
    weighted: bool
    log: bool
    fixed: Mapping[str, float]
    group: Array | None
    group_names: list[str]

    @property
    def free(self) -> list[int]:
        """Columns of theta that are fitted."""
        return [j for j, p in enumerate(self.form.params) if p.name not in self.fixed]

    @property
    def needed(self) -> int:
        """Number of fitted numbers: parameters and free factors."""
        return len(self.free) + len(self.group_names)

    @property
    def bounds(self) -> solver.Bounds:
        """Bounds of the fitted parameters."""
        params = [self.form.params[j] for j in self.free]
        return solver.Bounds(np.array([p.low for p in params]), np.array([p.high for p in params]))

    def full(self, free: Array) -> Array:
        """Insert the held parameters: [B, free] -> [B, p]."""
        out = np.empty((len(free), len(self.form.params)))
        for j, p in enumerate(self.form.params):
            out[:, j] = self.fixed.get(p.name, np.nan)
        out[:, self.free] = free
        return out

    def forward(self, y: Array) -> Array:
        """Map responses to the fit scale; NaN where they have no place on it."""
        return to_scale(y, log=self.log)

    def problem(self, targets: Array, delta: float, typical: Array) -> solver.Problem:
        """Return the batch of problems with these targets on the fit scale [T, X]; NaN is masked."""
        seen = np.isfinite(targets)
        weight = np.where(seen, self.weight, 0.0)

        def model(free: Array) -> Array:
            return evaluate(self.form, self.full(free), self.x)

        return solver.Problem(
            model, self.bounds, np.where(seen, targets, 0.0), weight, self.log, self.group, delta, typical
        )

    def distinct(self) -> int:
        """Return the number of distinct design points."""
        design = np.column_stack([*self.x, *([] if self.group is None else [self.group.argmax(axis=1)])])
        return int(np.unique(design, axis=0).shape[0])


def to_scale(y: Array, *, log: bool) -> Array:
    """Map responses to the fit scale; NaN where they have no place on it."""
    if not log:
        return np.array(y, dtype=float)
    positive = np.asarray(y) > 0
    return np.where(positive, np.log(np.where(positive, y, 1.0)), np.nan)


def _task(law: Law, points: Points, columns: Mapping[str, str], scale: str, options: Options) -> _Task:
    """Collect the columns, the weights, the groups and the held parameters."""
    x = []
    for role in law.x:
        if role not in columns:
            raise InputError(f"Law '{law.name}' needs a column for '{role}'.{suggest(role, columns)}")
        if columns[role] not in points.x:
            raise InputError(f"There is no column '{columns[role]}' for '{role}'.{suggest(columns[role], points.x)}")
        x.append(np.asarray(points.x[columns[role]], dtype=float))
    names = [p.name for p in law.params]
    fixed = dict(options.fixed)
    for name in fixed:
        if name not in names:
            raise InputError(f"Law '{law.name}' has no parameter '{name}' to hold.{suggest(name, names)}")
    if scale == "log" and np.any(points.y <= 0):
        i = int(np.argmin(points.y))
        where = {k: float(v[i]) for k, v in points.x.items()}
        raise InputError(f"The response is {points.y[i]:g} at {where}: no logarithm. Use scale='linear', or drop it.")
    group, group_names = _group(law, points, options.free_scale)
    if group is not None and not getattr(law, "free_scale", False):
        fixed = {**_level_param(law), **fixed}
    weight = _weights(points, scale, options.weights)
    y = np.asarray(points.y, dtype=float)
    weighted = points.draws is not None and options.weights == "stderr"
    return _Task(law, x, y, weight, weighted, scale == "log", fixed, group, group_names)


def _group(law: Law, points: Points, free_scale: str | None) -> tuple[Array | None, list[str]]:
    """Return the one-hot matrix of the curves with a free factor, and their names."""
    if free_scale is None:
        if getattr(law, "free_scale", False):
            raise InputError(f"Law '{law.name}' has one free factor per curve: name its column in free_scale.")
        return None, []
    possible = [*points.x, "series"]
    if free_scale not in possible:
        raise InputError(f"There is no column '{free_scale}' for free_scale.{suggest(free_scale, possible)}")
    values = points.series if free_scale == "series" else points.x[free_scale]
    distinct, at = np.unique(values, return_inverse=True)
    return np.eye(distinct.size)[at.ravel()], labels(distinct)


def _level_param(law: Law) -> dict[str, float]:
    """Return the first parameter that carries the unit of y, with the value that makes it a factor of one."""
    for p in law.params:
        if p.unit in ("log y", "log10 y"):
            return {p.name: 0.0}
        if p.unit.split(" ")[0] == "y" and p.low <= 1.0 <= p.high:
            return {p.name: 1.0}
    return {}


def _weights(points: Points, scale: str, weights: str) -> Array:
    """Return one over the standard error of each point on the fit scale, [X]; ones for curves or "equal"."""
    if points.draws is None or weights == "equal":
        return np.ones(points.y.size)
    return 1.0 / stderr_of(to_scale(points.draws, log=scale == "log"))


def stderr_of(draws: Array) -> Array:
    """Return the standard error of each point [X] from its draws [B, X], never below a hundredth of the median one."""
    seen = np.isfinite(draws).sum(axis=0) > 1
    stderr = np.zeros(draws.shape[1])
    stderr[seen] = np.nanstd(draws[:, seen], axis=0, ddof=1)
    positive = stderr[stderr > 0]
    if not positive.size:
        return np.ones_like(stderr)
    return np.asarray(np.maximum(stderr, 1e-2 * np.median(positive)))


# ------------------------------------------------------------------------------------------------------ the best theta


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    """The best fit: its problem, u [1, free] with loss and factors, and what the starts said.

    ``agreeing`` is the share of starts that reached its loss, ``others`` [O, free] are the ends of all that converged
    to a loss about as good, wherever they lie.
    """

    problem: solver.Problem
    solution: solver.Solution
    agreeing: float
    others: Array

    @property
    def found(self) -> bool:
        """Whether any start gave a finite loss."""
        return bool(np.isfinite(self.solution.loss[0]))


def _best(task: _Task, options: Options, rng: np.random.Generator) -> _Best:
    """Run all starts and refine the best; Huber's loss gets its robust scale from the residuals on the way."""
    theta = starting_points(task.form, task.x, task.y, task.fixed, options.starts, rng)[:, task.free]
    u = task.bounds.u(theta)
    typical = 1e-3 * np.maximum(np.max(np.abs(theta), axis=0, initial=0.0), 1e-12)
    huber = options.loss == "huber"
    known = np.inf if not huber else options.delta if options.delta is not None else HUBER if task.weighted else np.inf
    problem = task.problem(task.forward(task.y)[None], known, typical)
    every = solver.minimise(problem, u, max_iter=60, ftol=1e-9, gtol=1e-7)
    best = _refine(problem, every)
    if huber and options.delta is None and np.isfinite(best.loss[0]):
        for _ in range(2):
            delta = _robust_delta(problem, best, task.weighted)
            if delta == problem.delta:
                break
            problem = problem.with_delta(delta)
            settled = every.u[every.converged] if every.converged.any() else every.u
            every = solver.minimise(problem, settled, max_iter=60, ftol=1e-9, gtol=1e-7)
            best = _refine(problem, every)
    return _compare_starts(problem, every, best)


def _refine(problem: solver.Problem, every: solver.Solution) -> solver.Solution:
    """Polish the best ends of the starts and return the best."""
    order = np.argsort(every.loss)[:POLISHED]
    polished = solver.minimise(problem, every.u[order], max_iter=300, ftol=1e-15, gtol=1e-11)
    i = int(np.argmin(polished.loss))
    factor = None if polished.factor is None else polished.factor[i : i + 1]
    return solver.Solution(polished.u[i : i + 1], polished.loss[i : i + 1], factor, polished.converged[i : i + 1])


def _robust_delta(problem: solver.Problem, best: solver.Solution, weighted: bool) -> float:
    """Return 1.345 times the residuals' 1.4826 MAD; at least one standard error, or a millionth of the spread."""
    with np.errstate(all="ignore"):
        r = solver.evaluate(problem, best.u, ALONE).residual[0]
    spread = max(float(np.std(problem.target)), 1e-3 * float(np.max(np.abs(problem.target))), 1e-12)
    least = 1.0 if weighted else 1e-6 * spread
    return HUBER * max(1.4826 * float(np.median(np.abs(r - np.median(r)))), least)


def _compare_starts(problem: solver.Problem, every: solver.Solution, best: solver.Solution) -> _Best:
    """Attach the share of starts that reached the best fit, and the ends of all that settled about as low.

    Two losses count as equal when n log(loss ratio), twice the difference in log-likelihood, is below 0.01.
    """
    n = problem.target.shape[1]
    floor = 1e-18 * float(((problem.weight * problem.target) ** 2).sum()) + 1e-300
    finite = np.isfinite(every.loss)
    excess = np.full(every.loss.shape, np.inf)
    excess[finite] = n * np.log((every.loss[finite] + floor) / (min(best.loss[0], 1e300) + floor))
    agreeing = float((excess < 0.01).sum() / max(int(finite.sum()), 1))
    return _Best(problem, best, agreeing, every.u[every.converged & (excess < LIKE)])


# ------------------------------------------------------------------------------------------------- noise, draws, status


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A fit before its draws: what ``compare`` shares between a law and its rivals."""

    task: _Task
    best: _Best
    points: Points
    columns: Mapping[str, str]
    options: Options

    def curve(self) -> Array:
        """Return the fitted curve on the fit scale, [X]; NaN where nothing was fitted."""
        if not self.best.found:
            return np.full(self.task.y.size, np.nan)
        with np.errstate(all="ignore"):
            z = self.best.problem.curve(self.best.solution.u)[0]
        factor = self.best.solution.factor
        if factor is None or self.task.group is None:
            return np.asarray(z)
        own = self.task.group @ factor[0]
        return np.asarray(z + own if self.task.log else z * own)

    def directions(self) -> Array:
        """Return what the fit can follow on the fit scale, [X, q] of unit length: by parameter and by free factor."""
        with np.errstate(all="ignore"):
            state = solver.evaluate(self.best.problem, self.best.solution.u, ALONE)
            j = solver.jacobian(self.best.problem, self.best.solution.u, state, ALONE)[0].T
        j = -j / self.task.weight[:, None]
        if self.task.group is not None:
            own = self.task.group if self.task.log else self.task.group * state.curve[0][:, None]
            j = np.column_stack([j, own])
        size = np.linalg.norm(j, axis=0)
        return np.asarray(j[:, size > 0] / size[size > 0])

    def noise_of_curves(self) -> autoregression.SeriesNoise:
        """Return the AR(1) noise of curves around the fit."""
        residual = self.task.forward(self.task.y) - self.curve()
        if not np.isfinite(residual).all():
            residual = np.zeros_like(residual)
        return autoregression.estimate(residual, self.points.series, self.directions())

    def replicas(
        self, center: Array, noise: autoregression.SeriesNoise, series: Labels, draws: int, rng: np.random.Generator
    ) -> Array:
        """Return curves of responses, [B, X]: center on the fit scale plus simulated noise."""
        z = center + autoregression.simulate(noise, series, draws, rng)
        with np.errstate(all="ignore"):
            return np.asarray(np.exp(z) if self.task.log else z)

    def refit(self, replicas: Array, start: Array | None = None) -> tuple[Array, Array]:
        """Return theta [B, p] and free factors [B, G] of every replica [B, X] of the responses.

        Args:
            replicas: Responses; NaN is masked. A row with fewer finite entries than fitted numbers is not fitted.
            start: u [free] to start from; default: the best fit.
        """
        task, best = self.task, self.best
        targets = task.forward(replicas)
        theta = np.full((len(targets), len(task.form.params)), np.nan)
        factors = np.full((len(targets), len(task.group_names)), np.nan)
        enough = np.isfinite(targets).sum(axis=1) >= task.needed
        if not best.found or not enough.any():
            return theta, factors
        problem = task.problem(targets[enough], best.problem.delta, best.problem.typical)
        u0 = np.tile(best.solution.u[0] if start is None else start, (int(enough.sum()), 1))
        solution = solver.minimise(problem, u0, max_iter=60, ftol=1e-7, gtol=1e-6)
        good = np.isfinite(solution.loss)
        rows = np.flatnonzero(enough)[good]
        theta[rows] = task.full(task.bounds.theta(solution.u[good]))
        if solution.factor is not None:
            factors[rows] = np.exp(solution.factor[good]) if task.log else solution.factor[good]
        return theta, factors

    def fit(self, replicas: Array) -> Fit:
        """Refit the replicas [B, X] of the responses, judge the fit and pack it."""
        theta_draws, factor_draws = self.refit(replicas)
        status = _status(self, theta_draws, replicas)
        return replace(self.bare(), draws=theta_draws, group_draws=factor_draws, status=status, noise=_noise(self))

    def bare(self) -> Fit:
        """Return the fit without draws: best parameters only, its status not yet judged."""
        task, best, points = self.task, self.best, self.points
        factors = np.full(len(task.group_names), np.nan)
        if best.solution.factor is not None:
            factors = np.exp(best.solution.factor[0]) if task.log else best.solution.factor[0]
        return Fit(
            law=task.form.name,
            theta=task.full(task.bounds.theta(best.solution.u))[0],
            draws=np.empty((0, len(task.form.params))),
            status=FitStatus.OK,
            starts_agreeing=best.agreeing,
            x_range={r: (float(x.min()), float(x.max())) for r, x in zip(task.form.x, task.x, strict=True)},
            scale="log" if task.log else "linear",
            columns={r: self.columns[r] for r in task.form.x},
            free_scale=self.options.free_scale,
            groups=dict(zip(task.group_names, factors.tolist(), strict=True)),
            group_draws=np.empty((0, factors.size)),
            loss=float(best.solution.loss[0]),
            loss_kind=self.options.loss,
            touched=frozenset(points.ids.tolist()),
            n_points=int(points.y.size),
            clusters=points.clusters,
            resampled="series" if points.draws is None else "clusters",
            noise=Noise(float("nan")),
            fixed=dict(task.fixed),
            form=task.form,
        )


def _noise(ready: Prepared) -> Noise:
    """Return the scatter of one new measurement."""
    if not ready.best.found:
        return Noise(float("nan"))
    if ready.points.draws is None:
        series = ready.noise_of_curves()
        return Noise(series.sd, 0.0, series.rho)
    task = ready.task
    residual = task.forward(task.y) - ready.curve()
    draws = task.forward(ready.points.draws)
    stderr = stderr_of(draws) if np.nanmax(np.nanstd(draws, axis=0)) > 0 else np.zeros(residual.size)
    if np.all(stderr > 0):
        misfit = np.sqrt(np.sum((residual / stderr) ** 2) / max(residual.size - task.needed, 1))
        stderr = stderr * max(1.0, float(misfit))
    if task.log:
        return Noise(float(np.sqrt(np.mean(stderr**2))))
    return _power_of_mean(np.abs(ready.curve()), stderr)


def _power_of_mean(mean: Array, stderr: Array) -> Noise:
    """Return the variance function sd |y|^power through the points' standard errors (Carroll & Ruppert 1988)."""
    usable = (mean > 0) & (stderr > 0)
    if usable.sum() < 3 or np.ptp(np.log(mean[usable])) < 0.1:
        return Noise(float(np.sqrt(np.mean(stderr**2))))
    power, level = np.polyfit(np.log(mean[usable]), np.log(stderr[usable]), 1)
    return Noise(float(np.exp(level)), float(power))


def _status(ready: Prepared, draws: Array, replicas: Array) -> FitStatus:
    """Return the first complaint that applies."""
    task, best, points = ready.task, ready.best, ready.points
    spare = 1 if points.draws is None else 0
    alone = points.draws is not None and points.clusters < 2 and not np.any(np.ptp(replicas, axis=0) > 0)
    if task.distinct() < task.needed + spare or alone:
        return FitStatus.TOO_FEW_POINTS
    if not best.found or np.isfinite(draws).all(axis=1).mean() < 0.95:
        return FitStatus.NOT_FINITE
    if _at_bound(task, best):
        return FitStatus.AT_BOUND
    if not best.solution.converged[0] or not _identified(ready, draws):
        return FitStatus.NOT_IDENTIFIED
    return FitStatus.STARTS_DISAGREE if _starts_disagree(task, best, draws) else FitStatus.OK


def _at_bound(task: _Task, best: _Best) -> bool:
    """Tell whether a parameter lies at a bound that is not its null value: the way onto it is short and costs nothing.

    A floor at zero is no complaint: zero is what "no floor" means.
    """
    theta = task.bounds.theta(best.solution.u)[0]
    unit = max(2.0 * best.solution.loss[0] / max(task.y.size, 1), 1e-300)
    for j, column in enumerate(task.free):
        p = task.form.params[column]
        for bound in (p.low, p.high):
            if not np.isfinite(bound) or bound == p.null:
                continue
            if task.bounds.kinds[j] == solver.BETWEEN_LOG:
                gap, reach = abs(np.log(theta[j] / bound)), np.log(p.high / p.low)
            else:
                start = p.start or (0.0, 1.0)
                gap, reach = abs(theta[j] - bound), min(p.high - p.low, max(start[1] - start[0], 1e-12))
            moved = theta.copy()
            moved[j] = bound
            if gap < 1e-3 * reach and _loss_at(best, moved) - best.solution.loss[0] < 1e-3 * unit:
                return True
    return False


def _loss_at(best: _Best, theta: Array) -> float:
    with np.errstate(all="ignore"):
        return float(solver.evaluate(best.problem, best.problem.bounds.u(theta[None]), ALONE).loss[0])


def _identified(ready: Prepared, draws: Array) -> bool:
    """Tell whether the data determine every parameter.

    Not, if two columns of the Jacobian coincide to nine digits; if the middle 90 % of a parameter's draws fill 80 % of
    its finite range; if they reach a thousand times the median where the range is open; or if a location (a parameter
    in the unit of an x) lies more than 1e4 times outside the fitted range.
    """
    task = ready.task
    j = ready.directions()
    if j.shape[1] > 1 and np.linalg.cond(j) > 1e9:
        return False
    ranges = dict(zip(task.form.x, task.x, strict=True))
    low, middle, high = np.quantile(finite_rows(draws), [0.05, 0.5, 0.95], axis=0)
    for k, column in enumerate(task.free):
        p, kind = task.form.params[column], task.bounds.kinds[k]
        a, b, c = low[column], middle[column], high[column]
        if kind == solver.BETWEEN and c - a > 0.8 * (p.high - p.low):
            return False
        if kind == solver.BETWEEN_LOG and np.log(c / a) > 0.8 * np.log(p.high / p.low):
            return False
        if kind in (solver.ABOVE, solver.BETWEEN_LOG) and p.low >= 0 and p.null != p.low and c > 1e3 * b:
            return False
        if p.unit in ranges and _outside(b, ranges[p.unit], p.null):
            return False
    return True


def _outside(value: float, x: Array, null: float | None) -> bool:
    """Tell whether a location lies far outside the data; at its null value it is absent, not lost."""
    size = np.abs(x[x != 0])
    if not size.size:
        return False
    return bool(abs(value) > BEYOND * size.max() or (null != 0.0 and abs(value) < size.min() / BEYOND))


def _starts_disagree(task: _Task, best: _Best, draws: Array) -> bool:
    """Tell whether another basin, about as good, lies more than a standard error away."""
    if not len(best.others):
        return False
    theta = task.bounds.theta(best.solution.u)
    away = np.abs(task.bounds.theta(best.others) - theta)
    spread = np.std(finite_rows(draws)[:, task.free], axis=0)
    return bool(np.any(away > np.maximum(spread, 1e-3 * np.abs(theta)) + 1e-9))
