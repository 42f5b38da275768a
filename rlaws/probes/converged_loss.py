"""Success after training has converged, against model size, from a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance
from rlaws.probes.seeds import run_labels, runs_behind, seeded
from rlaws.problems import ProblemSet


@dataclass(frozen=True, slots=True)
class ConvergedLoss:
    """pass@1 at the end of training and its printed standard error, one row a size.

    Where the table has several runs of a size (column "seed") there is a row for each and the runs are the clusters;
    no standard error need be printed then.

    Under the link log_error the response is -log L with L = 1 - pass@1, so a power law of the loss in size is a
    straight line against log size there.
    """

    NAME: ClassVar[str] = "converged_loss"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {}

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per table, family and size; nothing is drawn.

        Raises:
            InputError: If the table lacks a column.
        """
        table = policy.table()
        needs_columns(table, ("table", "family", "model_B", "pass_at_1"), self.NAME)
        models = curve_labels(table, "table", "family", "model_B")
        if not seeded(table):
            needs_columns(table, ("stderr", "runs"), self.NAME)
        stated = 0 if seeded(table) else int(table["runs"].min())
        units = {"table": "name", "family": "name", "model_B": "1e9 parameters", "total": "1", "weight": "1"}
        return Measurement(
            columns={
                "table": table["table"],
                "family": table["family"],
                "model_B": table["model_B"],
                "total": table["pass_at_1"],
                "weight": np.ones(len(table["pass_at_1"])),
                **({} if seeded(table) else {"stderr": table["stderr"]}),
                "cluster": run_labels(table, models),
            },
            units={**units, "stderr": "1"},
            x=("model_B",),
            statistic="share",
            response="pass@1 after training",
            response_unit="1",
            resample="clusters" if seeded(table) else "reported",
            regime=("table", "family"),
            provenance=provenance(policy, runs=runs_behind(table, models, stated)),
        )
