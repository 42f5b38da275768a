"""Probe: after a collapse onto a worse mode, does learning stop, and how long until it leaves?"""

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
class Plateau:
    """Gradient on the plateau over that at the start, success gained there, and time until half have left.

    Attributes:
        axis: Setting of the policy that is swept; the design variable is one over it.
        factors: Its values, as multiples of the policy's own.
        settled: Time at which the policy has collapsed; the plateau is looked at from then to twice that time.
        last: Last checkpoint; half of every problem must have left by then.
        level: Success that counts as having left.
        per_decade: Checkpoints for each factor of ten.
    """

    NAME: ClassVar[str] = "plateau"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "axis": "name", "factors": "1", "settled": "trainer's time", "last": "trainer's time", "level": "1",
        "per_decade": "1",
    }  # fmt: skip
    axis: str = "temperature"
    factors: Sequence[float] = (1.0, 0.8, 0.65, 0.5)
    settled: float = 1.0
    last: float = 2000.0
    level: float = 0.5
    per_decade: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or not 0 < 4 * self.settled < self.last or len(self.factors) < 3:
            raise InputError("plateau: needed are 0 < level < 1, 4 settled < last and three factors or more.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return for each problem and value the rows "gradient", "growth" and "escape_time".

        Raises:
            InputError: If a problem does not leave in time.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        late = log_times(2 * self.settled, self.last, self.per_decade)
        times = np.concatenate([[0.0, self.settled], late])
        rows: dict[str, list[Any]] = {k: [] for k in ("quantity", "inverse", "cluster", "total", "weight")}
        unit = ""
        cost: dict[str, Any] = {}
        for i, factor in enumerate(self.factors):
            value = factor * float(setting(policy, self.axis))
            varied = vary(policy, **{self.axis: value})
            told, unit, spent = follow(
                varied, problems, times.tolist(), child(seed, i), ("success", "gradient_norm"), self.NAME
            )
            cost = {k: cost.get(k, 0) + v for k, v in spent.items()}
            gradient, success = told["gradient_norm"], told["success"]
            left = crossed(times[1:], -success[1:], np.full(len(problems), -self.level))
            left = all_found(left, f"had not left by {self.last:g}", "raise 'last' or the temperature")
            for name, found, over in (
                ("gradient", gradient[1], gradient[0]),
                ("growth", success[2] - success[1], np.ones(left.size)),
                ("escape_time", left, np.ones(left.size)),
            ):
                rows["quantity"] += [name] * left.size
                rows["inverse"] += [1.0 / value] * left.size
                rows["cluster"] += [f"{p}@{value:g}" for p in problems.ids]
                rows["total"] += found.tolist()
                rows["weight"] += over.tolist()
        return Measurement(
            columns={k: np.array(v) for k, v in rows.items()},
            units={"quantity": "name", "inverse": f"1/{policy.UNITS[self.axis]}", "total": unit, "weight": "1"},
            x=("inverse",),
            statistic="mean",
            response="gradient left, success gained on the plateau, or time until half have left",
            response_unit=f"1, 1, or {unit}",
            regime=("quantity",),
            provenance={"problems": dict(problems.settings), "cost": cost},
        )
