"""Probe: how long training takes to leave a small success probability, against that probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, refuse_unless_able, success_rates
from rlaws.probes.base import Budget, log_times
from rlaws.problems import ProblemSet, difficulty, given_or_own
from rlaws.seeding import child


@dataclass(frozen=True, slots=True)
class EscapeTime:
    """Mean time after which a problem's success first reaches ``level``, for problems grouped by their difficulty "p".

    Each problem must be trained by itself (a prompt that shares nothing with the others), so that it is one
    independent run and one cluster. A run that is noise-free gives the same time for every problem and hence an
    interval of width zero: use a policy whose training is noisy. Between two checkpoints the time is interpolated
    linearly in (log time, logit success), which is wrong by at most one spacing, 2.3 % at 100 a decade.

    Attributes:
        level: Success that counts as escaped, in (0, 1).
        first: First checkpoint, in the trainer's unit of time; before it nothing may have escaped.
        last: Last checkpoint; every run must have escaped by then, for a censored mean is not an escape time.
        per_decade: Checkpoints for each factor of ten.
        samples: Samples of each problem at a checkpoint (quick budget), where the policy does not know its success.
    """

    NAME: ClassVar[str] = "escape_time"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "level": "1",
        "first": "trainer's time",
        "last": "trainer's time",
        "per_decade": "1",
        "samples": "samples",
    }
    level: float = 0.5
    first: float = 0.1
    last: float = 1e5
    per_decade: int = 100
    samples: int = 256

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or not 0 < self.first < self.last or min(self.per_decade, self.samples) < 1:
            raise InputError(
                f"escape_time: level = {self.level}, first = {self.first}, last = {self.last}: needed are "
                "0 < level < 1, 0 < first < last, and at least one checkpoint a decade and one sample."
            )

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each problem: its escape time at its initial success p.

        Raises:
            InputError: If there are no problems, one starts at 0 or above the level, or one does not escape in time.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        p = difficulty(problems, "p")
        if p.min() <= 0 or p.max() >= self.level:
            raise InputError(f"escape_time: success starts at {p.min():g} to {p.max():g}, not in (0, {self.level:g}).")
        times, unit, cost = self._crossings(policy, problems, budget, seed)
        return Measurement(
            columns={
                "cluster": np.array([f"{value:g}/{name}" for value, name in zip(p, problems.ids, strict=True)]),
                "p": p,
                "attempts": 1.0 / p,
                "total": times,
                "weight": np.ones(p.size),
            },
            units={"p": "1", "attempts": "samples", "total": unit, "weight": "runs"},
            x=("p", "attempts"),
            statistic="mean",
            response=f"time until the success passes {self.level:g}",
            response_unit=unit,
            provenance={"problems": dict(problems.settings), "runs": p.size, "cost": dict(cost)},
        )

    def _crossings(
        self, policy: Any, problems: ProblemSet, budget: Budget, seed: np.random.SeedSequence
    ) -> tuple[Array, str, Mapping[str, Any]]:
        """Train until every problem has escaped; return the escape times [P], their unit, and the cost."""
        crossed = np.full(len(problems), np.nan)
        before: tuple[float, Array] | None = None
        schedule = log_times(self.first, self.last, self.per_decade)
        for i, step in enumerate(policy.train(problems, schedule.tolist(), child(seed, 0))):
            p = success_rates(step.policy, problems, budget.of(self.samples), child(seed, 1 + i))
            now = _logit(p) - float(np.log(self.level / (1 - self.level)))
            passed = np.isnan(crossed) & (now >= 0)
            if before is None and passed.any():
                raise InputError(f"escape_time: {passed.sum()} runs had escaped by first = {self.first:g}; lower it.")
            if before is not None:
                crossed[passed] = _interpolate(before[0], step.time, before[1][passed], now[passed])
            if not np.isnan(crossed).any():
                return crossed, step.unit, step.cost
            before = (step.time, now)
        stuck = int(np.isnan(crossed).sum())
        raise InputError(
            f"escape_time: {stuck} of {crossed.size} runs had not escaped by last = {self.last:g}; raise 'last', "
            "or there is no escape to time."
        )


def _logit(p: Array) -> Array:
    """Return the logit, kept within +-40 where p is 0 or 1."""
    p = np.clip(p, 4e-18, 1 - 1e-16)
    return np.asarray(np.log(p) - np.log1p(-p))


def _interpolate(t0: float, t1: float, z0: Array, z1: Array) -> NDArray[np.float64]:
    """Return where lines from (log t0, z0 < 0) to (log t1, z1 >= 0) pass zero, as times."""
    share = z0 / (z0 - z1)
    return np.asarray(np.exp(np.log(t0) + share * np.log(t1 / t0)))
