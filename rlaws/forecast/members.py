"""Laws as they enter a forecast: a few columns whose coefficients are free, and shape parameters with a range.

Most laws are linear in the parameters that carry the unit of y once their shape (exponent, midpoint, rate) is given:

    z = offset(x; shape) + sum_j coefficient_j column_j(x; shape).

Given the shape, the posterior of the coefficients is known in closed form (``posterior``), so only the shape has to be
searched. Which parameters are linear is found by evaluating the law, not declared.

Coefficients take either sign and any size: a rising metric is a falling law upside down. What is not allowed is to
leave the metric's range. A law without a level of its own (y = a x^-b) describes a distance: from the floor of the
metric, or from its ceiling; each is a member of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws import starts
from rlaws.errors import InputError
from rlaws.fitted import evaluate
from rlaws.forecast.curves import Scale
from rlaws.laws import law as find_law
from rlaws.laws.base import Law, Param
from rlaws.sentences import said

Array = NDArray[np.float64]

LOGS = {"log y": float(np.e), "log10 y": 10.0}
AFFINE = 1e-6  # relative error of a law's second differences below which it counts as linear
LEVEL = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A law under one view of the metric.

    Attributes:
        name: Law, and its view where that is not the metric itself.
        law: The law.
        linear: Positions of the parameters that are free coefficients.
        shape: Positions of the rest.
        base: The metric on the fit scale is base + slope times the law.
        slope: See ``base``.
    """

    name: str
    law: Law
    linear: tuple[int, ...]
    shape: tuple[int, ...]
    base: float
    slope: float

    @property
    def size(self) -> int:
        """Number of fitted numbers."""
        return len(self.linear) + len(self.shape)

    def ranges(self, x: Array) -> list[tuple[float, float, bool]]:
        """Return low, high and whether to search evenly in the logarithm, for each shape parameter."""
        return _ranges_of(self.law.params, self.shape, self.law.x[0], x)

    def basis(self, shapes: Array, x: Array) -> tuple[Array, Array]:
        """Return the columns [S, q, X] and the offset [S, X] at shapes [S, d]."""
        columns, offset = _columns(self.law, self.linear, self.shape, shapes, x)
        return self.slope * columns, self.base + self.slope * offset

    def turns(self, x: Array) -> bool:
        """Tell whether the law has a curve that rises and falls between the given x, so that a bend is no surprise."""
        grid = np.geomspace(float(x.min()), float(x.max()), 64)
        shapes = unit_points(32, len(self.shape))
        columns, offset = self.basis(to_shapes(shapes, self.ranges(x)), grid)
        mix = np.random.default_rng(0).standard_normal((40, len(self.linear)))
        scaled = columns / np.maximum(np.abs(columns).max(axis=2, keepdims=True), 1e-300)
        step = np.diff(np.einsum("mq,sqx->msx", mix, scaled) + offset[None], axis=2)
        size = np.abs(step).max(axis=2, keepdims=True)
        return bool(np.any((step.max(axis=2) > 0.01 * size[..., 0]) & (step.min(axis=2) < -0.01 * size[..., 0])))


def _columns(law: Law, linear: Sequence[int], shape: Sequence[int], shapes: Array, x: Array) -> tuple[Array, Array]:
    """Return columns and offset of a law that is linear in some parameters, from its values at 1 and 2."""
    theta = np.ones((len(shapes), len(law.params)))
    theta[:, list(shape)] = shapes
    if any(law.params[j].unit in LOGS for j in linear):
        theta[:, list(linear)] = 0.0
        return evaluate(law, theta, [x])[:, None, :].copy(), np.zeros((len(shapes), x.size))
    at_one = evaluate(law, theta, [x])
    columns = np.empty((len(shapes), len(linear), x.size))
    for i, j in enumerate(linear):
        moved = theta.copy()
        moved[:, j] = 2.0
        columns[:, i] = evaluate(law, moved, [x]) - at_one
    return columns, at_one - columns.sum(axis=1)


def linear_parameters(law: Law, x: Array) -> tuple[int, ...]:
    """Return the positions of the parameters in which a law is linear given the others.

    Candidates carry the unit of y; the law is evaluated at random coefficients and compared with its columns. A law
    with a logarithm of y among its parameters is linear in that factor alone.
    """
    logs = [j for j, p in enumerate(law.params) if p.unit in LOGS]
    if logs:
        return (logs[0],)
    candidates = tuple(j for j, p in enumerate(law.params) if p.unit.split(" ")[0].split("/")[0] == "y")
    if not candidates:
        return ()
    shape = tuple(j for j in range(len(law.params)) if j not in candidates)
    shapes = to_shapes(unit_points(4, len(shape)), _ranges_of(law.params, shape, law.x[0], x))
    columns, offset = _columns(law, candidates, shape, shapes, x)
    mix = np.random.default_rng(0).uniform(0.1, 3.0, (len(shapes), len(candidates)))
    theta = np.ones((len(shapes), len(law.params)))
    theta[:, list(shape)] = shapes
    theta[:, list(candidates)] = mix
    expected = offset + np.einsum("sq,sqx->sx", mix, columns)
    got = evaluate(law, theta, [x])
    size = np.abs(expected).max() + np.abs(columns).max()
    return candidates if np.abs(got - expected).max() <= AFFINE * size else ()


def _ranges_of(
    params: Sequence[Param], positions: Sequence[int], role: str, x: Array
) -> list[tuple[float, float, bool]]:
    out = []
    for j in positions:
        low, high = params[j].start or starts.start_range(params[j], {role: x})
        out.append((low, high, low > 0 and high / low > 10))
    return out


def members_of(laws: Sequence[Law | str], scale: Scale, x: Array) -> tuple[list[Member], list[str]]:
    """Return the members that a list of laws gives on a scale, and a sentence for each law that gives none.

    Args:
        laws: Laws or their names.
        scale: Scale of the fit.
        x: All x, of the data and of the forecast, [X].

    Raises:
        InputError: A law needs more than one variable, or is not linear in any parameter.
    """
    found: list[Member] = []
    notes: list[str] = []
    for entry in laws:
        form = find_law(entry) if isinstance(entry, str) else entry
        if len(form.x) != 1:
            raise InputError(f"Law '{form.name}' needs {', '.join(form.x)}; a forecast has one variable, x.")
        views = _views(form, scale, x)
        if not views:
            notes.append(said("no_ends", law=form.name))
        found += views
    return found, notes


def _views(form: Law, scale: Scale, x: Array) -> list[Member]:
    linear = linear_parameters(form, x)
    if not linear:
        raise InputError(
            f"Law '{form.name}' is not linear in its parameters of the unit of y, so it cannot be forecast with; "
            "give those parameters the unit 'y' (or 'log y' for a factor)."
        )
    shape = tuple(j for j in range(len(form.params)) if j not in linear)
    member = Member(form.name, form, linear, shape, 0.0, 1.0)
    columns, offset = member.basis(to_shapes(unit_points(4, len(shape)), member.ranges(x)), x)
    fixed_level = bool(np.abs(offset).max() > LEVEL)
    if not fixed_level and _has_level(columns):
        return [member]
    usable = scale.views if not fixed_level or len(scale.views) == 2 else {}
    return [
        Member(form.name if view == "y" else f"{form.name} ({view})", form, linear, shape, base, slope)
        for view, (base, slope) in usable.items()
    ]


def _has_level(columns: Array) -> bool:
    """Tell whether the columns [S, q, X] of every shape contain a constant."""
    for g in columns:
        one = np.ones(g.shape[1])
        scaled = g.T / np.maximum(np.abs(g).max(axis=1), 1e-300)
        fit = scaled @ np.linalg.lstsq(scaled, one, rcond=None)[0]
        if np.abs(fit - one).max() > 1e-6:
            return False
    return True


def unit_points(number: int, dimension: int) -> Array:
    """Return points [number, dimension] that fill the unit cube evenly (Kronecker sequence of the golden ratio).

    Source: the additive recurrence whose generators are powers of 1/g, g the root of g^(d+1) = g + 1 (M. Roberts,
    2018); one point at dimension 0.
    """
    if dimension == 0:
        return np.zeros((1, 0))
    root = 2.0
    for _ in range(40):
        root = (1.0 + root) ** (1.0 / (dimension + 1))
    generators = root ** -np.arange(1.0, dimension + 1)
    return np.asarray((0.5 + np.arange(1, number + 1)[:, None] * generators) % 1.0)


def to_shapes(points: Array, ranges: Sequence[tuple[float, float, bool]]) -> Array:
    """Map points of the unit cube [S, d] to shape parameters."""
    out = np.empty_like(points)
    for j, (low, high, logs) in enumerate(ranges):
        share = points[:, j]
        out[:, j] = low * (high / low) ** share if logs else low + (high - low) * share
    return out
