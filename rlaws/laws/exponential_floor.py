"""Exponential approach to a level."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class ExponentialFloor:
    """y = c + a exp(-x / x0).

    Symbols: c the level that is approached, a the distance from it at x = 0 (both unit of y; a < 0 for a rise), x0 the
    scale on which the distance falls by a factor e (unit of x). x >= 0.

    Source: linear convergence, the last phase of entropy-regularised and of natural policy gradient
    (arXiv 2005.06392, theorem 4).
    """

    name: ClassVar[str] = "exponential_floor"
    formula: ClassVar[str] = r"y = c + a\,e^{-x / x_0}"
    source: ClassVar[str] = "arXiv 2005.06392, theorem 4 (linear convergence)"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("c", "c", "y", -np.inf, np.inf),
        Param("a", "a", "y", -np.inf, np.inf, null=0.0),
        Param("x0", "x_0", "x", 1e-9, 1e30),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("a = 0 is a constant", {"a": 0.0}, lambda t, x: t[0] + 0.0 * x),
        Limit("c = 0 is an exponential", {"c": 0.0}, lambda t, x: t[1] * np.exp(-x / t[2])),
    )
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return c + a exp(-x / x0)."""
        c, a, x0 = theta
        return np.asarray(c + a * np.exp(-np.minimum(np.asarray(x, dtype=float) / x0, 690.0)))
