"""What a search adds to sampling when both may spend the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
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
class MethodGain:
    """G(B) = S(method, B) - S(baseline, B), with S the share of problems solved within B expansions for each.

    Both meet the same problems with the same value errors and stand in the same ledger, so G is paired: what makes a
    problem hard for both drops out. Budgets are those of whole answers, B = 1 + n d, which sampling spends to the last
    expansion; a method that stops early or leaves a rest is charged no less.

    Attributes:
        method: Method of ``rlaws.search``.
        baseline: Method it is compared with; the same one gives 0.
        select: Rule by which both choose their answer.
        answers: n, budgets in units of one full answer, rising.
        batch: Problems in one cluster, exchangeable.
    """

    NAME: ClassVar[str] = "method_gain"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.BRANCH}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "method": "name", "baseline": "name", "select": "name", "answers": "answers", "batch": "problems",
    }  # fmt: skip
    method: str = "mcts"
    baseline: str = "best_of_n"
    select: str = "oracle"
    answers: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128)
    batch: int = 50

    def __post_init__(self) -> None:
        n = self.answers
        if len(n) < 2 or n[0] < 1 or any(a >= b for a, b in pairwise(n)):
            raise InputError(f"method_gain: answers = {n}: give two or more rising whole numbers, at least 1.")
        for name in (self.method, self.baseline):
            Search(name, (1,), self.select)

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each cluster and budget: the sum of the differences and the number of problems."""
        if problems is None:
            raise InputError("method_gain needs problems; add a 'problems' group.")
        names, cluster = batches(problems, self.batch)
        steps = least_budget(policy, self.method) - 1
        spend = tuple(1 + steps * n for n in self.answers)
        done, base = (
            policy.branch(problems, Search(m, spend, self.select), seed) for m in (self.method, self.baseline)
        )
        gain = done.right.astype(float) - base.right
        return Measurement(
            columns={
                "expansions": np.tile(np.array(spend), names.size),
                "cluster": np.repeat(names, len(spend)),
                "total": by_cluster(gain, cluster).ravel(),
                "weight": np.repeat(np.bincount(cluster), len(spend)).astype(float),
            },
            units={"expansions": "expansions", "total": "problems", "weight": "problems"},
            x=("expansions",),
            statistic="mean",
            response=f"success less that of {self.baseline}",
            response_unit="1",
            provenance={"cost": {"expansions": sum(int(s.cost.get("expansions", 0)) for s in (done, base))}},
        )
