"""What a fit is: parameters, draws, a status that says whether to believe it, and intervals made from the draws."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.jsonable import plain
from rlaws.laws import law as find_law
from rlaws.laws.base import Law, Param

Array = NDArray[np.float64]

FEW_CLUSTERS = 10  # below, an interval is a t interval; above, an expanded percentile one


class FitStatus(Enum):
    """Whether a fit may be believed; the value is the sentence shown, with the cause and what to do."""

    OK = "The fit is sound."
    AT_BOUND = (
        "A parameter sits at a bound that is not its no-effect value: the data do not contain its effect, or the bound "
        "is too tight. Measure where the effect shows, widen the bound, or use the simpler law."
    )
    STARTS_DISAGREE = (
        "Different starting points end in different parameters that describe the data about equally well. Add points, "
        "fix a parameter, or use the simpler law."
    )
    TOO_FEW_POINTS = (
        "There are too few distinct points or clusters for the law's parameters. Add design points or clusters, or use "
        "a law with fewer parameters."
    )
    NOT_IDENTIFIED = (
        "The data leave a parameter, or a combination of two, undetermined. Widen the range of x, add clusters, or use "
        "the simpler law."
    )
    NOT_FINITE = (
        "The law gave no finite loss at the data, or too many bootstrap draws could not be fitted. Check the responses "
        "(sign, zeros) against the law's domain, or fit on the linear scale."
    )


@dataclass(frozen=True, slots=True)
class Noise:
    """Scatter of one new measurement around the curve.

    On the log scale the standard deviation ``sd`` is relative; on the linear one it is sd |y|^power.

    Attributes:
        sd: Coefficient of the standard deviation.
        power: Its power of the mean; 0 for curves.
        rho: Correlation of neighbouring points of a curve; 0 for clusters.
    """

    sd: float
    power: float = 0.0
    rho: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fitted law.

    Attributes:
        law: Name of the law.
        theta: Best parameters, [p].
        draws: Parameters of the resampled data, [B, p]; NaN where a draw could not be fitted.
        status: Whether to believe it.
        starts_agreeing: Share of the converged starts that reached the best loss.
        x_range: Role -> smallest and largest value fitted.
        scale: "log" or "linear": where residuals were taken.
        columns: Role of the law -> data column.
        free_scale: Data column whose values carry a factor of their own, or None.
        groups: Value of that column -> factor.
        group_draws: The factors in every draw, [B, G].
        loss: Sum of the loss at theta.
        loss_kind: "huber" or "least_squares".
        touched: Ids of the points that the fit saw.
        n_points: Number of points.
        clusters: Number of clusters or curves behind them.
        resampled: "clusters" or "series": what a draw resampled.
        noise: Scatter of one new measurement.
        fixed: Parameters that were held, with their values.
        form: The law itself.
    """

    law: str
    theta: Array
    draws: Array
    status: FitStatus
    starts_agreeing: float
    x_range: Mapping[str, tuple[float, float]]
    scale: str
    columns: Mapping[str, str]
    free_scale: str | None
    groups: Mapping[str, float]
    group_draws: Array
    loss: float
    loss_kind: str
    touched: frozenset[str]
    n_points: int
    clusters: int
    resampled: str
    noise: Noise
    fixed: Mapping[str, float] = field(default_factory=dict)
    form: Law | None = field(default=None, repr=False)

    @property
    def params(self) -> tuple[Param, ...]:
        """The law's parameters, in the order of theta."""
        return self._form().params

    def _form(self) -> Law:
        return self.form if self.form is not None else find_law(self.law)

    def index(self, name: str) -> int:
        """Return the column of a parameter in ``theta`` and ``draws``."""
        names = [p.name for p in self.params]
        if name not in names:
            raise InputError(f"Law '{self.law}' has no parameter '{name}'.{suggest(name, names)}")
        return names.index(name)

    def value(self, name: str) -> float:
        """Return the estimate of a parameter."""
        return float(self.theta[self.index(name)])

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Return the interval of a parameter at the given level; see ``interval_from_draws`` for which one."""
        j = self.index(name)
        low, high = interval_from_draws(self.theta[j], self.draws[:, j], level, self._dof())
        param = self.params[j]
        return max(float(low), param.low), min(float(high), param.high)

    def stderr(self, name: str) -> float:
        """Return the standard error of a parameter: the spread of the draws, with the small-sample factor."""
        finite = finite_rows(self.draws)
        if len(finite) < 2:
            return float("nan")
        factor = np.sqrt(self.clusters / (self.clusters - 1)) if self._dof() else 1.0
        return float(factor * np.std(finite[:, self.index(name)], ddof=1))

    def _dof(self) -> int:
        """Degrees of freedom of the clusters' spread; 0 where the draws need no such correction."""
        return self.clusters - 1 if self.resampled == "clusters" and self.clusters > 1 else 0

    def _inputs(self, x: Mapping[str, Any], extrapolate: bool) -> tuple[list[Array], NDArray[np.intp] | None]:
        """Return the law's arguments and the group of each row; refuse what lies beyond the fitted range."""
        arrays = []
        for role, column in self.columns.items():
            if column not in x:
                raise InputError(f"The fit of '{self.law}' needs column '{column}'.{suggest(column, x)}")
            values = np.atleast_1d(np.asarray(x[column], dtype=float))
            low, high = self.x_range[role]
            slack = 1e-9 * max(abs(low), abs(high))
            if not extrapolate and (values.min() < low - slack or values.max() > high + slack):
                raise InputError(
                    f"Asked '{column}' from {values.min():g} to {values.max():g}, but the fit saw {low:g} to {high:g}. "
                    "Pass extrapolate=True to go beyond the data."
                )
            arrays.append(values)
        return arrays, self._groups_of(x)

    def _groups_of(self, x: Mapping[str, Any]) -> NDArray[np.intp] | None:
        if self.free_scale is None:
            return None
        if self.free_scale not in x:
            raise InputError(f"Every '{self.free_scale}' has a factor of its own; give that column to predict.")
        known = list(self.groups)
        asked = labels(np.atleast_1d(np.asarray(x[self.free_scale])))
        for label in asked:
            if label not in known:
                raise InputError(
                    f"'{self.free_scale}' = {label} has no fitted factor, so its level cannot be predicted; "
                    f"fitted: {', '.join(known)}. Give it a few fitted points, or use a law without a free factor."
                )
        return np.array([known.index(label) for label in asked], dtype=np.intp)

    def predict(self, x: Mapping[str, Any], extrapolate: bool = False) -> Array:
        """Return the fitted curve, [X].

        Args:
            x: Data column -> values.
            extrapolate: Whether values beyond the fitted range may be asked.

        Raises:
            InputError: A column is missing, a value lies beyond the range, or a group has no factor.
        """
        arrays, groups = self._inputs(x, extrapolate)
        y = evaluate(self._form(), self.theta[None], arrays)[0]
        return y if groups is None else np.asarray(y * np.array(list(self.groups.values()))[groups])

    def predict_draws(self, x: Mapping[str, Any], extrapolate: bool = False) -> Array:
        """Return the curve of every draw, [B, X]."""
        arrays, groups = self._inputs(x, extrapolate)
        y = evaluate(self._form(), self.draws, arrays)
        return y if groups is None else np.asarray(y * self.group_draws[:, groups])

    def mean_interval(
        self, x: Mapping[str, Any], level: float = 0.95, extrapolate: bool = False
    ) -> tuple[Array, Array]:
        """Return the interval of the curve itself, low and high [X]: where the mean of many measurements would lie."""
        return interval_from_draws(self.predict(x, extrapolate), self.predict_draws(x, extrapolate), level, self._dof())

    def new_run_interval(
        self, x: Mapping[str, Any], level: float = 0.95, extrapolate: bool = False, seed: int = 0
    ) -> tuple[Array, Array]:
        """Return the interval of one new measurement, low and high [X]: curve uncertainty and scatter together."""
        curves = np.repeat(finite_rows(self.predict_draws(x, extrapolate)), 25, axis=0)
        noise = self.noise.sd * np.random.default_rng(seed).standard_normal(curves.shape)
        logs = self.scale == "log"
        with np.errstate(over="ignore"):
            runs = curves * np.exp(noise) if logs else curves + noise * np.abs(curves) ** self.noise.power
        return interval_from_draws(self.predict(x, extrapolate), runs, level, self._dof())

    def to_json(self) -> str:
        """Return the fit as JSON; ``Fit.from_json`` reads it back."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "form"}
        record |= {"status": self.status.name, "touched": sorted(self.touched)}
        record |= {"noise": {n: getattr(self.noise, n) for n in ("sd", "power", "rho")}}
        return json.dumps(plain(record), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, form: Law | None = None) -> Fit:
        """Read a fit back.

        Args:
            text: What ``to_json`` wrote.
            form: The law, where it is not one that ``rlaws.laws.law`` finds.
        """
        record = json.loads(text)
        for name in ("theta", "draws", "group_draws"):
            record[name] = np.array(record[name], dtype=float)
        p = record["theta"].size
        record["draws"] = record["draws"].reshape(-1, p)
        record["group_draws"] = record["group_draws"].reshape(len(record["draws"]), len(record["groups"]))
        record["x_range"] = {role: (float(a), float(b)) for role, (a, b) in record["x_range"].items()}
        for name in ("loss", "starts_agreeing"):
            record[name] = float("nan") if record[name] is None else record[name]
        record["groups"] = {k: float("nan") if v is None else v for k, v in record["groups"].items()}
        record["status"] = FitStatus[record["status"]]
        record["touched"] = frozenset(record["touched"])
        record["noise"] = Noise(**{k: float("nan") if v is None else v for k, v in record["noise"].items()})
        return cls(**record, form=form)


def interval_from_draws(center: Any, draws: Array, level: float = 0.95, dof: int = 0) -> tuple[Array, Array]:
    """Return the interval that draws imply, low and high [...].

    Without ``dof``: the percentile interval, with the quantiles of B draws at ranks tail (B + 1), so that a small B
    does not shorten it. From ``dof + 1`` resampled clusters a percentile interval is too short, because resampling n
    clusters underestimates their variance by (n-1)/n and ignores that it was estimated. With at least ten clusters
    the percentiles are moved outwards to those of sqrt(n/(n-1)) t (the expanded percentile interval, Hesterberg 2015,
    arXiv 1411.5279, section 5.3). With fewer, even the extreme draws lie too near, and the interval is
    center +- t sd sqrt(n/(n-1)).

    Args:
        center: Estimate, [...].
        draws: Its draws, [B, ...]; rows with NaN are left out.
        level: Level of the interval, in (0, 1).
        dof: Clusters less one, or 0.
    """
    from scipy.special import ndtr, stdtrit

    kept = finite_rows(draws)
    if len(kept) < 20:
        nan = np.full(np.shape(draws)[1:], np.nan)
        return nan, nan
    tail = 0.5 * (1.0 - level)
    if dof:
        reach = float(np.sqrt((dof + 1) / dof) * stdtrit(dof, 1.0 - tail))
        if dof + 1 < FEW_CLUSTERS:
            half = reach * np.std(kept, axis=0, ddof=1)
            return np.asarray(center - half), np.asarray(center + half)
        tail = float(ndtr(-reach))
    low, high = np.quantile(kept, [tail, 1.0 - tail], axis=0, method="weibull")
    return np.asarray(low), np.asarray(high)


def finite_rows(draws: Array) -> Array:
    """Return the draws without those that hold a NaN."""
    return draws[np.isfinite(draws).reshape(len(draws), -1).all(axis=1)]


def labels(values: NDArray[Any]) -> list[str]:
    """Return values as the names that a free factor is kept under."""
    return [f"{v:.12g}" if isinstance(v, float | np.floating) else str(v) for v in values]


def evaluate(form: Law, theta: Array, x: Sequence[Array]) -> Array:
    """Return the law at theta [B, p] as [B, X], NaN or inf where it has no value."""
    with np.errstate(all="ignore"):
        y = form.predict([theta[:, j : j + 1] for j in range(theta.shape[1])], *x)
    return np.broadcast_to(np.asarray(y, dtype=float), (len(theta), len(x[0])))
