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
from rlaws.problems import ProblemSet

AXES = {"samples": ("samples", "samples", 1.0), "flops": ("cum_flops", "1e18 FLOP", 1e18)}
POOLS = ("none", "sizes")


def rising(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return True where a curve's resource exceeds everything spent before; a total cannot fall, so the rest is dropped.

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
    counts them. Each curve is one autocorrelated series.

    Attributes:
        axis: "samples" (prompts used, D) or "flops" (cumulative compute C, in 1e18 FLOP).
        pool: "none": every model size is a regime point; "sizes": the size is a design variable beside the resource.
        runs: Independent runs behind every curve, as the source states it.
    """

    NAME: ClassVar[str] = "learning_curve"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"axis": "name", "pool": "name", "runs": "runs"}

    axis: str = "samples"
    pool: str = "none"
    runs: int = 3

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise InputError(f"axis = '{self.axis}' is not known.{suggest(self.axis, AXES)}")
        if self.pool not in POOLS:
            raise InputError(f"pool = '{self.pool}' is not known.{suggest(self.pool, POOLS)}")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per evaluation: family, model_B, resource, loss; nothing is drawn.

        Raises:
            InputError: If the table lacks a column.
        """
        table = policy.table()
        column, unit, scale = AXES[self.axis]
        needs_columns(table, ("family", "model_B", "step", column, "test_loss"), self.NAME)
        curves = curve_labels(table, "family", "model_B")
        keep = _keep_rising(curves, table["step"], table[column])
        design: dict[str, NDArray[Any]] = {
            "family": table["family"][keep],
            "model_B": table["model_B"][keep],
            "resource": table[column][keep] / scale,
        }
        pooled = self.pool == "sizes"
        return Measurement(
            columns={
                **design,
                "total": table["test_loss"][keep],
                "weight": np.ones(int(keep.sum())),
                "cluster": curves[keep],
            },
            units={"family": "name", "model_B": "1e9 parameters", "resource": unit, "total": "1", "weight": "1"},
            x=("model_B", "resource") if pooled else ("resource",),
            statistic="share",
            response="test loss (1 - pass@1)",
            response_unit="1",
            resample="series",
            regime=("family",) if pooled else ("family", "model_B"),
            provenance=provenance(policy, runs=self.runs, dropped=int((~keep).sum()), axis=self.axis),
        )


def _keep_rising(
    curves: NDArray[np.str_], step: NDArray[np.int64], resource: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mark the rows of each curve whose resource rises, in the order of the steps."""
    keep = np.zeros(curves.size, dtype=bool)
    for name in np.unique(curves):
        rows = np.flatnonzero(curves == name)
        rows = rows[np.argsort(step[rows], kind="stable")]
        keep[rows] = rising(resource[rows])
    return keep
