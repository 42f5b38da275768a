"""Over-optimisation of reinforcement learning."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class GaoRL:
    """y = d (alpha - beta log d), d = sqrt(KL from the policy before training).

    Symbols: y what the true reward gains, x = d in the root of nats, alpha the slope at d = 1, beta what
    over-optimisation takes (both unit of y over unit of d). The peak is beta d*, at d* = exp(alpha / beta - 1). d > 0.

    Source: arXiv 2210.10760, section 3.2, reinforcement learning.
    """

    name: ClassVar[str] = "gao_rl"
    formula: ClassVar[str] = r"y = d\,(\alpha - \beta \log d)"
    source: ClassVar[str] = "arXiv 2210.10760, section 3.2"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("alpha", r"\alpha", "y/x", -np.inf, np.inf),
        Param("beta", r"\beta", "y/x", -np.inf, np.inf, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("beta = 0 is proportional", {"beta": 0.0}, lambda t, x: t[0] * np.asarray(x, dtype=float)),
    )
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return d (alpha - beta log d) at d = x."""
        alpha, beta = theta
        d = np.asarray(x, dtype=float)
        return np.asarray(d * (alpha - beta * np.log(d)))
