"""What is forecast: the curve of one run, the metric it shows, and several runs of one recipe laid side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.links import LINKS, apply_link

Array = NDArray[np.float64]
Index = NDArray[np.intp]

FEWEST = 3  # points without which there is nothing to extrapolate
MOST = 200  # points of all runs together; longer logs are averaged in blocks
EDGE = 1e-3  # how near to 0 and 1 a curve may come under a link that is infinite there
BEYOND = 3.0  # an unbounded metric may leave the range of its data by this many of its widths


@dataclass(frozen=True, slots=True)
class Metric:
    """What a curve shows.

    Attributes:
        name: Name, for sentences.
        low: Smallest possible value, or None if there is none.
        high: Largest possible value, or None.
        better: "higher" for a reward or accuracy, "lower" for a loss.
    """

    name: str = "metric"
    low: float | None = None
    high: float | None = None
    better: str = "higher"

    def __post_init__(self) -> None:
        if self.better not in ("higher", "lower"):
            raise InputError(f"better = '{self.better}' is not known.{suggest(self.better, ('higher', 'lower'))}")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(f"The range of '{self.name}' is empty: low = {self.low:g}, high = {self.high:g}.")

    @property
    def bounded(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    def check(self, values: Any, what: str) -> None:
        """Raise an error if a value lies outside the range.

        Raises:
            InputError: It does; the sentence names the value and the range.
        """
        for v in np.atleast_1d(np.asarray(values, dtype=float)):
            if (self.low is not None and v < self.low) or (self.high is not None and v > self.high):
                low = "-inf" if self.low is None else f"{self.low:g}"
                high = "inf" if self.high is None else f"{self.high:g}"
                raise InputError(
                    f"{what} is {v:g}, outside the range [{low}, {high}] of '{self.name}'; "
                    "correct the value, or the metric's low and high."
                )


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One run: responses in the order in which they were made.

    Attributes:
        x: Steps, samples, tokens or compute, strictly rising, [n].
        y: The metric, [n].
        run: Name of the run.

    Raises:
        InputError: Lengths differ, a value is not finite, or x does not rise; the row is named.
    """

    x: Array
    y: Array
    run: str = "run"

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x, dtype=float), np.asarray(self.y, dtype=float)
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)
        if x.ndim != 1 or x.shape != y.shape:
            raise InputError(f"Run '{self.run}' has x of shape {x.shape} and y of shape {y.shape}; give one y per x.")
        for name, values in (("x", x), ("y", y)):
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                raise InputError(
                    f"{name} of run '{self.run}' is {values[bad[0]]} in row {bad[0]}; leave out rows without a value."
                )
        flat = np.flatnonzero(np.diff(x) <= 0)
        if flat.size:
            i = int(flat[0])
            raise InputError(
                f"x of run '{self.run}' goes from {x[i]:g} to {x[i + 1]:g} in row {i + 1}; it must rise. "
                "Join resumed parts so that each step occurs once."
            )

    def first(self, points: int) -> Curve:
        """Return the first points."""
        return replace(self, x=self.x[:points], y=self.y[:points])


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """The scale on which laws are fitted: a link of the metric, and the range of the metric on it.

    Attributes:
        metric: The metric.
        link: "absolute", "headroom", "log_error" or "logit".
        reference: Value of the metric before training (a share of its range), or None.
        low: Smallest value on the scale, finite; what a curve may not leave.
        high: Largest one.
        views: Maps z = base + slope v under which a law without a level of its own may describe the metric:
            name -> (base, slope).
    """

    metric: Metric
    link: str
    reference: float | None
    low: float
    high: float
    views: dict[str, tuple[float, float]]

    def to(self, y: Array) -> Array:
        """Map metric values to the scale."""
        if self.link == "absolute":
            return np.asarray(y, dtype=float)
        return apply_link(self.link, self._share(y), None if self.reference is None else np.asarray(self.reference))

    def back(self, z: Array) -> Array:
        """Map values on the scale to the metric."""
        if self.link == "absolute":
            return np.asarray(z)
        y0 = self.reference
        if self.link == "headroom":
            share = z if y0 is None else y0 + z * (1.0 - y0)
        elif self.link == "log_error":
            share = 1.0 - np.exp(-z) * (1.0 if y0 is None else 1.0 - y0)
        else:
            share = 1.0 / (1.0 + np.exp(-np.clip(z + (0.0 if y0 is None else _logit(y0)), -700.0, 700.0)))
        low, high = self._ends()
        return np.asarray(low + (high - low) * share)

    def _ends(self) -> tuple[float, float]:
        """Return the ends of the metric's range, which every link but "absolute" needs."""
        assert self.metric.low is not None
        assert self.metric.high is not None
        return self.metric.low, self.metric.high

    def _share(self, y: Array) -> Array:
        low, high = self._ends()
        return np.asarray((np.asarray(y, dtype=float) - low) / (high - low))


def _logit(y: float) -> float:
    return float(np.log(y) - np.log1p(-y))


def scale_of(metric: Metric, link: str, reference: float | None, y: Array) -> Scale:
    """Return the scale for a metric under a link.

    Args:
        metric: The metric.
        link: One of ``links.LINKS``; all but "absolute" need both ends of the metric's range.
        reference: Value of the metric before training, or None.
        y: The observed values, which fix a range where the metric has none.

    Raises:
        InputError: Unknown link, a link without a range, or values outside the range.
    """
    if link not in LINKS:
        raise InputError(f"There is no link '{link}'.{suggest(link, LINKS)}")
    metric.check(y, f"A value of '{metric.name}'")
    if link == "absolute":
        return _absolute(metric, y)
    if not metric.bounded:
        raise InputError(f"Link '{link}' needs both ends of the range of '{metric.name}': give low and high.")
    draft = Scale(metric, link, None, 0.0, 1.0, {})
    share = None
    if reference is not None:
        metric.check(reference, "The reference")
        share = float(draft._share(np.asarray(reference)))
    draft = replace(draft, reference=share)
    shares = draft._share(y)
    low_share, high_share = min(EDGE, float(shares.min()) / 2), 1.0 - min(EDGE, float(1.0 - shares.max()) / 2)
    if link == "headroom":
        low_share, high_share = 0.0, 1.0
    ends = apply_link(link, np.array([low_share, high_share]), None if share is None else np.asarray(share))
    low, high = float(ends[0]), float(ends[1])
    views = {"logit": {}, "log_error": {"y": (0.0, 1.0)}, "headroom": _two_views(low, high)}[link]
    return replace(draft, low=low, high=high, views=views)


def _two_views(low: float, high: float) -> dict[str, tuple[float, float]]:
    """Return the two ways to look at a bounded metric: from its floor up, and from its ceiling down."""
    return {"y": (low, high - low), "ceiling - y": (high, low - high)}


def _absolute(metric: Metric, y: Array) -> Scale:
    """Return the scale of the metric as it is; an unknown end is set a few widths of the data beyond them."""
    least, most = float(np.min(y)), float(np.max(y))
    if metric.low is not None and metric.high is not None:
        return Scale(metric, "absolute", None, metric.low, metric.high, _two_views(metric.low, metric.high))
    reach = BEYOND * ((most - least) or max(abs(most), 1.0))
    low = least - reach if metric.low is None else metric.low
    high = most + reach if metric.high is None else metric.high
    views: dict[str, tuple[float, float]] = {}
    if metric.low is not None:
        views["y"] = (low, 1.0)
    if metric.high is not None:
        views["ceiling - y"] = (high, -1.0)
    return Scale(metric, "absolute", None, low, high, views)


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Runs laid one after another, on the scale of the fit.

    Attributes:
        x: All x, [n].
        z: All responses on the scale, [n].
        starts: First row of each run, and n at the end, [R + 1].
        within: Variance of single points within the blocks that were averaged; 0 where nothing was.
    """

    x: Array
    z: Array
    starts: Index
    within: float = 0.0

    @property
    def number(self) -> int:
        """Number of runs."""
        return len(self.starts) - 1

    @property
    def run(self) -> Index:
        """Run of each point, [n]."""
        return np.repeat(np.arange(self.number), np.diff(self.starts))

    def until(self, cut: float) -> Runs:
        """Return the part of every run with x <= cut; runs that start later are left out."""
        keep, run = self.x <= cut, self.run
        sizes = [int((keep & (run == r)).sum()) for r in range(self.number)]
        starts = np.cumsum([0, *(s for s in sizes if s)])
        return Runs(self.x[keep], self.z[keep], starts, self.within)


def lay_out(curves: Sequence[Curve], scale: Scale) -> Runs:
    """Return the runs on the scale of the fit; long ones are averaged in blocks of neighbouring points."""
    sizes = [c.x.size for c in curves]
    block = int(np.ceil(sum(sizes) / MOST))
    xs, zs, spread = [], [], []
    for c in curves:
        z = scale.to(c.y)
        if block == 1:
            xs.append(c.x)
            zs.append(z)
            continue
        edges = np.arange(0, c.x.size, block)
        count = np.diff([*edges, c.x.size])
        xs.append(np.add.reduceat(c.x, edges) / count)
        mean = np.add.reduceat(z, edges) / count
        zs.append(mean)
        spread.append((z - np.repeat(mean, count)) ** 2)
    within = float(np.concatenate(spread).mean()) if spread else 0.0
    return Runs(np.concatenate(xs), np.concatenate(zs), np.cumsum([0, *(len(x) for x in xs)]), within)


def as_curves(curves: Curve | Sequence[Curve], fewest: int = FEWEST) -> list[Curve]:
    """Return a list of curves that are long enough, without points at x <= 0, which have no logarithm.

    Raises:
        InputError: There is none, one is too short, x is negative, or two runs have one name.
    """
    found = [curves] if isinstance(curves, Curve) else list(curves)
    if not found:
        raise InputError("There is no curve to forecast; give at least one run.")
    names = [c.run for c in found]
    if len(set(names)) < len(names):
        raise InputError(f"Two runs are called '{max(names, key=names.count)}'; give each run a name of its own.")
    out = []
    for c in found:
        if c.x.size and c.x[0] < 0:
            raise InputError(f"x of run '{c.run}' starts at {c.x[0]:g}; steps, samples and compute are not negative.")
        kept = Curve(c.x[c.x > 0], c.y[c.x > 0], c.run)
        if kept.x.size < fewest:
            raise InputError(
                f"Run '{c.run}' has {kept.x.size} point(s) with x > 0; a forecast needs at least {fewest}. "
                "Let it run longer, or evaluate more often."
            )
        out.append(kept)
    return out
