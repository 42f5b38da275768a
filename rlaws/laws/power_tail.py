"""Success that approaches one by a power law."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class PowerTail:
    """y = 1 - (1 - R0) (1 + x / x0)^-alpha.

    Symbols: R0 the success before training (a share), x0 the scale on which failure begins to fall (unit of x), alpha
    the exponent of its tail (pure number): for x much larger than x0 the failure 1 - y is a power law, and the ceiling
    is one. x >= 0.

    Source: policy gradient over problems whose first success rates have the density p^(alpha - 1) near zero leaves a
    share t^-alpha unsolved (t^-2alpha where advantages are normalised); one problem alone gives alpha = 1
    (arXiv 2005.06392, theorem 2).
    """

    name: ClassVar[str] = "power_tail"
    formula: ClassVar[str] = r"y = 1 - (1 - R_0)\,(1 + x / x_0)^{-\alpha}"
    source: ClassVar[str] = "arXiv 2005.06392, theorem 2, over a population of problems"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("R0", "R_0", "y", 0.0, 1.0, null=0.0, start=(0.02, 0.98)),
        Param("x0", "x_0", "x", 1e-9, 1e30),
        Param("alpha", r"\alpha", "1", 0.0, 12.0, null=0.0, start=(0.05, 3.0)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("alpha = 0 is a constant", {"alpha": 0.0}, lambda t, x: t[0] + 0.0 * x),
        Limit("R0 = 0, alpha = 1 is a hyperbola", {"R0": 0.0, "alpha": 1.0}, lambda t, x: x / (x + t[1])),
    )
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return 1 - (1 - R0) exp(-alpha log(1 + x / x0))."""
        first, x0, alpha = theta
        falls = np.exp(-np.minimum(alpha * np.log1p(np.asarray(x, dtype=float) / x0), 690.0))
        return np.asarray(1.0 - (1.0 - first) * falls)
