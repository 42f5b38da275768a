"""Limits and ticks of an axis, chosen from what is drawn so that labels are few, round and do not touch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Sets of leading digits, from the densest to the sparsest; then whole decades by stride.
_LEADING = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))


def finite(values: Iterable[Any] | None, log: bool = False) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the values as floats; null and, on a log axis, what is not positive becomes NaN."""
    found = np.array([np.nan if v is None else float(v) for v in (() if values is None else values)], dtype=float)
    found[~np.isfinite(found)] = np.nan
    if log:
        found[~(found > 0)] = np.nan
    return found


def limits(core: Sequence[Any], wide: Sequence[Any], log: bool, stretch: float = 0.6) -> tuple[float, float]:
    """Return axis limits that show all of ``core`` and as much of ``wide`` as ``stretch`` core spans allow.

    One interval of a thousand widths must not flatten the data; it is cut at the frame instead.
    """
    inner, outer = _usable(core, log), _usable([*core, *wide], log)
    if not outer.size:
        return (0.1, 1.0) if log else (0.0, 1.0)
    inner = inner if inner.size else outer
    low, high = float(inner.min()), float(inner.max())
    if high == low:  # one point: its own interval is the scale
        low, high = float(outer.min()), float(outer.max())
    span = max(high - low, 0.15 if log else 0.05 * max(abs(low), abs(high), 1e-9))
    low = max(float(outer.min()), low - stretch * span)
    high = min(float(outer.max()), high + stretch * span)
    pad = 0.06 * max(high - low, span)
    low, high = low - pad, high + pad
    return (10.0**low, 10.0**high) if log else (low, high)


def _usable(values: Sequence[Any], log: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    found = finite(values, log)
    found = found[np.isfinite(found)]
    return np.asarray(np.log10(found) if log else found, dtype=float)


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round ticks of a log axis in [low, high], between two and ``most`` wherever that can be."""
    first, last = floor(log10(low)), ceil(log10(high))
    for digits in _LEADING:
        ticks = [d * 10.0**e for e in range(first, last + 1) for d in digits]
        inside = [t for t in ticks if low <= t <= high]
        if 2 <= len(inside) <= most:
            return inside
    if log10(high / low) <= 1:
        return [
            float(t) for t in MaxNLocator(most - 1, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= t <= high
        ]
    for stride in range(1, last - first + 1):
        inside = [10.0**e for e in range(first, last + 1) if e % stride == 0 and low <= 10.0**e <= high]
        if len(inside) <= most:
            return inside
    return []


def tick_text(value: float, spread: float = 0.0) -> str:
    """Return a tick's label: plain between 0.001 and 10 000, else a power of ten."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else ""
    exponent = floor(log10(abs(value)) + 1e-12)
    if -3 <= exponent < 4:
        return f"{value:.{6}g}".replace("-", "−")
    lead = value / 10.0**exponent
    if abs(lead - 1) < 1e-9:
        return rf"$10^{{{exponent}}}$"
    return rf"${lead:.3g}{{\times}}10^{{{exponent}}}$"


def dress(axis: Axis, low: float, high: float, log: bool, most: int = 6) -> None:
    """Set the ticks of one axis of a log or linear scale."""
    if not log:
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
        axis.set_minor_locator(NullLocator())
        largest = max(abs(low), abs(high))
        if not 1e-3 <= largest < 1e5:
            axis.set_major_formatter(FuncFormatter(lambda v, _: tick_text(round(v, 12 - floor(log10(largest))))))
        return
    axis.set_major_locator(FixedLocator(log_ticks(low, high, most)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: tick_text(v)))
    decades = log10(high / low)
    minor = [d * 10.0**e for e in range(floor(log10(low)), ceil(log10(high)) + 1) for d in range(1, 10)]
    axis.set_minor_locator(FixedLocator([m for m in minor if low <= m <= high]) if decades <= 4.2 else NullLocator())
    axis.set_minor_formatter(NullFormatter())


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions near the wanted ones, at least ``gap`` apart, within [low, high]; order is kept."""
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    placed = [min(max(wanted[i], low), high) for i in order]
    for a, b in pairwise(range(len(placed))):
        placed[b] = max(placed[b], placed[a] + gap)
    over = placed[-1] - high if placed else 0.0
    if over > 0:
        placed[-1] = high
        for b, a in pairwise(reversed(range(len(placed)))):
            placed[a] = min(placed[a], placed[b] - gap)
    found = [0.0] * len(placed)
    for place, i in zip(placed, order, strict=True):
        found[i] = place
    return found


def fix(axes: Axes, x: tuple[float, float], y: tuple[float, float], log_x: bool, log_y: bool) -> None:
    """Set scales, limits and ticks of both axes."""
    axes.set_xscale("log" if log_x else "linear")
    axes.set_yscale("log" if log_y else "linear")
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    dress(axes.xaxis, *x, log_x, most=5)
    dress(axes.yaxis, *y, log_y, most=6)
