"""Is a larger group better at the same budget? Neighbouring group sizes compared along their shared range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance, rising
from rlaws.problems import ProblemSet

VIEWS = {"samples": "samples", "flops": "cum_flops"}


@dataclass(frozen=True, slots=True)
class GroupBudget:
    """d = log(L of the larger group / L of the smaller) at the same budget, for neighbouring group sizes.

    The smaller group's log loss is interpolated linearly in the log of the budget at the larger group's evaluations
    that lie in the range both runs covered. d < 0 says that the larger group is better there. The best group grows
    with the budget where d falls along it; it does so by a crossing where d > 0 at the low end and d < 0 at the high
    end. ``position`` runs from 0 at the low end of the shared range to 1 at its high end in log budget, and
    ``remaining`` is 1 - position.

    Attributes:
        view: "samples" (same number of prompts) or "flops" (same compute).
        runs: Independent runs behind every curve, as the source states it.
    """

    NAME: ClassVar[str] = "group_budget"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"view": "name", "runs": "runs"}

    view: str = "samples"
    runs: int = 1

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise InputError(f"view = '{self.view}' is not known.{suggest(self.view, VIEWS)}")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per pair of groups and shared budget; nothing is drawn.

        Raises:
            InputError: If the table lacks a column, or two neighbouring groups share no budget.
        """
        table = policy.table()
        needs_columns(table, ("family", "model_B", "group_size", "step", VIEWS[self.view], "test_loss"), self.NAME)
        models = curve_labels(table, "family", "model_B")
        parts = [p for name in dict.fromkeys(models.tolist()) for p in self._pairs(table, models == name)]
        columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        units = {"family": "name", "model_B": "1e9 parameters", "smaller_group": "answers per prompt"}
        return Measurement(
            columns=columns,
            units={**units, "position": "1", "remaining": "1", "total": "1", "weight": "1"},
            x=("position", "remaining"),
            statistic="mean",
            response="log ratio of test losses, larger group over smaller",
            response_unit="1",
            resample="series",
            regime=("family", "model_B", "smaller_group"),
            provenance=provenance(policy, runs=self.runs, view=self.view),
        )

    def _pairs(self, table: Mapping[str, NDArray[Any]], of_model: NDArray[np.bool_]) -> list[dict[str, NDArray[Any]]]:
        groups = np.unique(table["group_size"][of_model])
        if groups.size < 2:
            raise InputError(f"Probe '{self.NAME}' compares group sizes, but the table has only {groups.tolist()}.")
        curves = {int(g): _curve(table, of_model & (table["group_size"] == g), VIEWS[self.view]) for g in groups}
        row = int(np.flatnonzero(of_model)[0])
        found = []
        for small, large in zip(groups[:-1].tolist(), groups[1:].tolist(), strict=True):
            position, ratio = compare(curves[small], curves[large])
            n = position.size
            found.append(
                {
                    "family": np.repeat(table["family"][row], n),
                    "model_B": np.repeat(table["model_B"][row], n),
                    "smaller_group": np.full(n, small, dtype=np.int64),
                    "position": position,
                    "remaining": 1.0 - position,
                    "total": ratio,
                    "weight": np.ones(n),
                    "cluster": np.repeat(f"G = {large} over {small}", n),
                }
            )
        return found


def _curve(
    table: Mapping[str, NDArray[Any]], keep: NDArray[np.bool_], column: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log budget and log loss of one run, in the order of its steps, where the budget rises."""
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(table["step"][rows], kind="stable")]
    rows = rows[rising(table[column][rows]) & (table["test_loss"][rows] > 0)]
    return np.log(table[column][rows]), np.log(table["test_loss"][rows])


def compare(
    small: tuple[NDArray[np.float64], NDArray[np.float64]], large: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return position in the shared range and log loss ratio, each [T].

    Args:
        small: Log budget and log loss of the smaller group, each [A].
        large: The same of the larger group, each [B].

    Raises:
        InputError: If fewer than two evaluations of the larger group lie in the shared range.
    """
    low, high = max(small[0][0], large[0][0]), min(small[0][-1], large[0][-1])
    inside = (large[0] >= low) & (large[0] <= high)
    if inside.sum() < 2 or high <= low:
        raise InputError("Two neighbouring group sizes share no range of budgets; give runs that overlap.")
    at = large[0][inside]
    return (at - low) / (high - low), large[1][inside] - np.interp(at, *small)
