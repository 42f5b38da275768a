"""Power law."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class Power:
    """y = a x^-b.

    Symbols: a the value at x = 1 (unit of y times unit of x to the b), b the exponent (pure number, positive when y
    falls). x > 0.

    Source: arXiv 2407.21787 (coverage of repeated sampling: -log pass@k = a k^-b) and arXiv 2502.17578, section 2.
    """

    name: ClassVar[str] = "power"
    formula: ClassVar[str] = r"y = a\,x^{-b}"
    source: ClassVar[str] = "arXiv 2407.21787, section 3; arXiv 2502.17578, section 2"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("a", "a", "y x^b", 1e-30, 1e30),
        Param("b", "b", "1", -12.0, 12.0, null=0.0, start=(-1.5, 2.0)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("b = 0 is a constant", {"b": 0.0}, lambda theta, x: theta[0] + 0.0 * x),
        Limit("b = 1 is a hyperbola", {"b": 1.0}, lambda theta, x: theta[0] / x),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return a x^-b."""
        a, b = theta
        return safe_exp(np.log(a) - b * np.log(x))
