"""Probe: is reward a function of entropy, or does the path matter? Reward at equal entropy after an intervention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, refuse_unless_able
from rlaws.probes.base import Budget, log_times
from rlaws.probes.trajectories import all_found, at_level, follow
from rlaws.problems import ProblemSet, given_or_own
from rlaws.seeding import child
from rlaws.vary import vary


@dataclass(frozen=True, slots=True)
class RewardAtEntropy:
    """Mean reward with an intervention minus that without, where the mean token entropy is the same.

    A cluster is a batch of problems, each batch with its own curve of mean reward against mean entropy.

    Attributes:
        setting: Setting of the policy that the intervention changes, and ``value`` what it becomes.
        value: See above.
        dose: Strength of the bonus under the intervention (0 where the setting is no bonus).
        levels: Shares of the entropy's fall without intervention at which rewards are compared.
        batch: Problems in one cluster.
        first: First and last time of training.
        last: See above.
        per_decade: Checkpoints for each factor of ten.
    """

    NAME: ClassVar[str] = "reward_at_entropy"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "setting": "name", "value": "name", "dose": "reward", "levels": "1", "batch": "problems",
        "first": "trainer's time", "last": "trainer's time", "per_decade": "1",
    }  # fmt: skip
    setting: str = "bonus"
    value: Any = "token"
    dose: float = 0.1
    levels: Sequence[float] = (0.3, 0.5, 0.7)
    batch: int = 16
    first: float = 0.01
    last: float = 300.0
    per_decade: int = 30

    def __post_init__(self) -> None:
        if not all(0 < x < 1 for x in self.levels) or not 0 < self.first < self.last or self.batch < 1:
            raise InputError("reward_at_entropy: levels lie in (0, 1), first < last, and batch is at least 1.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each batch of problems and level.

        Raises:
            InputError: If the entropy under the intervention does not fall as far as the level.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        if len(problems) % self.batch or len(problems) < 4 * self.batch:
            raise InputError(f"reward_at_entropy: {len(problems)} problems make no four batches of {self.batch}.")
        more = {"strength": self.dose} if self.dose else {}
        reward, entropy = self._curves(policy, problems, seed)
        other_reward, other_entropy = self._curves(vary(policy, **{self.setting: self.value}, **more), problems, seed)
        rows = []
        for share in self.levels:
            level = entropy[0] - share * (entropy[0] - entropy[-1])
            here = at_level(-entropy, reward, -level)
            there = at_level(-other_entropy, other_reward, -level)
            all_found(here + there, "do not reach the entropy", "weaken the intervention or lower 'levels'")
            rows.append(there - here)
        clusters = reward.shape[1]
        return Measurement(
            columns={
                "level": np.repeat(np.asarray(self.levels, dtype=np.float64), clusters),
                "cluster": np.tile(problems.ids[:: self.batch], len(rows)),
                "total": np.concatenate(rows),
                "weight": np.ones(clusters * len(rows)),
            },
            units={"level": "1", "total": "reward", "weight": "batches"},
            x=("level",),
            statistic="mean",
            response="reward with the intervention minus without, at equal entropy",
            response_unit="reward",
            provenance={"problems": dict(problems.settings)},
        )

    def _curves(self, policy: Any, problems: ProblemSet, seed: np.random.SeedSequence) -> tuple[Array, Array]:
        """Return mean reward and mean token entropy of each batch along training, each [T, C]."""
        times = log_times(self.first, self.last, self.per_decade)
        told, _, _ = follow(policy, problems, times.tolist(), child(seed, 0), ("success", "token_entropy"), self.NAME)
        shape = (times.size, len(problems) // self.batch, self.batch)
        return told["success"].reshape(shape).mean(axis=2), told["token_entropy"].reshape(shape).mean(axis=2)
