"""Rival of the saturating slope: the slope grows with the logarithm of size."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class SlopeLog:
    """y = s_N X^-k(N) with k(N) = k0 + k1 log10 N.

    Symbols: k0 the slope at N = 1, k1 what a factor of ten in size adds (pure numbers), s_N one free factor for every
    size. N > 0, X > 0.

    Source: rival of arXiv 2509.25300, eq. 2, without a ceiling.
    """

    name: ClassVar[str] = "slope_log"
    formula: ClassVar[str] = r"y = s_N X^{-k(N)},\quad k(N) = k_0 + k_1 \log_{10} N"
    source: ClassVar[str] = "rival of arXiv 2509.25300, eq. 2"
    x: ClassVar[tuple[str, ...]] = ("N", "X")
    params: ClassVar[tuple[Param, ...]] = (
        Param("k0", "k_0", "1", -50.0, 50.0, start=(-0.5, 0.5)),
        Param("k1", "k_1", "1", -50.0, 50.0, null=0.0, start=(-0.5, 0.5)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("k1 = 0 is one slope for all sizes", {"k1": 0.0}, lambda t, n, x: x ** -t[0] + 0.0 * n),
    )
    scale: ClassVar[str] = "log"
    free_scale: ClassVar[bool] = True

    def predict(self, theta: Any, n: Any, x: Any) -> Array:
        """Return X^-k(N), without the free factor."""
        k0, k1 = theta
        return safe_exp(-(k0 + k1 * np.log10(n)) * np.log(x))
