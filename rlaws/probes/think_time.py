"""How much compute half of the problems take, against the length of the answer."""

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
from rlaws.probes.search_failure import crossing, whole_grid
from rlaws.problems import ProblemSet
from rlaws.search import Search, least_budget


@dataclass(frozen=True, slots=True)
class ThinkTime:
    """Expansions at which half of a cluster's problems are solved; the length of the answer is the design variable.

    Attributes:
        method: Method of ``rlaws.search``.
        select: Rule by which the answer is chosen.
        most: Most expansions for one problem.
        per_octave: Budgets for each factor of two; between them the curve is interpolated.
        batch: Problems in one cluster.
    """

    NAME: ClassVar[str] = "think_time"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.BRANCH}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "method": "name", "select": "name", "most": "expansions", "per_octave": "budgets", "batch": "problems",
    }  # fmt: skip
    method: str = "mcts"
    select: str = "oracle"
    most: int = 32768
    per_octave: int = 6
    batch: int = 100

    def __post_init__(self) -> None:
        if self.most < 10 or self.per_octave < 1:
            raise InputError("think_time: most must be at least 10 and per_octave at least 1.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row a cluster: its median compute.

        Raises:
            InputError: No problems, or a cluster of which fewer than half are solved within ``most``.
        """
        if problems is None:
            raise InputError("think_time needs problems; add a 'problems' group.")
        start = least_budget(policy, self.method)
        steps = max(2, int(self.per_octave * np.log2(max(self.most / start, 2.0))))
        grid = whole_grid(start, self.most, steps)
        done = policy.branch(problems, Search(self.method, grid, self.select), seed)
        names, cluster = batches(problems, self.batch)
        failure = 1.0 - by_cluster(done.right.astype(float), cluster) / np.bincount(cluster)[:, None]
        medians = [crossing(grid, f, 0.5) for f in failure]
        if any(m is None for m in medians):
            raise InputError(
                f"think_time: within most = {self.most} expansions '{self.method}' does not solve half of the problems "
                f"of {least_budget(policy, self.method) - 1} steps; raise 'most' or shorten the answers."
            )
        return Measurement(
            columns={
                "depth": np.full(names.size, start - 1),
                "cluster": names,
                "total": np.array(medians, dtype=float),
                "weight": np.ones(names.size),
            },
            units={"depth": "steps", "total": "expansions", "weight": "1"},
            x=("depth",),
            statistic="mean",
            response="expansions that solve half of the problems",
            response_unit="expansions",
            provenance={"cost": dict(done.cost)},
        )
