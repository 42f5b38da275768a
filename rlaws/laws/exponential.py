"""Exponential decay or growth."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class Exponential:
    """y = a exp(-b x).

    Symbols: a the value at x = 0 (unit of y), b the rate (one over the unit of x), negative for growth.

    Source: repeated sampling of one problem of success p fails with (1-p)^k = exp(-b k), b = -log(1-p)
    (arXiv 2502.17578, section 2).
    """

    name: ClassVar[str] = "exponential"
    formula: ClassVar[str] = r"y = a\,e^{-b x}"
    source: ClassVar[str] = "arXiv 2502.17578, section 2"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("a", "a", "y", 1e-30, 1e30),
        Param("b", "b", "1/x", -np.inf, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("b = 0 is a constant", {"b": 0.0}, lambda theta, x: theta[0] + 0.0 * x),
    )
    scale: ClassVar[str] = "log"
    domain: ClassVar[dict[str, tuple[float, float]]] = {"x": (0.0, 100.0)}

    def predict(self, theta: Any, x: Any) -> Array:
        """Return a exp(-b x)."""
        a, b = theta
        return safe_exp(np.log(a) - b * np.asarray(x, dtype=float))
