"""Power law with an exponential cut-off."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class PowerExponential:
    """y = exp(A) x^-b exp(-kappa x).

    Symbols: A the natural logarithm of the prefactor (log of the unit of y), b the exponent (pure number), kappa the
    rate of the exponential part (one over the unit of x). Both may be negative: a signal may rise before it falls.
    x >= 1, for example the number of steps to the end of a chain.

    Source: seed claim "the signal-to-noise ratio falls as k^-1/2" with the exponential part of a chain whose steps
    are right with probability p, kappa = -log p.
    """

    name: ClassVar[str] = "power_exponential"
    formula: ClassVar[str] = r"y = e^{A} x^{-b} e^{-\kappa x}"
    source: ClassVar[str] = "gamma-shaped decay; kappa = -log p for a chain of steps right with probability p"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("A", "A", "log y", -80.0, 80.0),
        Param("b", "b", "1", -12.0, 12.0, null=0.0, start=(-1.0, 2.0)),
        Param("kappa", r"\kappa", "1/x", -5.0, 50.0, null=0.0),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("kappa = 0 is a power law", {"kappa": 0.0}, lambda theta, x: np.exp(theta[0]) * x ** -theta[1]),
        Limit("b = 0 is an exponential", {"b": 0.0}, lambda theta, x: np.exp(theta[0] - theta[2] * x)),
    )
    scale: ClassVar[str] = "log"
    domain: ClassVar[dict[str, tuple[float, float]]] = {"x": (1.0, 60.0)}

    def predict(self, theta: Any, x: Any) -> Array:
        """Return exp(A - b log x - kappa x)."""
        log_a, b, kappa = theta
        x = np.asarray(x, dtype=float)
        return safe_exp(log_a - b * np.log(x) - kappa * x)
