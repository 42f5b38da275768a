"""Parabola against log x, linear in y: curvature of a response that may be negative."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class CurvedLog:
    """y = c0 + c1 log10 x + c2 (log10 x)^2.

    Symbols: c0 the value at x = 1, c1 the slope there per decade, c2 the curvature (all in the unit of y). x > 0. For a
    bounded metric under the link log_error, y = -log(1 - metric), so c2 = 0 says that the loss is a power law of x.

    Source: arXiv 2509.25300, section 3.5 (converged loss departs from a power law of size): second-order term of it.
    """

    name: ClassVar[str] = "curved_log"
    formula: ClassVar[str] = r"y = c_0 + c_1 \log_{10} x + c_2 (\log_{10} x)^2"
    source: ClassVar[str] = "arXiv 2509.25300, section 3.5"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("c0", "c_0", "y", -np.inf, np.inf),
        Param("c1", "c_1", "y/decade", -np.inf, np.inf, null=0.0),
        Param("c2", "c_2", "y/decade^2", -np.inf, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("c2 = 0 is a straight line in log x", {"c2": 0.0}, lambda t, x: t[0] + t[1] * np.log(x) / np.log(10.0)),
        Limit("c1 = c2 = 0 is a constant", {"c1": 0.0, "c2": 0.0}, lambda t, x: t[0] + 0.0 * x),
    )
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return c0 + c1 u + c2 u^2 with u = log10 x."""
        c0, c1, c2 = theta
        u = np.log10(x)
        return np.asarray(c0 + u * (c1 + c2 * u))
