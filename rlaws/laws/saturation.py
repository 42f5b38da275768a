"""Saturating growth."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class Saturation:
    """y = c (1 - exp(-x / x0)).

    Symbols: c the level that is reached (unit of y), x0 the scale on which it is (unit of x). x >= 0.

    Source: the expected number of distinct ones among x draws from c equally likely things is c (1 - (1 - 1/c)^x), for
    large c this law with x0 = c (the occupancy problem; Feller, An Introduction to Probability Theory, vol. 1, IV.2).
    """

    name: ClassVar[str] = "saturation"
    formula: ClassVar[str] = r"y = c\,(1 - e^{-x / x_0})"
    source: ClassVar[str] = "occupancy problem; Feller, vol. 1, IV.2"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("c", "c", "y", 1e-30, 1e30),
        Param("x0", "x_0", "x", 1e-9, 1e30),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("x0 = 1e-9 is a constant", {"x0": 1e-9}, lambda theta, x: theta[0] + 0.0 * x),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return c (1 - exp(-x / x0))."""
        c, x0 = theta
        return np.asarray(-c * np.expm1(-np.asarray(x, dtype=float) / x0))
