"""Probe: how fast and how far a policy's density collapses, against one of its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability, refuse_unless_able
from rlaws.probes.base import Budget, log_times
from rlaws.probes.trajectories import all_found, crossed, follow
from rlaws.problems import ProblemSet, given_or_own
from rlaws.seeding import child
from rlaws.vary import setting, vary


@dataclass(frozen=True, slots=True)
class Collapse:
    """Time to lose a share of the entropy that training takes, and the width left at the end.

    Every problem is one world and one cluster; all values of the setting meet the same worlds.

    Attributes:
        axis: Setting of the policy that is swept.
        factors: Its values, as multiples of the policy's own.
        loss: Share of the entropy lost between start and end that counts as collapsed.
        first: First and last checkpoint, in the trainer's time; before the first nothing has happened.
        last: See above.
        per_decade: Checkpoints for each factor of ten.
    """

    NAME: ClassVar[str] = "collapse"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "axis": "name", "factors": "1", "loss": "1", "first": "trainer's time", "last": "trainer's time",
        "per_decade": "1",
    }  # fmt: skip
    axis: str = "temperature"
    factors: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0)
    loss: float = 0.9
    first: float = 1e-3
    last: float = 1e3
    per_decade: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.loss < 1 or not 0 < self.first < self.last or len(self.factors) < 3:
            raise InputError("collapse: needed are 0 < loss < 1, 0 < first < last and three factors or more.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return for each problem and value one row "collapse_time" and one row "final_width".

        Raises:
            InputError: If a density does not lose entropy.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        times = log_times(self.first, self.last, self.per_decade)
        rows: dict[str, list[Any]] = {k: [] for k in ("quantity", "value", "cluster", "total")}
        unit = ""
        for factor in self.factors:
            value = factor * float(setting(policy, self.axis))
            varied = vary(policy, **{self.axis: value})
            told, unit, _ = follow(varied, problems, times.tolist(), child(seed, 0), ("entropy", "width"), self.NAME)
            start, end = told["entropy"][0], told["entropy"][-1]
            if np.any(end >= start):
                raise InputError(f"collapse: at {self.axis} = {value:g} a density gains entropy; start it wider.")
            when = crossed(times, told["entropy"], start - self.loss * (start - end))
            for name, found in (("collapse_time", when), ("final_width", told["width"][-1])):
                rows["quantity"] += [name] * found.size
                rows["value"] += [value] * found.size
                rows["cluster"] += problems.ids.tolist()
                rows["total"] += all_found(found, "did not collapse", "raise 'last'").tolist()
        columns = {k: np.array(v) for k, v in rows.items()}
        return Measurement(
            columns={**columns, "weight": np.ones(len(rows["total"]))},
            units={"quantity": "name", "value": policy.UNITS[self.axis], "total": unit, "weight": "worlds"},
            x=("value",),
            statistic="mean",
            response=f"time to lose {self.loss:.0%} of the entropy, or final width",
            response_unit=f"{unit}, or 1",
            regime=("quantity",),
            provenance={"problems": dict(problems.settings), "worlds": len(problems)},
        )
