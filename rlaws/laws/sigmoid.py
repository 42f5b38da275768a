"""Saturating progress of a bounded metric."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from rlaws.laws.base import Array, Limit, Param


class Sigmoid:
    """y = R0 + (A - R0) / (1 + (C_mid / x)^B).

    Symbols: R0 the value before training, A the asymptote (both in the unit of y, a share in [0, 1]), C_mid the
    compute of half the gain (unit of x), B the efficiency exponent (pure number); the slope against log x at C_mid is
    B/4 of the gain. A may lie below R0, so that the form also describes a falling loss. x > 0.

    Source: arXiv 2510.13786, eq. 1.
    """

    name: ClassVar[str] = "sigmoid"
    formula: ClassVar[str] = r"y = R_0 + \frac{A - R_0}{1 + (C_\mathrm{mid} / x)^{B}}"
    source: ClassVar[str] = "arXiv 2510.13786, eq. 1"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("R0", "R_0", "y", 0.0, 1.0, null=0.0, start=(0.02, 0.98)),
        Param("A", "A", "y", 0.0, 1.0, start=(0.02, 0.98)),
        Param("C_mid", r"C_\mathrm{mid}", "x", 1e-30, 1e40),
        Param("B", "B", "1", 0.02, 50.0, start=(0.2, 5.0)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("R0 = 0, A = 1, B = 1 is a hyperbola", {"R0": 0.0, "A": 1.0, "B": 1.0}, lambda t, x: x / (x + t[2])),
        Limit("A = R0 is a constant", {"R0": 0.5, "A": 0.5}, lambda t, x: 0.5 + 0.0 * x),
    )
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return R0 + (A - R0) expit(B log(x / C_mid))."""
        r0, top, mid, b = theta
        return np.asarray(r0 + (top - r0) * expit(np.clip(b * (np.log(x) - np.log(mid)), -690.0, 690.0)))
