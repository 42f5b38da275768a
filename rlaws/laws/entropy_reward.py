"""Reward bought with entropy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws.base import Array, Limit, Param


class EntropyReward:
    """y = c - a (e^H - 1), that is R = -a e^H + b with b = c + a.

    Symbols: a how much reward one unit of e^H costs, c the ceiling b - a at entropy 0 (both unit of y); H >= 0 the
    policy's entropy in nats.

    Source: arXiv 2505.22617, eq. 1.
    """

    name: ClassVar[str] = "entropy_reward"
    formula: ClassVar[str] = r"y = c - a\,(e^{H} - 1)"
    source: ClassVar[str] = "arXiv 2505.22617, eq. 1"
    x: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[tuple[Param, ...]] = (
        Param("a", "a", "y", -np.inf, np.inf, null=0.0),
        Param("c", "c", "y", -np.inf, np.inf),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("a = 0 is a constant", {"a": 0.0}, lambda theta, x: theta[1] + 0.0 * x),
    )
    scale: ClassVar[str] = "linear"
    domain: ClassVar[dict[str, tuple[float, float]]] = {"x": (0.01, 6.0)}

    def predict(self, theta: Any, x: Any) -> Array:
        """Return c - a (e^x - 1)."""
        a, c = theta
        return np.asarray(c - a * np.expm1(np.asarray(x, dtype=float)))
