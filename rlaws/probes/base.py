"""What a probe is: a measurement that runs unchanged on every rung.

A probe is one file in this folder and one YAML in ``conf/probe``. Its fields are its settings (each can be an axis of
a study's grid), and ``UNITS`` gives the unit of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability
from rlaws.problems import ProblemSet


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a cell may spend.

    Attributes:
        name: quick, full, or the user's own.
        scale: Factor on the sample sizes that a probe states for the quick budget.
        draws: Bootstrap replicas in the analysis.
    """

    name: str
    scale: float
    draws: int

    def __post_init__(self) -> None:
        from rlaws.errors import InputError

        if self.scale <= 0 or self.draws < 100:
            raise InputError(f"budget: scale = {self.scale} must be positive and draws = {self.draws} at least 100.")

    def of(self, quick: int, least: int = 2) -> int:
        """Return a sample size: what the quick budget takes, times the scale."""
        return max(least, round(quick * self.scale))


def log_times(first: float, last: float, per_decade: int) -> Array:
    """Return times from first to last, evenly spaced in their logarithm, [T]."""
    return np.asarray(np.geomspace(first, last, 2 + int(per_decade * np.log10(last / first))))


class Probe(Protocol):
    """One measurement.

    Class attributes:
        NAME: Unique name, also its key in ``conf/probe``.
        REQUIRES: Capabilities; of each inner set one suffices.
        UNITS: Unit of every setting that a grid may vary.
    """

    NAME: ClassVar[str]
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]]
    UNITS: ClassVar[Mapping[str, str]]

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Measure one cell: no files, no prints, no configuration objects."""
        ...
