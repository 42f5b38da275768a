"""Is a larger model better at the same budget? Neighbouring sizes compared along the range that both covered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.group_budget import VIEWS, neighbours
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance
from rlaws.probes.seeds import mean_over_runs, resampling, runs_behind
from rlaws.problems import ProblemSet


@dataclass(frozen=True, slots=True)
class SizeBudget:
    """d = log(L of the larger model / L of the smaller) at the same budget, for neighbouring sizes of a family.

    Read as in ``group_budget``: d < 0 says that the larger model is better there; it becomes the better one along the
    budget where d > 0 at the low end (``position`` = 0) and d < 0 at the high end (``remaining`` = 0).

    Attributes:
        view: "samples" (same number of prompts) or "flops" (same compute).
        runs: Independent runs behind every curve, as the source states it; where the table has them, they are counted.
    """

    NAME: ClassVar[str] = "size_budget"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"view": "name", "runs": "runs"}

    view: str = "samples"
    runs: int = 3

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise InputError(f"view = '{self.view}' is not known.{suggest(self.view, VIEWS)}")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per pair of sizes, shared budget and run; nothing is drawn.

        Raises:
            InputError: If the table lacks a column, or two neighbouring sizes share no budget.
        """
        table = policy.table()
        needs_columns(table, ("family", "model_B", "step", VIEWS[self.view], "test_loss"), self.NAME)
        curves = curve_labels(table, "family", "model_B")
        budget_of = mean_over_runs(table, curves, VIEWS[self.view])
        parts = [
            pair.columns(cluster=f"{pair.large:.4g} over {pair.small:.4g}")
            for family in dict.fromkeys(table["family"].tolist())
            for pair in neighbours(table, table["family"] == family, "model_B", budget_of, self.NAME)
        ]
        pure = dict.fromkeys(("position", "remaining", "total", "weight"), "1")
        return Measurement(
            columns={name: np.concatenate([p[name] for p in parts]) for name in parts[0]},
            units={"family": "name", "model_B": "1e9 parameters", **pure},
            x=("position", "remaining"),
            statistic="mean",
            response="log ratio of test losses, larger model over smaller",
            response_unit="1",
            resample=resampling(table),
            regime=("family", "model_B"),
            provenance=provenance(policy, runs=runs_behind(table, curves, self.runs), view=self.view),
        )
