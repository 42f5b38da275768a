"""Probe: how often solved tasks become unsolved again while others are trained, against a setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability, refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.probes.trajectories import follow
from rlaws.problems import ProblemSet, given_or_own
from rlaws.seeding import child
from rlaws.vary import vary


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Tasks lost again by 1000 updates, and that number over the number at the setting's first value.

    Every problem is one independent run over a set of tasks, and one cluster.

    Attributes:
        axis: The setting that is swept.
        values: Its rising values; the first is what the others are compared with.
        first: Updates after which counting begins; ``last`` where it ends.
        last: See above.
    """

    NAME: ClassVar[str] = "recurrence"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {"axis": "name", "values": "1", "first": "updates", "last": "updates"}
    axis: str = "share"
    values: Sequence[float] = (0.0, 0.1, 0.25, 0.5)
    first: float = 400.0
    last: float = 4400.0

    def __post_init__(self) -> None:
        if len(self.values) < 2 or np.any(np.diff(self.values) <= 0) or not 0 <= self.first < self.last:
            raise InputError("recurrence: needed are two or more rising values and first < last.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return for each problem and value one row "rate" and one row "left" (over the first value)."""
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        lost = []
        for value in self.values:
            varied = vary(policy, **{self.axis: value})
            told, _, _ = follow(varied, problems, [self.first, self.last], child(seed, 0), ("recurrences",), self.NAME)
            lost.append((told["recurrences"][1] - told["recurrences"][0]) * 1000.0 / (self.last - self.first))
        table, size = np.array(lost), len(problems)
        rows = table.size
        return Measurement(
            columns={
                "quantity": np.repeat(["rate", "left"], rows),
                "value": np.tile(np.repeat(np.asarray(self.values, dtype=np.float64), size), 2),
                "cluster": np.tile(problems.ids, 2 * len(self.values)),
                "total": np.tile(table.ravel(), 2),
                "weight": np.concatenate([np.ones(rows), np.tile(table[0], len(self.values))]),
            },
            units={"quantity": "name", "value": policy.UNITS[self.axis], "total": "1", "weight": "1"},
            x=("value",),
            statistic="mean",
            response="tasks lost again by 1000 updates, or their share of those at the first value",
            response_unit="tasks, or 1",
            regime=("quantity",),
            provenance={"problems": dict(problems.settings)},
        )
