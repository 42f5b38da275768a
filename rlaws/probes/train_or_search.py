"""Where the next unit of money buys more: in training or in searching longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.pass_at_k import batches, by_cluster
from rlaws.problems import ProblemSet
from rlaws.search import Search, least_budget


@dataclass(frozen=True, slots=True)
class TrainOrSearch:
    """D(C) = S(C, N (1 + 1/load)) - S(2 C, N): what searching longer adds over what twice the training adds.

    S is success with training of scale C and N answers' worth of search. ``load`` is what the queries to be served cost
    at N, in units of what training has cost: the money that doubles training buys 1/load of more search for all of
    them. At load = 1 the comparison is that of the slopes alpha = dS/dlog C and beta = dS/dlog N. All searches
    meet the same problems and value errors, so D is paired.

    Attributes:
        method: Method of ``rlaws.search``.
        select: Rule by which the answer is chosen.
        answers: N, search in units of one full answer.
        scales: Training scales C, rising.
        load: Spending on search over spending on training, positive.
        batch: Problems in one cluster.
    """

    NAME: ClassVar[str] = "train_or_search"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (
        frozenset({Capability.BRANCH}),
        frozenset({Capability.TRAIN}),
    )
    UNITS: ClassVar[Mapping[str, str]] = {
        "method": "name", "select": "name", "answers": "answers", "scales": "C0", "load": "1", "batch": "problems",
    }  # fmt: skip
    method: str = "best_of_n"
    select: str = "oracle"
    answers: int = 16
    scales: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    load: float = 1.0
    batch: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.load < np.inf or self.answers < 1 or len(self.scales) < 3:
            raise InputError(
                f"train_or_search: load = {self.load} must be positive, answers = {self.answers} at least 1, "
                "and three scales be given."
            )

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each cluster and scale: the sum of the differences and the number of problems."""
        if problems is None:
            raise InputError("train_or_search needs problems; add a 'problems' group.")
        train_seed, search_seed = seed.spawn(2)
        names, cluster = batches(problems, self.batch)
        steps = least_budget(policy, self.method) - 1
        now = 1 + steps * self.answers
        longer = 1 + max(round(steps * self.answers * (1 + 1 / self.load)), steps * self.answers + 1)
        search = Search(self.method, (now, longer), self.select)
        times = sorted({t for c in self.scales for t in (c, 2 * c)})
        right, cost = {}, 0
        for checkpoint in policy.train(problems, times, train_seed):
            done = checkpoint.policy.branch(problems, search, search_seed)
            right[checkpoint.time] = done.right.astype(float)
            cost += int(done.cost.get("expansions", 0))
        gain = np.column_stack([right[c][:, 1] - right[2 * c][:, 0] for c in self.scales])
        return Measurement(
            columns={
                "training": np.tile(np.array(self.scales), names.size),
                "cluster": np.repeat(names, len(self.scales)),
                "total": by_cluster(gain, cluster).ravel(),
                "weight": np.repeat(np.bincount(cluster), len(self.scales)).astype(float),
            },
            units={"training": "C0", "total": "problems", "weight": "problems"},
            x=("training",),
            statistic="mean",
            response="success added by search less success added by training",
            response_unit="1",
            provenance={"cost": {"expansions": cost}},
        )
