"""Naive forecasts that any law must beat: the last value, and a straight line in log x."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rlaws.resampling import Points

Array = NDArray[np.float64]


def curve_labels(points: Points, along: str) -> NDArray[np.str_]:
    """Return the curve of each point: its series and the values of all design variables but ``along``."""
    parts = [points.series.astype(str), *(np.char.mod("%.12g", v) for k, v in points.x.items() if k != along)]
    out = parts[0]
    for part in parts[1:]:
        out = np.char.add(np.char.add(out, "|"), part)
    return out


def _by_curve(train: Points, held: Points, along: str) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return pairs (training rows, held-out rows) of each held-out curve.

    Columns that move with ``along`` (tokens beside steps) would make every point a curve of its own; where no training
    point shares a held-out curve, the series alone tells curves apart.
    """
    ours, theirs = curve_labels(train, along), curve_labels(held, along)
    if not np.isin(theirs, ours).all():
        ours, theirs = train.series, held.series
    return [(np.flatnonzero(ours == c), np.flatnonzero(theirs == c)) for c in np.unique(theirs)]


def last_value(train: Points, held: Points, along: str, y: Array) -> Array:
    """Forecast each held-out point by its curve's last training value.

    Args:
        train: Training points.
        held: Held-out points.
        along: Variable that orders a curve.
        y: Responses of the training points, [B, X].

    Returns:
        Forecasts [B, H], NaN for a curve without training points.
    """
    out = np.full((len(y), held.y.size), np.nan)
    for ours, theirs in _by_curve(train, held, along):
        if ours.size:
            out[:, theirs] = y[:, [ours[np.argmax(train.x[along][ours])]]]
    return out


def straight_line(train: Points, held: Points, along: str, y: Array) -> Array:
    """Forecast by each curve's least-squares line in log x (in x, where x is not positive); see ``last_value``."""
    out = np.full((len(y), held.y.size), np.nan)
    positive = bool(np.all(train.x[along] > 0) and np.all(held.x[along] > 0))
    t, new = ((np.log(p.x[along]) if positive else p.x[along]) for p in (train, held))
    for ours, theirs in _by_curve(train, held, along):
        if np.unique(t[ours]).size < 2:
            continue
        middle = t[ours].mean()
        design = np.column_stack([np.ones(ours.size), t[ours] - middle])
        coefficients = y[:, ours] @ np.linalg.pinv(design).T
        out[:, theirs] = coefficients[:, [0]] + coefficients[:, [1]] * (new[theirs] - middle)
    return out


FORECASTS: dict[str, Callable[[Points, Points, str, Array], Array]] = {
    "last_value": last_value,
    "straight_line": straight_line,
}
