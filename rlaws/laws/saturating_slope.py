"""Curves of many sizes whose slope saturates with size."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class SaturatingSlope:
    """y = s_N X^-k(N) with k(N) = K_max / (1 + N0 / N).

    Symbols: K_max the slope of an infinitely large model (pure number), N0 the size of half that slope (unit of N),
    s_N one free factor for every size (the paper's 10^E(N)), which ``fit(free_scale=...)`` profiles out. N > 0, X > 0.

    Source: arXiv 2509.25300, eqs. 1 and 2.
    """

    name: ClassVar[str] = "saturating_slope"
    formula: ClassVar[str] = r"y = s_N X^{-k(N)},\quad k(N) = \frac{K_\max}{1 + N_0 / N}"
    source: ClassVar[str] = "arXiv 2509.25300, eqs. 1-2"
    x: ClassVar[tuple[str, ...]] = ("N", "X")
    params: ClassVar[tuple[Param, ...]] = (
        Param("K_max", r"K_\max", "1", 0.0, 12.0, null=0.0, start=(0.02, 1.0)),
        Param("N0", "N_0", "N", 0.0, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("N0 = 0 is one slope for all sizes", {"N0": 0.0}, lambda t, n, x: x ** -t[0] + 0.0 * n),
        Limit("K_max = 0 is no learning", {"K_max": 0.0}, lambda t, n, x: 1.0 + 0.0 * n * x),
    )
    scale: ClassVar[str] = "log"
    free_scale: ClassVar[bool] = True

    def predict(self, theta: Any, n: Any, x: Any) -> Array:
        """Return X^-k(N), without the free factor."""
        k_max, n0 = theta
        n = np.asarray(n, dtype=float)
        return safe_exp(-k_max * n / (n + n0) * np.log(x))
