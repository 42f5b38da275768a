"""How fast a step's influence on the outcome decays, against what successive states tell of each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class InfluenceDecay:
    """kappa, the decay of E[g_t] a step of distance, and I(z_t; z_{t+1}), both measured on each batch.

    kappa = -log(sum_{k<=K} E[g]_{k+1} / sum_{k<=K} E[g]_k): where E[g] falls by a factor l a step, the ratio of the two
    sums is l, without a regression on logs of noise. I is the plug-in mutual information of the transition counts.

    Attributes:
        rollouts: Rollouts of a batch in the quick budget.
        batches: Independent batches; they are the clusters.
        window: K, distances that are summed.
    """

    rollouts: int
    batches: int
    window: int

    NAME: ClassVar[str] = "influence_decay"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (
        frozenset({Capability.GRADIENT}),
        frozenset({Capability.STATES}),
    )
    UNITS: ClassVar[Mapping[str, str]] = {"rollouts": "rollouts", "batches": "batches", "window": "steps"}

    def __post_init__(self) -> None:
        if self.rollouts < 2 or self.batches < 8 or self.window < 1:
            raise InputError(
                f"influence_decay: rollouts = {self.rollouts} (at least 2), batches = {self.batches} (8), "
                f"window = {self.window} (1)."
            )

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row a batch: the cell's information and the batch's decay."""
        for_gradient, for_states = seed.spawn(2)
        rollouts = budget.of(self.rollouts)
        sums = policy.gradient_sums(problems, rollouts, self.batches, for_gradient)
        if sums.s1.shape[1] <= self.window:
            raise InputError(f"influence_decay: window = {self.window} needs chains longer than that.")
        mean = sums.s1[:, ::-1] / sums.n[:, None]
        ratio = mean[:, 1 : self.window + 1].sum(axis=1) / mean[:, : self.window].sum(axis=1)
        if np.any(ratio <= 0):
            raise InputError("influence_decay: a batch shows no decay that can be measured; take more rollouts.")
        information = mutual_information(policy.state_counts(problems, rollouts * self.batches, for_states))
        return Measurement(
            columns={
                "information": np.full(self.batches, information),
                "cluster": np.arange(self.batches),
                "total": -np.log(ratio),
                "weight": np.ones(self.batches),
            },
            units={"information": "bits", "total": "1/step", "weight": "1"},
            x=("information",),
            statistic="mean",
            response="decay of a step's influence",
            response_unit="1/step",
            provenance={"cost": dict(sums.cost)},
        )


def mutual_information(counts: NDArray[np.int64]) -> float:
    """Return the plug-in mutual information of a table of joint counts, in bits.

    I = sum_ij n_ij/n log2(n_ij n / (n_i. n_.j)); its bias is (rows-1)(cols-1)/(2 n ln 2), negligible for the counts
    used here.
    """
    joint = np.asarray(counts, dtype=float)
    joint = joint / joint.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log2(joint[seen] / independent[seen])))
