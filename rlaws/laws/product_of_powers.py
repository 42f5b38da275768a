"""Product of two power laws: one of size, one of data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class ProductOfPowers:
    """y = A N^-alpha D^-beta.

    Symbols: N the size and D the data, A the value at N = D = 1 (unit of y times those of N^alpha D^beta), alpha and
    beta the exponents (pure numbers). Neither limits the other: a plane in log axes. N > 0, D > 0.

    Source: arXiv 2001.08361, eqs. 1.1 and 1.2, multiplied; the rival of their sum.
    """

    name: ClassVar[str] = "product_of_powers"
    formula: ClassVar[str] = r"y = A\,N^{-\alpha} D^{-\beta}"
    source: ClassVar[str] = "arXiv 2001.08361, eqs. 1.1 and 1.2, multiplied"
    x: ClassVar[tuple[str, ...]] = ("N", "D")
    params: ClassVar[tuple[Param, ...]] = (
        Param("A", "A", "y N^alpha D^beta", 1e-30, 1e30),
        Param("alpha", r"\alpha", "1", -12.0, 12.0, null=0.0, start=(-0.5, 1.5)),
        Param("beta", r"\beta", "1", -12.0, 12.0, null=0.0, start=(-0.5, 1.5)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("alpha = 0 is a power of D", {"alpha": 0.0}, lambda t, n, d: t[0] * d ** -t[2] + 0.0 * n),
        Limit("beta = 0 is a power of N", {"beta": 0.0}, lambda t, n, d: t[0] * n ** -t[1] + 0.0 * d),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, n: Any, d: Any) -> Array:
        """Return A N^-alpha D^-beta."""
        a, alpha, beta = theta
        return np.asarray(safe_exp(np.log(a) - alpha * np.log(n) - beta * np.log(d)))
