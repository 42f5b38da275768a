"""Power law in the parameters of the post-training paper."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import exp10
from rlaws.laws.base import Array, Limit, Param


class LogLinear:
    """log10 y = E - k log10 x: a straight line in log-log axes.

    Symbols: k the slope (pure number, positive when y falls), E the intercept, log10 of y at x = 1 (log10 of the unit
    of y). The paper writes "log"; its code takes log10, and so does E here. k does not depend on the base. x > 0.

    Source: arXiv 2509.25300, eq. 1, for one model size: log L = -k(N) log X + E(N), L = 1 - pass@1.
    """

    name: ClassVar[str] = "log_linear"
    formula: ClassVar[str] = r"\log_{10} y = E - k \log_{10} x"
    source: ClassVar[str] = "arXiv 2509.25300, eq. 1"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("k", "k", "1", -12.0, 12.0, null=0.0, start=(-1.0, 1.5)),
        Param("E", "E", "log10 y", -300.0, 300.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("k = 0 is a constant", {"k": 0.0}, lambda theta, x: 10.0 ** theta[1] + 0.0 * x),
        Limit("E = 0 is a pure power", {"E": 0.0}, lambda theta, x: x ** -theta[0]),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return 10^(E - k log10 x)."""
        k, e = theta
        return exp10(e - k * np.log10(x))
