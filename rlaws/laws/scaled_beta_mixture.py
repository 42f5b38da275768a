"""Mean failure of repeated sampling when success rates follow a Beta distribution on [0, s]."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import betaln

from rlaws.laws._special import log_gamma_ratio
from rlaws.laws.base import Array, Limit, Param

# Trapezoidal rule in t for q = expit(3 sinh t): both ends of the Beta density decay double-exponentially in t, so the
# rule converges exponentially (Takahasi & Mori 1974); 0.04 gives 1e-10 for alpha >= 0.02 and x up to 1e5.
_STEP = 0.04
_NODES = np.arange(-7.0, 7.0 + _STEP / 2, _STEP)
_V = 3.0 * np.sinh(_NODES)
_LOG_Q = -np.logaddexp(0.0, -np.minimum(_V, 600.0))
_LOG_1MQ = -np.logaddexp(0.0, np.maximum(_V, -600.0))
_LOG_WEIGHT = np.log(3.0 * _STEP * np.cosh(_NODES))


class ScaledBetaMixture:
    """y = E[(1 - s q)^x] for q ~ Beta(alpha, beta); p = s q has support [0, s].

    Symbols: x the number of samples per problem, y the mean share of problems that none of them solves, alpha and
    beta the shapes, s the largest success rate (pure numbers). x >= 0. Equal to 2F1(-x, alpha; alpha+beta; s), whose
    series alternates; the integral over q has positive terms only.

    Source: arXiv 2502.17578, appendix (three-parameter scaled Beta).
    """

    name: ClassVar[str] = "scaled_beta_mixture"
    formula: ClassVar[str] = r"y = \mathrm{E}[(1 - s q)^{x}],\ q \sim \mathrm{Beta}(\alpha, \beta)"
    source: ClassVar[str] = "arXiv 2502.17578, appendix"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("alpha", r"\alpha", "1", 0.02, 100.0, start=(0.05, 5.0)),
        Param("beta", r"\beta", "1", 0.02, 1e3, start=(0.2, 30.0)),
        Param("s", "s", "1", 1e-4, 1.0, null=1.0, start=(0.1, 0.98)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit(
            "s = 1 is the Beta mixture",
            {"s": 1.0},
            lambda t, x: np.exp(log_gamma_ratio(t[1], t[0]) - log_gamma_ratio(t[1] + x, t[0])),
        ),
        Limit(
            "alpha = beta = 1 is a uniform mixture",
            {"alpha": 1.0, "beta": 1.0},
            lambda t, x: -np.expm1((x + 1.0) * np.log1p(-t[2])) / ((x + 1.0) * t[2]),
        ),
    )
    scale: ClassVar[str] = "log"
    domain: ClassVar[dict[str, tuple[float, float]]] = {"x": (1.0, 1e4)}

    def predict(self, theta: Any, x: Any) -> Array:
        """Return the integral as one matrix product over the nodes: density [B, Q] times failure [Q or B Q, X]."""
        alpha, beta, s = (np.atleast_2d(np.asarray(t, dtype=float)) for t in theta)
        x = np.asarray(x, dtype=float)
        log_density = alpha * _LOG_Q + beta * _LOG_1MQ + _LOG_WEIGHT - betaln(alpha, beta)
        used = (log_density > -60.0).any(axis=0)
        density = np.exp(np.maximum(log_density[:, used], -60.0))
        q, left = (np.exp(np.maximum(v[used], -690.0)) for v in (_LOG_Q, _LOG_1MQ))
        # 1 - s q = (1 - q) + (1 - s) q, without cancellation where s and q are near one
        log_miss = np.where(q < 0.5, np.log1p(-s * np.minimum(q, 0.5)), np.log(left + (1.0 - s) * q))
        fail = np.exp(np.maximum(log_miss[:, :, None] * np.ravel(x), -600.0))
        y = np.matmul(density[:, None, :], fail)[:, 0, :]
        return np.asarray(y if np.ndim(theta[0]) == 2 else y[0].reshape(x.shape))
