"""How much signal the outcome reward gives the parameters through each part of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet


@dataclass(frozen=True, slots=True)
class GradientSNRVector:
    """SNR(k) = |E g| / sqrt(tr Var g) of the parameter gradient g at distance k from the reward.

    |E g|^2 is the U-statistic over pairs of different batches, the mean of <m_a, m_b> with m the batches' mean
    gradients: batches are independent, so it is unbiased, also where a batch's baseline ties its rollouts together. Its
    jackknife pseudo-values are the rows; their mean is the U-statistic itself and their spread gives its interval,
    which is wider than it need be where there is no signal. An estimate below zero is told as a negative SNR.

    Attributes:
        rollouts: Rollouts of a batch in the quick budget.
        batches: Independent batches; they are the clusters.
    """

    rollouts: int
    batches: int

    NAME: ClassVar[str] = "gradient_snr_vector"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.SKETCH}),)
    UNITS: ClassVar[Mapping[str, str]] = {"rollouts": "rollouts", "batches": "batches"}

    def __post_init__(self) -> None:
        if self.rollouts < 2 or self.batches < 8:
            raise InputError(
                f"gradient_snr_vector: rollouts = {self.rollouts} (at least 2), batches = {self.batches} (8)."
            )

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return a pseudo-value of |E g|^2 and the mean of |g|^2 for every batch and distance."""
        found = policy.gradient_sketches(problems, budget.of(self.rollouts), self.batches, seed)
        batches, parts = found.square.shape
        return Measurement(
            columns={
                "distance": np.tile(found.distance, batches),
                "cluster": np.repeat(np.arange(batches), parts),
                "signal": pseudo_values(found.mean).ravel(),
                "square": found.square.ravel(),
                "weight": np.ones(batches * parts),
            },
            units={"distance": found.unit, "signal": "1", "square": "1", "weight": "1"},
            x=("distance",),
            statistic="snr_vector",
            response="SNR of one rollout's parameter gradient",
            response_unit="1",
            provenance={"cost": dict(found.cost)},
        )


def pseudo_values(mean: Array) -> Array:
    """Return the jackknife pseudo-values of the U-statistic of |E m|^2, [C, K].

    With h_c = <m_c, mean of the others> and U the mean of h_c, leaving batch c out gives a pseudo-value
    C U - (C - 1) U_(-c) = (2 (C - 1) h_c - C U)/(C - 2).

    Args:
        mean: Independent vectors of one expectation, [C, K, D], C >= 3.
    """
    count = len(mean)
    others = (mean.sum(axis=0) - mean) / (count - 1)
    h = np.einsum("ckd,ckd->ck", mean, others)
    return np.asarray((2 * (count - 1) * h - count * h.mean(axis=0)) / (count - 2))
