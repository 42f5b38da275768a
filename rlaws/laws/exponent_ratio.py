"""Are two exponents tied?"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class ExponentRatio:
    """y = a x^-alpha for rows of kind 0, y = c x^-(rho alpha) for rows of kind 1.

    Symbols: kind 0 the failure against samples k before training, kind 1 the failure against training time t; a and c
    the values at x = 1 (unit of y), alpha the exponent of kind 0, rho the ratio of the two exponents (pure numbers).
    x > 0. rho = 1 is plain policy gradient, rho = 2 the normalised advantage of GRPO.

    Source: population flow of independent problems with p0 ~ Beta(alpha, beta): 1 - R ~ t^-alpha under dp/dt ~ p^2,
    t^-2alpha under dp/dt ~ p^(3/2).
    """

    name: ClassVar[str] = "exponent_ratio"
    formula: ClassVar[str] = r"y = a\,x^{-\alpha}\ \mathrm{or}\ c\,x^{-\rho\alpha}"
    source: ClassVar[str] = "population flow of policy gradient over p0 ~ Beta(alpha, beta)"
    x: ClassVar[tuple[str, ...]] = ("x", "kind")
    params: ClassVar[tuple[Param, ...]] = (
        Param("a", "a", "y x^alpha", 1e-30, 1e30),
        Param("alpha", r"\alpha", "1", 1e-4, 12.0, start=(0.05, 2.0)),
        Param("c", "c", "y", 1e-30, 1e30),
        Param("rho", r"\rho", "1", -20.0, 20.0, null=1.0, start=(0.2, 4.0)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit(
            "rho = 1 is one exponent",
            {"rho": 1.0},
            lambda t, x, kind: np.where(kind > 0.5, t[2], t[0]) * x ** -t[1],
        ),
    )
    scale: ClassVar[str] = "log"
    domain: ClassVar[dict[str, tuple[float, float]]] = {"x": (1.0, 1e4), "kind": (0.0, 1.0)}

    def predict(self, theta: Any, x: Any, kind: Any) -> Array:
        """Return the curve of each row's kind."""
        a, alpha, c, rho = theta
        kind = np.asarray(kind, dtype=float)
        exponent = alpha * (1.0 + (rho - 1.0) * kind)
        return safe_exp((1.0 - kind) * np.log(a) + kind * np.log(c) - exponent * np.log(x))
