"""Is the exponent the same on two axes?"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from rlaws.laws._special import safe_exp
from rlaws.laws.base import Array, Limit, Param


class AxisPair:
    """y = s X^-(k + delta axis), axis 0 or 1.

    Symbols: X the resource of the row's axis (compute on axis 0, data on axis 1), k the slope on axis 0, delta the
    slope on axis 1 less that on axis 0 (pure numbers), s one free factor for every curve, so E differs by axis (and
    by size). The same curves appear once under each axis. X > 0.

    Source: arXiv 2509.25300, section 6.2: C proportional to D gives k_C = k_D, that is delta = 0.
    """

    name: ClassVar[str] = "axis_pair"
    formula: ClassVar[str] = r"y = s\,X^{-(k + \delta\,\mathrm{axis})}"
    source: ClassVar[str] = "arXiv 2509.25300, section 6.2"
    x: ClassVar[tuple[str, ...]] = ("X", "axis")
    params: ClassVar[tuple[Param, ...]] = (
        Param("k", "k", "1", -12.0, 12.0, null=0.0, start=(-0.5, 1.0)),
        Param("delta", r"\delta", "1", -12.0, 12.0, null=0.0, start=(-0.5, 0.5)),
    )
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("delta = 0 is one slope", {"delta": 0.0}, lambda t, x, axis: x ** -t[0] + 0.0 * axis),
    )
    scale: ClassVar[str] = "log"
    free_scale: ClassVar[bool] = True
    domain: ClassVar[dict[str, tuple[float, float]]] = {"X": (1.0, 1e4), "axis": (0.0, 1.0)}

    def predict(self, theta: Any, x: Any, axis: Any) -> Array:
        """Return X^-(k + delta axis), without the free factor."""
        k, delta = theta
        return safe_exp(-(k + delta * np.asarray(axis, dtype=float)) * np.log(x))
