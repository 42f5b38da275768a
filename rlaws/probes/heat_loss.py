"""What heat costs: success lost, and tail answers gained, between a cold and a hot sampling temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet

QUANTITIES = ("success_lost", "tail_gained")


@dataclass(frozen=True, slots=True)
class HeatLoss:
    """For each problem and scale of training C the paired difference between two temperatures.

    "success_lost" is P(right at ``cold``) - P(right at ``hot``); "tail_gained" is the rise of the probability of an
    answer that is neither the right one nor the strongest wrong one, which stands for garbage. Problems are the
    clusters.

    Attributes:
        quantity: Which of the two.
        cold: Lower temperature.
        hot: Higher temperature.
        scales: Training scales C, rising.
    """

    quantity: str = "success_lost"
    cold: float = 0.2
    hot: float = 1.0
    scales: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)

    NAME: ClassVar[str] = "heat_loss"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (
        frozenset({Capability.SUCCESS}),
        frozenset({Capability.TRAIN}),
        frozenset({Capability.TEMPERATURE}),
    )
    UNITS: ClassVar[Mapping[str, str]] = {"quantity": "name", "cold": "1", "hot": "1", "scales": "C0"}

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise InputError(f"quantity = '{self.quantity}' is not known.{suggest(self.quantity, QUANTITIES)}")
        if not 0 < self.cold <= self.hot or len(self.scales) < 2:
            raise InputError(f"heat_loss: 0 < cold = {self.cold} <= hot = {self.hot} and two scales are needed.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row a problem and scale."""
        if problems is None:
            raise InputError("heat_loss needs problems; choose problems=normal_margins.")
        lost = np.stack([self._change(c.policy, problems) for c in policy.train(problems, self.scales, seed)], axis=1)
        return Measurement(
            columns={
                "training": np.tile(self.scales, len(problems)),
                "cluster": np.repeat(problems.ids, len(self.scales)),
                "total": lost.ravel(),
                "weight": np.ones(lost.size),
            },
            units={"training": "C0", "total": "1", "weight": "1"},
            x=("training",),
            statistic="mean",
            response=self.quantity.replace("_", " "),
            response_unit="1",
            provenance={"cost": {"problems": len(problems)}},
        )

    def _change(self, policy: Any, problems: ProblemSet) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the difference on each problem, [P]."""
        cold, hot = (policy.at_temperature(t) for t in (self.cold, self.hot))
        if self.quantity == "success_lost":
            return np.asarray(cold.success(problems) - hot.success(problems))
        tails = [1.0 - p.success(problems) - p.strongest_wrong(problems) for p in (cold, hot)]
        return np.asarray(tails[1] - tails[0])
