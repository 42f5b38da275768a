"""Is a larger group better at the same budget? Neighbouring group sizes compared along their shared range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance, rising
from rlaws.probes.seeds import SEED, mean_over_runs, resampling, runs_behind, seeded
from rlaws.problems import ProblemSet

VIEWS = {"samples": "samples", "flops": "cum_flops"}


@dataclass(frozen=True, slots=True)
class GroupBudget:
    """d = log(L of the larger group / L of the smaller) at the same budget, for neighbouring group sizes.

    The smaller group's log loss is interpolated linearly in the log of the budget at the larger group's evaluations
    that lie in the range both runs covered. d < 0 says that the larger group is better there. The best group grows
    with the budget where d falls along it; it does so by a crossing where d > 0 at the low end and d < 0 at the high
    end. ``position`` runs from 0 at the low end of the shared range to 1 at its high end in log budget, and
    ``remaining`` is 1 - position. Where the table has several runs of a curve (column "seed"), runs of one seed are
    compared and the runs are the clusters; budgets are means over runs.

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
        curves = curve_labels(table, "family", "model_B", "group_size")
        budget_of = mean_over_runs(table, curves, VIEWS[self.view])
        parts = [
            pair.columns(smaller_group=pair.small, cluster=f"G = {pair.large} over {pair.small}")
            for name in dict.fromkeys(models.tolist())
            for pair in neighbours(table, models == name, "group_size", budget_of, self.NAME)
        ]
        columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        units = {"family": "name", "model_B": "1e9 parameters", "smaller_group": "answers per prompt"}
        return Measurement(
            columns=columns,
            units={**units, "position": "1", "remaining": "1", "total": "1", "weight": "1"},
            x=("position", "remaining"),
            statistic="mean",
            response="log ratio of test losses, larger group over smaller",
            response_unit="1",
            resample=resampling(table),
            regime=("family", "model_B", "smaller_group"),
            provenance=provenance(policy, runs=runs_behind(table, curves, self.runs), view=self.view),
        )


class Pair(NamedTuple):
    """Two neighbouring settings compared at equal budgets.

    Attributes:
        small: The smaller setting.
        large: The larger one.
        run: " seed s" where there are several runs, else "".
        origin: Family and size of the smaller one.
        position: Where in the shared range, [T].
        ratio: Log loss of the larger less that of the smaller, [T].
    """

    small: float
    large: float
    run: str
    origin: tuple[str, float]
    position: NDArray[np.float64]
    ratio: NDArray[np.float64]

    def columns(self, cluster: str, **named: Any) -> dict[str, NDArray[Any]]:
        """Return the rows of the pair, with constant columns of the given names."""
        family, size = self.origin
        same = {"family": family, "model_B": size, **named, "cluster": cluster + self.run}
        return {
            **{name: np.full(self.position.size, value) for name, value in same.items()},
            "position": self.position,
            "remaining": 1.0 - self.position,
            "total": self.ratio,
            "weight": np.ones(self.position.size),
        }


def neighbours(
    table: Mapping[str, NDArray[Any]],
    keep: NDArray[np.bool_],
    along: str,
    resource: NDArray[np.float64],
    probe: str,
) -> list[Pair]:
    """Return the comparisons of neighbouring values of a column, for each run that both have.

    Args:
        table: Learning curves.
        keep: Rows to use, [R].
        along: Column whose neighbouring values are compared.
        resource: Cumulative budget of every row, [R].
        probe: Name of the probe, for messages.

    Raises:
        InputError: If the column has one value only, or two neighbours share no budget.
    """
    values = np.unique(table[along][keep])
    if values.size < 2:
        raise InputError(f"Probe '{probe}' compares values of '{along}', but the table has only {values.tolist()}.")
    seeds = table[SEED] if seeded(table) else np.zeros(keep.size, dtype=np.int64)
    found = []
    for small, large in pairwise(values.tolist()):
        row = int(np.flatnonzero(keep & (table[along] == small))[0])
        for run in np.unique(seeds[keep]):
            curves = [_curve(table, keep & (table[along] == v) & (seeds == run), resource) for v in (small, large)]
            name = f" seed {run}" if seeded(table) else ""
            origin = (str(table["family"][row]), float(table["model_B"][row]))
            found.append(Pair(small, large, name, origin, *compare(*curves)))
    return found


def _curve(
    table: Mapping[str, NDArray[Any]], keep: NDArray[np.bool_], resource: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log budget and log loss of one run, in the order of its steps, where the budget rises."""
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(table["step"][rows], kind="stable")]
    rows = rows[rising(resource[rows]) & (table["test_loss"][rows] > 0)]
    return np.log(resource[rows]), np.log(table["test_loss"][rows])


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
        raise InputError("Two neighbouring curves share no range of budgets; give runs that overlap.")
    at = large[0][inside]
    return (at - low) / (high - low), large[1][inside] - np.interp(at, *small)
