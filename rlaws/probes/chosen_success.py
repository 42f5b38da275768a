"""Success of the answer that an imperfect verifier or a vote chooses, against the number of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.pass_at_k import batches, by_cluster, sample_grid
from rlaws.problems import ProblemSet
from rlaws.search import Search, least_budget


@dataclass(frozen=True, slots=True)
class ChosenSuccess:
    """Gain in success of best-of-n over one sample, for n = 2, 4, ... samples.

    Design variables are n and "distance" = sqrt(log n - (n - 1) / n), the root of the divergence that best-of-n spends
    (arXiv 2210.10760). Each cluster is compared with its own first samples.

    Attributes:
        select: Rule by which the answer is chosen.
        n_largest: Largest n.
        per_octave: Values of n for each factor of two.
        batch: Problems in one cluster.
    """

    NAME: ClassVar[str] = "chosen_success"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.BRANCH}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "select": "name", "n_largest": "samples", "per_octave": "1", "batch": "problems",
    }  # fmt: skip
    select: str = "verifier"
    n_largest: int = 1024
    per_octave: int = 1
    batch: int = 100

    def __post_init__(self) -> None:
        if self.n_largest < 4 or self.per_octave < 1:
            raise InputError("chosen_success: n_largest must be at least 4 and per_octave at least 1.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each cluster and n >= 2: the sum of the gains and the number of problems."""
        if problems is None:
            raise InputError("chosen_success needs problems; add a 'problems' group.")
        steps = least_budget(policy, "best_of_n") - 1
        ns = sample_grid(self.n_largest, self.per_octave)
        done = policy.branch(problems, Search("best_of_n", tuple((1 + steps * ns).tolist()), self.select), seed)
        names, cluster = batches(problems, self.batch)
        right = by_cluster(done.right.astype(float), cluster)
        many = ns[1:]
        return Measurement(
            columns={
                "n": np.tile(many, names.size),
                "distance": np.tile(np.sqrt(np.log(many) - (many - 1) / many), names.size),
                "cluster": np.repeat(names, many.size),
                "total": (right[:, 1:] - right[:, :1]).ravel(),
                "weight": np.repeat(np.bincount(cluster), many.size).astype(float),
            },
            units={"n": "samples", "distance": "nats^1/2", "total": "problems", "weight": "problems"},
            x=("n", "distance"),
            statistic="mean",
            response="success of the chosen answer less that of one sample",
            response_unit="1",
            provenance={"cost": dict(done.cost)},
        )
