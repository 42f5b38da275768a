"""From a measurement to the points a law is fitted to: draws that resample clusters, and a hold-out that is sealed.

The points of one curve share their clusters (problems, seeds, batches), so resampling the points themselves gives
intervals that are several times too narrow: with 200 problems and six k, nominal 90 % intervals of a pass@k exponent
covered 39 % when points were resampled and 87 % when problems were. The cluster is therefore the only unit drawn here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.estimators import Statistic, statistic
from rlaws.links import apply_link
from rlaws.measurement import Measurement

Array = NDArray[np.float64]
MOST_WEIGHTS = 2_000_000  # resampling weights held at a time: 200 draws of 10^5 clusters would take 320 MB


@dataclass(frozen=True, slots=True)
class Points:
    """The response at the design points of one regime.

    Attributes:
        x: Design variable -> values [X].
        y: Response under the link, [X].
        draws: Replicas of y from resampled clusters, [B, X], jointly over the points; NaN where a replica has no data.
            None for curves ("series"), whose draws come from the fit's autocorrelated residuals.
        series: Curve that each point belongs to (of clusters: their column "curve"), [X] of str; one label where
            there is a single curve.
        ids: Identity of each point, [X] of str; a fit records the ones it touched.
        clusters: Number of clusters behind the points.
        response: What y is, and ``unit`` its unit.
        unit: Unit of y.
        raw: Per-cluster responses [C, X] for figures (NaN where a cluster has no row), or None if there are too many.
    """

    x: Mapping[str, Array]
    y: Array
    draws: Array | None
    series: NDArray[np.str_]
    ids: NDArray[np.str_]
    clusters: int
    response: str
    unit: str
    raw: Array | None = None

    @property
    def stderr(self) -> Array | None:
        """Standard error of each point from the draws, [X]; None for curves."""
        return None if self.draws is None else np.asarray(np.nanstd(self.draws, axis=0, ddof=1))

    def take(self, keep: NDArray[np.bool_]) -> Points:
        """Return the points where ``keep`` is true."""
        return replace(
            self,
            x={k: v[keep] for k, v in self.x.items()},
            y=self.y[keep],
            draws=None if self.draws is None else self.draws[:, keep],
            series=self.series[keep],
            ids=self.ids[keep],
            raw=None if self.raw is None else self.raw[:, keep],
        )


class Sealed:
    """Held-out points. A fit sees their design variables; the responses come out through ``open`` alone.

    ``open`` asks which points the fit touched and says whether what is made of them is predicted or fitted.
    """

    __slots__ = ("__points",)

    def __init__(self, points: Points) -> None:
        self.__points = points

    @property
    def x(self) -> Mapping[str, Array]:
        """The held-out design variables; the responses stay sealed."""
        return self.__points.x

    def __len__(self) -> int:
        return len(self.__points.y)

    def open(self, touched: frozenset[str]) -> tuple[Points, str]:
        """Return the held-out points and the label that any figure or score made from them must carry.

        Args:
            touched: Ids of the points that the fit saw.

        Returns:
            The points and "predicted", or "fitted" when the fit touched at least one of them.
        """
        label = "fitted" if touched.intersection(self.__points.ids.tolist()) else "predicted"
        return self.__points, label


def split(points: Points, along: str, *, largest: int = 0, after: float = 1.0) -> tuple[Points, Sealed]:
    """Hold out the largest x: the ``largest`` last distinct values, or what follows the first share of every curve.

    Args:
        points: All points of a regime.
        along: Design variable that orders them.
        largest: Number of distinct largest values of ``along`` to hold out; 0 to use ``after``.
        after: Share of each curve's points (in the order of ``along``) that may be fitted, in (0, 1).

    Raises:
        InputError: Unknown variable, or nothing would be left to fit or to hold out.
    """
    if along not in points.x:
        raise InputError(f"There is no design variable '{along}' to hold out along.{suggest(along, points.x)}")
    values = points.x[along]
    held = np.zeros(values.size, dtype=bool)
    if largest:
        held = np.isin(values, np.unique(values)[-largest:])
    else:
        for name in np.unique(points.series):
            rows = np.flatnonzero(points.series == name)
            order = rows[np.argsort(values[rows], kind="stable")]
            held[order[int(np.ceil(after * order.size)) :]] = True
    if held.all() or not held.any():
        rule = f"the largest {largest}" if largest else f"what follows the first {after:.0%}"
        left = int((~held).sum())
        raise InputError(f"Holding out {rule} of '{along}' leaves {left} of {held.size} points; give more points.")
    return points.take(~held), Sealed(points.take(held))


def panel(m: Measurement, extra: tuple[str, ...] = ()) -> tuple[dict[str, Array], Array, NDArray[np.str_], Array]:
    """Pivot rows to clusters x design points, for the statistic's columns and any ``extra`` ones.

    Returns:
        x {name: [X]}, sums [C, X, S] (zero where a cluster has no row), the cluster labels [C] and presence [C, X].

    Raises:
        InputError: If a cluster has two rows at one design point.
    """
    stat = statistic(m.statistic)
    design = np.column_stack([np.asarray(m.columns[n], dtype=float) for n in m.x]) if m.x else np.zeros((m.rows, 1))
    points, at = np.unique(design, axis=0, return_inverse=True)
    labels, who = np.unique(np.asarray(m.columns["cluster"]).astype(str), return_inverse=True)
    present = np.zeros((labels.size, points.shape[0]))
    np.add.at(present, (who, at.ravel()), 1.0)
    if present.max() > 1:
        c, p = np.argwhere(present > 1)[0]
        raise InputError(f"Cluster '{labels[c]}' has two rows at {dict(zip(m.x, points[p], strict=False))}.")
    names = (*stat.columns, *extra)
    sums = np.zeros((*present.shape, len(names)))
    for s, name in enumerate(names):
        sums[who, at.ravel(), s] = m.columns[name]
    return {n: points[:, i] for i, n in enumerate(m.x)}, sums, labels, present


def _curves(m: Measurement, default: NDArray[Any]) -> NDArray[Any]:
    """Return the curve of each design point where the rows have a column "curve", else the default, [X]."""
    if "curve" not in m.columns:
        return default
    design = np.column_stack([np.asarray(m.columns[n], dtype=float) for n in m.x])
    _, first = np.unique(design, axis=0, return_index=True)
    return np.asarray(m.columns["curve"])[first].astype(object)


def _response(stat: Statistic, sums: Array, link: str | None) -> Array:
    """Response of sums [..., S], under a link if one is given."""
    parts = [sums[..., s] for s in range(sums.shape[-1])]
    y = stat.response(*parts)
    if link is None:
        return y
    return apply_link(link, y, stat.reference(*parts) if stat.reference else None)


def to_points(m: Measurement, rng: np.random.Generator, draws: int, link: str | None = None) -> Points:
    """Return the points of one regime with their draws.

    Args:
        m: Rows of a single regime point.
        rng: Source of the resampling weights.
        draws: Number of replicas B.
        link: A link of ``links.LINKS`` for bounded responses, or None for the response as it is.
    """
    stat = statistic(m.statistic)
    if link is not None and not stat.bounded:
        raise InputError(f"Link '{link}' asked, but statistic '{stat.name}' is not a bounded metric; drop 'links'.")
    x, sums, labels, present = panel(m)
    ids = np.array([f"{m.digest()}:{i}" for i in range(present.shape[1])])
    y = _response(stat, sums.sum(axis=0), link)
    series = np.full(y.size, "all", dtype=object)
    replicas: Array | None = None
    if m.resample == "clusters":
        replicas = _cluster_draws(stat, sums, present, rng, draws, link)
        series = _curves(m, series)
    elif m.resample == "reported":
        stderr = panel(m, ("stderr",))[1][..., -1].sum(axis=0)
        replicas = _reported_draws(stat, sums, stderr, rng, draws, link)
    else:
        if np.any(present.sum(axis=0) > 1):
            raise InputError("Curves that share a design point need a design variable or regime that tells them apart.")
        series = labels[present.argmax(axis=0)].astype(object)
    raw = None
    if labels.size <= 400:
        with np.errstate(all="ignore"):
            raw = np.where(present > 0, stat.response(*np.moveaxis(sums, -1, 0)), np.nan)
    return Points(x, y, replicas, series.astype(str), ids, labels.size, m.response, m.response_unit, raw)


def _cluster_draws(
    stat: Statistic, sums: Array, present: Array, rng: np.random.Generator, draws: int, link: str | None
) -> Array:
    """Responses of multinomially resampled clusters, [B, X]; clusters that cover the same points are exchangeable."""
    _, points, width = sums.shape
    resampled = np.zeros((draws, points * width))
    _, stratum = np.unique(present > 0, axis=0, return_inverse=True)
    for s in range(int(stratum.max()) + 1):
        rows = np.flatnonzero(stratum.ravel() == s)
        table, share = sums[rows].reshape(rows.size, points * width), np.full(rows.size, 1.0 / rows.size)
        step = max(1, MOST_WEIGHTS // rows.size)
        for first in range(0, draws, step):
            weights = rng.multinomial(rows.size, share, size=min(step, draws - first))
            resampled[first : first + step] += weights.astype(float) @ table
    return _response(stat, resampled.reshape(draws, points, width), link)


def _reported_draws(
    stat: Statistic, sums: Array, stderr: Array, rng: np.random.Generator, draws: int, link: str | None
) -> Array:
    """Normal replicas with the printed standard error of the response, [B, X]; a reference keeps its printed value."""
    total = sums.sum(axis=0)
    weight = total[:, -1]
    replicas = np.broadcast_to(total, (draws, *total.shape)).copy()
    noisy = total[:, 0] + weight * stderr * rng.standard_normal((draws, total.shape[0]))
    replicas[..., 0] = np.clip(noisy, 1e-9 * weight, (1 - 1e-9) * weight) if stat.bounded else noisy
    return _response(stat, replicas, link)
