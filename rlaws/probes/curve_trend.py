"""How a column of recorded training runs moves along them, against model size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance
from rlaws.probes.seeds import SEED, runs_behind
from rlaws.problems import ProblemSet


def slope_per_decade(step: Array, value: Array) -> float:
    """Return the least-squares slope of a value against log10 step.

    Args:
        step: Positive, [T].
        value: [T].

    Raises:
        InputError: If there are fewer than three finite values.
    """
    known = np.isfinite(value) & (step > 0)
    if known.sum() < 3:
        raise InputError(f"curve_trend: a run tells {int(known.sum())} values; at least 3 are needed for a slope.")
    return float(np.polyfit(np.log10(step[known]), value[known], 1)[0])


@dataclass(frozen=True, slots=True)
class CurveTrend:
    """The slope of one column against log10 step, a row for each run; the runs of a size are the clusters.

    Attributes:
        column: Column of the table, for example "length".
        unit: Its unit.
    """

    NAME: ClassVar[str] = "curve_trend"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"column": "name", "unit": "name"}

    column: str = "length"
    unit: str = "tokens"

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per family, size and run; nothing is drawn.

        Raises:
            InputError: If the table lacks a column, or has single curves only, whose spread is not known.
        """
        table = policy.table()
        needs_columns(table, ("family", "model_B", SEED, "step", self.column), self.NAME)
        models = curve_labels(table, "family", "model_B")
        labels = curve_labels(table, "family", "model_B", SEED)
        names = list(dict.fromkeys(labels.tolist()))
        first = [int(np.flatnonzero(labels == name)[0]) for name in names]
        step, value = (np.asarray(table[n], dtype=np.float64) for n in ("step", self.column))
        slopes = [slope_per_decade(step[labels == name], value[labels == name]) for name in names]
        return Measurement(
            columns={
                "family": table["family"][first],
                "model_B": table["model_B"][first],
                "total": np.array(slopes),
                "weight": np.ones(len(names)),
                "cluster": np.array(names),
            },
            units={"family": "name", "model_B": "1e9 parameters", "total": f"{self.unit}/decade", "weight": "1"},
            x=("model_B",),
            statistic="mean",
            response=f"slope of {self.column} against log10 step",
            response_unit=f"{self.unit}/decade",
            regime=("family",),
            provenance=provenance(policy, runs=runs_behind(table, models, 1), of=self.column),
        )
