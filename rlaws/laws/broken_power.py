"""Two power laws with a smooth break."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class BrokenPower:
    """y = a x^-b1 (1 + (x / x0)^(1/w))^(-(b2 - b1) w).

    Symbols: a the value at x = 1 of the first branch (unit of y times unit of x to the b1), b1 and b2 the exponents
    before and after the break (pure numbers), x0 the break (unit of x), w its width in units of log x (pure number).
    x > 0.

    Source: arXiv 2210.14891, eq. 1, with one break and no floor.
    """

    name: ClassVar[str] = "broken_power"
    formula: ClassVar[str] = r"y = a\,x^{-b_1}\,[1 + (x / x_0)^{1/w}]^{-(b_2 - b_1) w}"
    source: ClassVar[str] = "arXiv 2210.14891, eq. 1, one break"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("a", "a", "y x^b1", 1e-30, 1e30),
        Param("b1", "b_1", "1", -12.0, 12.0, null=0.0, start=(-0.5, 1.5)),
        Param("b2", "b_2", "1", -12.0, 12.0, null=0.0, start=(-0.5, 2.5)),
        Param("x0", "x_0", "x", 1e-30, 1e40),
        Param("w", "w", "1", 0.02, 5.0, start=(0.1, 1.0)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("b2 = b1 is a power law", {"b1": 0.7, "b2": 0.7}, lambda t, x: t[0] * x**-0.7),
        Limit(
            "b1 = 0, b2 = 1, w = 1 is a hyperbola",
            {"b1": 0.0, "b2": 1.0, "w": 1.0},
            lambda t, x: t[0] * t[3] / (t[3] + x),
        ),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return the curve through its logarithm; log(1 + e^z) as logaddexp(0, z)."""
        a, b1, b2, x0, w = theta
        log_x = np.log(x)
        z = np.clip((log_x - np.log(x0)) / w, -690.0, 1e6)
        return safe_exp(np.log(a) - b1 * log_x - (b2 - b1) * w * np.logaddexp(0.0, z))
