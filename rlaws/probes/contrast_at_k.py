"""Probe: what a changed setting of a policy adds to pass@k, on the same problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.estimators import pass_at_k
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, counts, refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.probes.pass_at_k import sample_grid
from rlaws.problems import ProblemSet, given_or_own
from rlaws.seeding import child
from rlaws.vary import vary


@dataclass(frozen=True, slots=True)
class ContrastAtK:
    """D(k) = pass@k with ``setting`` at ``after`` less pass@k with it at ``before``, unbiased, mean over problems.

    Every value of ``runs_of`` is an independent policy: a base with its own training. Each is one cluster, so that what
    differs from run to run is in the interval. All meet the same problems.

    Attributes:
        setting: Setting of the policy that is changed.
        before: Its value before.
        after: Its value after; the same value gives 0.
        runs_of: Setting that names a run.
        runs: Its values, two or more.
        samples: Samples of each problem at the quick budget; never fewer than ``k_largest``.
        k_largest: Largest k.
        per_octave: Values of k for each factor of two.
    """

    NAME: ClassVar[str] = "contrast_at_k"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.COUNT, Capability.SAMPLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "setting": "name", "before": "1", "after": "1", "runs_of": "name", "runs": "name", "samples": "samples",
        "k_largest": "samples", "per_octave": "1",
    }  # fmt: skip
    setting: str = "trained"
    before: float = 0
    after: float = 192
    runs_of: str = "base_seed"
    runs: tuple[int, ...] = (0, 1, 2)
    samples: int = 4096
    k_largest: int = 1024
    per_octave: int = 1

    def __post_init__(self) -> None:
        if len(set(self.runs)) < 2 or len(set(self.runs)) < len(self.runs):
            raise InputError(f"contrast_at_k: runs = {self.runs}: name at least two runs, each once.")
        if min(self.samples, self.k_largest, self.per_octave) < 1:
            raise InputError("contrast_at_k: samples, k_largest and per_octave must be at least 1.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each run and k: the sum of the differences and the number of problems.

        Raises:
            InputError: If there are no problems, or the policy lacks a setting.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        ks, size, n = sample_grid(self.k_largest, self.per_octave), len(problems), len(self.runs)
        taken = budget.of(self.samples, least=self.k_largest)
        gains = [
            self._gain(vary(policy, **{self.runs_of: run}), problems, ks, taken, child(seed, i))
            for i, run in enumerate(self.runs)
        ]
        return Measurement(
            columns={
                "cluster": np.repeat([f"{self.runs_of} {run}" for run in self.runs], ks.size),
                "k": np.tile(ks, n),
                "total": np.concatenate(gains),
                "weight": np.full(n * ks.size, float(size)),
            },
            units={"k": "samples", "total": "problems", "weight": "problems"},
            x=("k",),
            statistic="mean",
            response="pass@k after less pass@k before",
            response_unit="1",
            provenance={
                "problems": dict(problems.settings),
                "runs": n,
                "cost": {"samples": 2 * n * size * taken},
            },
        )

    def _gain(self, policy: Any, problems: ProblemSet, ks: Any, samples: int, seed: np.random.SeedSequence) -> Array:
        """Return the sum over problems of the differences of one run, [K]."""
        after, before = (
            pass_at_k(*counts(vary(policy, **{self.setting: value}), problems, samples, child(seed, i)), ks)
            for i, value in enumerate((self.after, self.before))
        )
        return np.asarray((after - before).sum(axis=0))
