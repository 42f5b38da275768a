"""Over-optimisation of best-of-n."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class GaoBoN:
    """y = d (alpha - beta d), d = sqrt(KL from the policy before selection).

    Symbols: y what the true reward gains, x = d in the root of nats, alpha the slope at d = 0 (unit of y over unit of
    d), beta what over-optimisation takes (unit of y over unit of d squared). The peak is alpha^2 / (4 beta), at
    d* = alpha / (2 beta).

    Source: arXiv 2210.10760, section 3.2, best-of-n.
    """

    name: ClassVar[str] = "gao_bon"
    formula: ClassVar[str] = r"y = d\,(\alpha - \beta d)"
    source: ClassVar[str] = "arXiv 2210.10760, section 3.2"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("alpha", r"\alpha", "y/x", -np.inf, np.inf),
        Param("beta", r"\beta", "y/x^2", -np.inf, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("beta = 0 is proportional", {"beta": 0.0}, lambda t, x: t[0] * np.asarray(x, dtype=float)),
    )
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return d (alpha - beta d) at d = x."""
        alpha, beta = theta
        d = np.asarray(x, dtype=float)
        return np.asarray(d * (alpha - beta * d))
