"""Probe: how the number of distinct answers grows with the number of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array
from rlaws.probes.base import Budget
from rlaws.probes.pass_at_k import sample_grid
from rlaws.problems import ProblemSet, given_or_own
from rlaws.vary import needs


def rarefied(classes: NDArray[np.int64], ks: NDArray[np.int64]) -> Array:
    """Return the expected number of distinct classes among k of the samples, [K].

    Exact over all subsets: sum_i 1 - C(n - c_i, k)/C(n, k) with c_i the count of class i (Hurlbert 1971), by the
    recurrence of the falling factorial in c, so that no large binomials are formed.

    Args:
        classes: Class of each sample, [n].
        ks: Numbers of samples, each at most n.
    """
    n = classes.size
    counts, many = np.unique(np.unique(classes, return_counts=True)[1], return_counts=True)
    taken = np.arange(counts.max())[:, None]
    steps = np.maximum(n - taken - ks[None, :], 0) / (n - taken)
    missed = np.cumprod(steps, axis=0)[counts - 1]
    return np.asarray((many[:, None] * (1.0 - missed)).sum(axis=0))


@dataclass(frozen=True, slots=True)
class DistinctAnswers:
    """Distinct answers among k samples of one problem, for k on a geometric grid.

    Attributes:
        samples: Samples of each problem at the quick budget.
        k_largest: Largest k; at most half the samples, so that the estimate rests on more than one subset.
        per_octave: Values of k for each factor of two.
    """

    NAME: ClassVar[str] = "distinct_answers"
    REQUIRES: ClassVar[tuple[frozenset[Any], ...]] = ()
    UNITS: ClassVar[Mapping[str, str]] = {"samples": "samples", "k_largest": "samples", "per_octave": "1"}
    samples: int = 8192
    k_largest: int = 4096
    per_octave: int = 1

    def __post_init__(self) -> None:
        if min(self.k_largest, self.per_octave) < 1 or 2 * self.k_largest > self.samples:
            raise InputError("distinct_answers: k_largest and per_octave must be at least 1, samples twice k_largest.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each problem and k.

        Raises:
            InputError: If the policy does not tell the class of its answers.
        """
        needs(policy, ("answers",), self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        ks = sample_grid(self.k_largest, self.per_octave)
        size = budget.of(self.samples, least=2 * self.k_largest)
        drawn = policy.answers(problems, size, seed)
        found = np.array([rarefied(row, ks) for row in drawn])
        return Measurement(
            columns={
                "cluster": np.repeat(problems.ids, ks.size),
                "k": np.tile(ks, len(problems)),
                "total": found.ravel(),
                "weight": np.ones(found.size),
            },
            units={"k": "samples", "total": "answers", "weight": "problems"},
            x=("k",),
            statistic="mean",
            response="distinct answers among k samples",
            response_unit="answers",
            provenance={"problems": dict(problems.settings), "cost": {"samples": int(drawn.size)}},
        )
