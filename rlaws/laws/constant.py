"""The law of no effect."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class Constant:
    """y = c, whatever x is.

    Symbols: c the level (unit of y). It is the null model that every other law must beat.

    Source: the null hypothesis; no reference needed.
    """

    name: ClassVar[str] = "constant"
    formula: ClassVar[str] = r"y = c"
    source: ClassVar[str] = "null hypothesis"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (Param("c", "c", "y", -np.inf, np.inf),)
    limits: ClassVar[tuple[Limit, ...]] = (Limit("c = 0 is zero", {"c": 0.0}, lambda theta, x: 0.0 * x),)
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return the level, in the shape of x."""
        return np.asarray(theta[0] + 0.0 * np.asarray(x, dtype=float))
