"""What a law is: one functional form with named, bounded, dimensioned parameters.

A law lives in a file of its own in this folder and is found by its ``name``; nobody edits a list. ``docs/adding.md``
shows one in full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a law.

    Attributes:
        name: Key used in claims and results.
        symbol: How figures print it (mathtext without dollars).
        unit: Its unit; "1" for a pure number, "y" for the unit of the response.
        low: Lower bound, may be -inf.
        high: Upper bound, may be inf.
        null: The value that means "no effect", or None where there is none.
        start: Range from which starting points are drawn; finite, inside the bounds. Default: derived from the bounds.
    """

    name: str
    symbol: str
    unit: str
    low: float
    high: float
    null: float | None = None
    start: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A simpler law that this one becomes when some parameters are fixed; the contract tests check it.

    Attributes:
        text: For example "b = 0 is a constant".
        fixed: Parameter values of the restriction.
        formula: ``formula(theta, *x)`` of the simpler law, written independently of ``predict``.
    """

    text: str
    fixed: Mapping[str, float]
    formula: Callable[..., Array]


@runtime_checkable
class Law(Protocol):
    """One functional form y = predict(theta, x_1, ..., x_d).

    Class attributes:
        name: Unique name, also its key in ``conf/law``.
        formula: The formula as mathtext, without dollars, for figures and reports.
        source: Where it comes from: bib key or arXiv id, with equation number.
        x: Names of the independent variables, in the order ``predict`` takes them (roles, not data columns).
        params: The parameters, in the order of theta.
        limits: Restrictions to simpler laws.
        scale: "log" where the response is positive and residuals are relative, else "linear".
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    x: ClassVar[tuple[str, ...]]
    params: ClassVar[tuple[Param, ...]]
    limits: ClassVar[tuple[Limit, ...]]
    scale: ClassVar[str]

    def predict(self, theta: Any, *x: Any) -> Any:
        """Evaluate the law.

        Args:
            theta: Sequence of p parameters; each a scalar or an array [B, 1].
            *x: One array [X] per independent variable.

        Returns:
            Array [X], or [B, X] where the parameters carry a batch.
        """
        ...
