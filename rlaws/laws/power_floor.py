"""Power law above a floor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class PowerFloor:
    """y = a x^-b + c.

    Symbols: a the height above the floor at x = 1 (unit of y times unit of x to the b), b the exponent (pure number),
    c the floor that no x removes (unit of y). x > 0.

    Source: arXiv 2001.08361 (with c = 0) and arXiv 2203.15556, eq. 2, for one axis.
    """

    name: ClassVar[str] = "power_floor"
    formula: ClassVar[str] = r"y = a\,x^{-b} + c"
    source: ClassVar[str] = "arXiv 2203.15556, eq. 2, one axis"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("a", "a", "y x^b", 1e-30, 1e30),
        Param("b", "b", "1", 1e-3, 12.0, start=(0.05, 3.0)),
        Param("c", "c", "y", 0.0, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("c = 0 is a power law", {"c": 0.0}, lambda theta, x: theta[0] * x ** -theta[1]),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return a x^-b + c."""
        a, b, c = theta
        return np.asarray(safe_exp(np.log(a) - b * np.log(x)) + c)
