"""Reward against entropy along recorded training runs."""

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
from rlaws.probes.learning_curve import needs_columns, provenance, rising
from rlaws.problems import ProblemSet

LEAST_FALL = 0.01  # nats


@dataclass(frozen=True, slots=True)
class RecordedRewardEntropy:
    """Reward minus the reward reached at the end, against the mean token entropy, in blocks of neighbouring steps.

    What ``reward_entropy`` measures on a policy that is trained, from the log of a run: steps are averaged in
    ``points`` blocks of equal length, and blocks whose entropy has not fallen below all blocks before are left out, so
    that "fall", the share of the total fall, rises along the run. Each run is one autocorrelated series.

    Attributes:
        points: Blocks of a run.
        runs: Independent runs behind every curve.
    """

    NAME: ClassVar[str] = "recorded_reward_entropy"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"points": "1", "runs": "runs"}
    points: int = 24
    runs: int = 1

    def __post_init__(self) -> None:
        if self.points < 6:
            raise InputError(f"points = {self.points}; at least 6 are needed to tell a curve from a line.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each run and block; nothing is drawn.

        Raises:
            InputError: If the table lacks a column, a run is too short, or its entropy does not fall.
        """
        table = policy.table()
        needs_columns(table, ("family", "entropy", "reward", "step"), self.NAME)
        parts = [self._run(table, name) for name in dict.fromkeys(table["family"].tolist())]
        columns = {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}
        return Measurement(
            columns=columns,
            units={"family": "name", "entropy": "nats", "fall": "1", "total": "reward", "weight": "blocks"},
            x=("entropy", "fall"),
            statistic="mean",
            response="reward minus the reward reached at the end",
            response_unit="reward",
            resample="series",
            regime=("family",),
            provenance=provenance(policy, runs=self.runs),
        )

    def _run(self, table: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
        rows = np.flatnonzero(table["family"] == name)
        rows = rows[np.argsort(table["step"][rows], kind="stable")]
        if rows.size < 2 * self.points:
            raise InputError(
                f"Run '{name}' logs reward and entropy at {rows.size} steps; {2 * self.points} are needed for "
                f"{self.points} blocks."
            )
        blocks = np.array_split(rows, self.points)
        entropy, reward = (np.array([np.mean(table[n][b]) for b in blocks]) for n in ("entropy", "reward"))
        total = entropy[0] - entropy[-1]
        if total < LEAST_FALL:
            raise InputError(f"The entropy of run '{name}' does not fall along training; there is nothing to relate.")
        fall = (entropy[0] - entropy) / total
        keep = rising(fall) & (fall <= 1.0)
        return {
            "family": np.full(int(keep.sum()), name),
            "entropy": entropy[keep],
            "fall": fall[keep],
            "total": (reward - reward[-1])[keep],
            "weight": np.ones(int(keep.sum())),
            "cluster": np.full(int(keep.sum()), name),
        }
