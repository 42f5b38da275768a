"""Sum of two power laws: one of size, one of data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class SumOfPowers:
    """y = A N^-alpha + B D^-beta.

    Symbols: N the size and D the data, A and B the two parts at N = 1 and D = 1 (unit of y times unit of N to the
    alpha, of D to the beta), alpha and beta their exponents (pure numbers). With much of one, the other limits. N > 0,
    D > 0.

    Source: arXiv 2203.15556, eq. 2, without the constant term.
    """

    name: ClassVar[str] = "sum_of_powers"
    formula: ClassVar[str] = r"y = A\,N^{-\alpha} + B\,D^{-\beta}"
    source: ClassVar[str] = "arXiv 2203.15556, eq. 2, without the constant"
    x: ClassVar[tuple[str, ...]] = ("N", "D")
    params: ClassVar[tuple[Param, ...]] = (
        Param("A", "A", "y N^alpha", 1e-30, 1e30, null=1e-30),
        Param("alpha", r"\alpha", "1", 1e-3, 12.0, start=(0.05, 1.5)),
        Param("B", "B", "y D^beta", 1e-30, 1e30, null=1e-30),
        Param("beta", r"\beta", "1", 1e-3, 12.0, start=(0.05, 1.5)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("no part of N: a power of D", {"A": 1e-30}, lambda t, n, d: t[2] * d ** -t[3] + 0.0 * n),
        Limit("no part of D: a power of N", {"B": 1e-30}, lambda t, n, d: t[0] * n ** -t[1] + 0.0 * d),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, n: Any, d: Any) -> Array:
        """Return A N^-alpha + B D^-beta."""
        a, alpha, b, beta = theta
        return np.asarray(safe_exp(np.log(a) - alpha * np.log(n)) + safe_exp(np.log(b) - beta * np.log(d)))
