"""Probe: how long finite batches take to make a policy choose among equally good modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, refuse_unless_able
from rlaws.probes.base import Budget, log_times
from rlaws.probes.trajectories import all_found
from rlaws.problems import ProblemSet, difficulty, given_or_own
from rlaws.seeding import child
from rlaws.vary import needs, setting, vary


def kimura_time(batch: float, step: float, p: Array, level: float) -> Array:
    """Return Kimura's mean number of updates until one of two neutral modes holds ``level``, [P].

    (2B/step²) [h(p) - h(level)], h(p) = -p ln p - (1-p) ln(1-p); for step 1 and level 1 the classical
    -2B [p ln p + (1-p) ln(1-p)] (Kimura and Ohta 1969): the time to fixation of either.
    """

    def h(x: Array) -> Array:
        return np.asarray(-x * np.log(x) - (1 - x) * np.log1p(-x))

    return np.asarray(2.0 * batch / step**2 * (h(p) - h(np.asarray(level, dtype=np.float64))))


@dataclass(frozen=True, slots=True)
class FixationTime:
    """Updates until one mode holds ``level``, against the batch or the step size, and over Kimura's time.

    Every problem is an independent run; its "p" is the first mode's share at the start. Checkpoints stand
    ``per_decade`` to a decade, so a time is late by at most one spacing (1.2 % at 200); a policy that can stop its
    runs at a level should stop them at this one, or passages between two checkpoints are missed.

    Attributes:
        axis: "batch" or "step": the setting that is swept.
        factors: Its values, as multiples of the policy's own.
        level: Mode mass that counts as fixed, in (1/2, 1).
        first: First and last checkpoint, in updates; every run must have been fixed by then.
        last: See above.
        per_decade: Checkpoints for each factor of ten.
    """

    NAME: ClassVar[str] = "fixation_time"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "axis": "name", "factors": "1", "level": "1", "first": "updates", "last": "updates", "per_decade": "1",
    }  # fmt: skip
    axis: str = "batch"
    factors: Sequence[float] = (1, 2, 4, 8)
    level: float = 0.95
    first: float = 1.0
    last: float = 1e6
    per_decade: int = 200

    def __post_init__(self) -> None:
        if not 0.5 < self.level < 1 or not 0 < self.first < self.last or len(self.factors) < 3:
            raise InputError("fixation_time: needed are 1/2 < level < 1, 0 < first < last and three factors or more.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return for each problem and value one row "time" and one row "over_kimura".

        Raises:
            InputError: If a run is not fixed in time, or the policy does not tell the mass of its modes.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        p = difficulty(problems, "p")
        parts = []
        for i, factor in enumerate(self.factors):
            own = setting(policy, self.axis)
            value = type(own)(factor * own)
            varied = vary(policy, **{self.axis: value})
            when = self._times(varied, problems, child(seed, i))
            kimura = kimura_time(setting(varied, "batch"), setting(varied, "step"), p, self.level)
            for name, found in (("time", when), ("over_kimura", when / kimura)):
                parts.append((np.full(p.size, name), np.full(p.size, float(value)), problems.ids, found))
        quantity, value, cluster, total = (np.concatenate(c) for c in zip(*parts, strict=True))
        labels = np.char.add(np.char.add(cluster, "@"), value.astype(str))
        return Measurement(
            columns={
                "quantity": quantity,
                "value": value,
                "cluster": labels,
                "total": total,
                "weight": np.ones(total.size),
            },
            units={"quantity": "name", "value": policy.UNITS[self.axis], "total": "updates", "weight": "runs"},
            x=("value",),
            statistic="mean",
            response=f"updates until a mode holds {self.level:g}, or their ratio to Kimura's time",
            response_unit="updates, or 1",
            regime=("quantity",),
            provenance={"problems": dict(problems.settings)},
        )

    def _times(self, policy: Any, problems: ProblemSet, seed: np.random.SeedSequence) -> Array:
        """Train until every run is fixed; return the number of updates, [P]."""
        when = np.full(len(problems), np.nan)
        schedule = np.unique(np.round(log_times(self.first, self.last, self.per_decade)))
        for step in policy.train(problems, schedule.tolist(), seed):
            needs(step.policy, ("mode_mass",), self.NAME)
            held = step.policy.mode_mass(problems).max(axis=1) >= self.level
            when[held & np.isnan(when)] = step.time
            if not np.isnan(when).any():
                break
        return all_found(when, f"were not fixed by {self.last:g} updates", "raise 'last', or there is no drift")
