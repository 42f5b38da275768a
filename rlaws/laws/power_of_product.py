"""One power law of size times data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class PowerOfProduct:
    """y = A (N D)^-b.

    Symbols: N the size and D the data, A the value at N D = 1 (unit of y times that of (N D)^b), b the exponent (pure
    number). N D is proportional to the compute of one pass, so how it is split does not matter. N > 0, D > 0.

    Source: arXiv 2001.08361, eq. 1.3 (a power of compute), with C = 6 N D.
    """

    name: ClassVar[str] = "power_of_product"
    formula: ClassVar[str] = r"y = A\,(N D)^{-b}"
    source: ClassVar[str] = "arXiv 2001.08361, eq. 1.3 with C = 6 N D"
    x: ClassVar[tuple[str, ...]] = ("N", "D")
    params: ClassVar[tuple[Param, ...]] = (
        Param("A", "A", "y (N D)^b", 1e-30, 1e30),
        Param("b", "b", "1", -12.0, 12.0, null=0.0, start=(-0.5, 1.0)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("b = 0 is a constant", {"b": 0.0}, lambda t, n, d: t[0] + 0.0 * n * d),
    )
    scale: ClassVar[str] = "log"

    def predict(self, theta: Any, n: Any, d: Any) -> Array:
        """Return A (N D)^-b."""
        a, b = theta
        return np.asarray(safe_exp(np.log(a) - b * (np.log(n) + np.log(d))))
