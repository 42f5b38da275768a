"""Straight line in the logarithm of x."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class LinearLog:
    """y = c0 + c1 log10 x.

    Symbols: c0 the value at x = 1, c1 what a factor of ten in x adds (both unit of y). x > 0.

    Source: arXiv 2104.03113 (Elo against log compute on its incline); the usual straight line of a benchmark plot.
    """

    name: ClassVar[str] = "linear_log"
    formula: ClassVar[str] = r"y = c_0 + c_1 \log_{10} x"
    source: ClassVar[str] = "arXiv 2104.03113, incline of the frontier"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("c0", "c_0", "y", -np.inf, np.inf),
        Param("c1", "c_1", "y", -np.inf, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (Limit("c1 = 0 is a constant", {"c1": 0.0}, lambda t, x: t[0] + 0.0 * x),)
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return c0 + c1 log10 x."""
        return np.asarray(theta[0] + theta[1] * np.log10(x))
