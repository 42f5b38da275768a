"""Plane in the logarithms of size and data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class PlaneLog:
    """y = c0 + c1 log10 N + c2 log10 D.

    Symbols: c0 the value at N = D = 1, c1 and c2 what a factor of ten in N and in D adds (all in the unit of y). N > 0,
    D > 0.

    Source: arXiv 2104.03113 (Elo against log compute on its incline), on two axes.
    """

    name: ClassVar[str] = "plane_log"
    formula: ClassVar[str] = r"y = c_0 + c_1 \log_{10} N + c_2 \log_{10} D"
    source: ClassVar[str] = "arXiv 2104.03113, incline of the frontier, on two axes"
    x: ClassVar[tuple[str, ...]] = ("N", "D")
    params: ClassVar[tuple[Param, ...]] = (
        Param("c0", "c_0", "y", -np.inf, np.inf),
        Param("c1", "c_1", "y", -np.inf, np.inf, null=0.0),
        Param("c2", "c_2", "y", -np.inf, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("c1 = 0 is a line in log D", {"c1": 0.0}, lambda t, n, d: t[0] + t[2] * np.log(d) / np.log(10) + 0.0 * n),
        Limit("c2 = 0 is a line in log N", {"c2": 0.0}, lambda t, n, d: t[0] + t[1] * np.log(n) / np.log(10) + 0.0 * d),
    )
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, n: Any, d: Any) -> Array:
        """Return c0 + c1 log10 N + c2 log10 D."""
        c0, c1, c2 = theta
        return np.asarray(c0 + c1 * np.log10(n) + c2 * np.log10(d))
