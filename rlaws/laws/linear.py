"""Straight line."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class Linear:
    """y = c0 + c1 x.

    Symbols: c0 the value at x = 0 (unit of y), c1 the slope (unit of y over unit of x).

    Source: first-order expansion; the rival of any curved law.
    """

    name: ClassVar[str] = "linear"
    formula: ClassVar[str] = r"y = c_0 + c_1 x"
    source: ClassVar[str] = "first-order expansion"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("c0", "c_0", "y", -np.inf, np.inf),
        Param("c1", "c_1", "y/x", -np.inf, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (Limit("c1 = 0 is a constant", {"c1": 0.0}, lambda t, x: t[0] + 0.0 * x),)
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return c0 + c1 x."""
        return np.asarray(theta[0] + theta[1] * np.asarray(x, dtype=float))
