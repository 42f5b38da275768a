"""Probe: reward against entropy along training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability, refuse_unless_able
from rlaws.probes.base import Budget, log_times
from rlaws.probes.trajectories import follow
from rlaws.problems import ProblemSet, given_or_own
from rlaws.seeding import child


@dataclass(frozen=True, slots=True)
class RewardEntropy:
    """Reward minus the reward reached at the end, against the mean token entropy at the same checkpoint.

    Problems are the clusters. Checkpoints are chosen where the mean entropy has fallen by equal shares of its total
    fall, so that design points are spread over entropy and not over time; "fall" is that share.

    Attributes:
        points: Checkpoints along the fall of the entropy.
        first: First and last time of training.
        last: See above.
        per_decade: Checkpoints for each factor of ten from which the points are picked.
    """

    NAME: ClassVar[str] = "reward_entropy"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "points": "1", "first": "trainer's time", "last": "trainer's time", "per_decade": "1",
    }  # fmt: skip
    points: int = 24
    first: float = 0.01
    last: float = 300.0
    per_decade: int = 60

    def __post_init__(self) -> None:
        if self.points < 6 or not 0 < self.first < self.last:
            raise InputError("reward_entropy: needed are 6 points or more and 0 < first < last.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each problem and checkpoint.

        Raises:
            InputError: If entropy does not fall along training.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        times = log_times(self.first, self.last, self.per_decade)
        told, _, cost = follow(
            policy, problems, times.tolist(), child(seed, 0), ("success", "token_entropy"), self.NAME
        )
        entropy = told["token_entropy"].mean(axis=1)
        if not entropy[-1] < entropy[0] - 1e-3:
            raise InputError("reward_entropy: the entropy does not fall along training; there is nothing to relate.")
        fall = (entropy[0] - entropy) / (entropy[0] - entropy[-1])
        picked = np.unique([int(np.argmin(np.abs(fall - s))) for s in np.linspace(0.0, 1.0, self.points)])
        picked = picked[np.concatenate([[True], np.diff(fall[picked]) > 0])]
        size = len(problems)
        return Measurement(
            columns={
                "entropy": np.repeat(entropy[picked], size),
                "fall": np.repeat(fall[picked], size),
                "cluster": np.tile(problems.ids, picked.size),
                "total": (told["success"][picked] - told["success"][-1]).ravel(),
                "weight": np.ones(picked.size * size),
            },
            units={"entropy": "nats", "fall": "1", "total": "reward", "weight": "problems"},
            x=("entropy", "fall"),
            statistic="mean",
            response="reward minus the reward reached at the end",
            response_unit="reward",
            provenance={"problems": dict(problems.settings), "cost": dict(cost)},
        )
