"""Which steps of a long chain still get a sign out of M rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet

QUANTILE = 1.6448536269514722  # one-sided 95 %


@dataclass(frozen=True, slots=True)
class CreditHorizon:
    """A step's sign is recovered from M rollouts when mean(g_t) / (sd(g_t)/sqrt(M)) > 1.645.

    Two quantities a trial of M rollouts: "lost", the share of the first (part 0) and of the last (part 1) ``span``
    positions whose sign is not recovered; and "horizon", the number of positions whose sign is.

    Attributes:
        rollouts: M.
        trials: Independent trials in the quick budget; they are the clusters.
        span: Positions at either end.
    """

    rollouts: int
    trials: int
    span: int

    NAME: ClassVar[str] = "credit_horizon"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.GRADIENT}),)
    UNITS: ClassVar[Mapping[str, str]] = {"rollouts": "rollouts", "trials": "trials", "span": "steps"}

    def __post_init__(self) -> None:
        if self.rollouts < 2 or self.trials < 8 or self.span < 1:
            raise InputError(
                f"credit_horizon: rollouts = {self.rollouts} (at least 2), trials = {self.trials} (8), "
                f"span = {self.span} (1)."
            )

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return three rows a trial: lost at the start, lost at the end, horizon."""
        sums = policy.gradient_sums(problems, self.rollouts, budget.of(self.trials, 8), seed)
        trials, length = sums.s1.shape
        if length < 2 * self.span:
            raise InputError(f"credit_horizon: span = {self.span} needs chains of at least {2 * self.span} steps.")
        mean = sums.s1 / sums.n[:, None]
        spread = np.sqrt(np.maximum(sums.s2 / sums.n[:, None] - mean**2, 0.0) / sums.n[:, None])
        recovered = mean > QUANTILE * spread
        lost = ~recovered
        values = np.stack([lost[:, : self.span].mean(1), lost[:, -self.span :].mean(1), recovered.sum(1)], axis=1)
        return Measurement(
            columns={
                "part": np.tile([0, 1, 0], trials),
                "rollouts": np.full(3 * trials, self.rollouts),
                "quantity": np.tile(["lost", "lost", "horizon"], trials),
                "cluster": np.repeat(np.arange(trials), 3),
                "total": values.ravel(),
                "weight": np.ones(3 * trials),
            },
            units={"part": "1", "rollouts": "rollouts", "quantity": "name", "total": "1", "weight": "1"},
            x=("part", "rollouts"),
            statistic="mean",
            response="lost share, or positions recovered",
            response_unit="1",
            regime=("quantity",),
            provenance={"cost": dict(sums.cost)},
        )
