"""Starting points of a fit, from the units of a law's parameters and the range of the data.

A parameter with a start range draws from it. One without takes a range from its unit: "x" (the name of a role) from
the range of that column, "1/x" from its inverse, "y" and "log y" from the level of the responses, anything else from
its bounds. So a law that works for x in steps works for x in FLOPs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rlaws.fitted import evaluate
from rlaws.laws.base import Law, Param

Array = NDArray[np.float64]


def starting_points(
    form: Law, x: Sequence[Array], y: Array, fixed: Mapping[str, float], number: int, rng: np.random.Generator
) -> Array:
    """Return starting points [S, p] inside the bounds; the first is the middle of all ranges.

    Args:
        form: The law.
        x: Its independent variables, each [X].
        y: Responses, [X].
        fixed: Held parameters with their values.
        number: Number of points S.
        rng: Source of the rest.
    """
    columns = dict(zip(form.x, x, strict=True))
    theta = np.empty((number, len(form.params)))
    for j, p in enumerate(form.params):
        theta[:, j] = fixed[p.name] if p.name in fixed else _draw(p, columns, number, rng)
    names = [p.name for p in form.params]
    for j, p in enumerate(form.params):
        role, _, power = p.unit.removeprefix("y ").partition("^")
        if p.name not in fixed and role in columns and power in names and p.start is None:
            middle = np.exp(np.mean(np.log(np.maximum(np.abs(columns[role]), 1e-300))))
            theta[:, j] *= middle ** np.clip(theta[:, names.index(power)], -12.0, 12.0)
    theta = _to_level(form, x, y, fixed, theta)
    low, high = np.array([p.low for p in form.params]), np.array([p.high for p in form.params])
    return np.clip(theta, low, high)


def _draw(p: Param, columns: Mapping[str, Array], number: int, rng: np.random.Generator) -> Array:
    """Draw starting values of one parameter, evenly, or evenly in the logarithm over more than a decade."""
    share = rng.random(number)
    share[0] = 0.5
    low, high = p.start or start_range(p, columns)
    decades = low > 0 and high / low > 10
    values = low * (high / low) ** share if decades else low + (high - low) * share
    if p.start is None and p.low < 0 < low:
        values = values * np.where(rng.random(number) < 0.5, -1.0, 1.0)
    return np.asarray(values)


def start_range(p: Param, columns: Mapping[str, Array]) -> tuple[float, float]:
    """Return a start range from the parameter's unit, or else from its bounds."""
    for role, x in columns.items():
        size = np.abs(x[x != 0]) if np.any(x != 0) else np.ones(1)
        if p.unit == role:
            return max(float(size.min()) / 10, p.low), min(float(size.max()) * 10, p.high)
        if p.unit == f"1/{role}":
            return max(0.01 / float(size.max()), p.low), min(3.0 / float(size.min()), p.high)
    if p.unit in ("log y", "log10 y"):
        return max(-1.0, p.low), min(1.0, p.high)
    if p.unit.startswith("y"):
        return max(0.1, p.low), min(10.0, p.high)
    if np.isfinite(p.low) and np.isfinite(p.high):
        return p.low, p.high
    if np.isfinite(p.low):
        return p.low + 0.01, p.low + 100.0
    return (p.high - 100.0, p.high - 0.01) if np.isfinite(p.high) else (-2.0, 2.0)


def _to_level(form: Law, x: Sequence[Array], y: Array, fixed: Mapping[str, float], theta: Array) -> Array:
    """Rescale the parameters in units of y together, so that the median ratio of data to law is one."""
    with np.errstate(all="ignore"):
        ratio = np.log(np.abs(y / evaluate(form, theta, x)))
    ratio = np.where(np.isfinite(ratio), ratio, np.nan)
    known = np.isfinite(ratio).any(axis=1)
    shift = np.zeros(len(theta))
    shift[known] = np.clip(np.nanmedian(ratio[known], axis=1), -300, 300)
    theta = theta.copy()
    for j, p in enumerate(form.params):
        if p.name in fixed or p.start is not None:
            continue
        if p.unit == "log y":
            theta[:, j] += shift
        elif p.unit == "log10 y":
            theta[:, j] += shift / np.log(10.0)
        elif p.unit.startswith("y"):
            theta[:, j] *= np.exp(shift)
    return theta
