"""How the failure of each search method falls with compute, between two levels of failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability
from rlaws.probes.base import Budget
from rlaws.probes.pass_at_k import batches, by_cluster
from rlaws.problems import ProblemSet
from rlaws.search import Search, least_budget

PILOT_PER_OCTAVE = 2


def first(problems: ProblemSet, size: int) -> ProblemSet:
    """Return the first ``size`` problems."""
    cut = {k: v[:size] for k, v in problems.difficulty.items()}
    return replace(problems, ids=problems.ids[:size], difficulty=cut, items=problems.items[:size])


def whole_grid(low: float, high: float, points: int) -> tuple[int, ...]:
    """Return at most ``points`` distinct whole numbers, evenly spaced in the logarithm from low to high."""
    return tuple(np.unique(np.round(np.geomspace(low, high, points)).astype(int)).tolist())


def crossing(budgets: Sequence[int], failure: Array, level: float) -> float | None:
    """Return the budget at which a falling failure curve meets a level, by interpolation in logarithms; None if never.

    Args:
        budgets: Rising budgets, [K].
        failure: Failure at each, [K].
        level: The level, positive.
    """
    below = np.flatnonzero(failure <= level)
    if not below.size:
        return None
    k = int(below[0])
    if k == 0:
        return float(budgets[0])
    f0, f1 = (float(np.log(max(failure[i], 1e-3 * level))) for i in (k - 1, k))
    share = (f0 - np.log(level)) / max(f0 - f1, 1e-300)
    return float(np.exp(np.log(budgets[k - 1]) + share * np.log(budgets[k] / budgets[k - 1])))


@dataclass(frozen=True, slots=True)
class SearchFailure:
    """Failure against compute of several methods on the same problems with the same value errors.

    A pilot on other trees fixes the budgets of each method, so that no budget is chosen by the numbers that are then
    fitted: ``points`` budgets from where the pilot fails with ``high`` to where it fails with ``low``. A method that
    does not get that far within ``most`` expansions is measured over the last factor of ten that it had.

    Attributes:
        methods: Methods of ``rlaws.search``; the column "rank" is the position in this list.
        select: Rule by which the answer is chosen.
        high: Failure where the window begins.
        low: Failure where it ends.
        points: Budgets in the window.
        most: Most expansions for one problem.
        batch: Problems in one cluster, exchangeable.
    """

    NAME: ClassVar[str] = "search_failure"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.BRANCH}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "methods": "name", "select": "name", "high": "1", "low": "1", "points": "budgets", "most": "expansions",
        "batch": "problems",
    }  # fmt: skip
    methods: tuple[str, ...] = ("best_of_n", "mcts", "lookahead", "beam")
    select: str = "oracle"
    high: float = 0.5
    low: float = 0.05
    points: int = 9
    most: int = 8192
    batch: int = 50

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < 1:
            raise InputError(f"search_failure: 0 < low = {self.low} < high = {self.high} < 1 must hold.")
        if self.points < 4 or self.most < 10 or not self.methods:
            raise InputError("search_failure: points must be at least 4, most at least 10, and a method be named.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each method, budget and cluster: failures and problems."""
        if problems is None:
            raise InputError("search_failure needs problems; add a 'problems' group.")
        pilot_seed, own_seed = seed.spawn(2)
        names, cluster = batches(problems, self.batch)
        parts, cost = [], 0
        for rank, method in enumerate(self.methods):
            grid = self.window(policy, first(problems, max(2, len(problems) // 4)), method, pilot_seed)
            done = policy.branch(problems, Search(method, grid, self.select), own_seed)
            spent, keep = np.unique(np.round(done.expansions.mean(axis=0)).astype(int), return_index=True)
            failed = by_cluster((~done.right[:, keep]).astype(float), cluster)
            parts.append(_rows(failed, spent, names, np.bincount(cluster), rank))
            cost += int(done.cost.get("expansions", 0))
        return Measurement(
            columns={k: np.concatenate([p[k] for p in parts]) for k in parts[0]},
            units={"expansions": "expansions", "rank": "1", "total": "problems", "weight": "problems"},
            x=("expansions", "rank"),
            statistic="share",
            response="failure",
            response_unit="1",
            provenance={"methods": list(self.methods), "cost": {"expansions": cost}},
        )

    def window(self, policy: Any, problems: ProblemSet, method: str, seed: np.random.SeedSequence) -> tuple[int, ...]:
        """Return the budgets at which a method is measured, from a pilot on ``problems``."""
        start = least_budget(policy, method)
        if start * 4 > self.most:
            raise InputError(f"search_failure: most = {self.most} leaves no room above {start} expansions, one answer.")
        octaves = np.log2(self.most / start)
        coarse = whole_grid(start, self.most, int(PILOT_PER_OCTAVE * octaves) + 2)
        failure = 1.0 - policy.branch(problems, Search(method, coarse, self.select), seed).right.mean(axis=0)
        begin, end = crossing(coarse, failure, self.high), crossing(coarse, failure, self.low)
        if begin is None or end is None:
            begin, end = max(start, self.most / 10), float(self.most)
        if end < begin + 5:
            raise InputError(
                f"search_failure: '{method}' goes from failing with {self.high:g} to {self.low:g} within "
                f"{begin:.0f} to {end:.0f} expansions, too few to fit an exponent; make the problems harder."
            )
        return whole_grid(begin, end, self.points)


def _rows(
    failed: Array, spent: NDArray[np.int64], names: NDArray[np.str_], sizes: NDArray[np.int64], rank: int
) -> dict[str, NDArray[Any]]:
    """Return the columns of one method, one row a cluster and budget."""
    return {
        "cluster": np.repeat(names, spent.size),
        "expansions": np.tile(spent, names.size),
        "rank": np.full(failed.size, rank),
        "total": failed.ravel(),
        "weight": np.repeat(sizes, spent.size).astype(float),
    }
