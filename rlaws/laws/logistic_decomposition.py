"""Loss as a floor and a logistic in log data, for one model size."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from rlaws.laws.base import Array, Limit, Param


class LogisticDecomposition:
    """y = L_inf + lambda / (1 + (x / D0)^beta).

    Symbols: L_inf what no data removes at this size, lambda what RL can remove (both unit of y), D0 the data at which
    half of it is gone (unit of x), beta the steepness (pure number). The local slope -d log y / d log x at D0 is
    (beta / 2) / (1 + 2 L_inf / lambda). x > 0.

    Source: arXiv 2509.25300, appendix on the decomposition of the loss; the size-dependent floor is inside L_inf here.
    """

    name: ClassVar[str] = "logistic_decomposition"
    formula: ClassVar[str] = r"y = L_\infty + \frac{\lambda}{1 + (x / D_0)^{\beta}}"
    source: ClassVar[str] = "arXiv 2509.25300, appendix (loss decomposition)"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("L_inf", r"L_\infty", "y", 0.0, np.inf, null=0.0),
        Param("lambda", r"\lambda", "y", 0.0, np.inf, null=0.0),
        Param("D0", "D_0", "x", 1e-30, 1e40),
        Param("beta", r"\beta", "1", 0.02, 50.0, start=(0.2, 5.0)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("lambda = 0 is a constant", {"lambda": 0.0}, lambda t, x: t[0] + 0.0 * x),
        Limit("L_inf = 0, beta = 1 is a hyperbola", {"L_inf": 0.0, "beta": 1.0}, lambda t, x: t[1] * t[2] / (t[2] + x)),
    )
    scale: ClassVar[str] = "linear"

    def predict(self, theta: Any, x: Any) -> Array:
        """Return L_inf + lambda expit(-beta log(x / D0))."""
        floor, height, d0, beta = theta
        return np.asarray(floor + height * expit(np.clip(beta * (np.log(d0) - np.log(x)), -690.0, 690.0)))
