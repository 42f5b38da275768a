"""Parabola in log-log axes: a power law whose exponent drifts."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import exp10
from rlaws.laws.base import Array, Limit, Param


class QuadraticLog:
    """log10 y = a + b log10 x + c (log10 x)^2.

    Symbols: a the log10 of y at x = 1 (log10 of the unit of y), b the slope there, c the curvature (pure numbers).
    x > 0.

    Source: arXiv 2203.15556, section 3.2 (IsoFLOP parabolas); c = 0 is a power law.
    """

    name: ClassVar[str] = "quadratic_log"
    formula: ClassVar[str] = r"\log_{10} y = a + b \log_{10} x + c (\log_{10} x)^2"
    source: ClassVar[str] = "arXiv 2203.15556, section 3.2"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("a", "a", "log10 y", -1e4, 1e4),
        Param("b", "b", "1", -1e3, 1e3, null=0.0, start=(-1.0, 1.0)),
        Param("c", "c", "1", -100.0, 100.0, null=0.0, start=(-0.2, 0.2)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("c = 0 is a power law", {"c": 0.0}, lambda t, x: 10.0 ** t[0] * x ** t[1]),
        Limit("b = c = 0 is a constant", {"b": 0.0, "c": 0.0}, lambda t, x: 10.0 ** t[0] + 0.0 * x),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return the parabola's power of ten."""
        a, b, c = theta
        u = np.log10(x)
        return exp10(a + u * (b + c * u))
