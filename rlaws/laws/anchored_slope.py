"""Curves of many sizes whose slope saturates with size, each anchored at its own measured start."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class AnchoredSlope:
    """y = L0 X^-k(N) with k(N) = K_max / (1 + N0 / N).

    Symbols: L0 the response measured at the start of the curve (unit of y), X the resource as a multiple of what was
    spent at that start (pure number), K_max the slope of an infinitely large model, N0 the size of half that slope
    (unit of N). No level is fitted, so a size that was never fitted can be predicted from its own start. L0, X, N > 0.

    Source: arXiv 2509.25300, eqs. 1 and 2, with the intercept E(N) set by the start of the curve in place of a fit.
    """

    name: ClassVar[str] = "anchored_slope"
    formula: ClassVar[str] = r"y = L_0 X^{-k(N)},\quad k(N) = \frac{K_\max}{1 + N_0 / N}"
    source: ClassVar[str] = "arXiv 2509.25300, eqs. 1-2"
    x: ClassVar[tuple[str, ...]] = ("N", "X", "L0")
    params: ClassVar[tuple[Param, ...]] = (
        Param("K_max", r"K_\max", "1", 0.0, 12.0, null=0.0, start=(0.02, 1.0)),
        Param("N0", "N_0", "N", 0.0, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("N0 = 0 is one slope for all sizes", {"N0": 0.0}, lambda t, n, x, start: start * x ** -t[0] + 0.0 * n),
        Limit("K_max = 0 is no learning", {"K_max": 0.0}, lambda t, n, x, start: start + 0.0 * n * x),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, n: Any, x: Any, start: Any) -> Array:
        """Return L0 X^-k(N)."""
        k_max, n0 = theta
        n = np.asarray(n, dtype=float)
        return np.asarray(start * safe_exp(-k_max * n / (n + n0) * np.log(x)))
