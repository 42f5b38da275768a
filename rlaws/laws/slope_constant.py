"""Rival of the saturating slope: one slope for all sizes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class SlopeConstant:
    """y = s_N X^-k.

    Symbols: k the slope that all sizes share (pure number), s_N one free factor for every size. N > 0, X > 0.

    Source: null model of arXiv 2509.25300, eq. 2: size moves the level, never the slope.
    """

    name: ClassVar[str] = "slope_constant"
    formula: ClassVar[str] = r"y = s_N X^{-k}"
    source: ClassVar[str] = "null model of arXiv 2509.25300, eq. 2"
    x: ClassVar[tuple[str, ...]] = ("N", "X")
    params: ClassVar[tuple[Param, ...]] = (Param("k", "k", "1", -12.0, 12.0, null=0.0, start=(-0.5, 1.0)),)
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("k = 0 is no learning", {"k": 0.0}, lambda t, n, x: 1.0 + 0.0 * n * x),
    )
    scale: ClassVar[str] = "log"
    free_scale: ClassVar[bool] = True

    def predict(self, theta: Any, n: Any, x: Any) -> Array:
        """Return X^-k, without the free factor."""
        return np.asarray(safe_exp(-theta[0] * np.log(x)) + 0.0 * np.asarray(n, dtype=float))
