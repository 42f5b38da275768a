"""How much signal the outcome reward gives each step: signal-to-noise ratio of the score-function gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet


@dataclass(frozen=True, slots=True)
class GradientSNR:
    """SNR(k) = E[g_t] / sd(g_t) at distance k = L - t + 1 from the reward, g_t = (c_t - p_t)(G_t - b).

    Attributes:
        rollouts: Rollouts of a batch in the quick budget.
        batches: Independent batches; they are the clusters.

    Source: the claim "SNR(k) = k^-1/2 exp(-lambda I)" and the chain of docs/worlds.md.
    """

    rollouts: int
    batches: int

    NAME: ClassVar[str] = "gradient_snr"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.GRADIENT}),)
    UNITS: ClassVar[Mapping[str, str]] = {"rollouts": "rollouts", "batches": "batches"}

    def __post_init__(self) -> None:
        if self.rollouts < 2 or self.batches < 8:
            raise InputError(f"gradient_snr: rollouts = {self.rollouts} (at least 2), batches = {self.batches} (8).")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return n, sum g and sum g^2 for every batch and distance."""
        sums = policy.gradient_sums(problems, budget.of(self.rollouts), self.batches, seed)
        batches, length = sums.s1.shape
        return Measurement(
            columns={
                "distance": np.tile(np.arange(length, 0, -1), batches),
                "cluster": np.repeat(np.arange(batches), length),
                "n": np.repeat(sums.n, length),
                "s1": sums.s1.ravel(),
                "s2": sums.s2.ravel(),
            },
            units={"distance": "steps", "n": "rollouts", "s1": "1", "s2": "1"},
            x=("distance",),
            statistic="snr",
            response="SNR of one rollout's gradient",
            response_unit="1",
            provenance={"cost": dict(sums.cost)},
        )
