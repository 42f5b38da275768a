"""Rival of the saturating slope: the slope is a power of size."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class SlopePower:
    """y = s_N X^-k(N) with k(N) = K N^g.

    Symbols: K the slope at N = 1 (pure number times unit of N to the -g), g the exponent (pure number), s_N one free
    factor for every size. N > 0, X > 0.

    Source: rival of arXiv 2509.25300, eq. 2, without a ceiling.
    """

    name: ClassVar[str] = "slope_power"
    formula: ClassVar[str] = r"y = s_N X^{-k(N)},\quad k(N) = K N^{g}"
    source: ClassVar[str] = "rival of arXiv 2509.25300, eq. 2"
    x: ClassVar[tuple[str, ...]] = ("N", "X")
    params: ClassVar[tuple[Param, ...]] = (
        Param("K", "K", "N^-g", 1e-15, 1e6, start=(0.01, 0.5)),
        Param("g", "g", "1", -6.0, 6.0, null=0.0, start=(-0.5, 1.5)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("g = 0 is one slope for all sizes", {"g": 0.0}, lambda t, n, x: x ** -t[0] + 0.0 * n),
        Limit("g = 1 is a slope proportional to size", {"g": 1.0}, lambda t, n, x: np.exp(-t[0] * n * np.log(x))),
    )
    scale: ClassVar[str] = "log"
    free_scale: ClassVar[bool] = True
    domain: ClassVar[dict[str, tuple[float, float]]] = {"N": (0.1, 10.0), "X": (1.0, 1e4)}

    def predict(self, theta: Any, n: Any, x: Any) -> Array:
        """Return X^-k(N), without the free factor."""
        k, g = theta
        return safe_exp(-safe_exp(np.log(k) + g * np.log(n)) * np.log(x))
