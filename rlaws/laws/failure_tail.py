"""Failure that falls by a power law after a start-up."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class FailureTail:
    """y = L0 (1 + x / x0)^-alpha.

    Symbols: L0 the failure before training (unit of y), x0 the scale on which it begins to fall (unit of x), alpha the
    exponent of its tail (pure number). Without floor: success tends to one. x >= 0. It is one minus ``power_tail``, for
    responses that are losses.

    Source: policy gradient over problems whose first success rates have the density p^(alpha - 1) near zero leaves a
    share t^-alpha unsolved; one problem alone gives alpha = 1 (arXiv 2005.06392, theorem 2).
    """

    name: ClassVar[str] = "failure_tail"
    formula: ClassVar[str] = r"y = L_0\,(1 + x / x_0)^{-\alpha}"
    source: ClassVar[str] = "arXiv 2005.06392, theorem 2, over a population of problems"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("L0", "L_0", "y", 1e-9, 1e9),
        Param("x0", "x_0", "x", 1e-9, 1e30),
        Param("alpha", r"\alpha", "1", 0.0, 12.0, null=0.0, start=(0.05, 3.0)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("alpha = 0 is a constant", {"alpha": 0.0}, lambda t, x: t[0] + 0.0 * x),
        Limit("alpha = 1 is a hyperbola", {"alpha": 1.0}, lambda t, x: t[0] * t[1] / (t[1] + x)),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return L0 exp(-alpha log(1 + x / x0))."""
        first, x0, alpha = theta
        return np.asarray(first * np.exp(-np.minimum(alpha * np.log1p(np.asarray(x, dtype=float) / x0), 690.0)))
