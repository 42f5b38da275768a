"""Probe: the tail of pass@k before training and the unsolved mass along training, on the same problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.estimators import pass_at_k
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, counts, refuse_unless_able, success_rates
from rlaws.probes.base import Budget, log_times
from rlaws.probes.pass_at_k import batches, by_cluster, carried, sample_grid
from rlaws.problems import ProblemSet, given_or_own
from rlaws.seeding import child

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TailAndTraining:
    """Two falling curves of one population: failure against samples k (kind 0) and against training time (kind 1).

    Kind 0 is the mean of 1 - pass@k of the policy as it comes; kind 1 is 1 - R(t), the mean failure of single samples
    after training for a time t on the same problems. Both share their clusters, so the ratio of their exponents keeps
    what the chance of drawing hard problems has in common for both.

    Attributes:
        samples: Samples of each problem at the quick budget; never fewer than ``k_largest``.
        k_largest: Largest k.
        per_octave: Values of k for each factor of two.
        time_first: First checkpoint, in the trainer's unit of time.
        time_last: Last checkpoint.
        per_decade: Checkpoints for each factor of ten.
        batch: Problems in one cluster. More than 1 only where problems are exchangeable draws of a population.
        least: A point is reported only where at least so many problems carry the mean failure.
    """

    NAME: ClassVar[str] = "tail_and_training"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (
        frozenset({Capability.COUNT, Capability.SAMPLE}),
        frozenset({Capability.TRAIN}),
    )
    UNITS: ClassVar[Mapping[str, str]] = {
        "samples": "samples",
        "k_largest": "samples",
        "per_octave": "1",
        "time_first": "trainer's time",
        "time_last": "trainer's time",
        "per_decade": "1",
        "batch": "problems",
        "least": "problems",
    }
    samples: int = 4096
    k_largest: int = 1024
    per_octave: int = 1
    time_first: float = 1.0
    time_last: float = 1e4
    per_decade: int = 5
    batch: int = 1
    least: int = 20

    def __post_init__(self) -> None:
        if min(self.samples, self.k_largest, self.per_octave, self.per_decade, self.least) < 1:
            raise InputError("tail_and_training: samples, k_largest, per_octave, per_decade, least must be at least 1.")
        if not 0 < self.time_first < self.time_last:
            raise InputError(f"tail_and_training: 0 < time_first < time_last, got {self.time_first}, {self.time_last}.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each cluster and point of either curve.

        Raises:
            InputError: If there are no problems, or too few of them carry a curve to report two points of it.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        names, cluster = batches(problems, self.batch)
        ks, tail = self._tail(policy, problems, budget, child(seed, 0))
        times, training, unit, cost = self._training(policy, problems, cluster, budget, child(seed, 1))
        x = np.concatenate([ks, times])
        kind = np.repeat([0.0, 1.0], [ks.size, times.size])
        sums = np.concatenate([by_cluster(tail, cluster), training], axis=1)
        return Measurement(
            columns={
                "cluster": np.repeat(names, x.size),
                "x": np.tile(x, names.size),
                "kind": np.tile(kind, names.size),
                "total": sums.ravel(),
                "weight": np.repeat(np.bincount(cluster), x.size).astype(np.float64),
            },
            units={"x": f"samples (kind 0) or {unit} (kind 1)", "kind": "1", "total": "problems", "weight": "problems"},
            x=("x", "kind"),
            statistic="share",
            response="share of failures: of best-of-k before training, of one sample after it",
            response_unit="1",
            provenance={"problems": dict(problems.settings), "cost": dict(cost)},
        )

    def _tail(
        self, policy: Any, problems: ProblemSet, budget: Budget, seed: np.random.SeedSequence
    ) -> tuple[Array, Array]:
        """Return k [K] and the failures [P, K] of the policy as it comes."""
        taken, right = counts(policy, problems, budget.of(self.samples, least=self.k_largest), seed)
        ks = sample_grid(self.k_largest, self.per_octave)
        failure = 1.0 - pass_at_k(taken, right, ks)
        keep = carried(failure, self.least)
        self._enough(int(keep.sum()), "samples", len(problems))
        return ks[keep].astype(np.float64), failure[:, keep]

    def _training(
        self, policy: Any, problems: ProblemSet, cluster: Ints, budget: Budget, seed: np.random.SeedSequence
    ) -> tuple[Array, Array, str, Mapping[str, Any]]:
        """Return the times [T], the sums of the failures by cluster [C, T], the unit of time and the cost.

        Training ends with the first time at which too few problems carry the failure.
        """
        schedule = log_times(self.time_first, self.time_last, self.per_decade)
        times, sums, unit, cost = [], [], "1", {}
        for i, step in enumerate(policy.train(problems, schedule.tolist(), child(seed, 0))):
            rates = success_rates(step.policy, problems, budget.of(self.samples), child(seed, 1 + i))
            failure = 1.0 - rates[:, None]
            if not carried(failure, self.least)[0]:
                break
            times.append(step.time)
            sums.append(by_cluster(failure, cluster))
            unit, cost = step.unit, step.cost
        self._enough(len(times), "training time", len(problems))
        return np.array(times), np.concatenate(sums, axis=1), unit, cost

    def _enough(self, points: int, along: str, size: int) -> None:
        """Refuse a curve of fewer than two points."""
        if points < 2:
            raise InputError(
                f"tail_and_training: at fewer than two values of the {along} do {self.least} of {size} "
                "problems carry the failure; give more or harder problems."
            )
