"""Probe: what training does to the ratio of two equally right modes: a drift with their imbalance, or noise only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability, refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet, given_or_own
from rlaws.vary import needs, setting


@dataclass(frozen=True, slots=True)
class LogRatio:
    """Change of log(π1/π2) of the first two modes over a few updates, over their step.

    Drift: the change for each unit of step x updates, against the force A (π1 - π2) with A = 1 - success, the advantage
    of a right answer (rewards 1 and 0). Noise: the squared change times batch / (step² updates), which does not depend
    on the batch where batches are the only cause.

    Every problem is an independent run, all start alike.

    Attributes:
        updates: Updates between the two looks; few, so that the policy has hardly moved.
    """

    NAME: ClassVar[str] = "log_ratio"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {"updates": "updates"}
    updates: int = 4

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise InputError(f"log_ratio: updates = {self.updates} must be at least 1.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return for each problem one row "drift" and one row "noise" at its force.

        Raises:
            InputError: If the problems do not start alike, or the policy does not tell the mass of its modes.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        masses, success = [], 0.0
        for step in policy.train(problems, [0.0, float(self.updates)], seed):
            needs(step.policy, ("mode_mass", "success"), self.NAME)
            masses.append(np.asarray(step.policy.mode_mass(problems), dtype=np.float64))
            success = float(step.policy.success(problems).mean()) if len(masses) == 1 else success
        before, after = (np.log(m[:, 0] / m[:, 1]) for m in masses)
        if np.ptp(before) > 1e-9:
            raise InputError("log_ratio: the problems must start alike; use problems of one difficulty.")
        moved = (after - before) / (self.updates * setting(policy, "step"))
        force = (1.0 - success) * float(masses[0][0, 0] - masses[0][0, 1])
        noise = moved**2 * self.updates * setting(policy, "batch")
        size = moved.size
        return Measurement(
            columns={
                "quantity": np.repeat(["drift", "noise"], size),
                "force": np.full(2 * size, round(force, 12)),
                "batches": np.full(2 * size, float(setting(policy, "batch"))),
                "cluster": np.tile([f"{i}@{force:.6f}" for i in problems.ids], 2),
                "total": np.concatenate([moved, noise]),
                "weight": np.ones(2 * size),
            },
            units={"quantity": "name", "force": "reward", "batches": "answers", "total": "1", "weight": "runs"},
            x=("force", "batches"),
            statistic="mean",
            response="change of log(π1/π2) by unit of step, or its squared noise",
            response_unit="1",
            regime=("quantity",),
            provenance={"problems": dict(problems.settings)},
        )
