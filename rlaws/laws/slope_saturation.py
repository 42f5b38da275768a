"""The saturating slope itself, as a law of size."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class SlopeSaturation:
    """y = K_max / (1 + N0 / x).

    Symbols: y a slope already measured at each size, K_max its ceiling (unit of y), N0 the size of half the ceiling
    (unit of x). x > 0. Rivals: constant, power, linear_log.

    Source: arXiv 2509.25300, eq. 2.
    """

    name: ClassVar[str] = "slope_saturation"
    formula: ClassVar[str] = r"y = \frac{K_\max}{1 + N_0 / x}"
    source: ClassVar[str] = "arXiv 2509.25300, eq. 2"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("K_max", r"K_\max", "y", -np.inf, np.inf, null=0.0),
        Param("N0", "N_0", "x", 0.0, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (Limit("N0 = 0 is a constant", {"N0": 0.0}, lambda t, x: t[0] + 0.0 * x),)
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return K_max x / (x + N0)."""
        x = np.asarray(x, dtype=float)
        return np.asarray(theta[0] * x / (x + theta[1]))
