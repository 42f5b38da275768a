"""Mean failure of repeated sampling when the problems' success rates follow a Beta distribution."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import log_gamma_ratio, safe_exp
from rlaws.laws.base import Array, Limit, Param


class BetaMixture:
    """y = E[(1-p)^x] = B(alpha, beta + x) / B(alpha, beta) for p ~ Beta(alpha, beta).

    Symbols: x the number of samples per problem, y the mean share of problems that none of them solves, alpha the
    exponent of the density of hard problems (y ~ x^-alpha for large x), beta its other shape (pure numbers). x >= 0.

    Source: arXiv 2502.17578, section 3; Gamma(alpha+beta) Gamma(beta+x) / (Gamma(beta) Gamma(alpha+beta+x)).
    """

    name: ClassVar[str] = "beta_mixture"
    formula: ClassVar[str] = r"y = \mathrm{B}(\alpha, \beta + x) / \mathrm{B}(\alpha, \beta)"
    source: ClassVar[str] = "arXiv 2502.17578, section 3"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("alpha", r"\alpha", "1", 1e-4, 1e3, start=(0.03, 10.0)),
        Param("beta", r"\beta", "1", 1e-4, 1e5, start=(0.1, 100.0)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("alpha = 1 is a hyperbola", {"alpha": 1.0}, lambda t, x: t[1] / (t[1] + x)),
        Limit("alpha = beta = 1 is 1 / (1 + x)", {"alpha": 1.0, "beta": 1.0}, lambda t, x: 1.0 / (1.0 + x)),
    )
    scale: ClassVar[str] = "log"
    domain: ClassVar[dict[str, tuple[float, float]]] = {"x": (1.0, 1e5)}

    def predict(self, theta: Any, x: Any) -> Array:
        """Return the ratio of Beta functions as a difference of two accurate gamma ratios."""
        alpha, beta = theta
        beta_x = beta + np.asarray(x, dtype=float)
        return safe_exp(log_gamma_ratio(beta, alpha) - log_gamma_ratio(beta_x, alpha))
