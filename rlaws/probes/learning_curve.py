"""Loss along recorded training runs, against samples or compute."""

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
from rlaws.probes.seeds import mean_over_runs, resampling, run_labels, runs_behind, seeded
from rlaws.problems import ProblemSet

AXES = {"samples": ("samples", "samples", 1.0), "flops": ("cum_flops", "1e18 FLOP", 1e18)}
POOLS = ("none", "sizes")
PURE = ("growth", "start_loss", "total", "weight")


def rising(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return True where a curve's resource exceeds everything before: a total cannot fall, so the rest is dropped.

    Args:
        values: Cumulative resource in the order of the steps, [T].
    """
    before = np.concatenate([[-np.inf], np.maximum.accumulate(values)[:-1]])
    return np.asarray(values > before)


def curve_labels(table: Mapping[str, NDArray[Any]], *names: str) -> NDArray[np.str_]:
    """Return one label a row, made of the columns that tell the curves apart."""
    return np.array([" ".join(str(table[n][i]) for n in names) for i in range(len(table[names[0]]))], dtype=str)


def needs_columns(table: Mapping[str, NDArray[Any]], names: tuple[str, ...], probe: str) -> None:
    """Refuse a table without the columns a probe reads.

    Raises:
        InputError: If one is missing.
    """
    for name in names:
        if name not in table:
            raise InputError(f"Probe '{probe}' needs the column '{name}' in the table.{suggest(name, table)}")


def provenance(policy: Any, **more: Any) -> dict[str, Any]:
    """Return what a recorded policy says of its origin, and what the probe adds."""
    said = policy.provenance() if hasattr(policy, "provenance") else {}
    return {**said, **more}


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """L = 1 - pass@1 at every evaluation of every run, against the resource spent until then.

    A row whose cumulative resource does not exceed the rows before it is dropped (a total cannot fall); the provenance
    counts them. Each curve is one autocorrelated series; where the table has several runs of a curve (column "seed"),
    the runs are clusters and the resource is their mean at each step (``rlaws.probes.seeds``).

    With ``anchor`` = m the first m evaluations of a curve are its measured start and no longer responses:
    ``start_loss`` is their geometric mean loss and ``growth`` the resource over their geometric mean resource. A law
    that takes both has no level to fit, so it can predict a curve it never saw from the curve's own start.

    Attributes:
        axis: "samples" (prompts used, D) or "flops" (cumulative compute C, in 1e18 FLOP).
        pool: "none": every model size is a regime point; "sizes": the size is a design variable beside the resource.
        anchor: Evaluations that make the start; 0 for none.
        runs: Independent runs behind every curve, as the source states it; where the table has them, they are counted.
    """

    NAME: ClassVar[str] = "learning_curve"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"axis": "name", "pool": "name", "anchor": "evaluations", "runs": "runs"}

    axis: str = "samples"
    pool: str = "none"
    anchor: int = 0
    runs: int = 3

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise InputError(f"axis = '{self.axis}' is not known.{suggest(self.axis, AXES)}")
        if self.pool not in POOLS:
            raise InputError(f"pool = '{self.pool}' is not known.{suggest(self.pool, POOLS)}")
        if self.anchor < 0:
            raise InputError(f"anchor = {self.anchor} must not be negative; 0 takes no anchor.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per evaluation: family, model_B, resource, loss; nothing is drawn.

        Raises:
            InputError: If the table lacks a column, or a curve has nothing left after its anchor.
        """
        table = policy.table()
        column, unit, scale = AXES[self.axis]
        needs_columns(table, ("family", "model_B", "step", column, "test_loss"), self.NAME)
        curves = curve_labels(table, "family", "model_B")
        labels = run_labels(table, curves)
        resource = mean_over_runs(table, curves, column)
        rising_rows = keep_rising(labels, table["step"], resource)
        rows, start = anchored(labels, rising_rows, resource, mean_over_runs(table, curves, "test_loss"), self.anchor)
        sizes = ("model_B",) if self.pool == "sizes" else ()
        return Measurement(
            columns={
                "family": table["family"][rows],
                "model_B": table["model_B"][rows],
                "resource": resource[rows] / scale,
                **start,
                "total": table["test_loss"][rows],
                "weight": np.ones(rows.size),
                "cluster": labels[rows],
                **({"curve": curves[rows]} if seeded(table) else {}),
            },
            units={"family": "name", "model_B": "1e9 parameters", "resource": unit, **dict.fromkeys(PURE, "1")},
            x=(*sizes, "resource", *start),
            statistic="share",
            response="test loss (1 - pass@1)",
            response_unit="1",
            resample=resampling(table),
            regime=("family",) if sizes else ("family", "model_B"),
            provenance=provenance(
                policy,
                runs=runs_behind(table, curves, self.runs),
                dropped=int((~rising_rows).sum()),
                axis=self.axis,
            ),
        )


def anchored(
    curves: NDArray[np.str_],
    keep: NDArray[np.bool_],
    resource: NDArray[np.float64],
    loss: NDArray[np.float64],
    anchor: int,
) -> tuple[NDArray[np.intp], dict[str, NDArray[np.float64]]]:
    """Return the rows that remain as responses, and for each its curve's start.

    Args:
        curves: Curve of every row, [R].
        keep: Rows to use, [R].
        resource: Cumulative resource, rising along each curve's kept rows, [R].
        loss: Test loss, [R]; above 0 in the anchor.
        anchor: Number of first evaluations m that make the start; 0 for none.

    Returns:
        Row indices, and "growth" and "start_loss" for each (empty where m = 0).

    Raises:
        InputError: If a curve has no more than m evaluations, or a loss of 0 among them.
    """
    if anchor == 0:
        return np.flatnonzero(keep), {}
    rows, growth, level = [], [], []
    for name in dict.fromkeys(curves.tolist()):
        of_curve = np.flatnonzero(keep & (curves == name))
        of_curve = of_curve[np.argsort(resource[of_curve], kind="stable")]
        first, rest = of_curve[:anchor], of_curve[anchor:]
        if not rest.size or np.any(loss[first] <= 0):
            raise InputError(f"Curve '{name}' needs more than anchor = {anchor} evaluations, with losses above 0.")
        rows.append(rest)
        growth.append(resource[rest] / np.exp(np.mean(np.log(resource[first]))))
        level.append(np.full(rest.size, np.exp(np.mean(np.log(loss[first])))))
    return np.concatenate(rows), {"growth": np.concatenate(growth), "start_loss": np.concatenate(level)}


def keep_rising(curves: NDArray[np.str_], step: NDArray[np.int64], resource: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the rows of each curve whose resource rises, in the order of the steps."""
    keep = np.zeros(curves.size, dtype=bool)
    for name in np.unique(curves):
        rows = np.flatnonzero(curves == name)
        rows = rows[np.argsort(step[rows], kind="stable")]
        keep[rows] = rising(resource[rows])
    return keep
