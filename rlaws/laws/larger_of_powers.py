"""The larger of two power laws: one of size, one of data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class LargerOfPowers:
    """y = max(A N^-alpha, B D^-beta).

    Symbols: as in the sum of powers; here the scarcer of N and D alone sets y. N > 0, D > 0.

    Source: arXiv 2001.08361, section 1.2 (performance is limited by the scarcest of N and D), taken literally.
    """

    name: ClassVar[str] = "larger_of_powers"
    formula: ClassVar[str] = r"y = \max(A\,N^{-\alpha},\; B\,D^{-\beta})"
    source: ClassVar[str] = "arXiv 2001.08361, section 1.2, taken literally"
    x: ClassVar[tuple[str, ...]] = ("N", "D")
    params: ClassVar[tuple[Param, ...]] = (
        Param("A", "A", "y N^alpha", 1e-30, 1e30, null=1e-30),
        Param("alpha", r"\alpha", "1", 1e-3, 12.0, start=(0.05, 1.5)),
        Param("B", "B", "y D^beta", 1e-30, 1e30, null=1e-30),
        Param("beta", r"\beta", "1", 1e-3, 12.0, start=(0.05, 1.5)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("A = 0 is a power of D", {"A": 1e-30}, lambda t, n, d: t[2] * d ** -t[3] + 0.0 * n),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, n: Any, d: Any) -> Array:
        """Return the larger of A N^-alpha and B D^-beta."""
        a, alpha, b, beta = theta
        return np.asarray(safe_exp(np.maximum(np.log(a) - alpha * np.log(n), np.log(b) - beta * np.log(d))))
