"""Probe: how the failure of best-of-k with an oracle verifier falls with k."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.estimators import pass_at_k
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, counts, refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet, given_or_own

FLOOR = 1e-10
"""Smallest mean failure reported: 1 - pass@k is a difference of numbers near 1, and below this its digits are noise."""


def sample_grid(largest: int, per_octave: int) -> NDArray[np.int64]:
    """Return the whole numbers nearest to 2^(i / per_octave), from 1 to ``largest``, [K]."""
    steps = int(np.floor(per_octave * np.log2(largest) + 1e-9))
    return np.unique(np.round(2.0 ** (np.arange(steps + 1) / per_octave)).astype(np.int64))


def carried(failure: Array, least: int) -> NDArray[np.bool_]:
    """Tell at which design points the mean failure rests on enough problems, [X].

    The number of problems that carry a mean is (sum f)^2 / sum f^2. Where a handful of hard problems makes up the
    whole failure, resampling problems says nothing about the hard problems that were not drawn. Everything after the
    first such point is left out too: once the last hard problem of a sample is solved its failure is again shared by
    many, but it is the curve of this sample, no longer of the population.

    Args:
        failure: Failure of each problem at each design point, in the order in which it falls, [P, X].
        least: Smallest number of problems that a point must rest on.
    """
    total, square = failure.sum(axis=0), (failure**2).sum(axis=0)
    bearers = np.divide(total**2, square, out=np.zeros_like(total), where=square > 0)
    return np.asarray(np.logical_and.accumulate((bearers >= least) & (total >= FLOOR * failure.shape[0])))


def batches(problems: ProblemSet, batch: int) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return the cluster names [C] and the cluster of each problem [P] for batches of consecutive problems.

    Raises:
        InputError: If the problems do not divide into at least two equal batches.
    """
    size = len(problems)
    if batch < 1 or size % batch or size < 2 * batch:
        raise InputError(f"batch = {batch} does not divide {size} problems into two or more equal clusters; change it.")
    return problems.ids[::batch], np.arange(size) // batch


def by_cluster(failure: Array, cluster: NDArray[np.int64]) -> Array:
    """Sum the failures [P, X] over the problems of each cluster, [C, X]."""
    starts = np.flatnonzero(np.diff(cluster, prepend=-1))
    return np.asarray(np.add.reduceat(failure, starts, axis=0))


@dataclass(frozen=True, slots=True)
class PassAtK:
    """Unbiased failure 1 - pass@k of every problem (arXiv 2107.03374, eq. 1), for k on a geometric grid.

    Attributes:
        samples: Samples of each problem at the quick budget; never fewer than ``k_largest``.
        k_largest: Largest k.
        per_octave: Values of k for each factor of two.
        batch: Problems in one cluster. More than 1 only where problems are exchangeable draws of a population.
        least: A k is reported only where at least so many problems carry the mean failure.
    """

    NAME: ClassVar[str] = "pass_at_k"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.COUNT, Capability.SAMPLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "samples": "samples",
        "k_largest": "samples",
        "per_octave": "1",
        "batch": "problems",
        "least": "problems",
    }
    samples: int = 4096
    k_largest: int = 1024
    per_octave: int = 1
    batch: int = 1
    least: int = 20

    def __post_init__(self) -> None:
        if min(self.samples, self.k_largest, self.per_octave, self.least) < 1:
            raise InputError("pass_at_k: samples, k_largest, per_octave and least must be at least 1.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each cluster and k: the sum of the failures and the number of problems.

        Raises:
            InputError: If there are no problems, or no k at which enough of them carry the failure.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        taken, right = counts(policy, problems, budget.of(self.samples, least=self.k_largest), seed)
        ks = sample_grid(self.k_largest, self.per_octave)
        failure = 1.0 - pass_at_k(taken, right, ks)
        keep = carried(failure, self.least)
        if not keep.any():
            raise InputError(
                f"pass_at_k: at no k do {self.least} problems carry the failure of {len(problems)}; "
                "give more or harder problems, or lower 'least'."
            )
        columns = _rows(failure[:, keep], ks[keep], *batches(problems, self.batch))
        return Measurement(
            columns=columns,
            units={"k": "samples", "total": "problems", "weight": "problems"},
            x=("k",),
            statistic="share",
            response="failure of best-of-k, 1 - pass@k",
            response_unit="1",
            provenance={
                "problems": dict(problems.settings),
                "left_out": [int(k) for k in ks[~keep]],
                "cost": {"samples": int(taken.sum())},
            },
        )


def _rows(
    failure: Array, ks: NDArray[np.int64], names: NDArray[np.str_], cluster: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Return the columns, one row a cluster and k."""
    sums = by_cluster(failure, cluster)
    return {
        "cluster": np.repeat(names, ks.size),
        "k": np.tile(ks, names.size),
        "total": sums.ravel(),
        "weight": np.repeat(np.bincount(cluster), ks.size).astype(np.float64),
    }
