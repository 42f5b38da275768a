"""One loss curve against two resources: is the slope the same?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance, rising
from rlaws.problems import ProblemSet

RESOURCES = ("cum_flops", "samples")


@dataclass(frozen=True, slots=True)
class CurvePair:
    """Every evaluation twice: its loss against compute (axis 0) and against samples (axis 1).

    Each resource is given as a share of what the run spent in all, so that both are pure numbers; a slope in log-log
    axes does not depend on that scale. An evaluation whose cumulative compute does not rise is dropped on both axes.

    Attributes:
        runs: Independent runs behind every curve, as the source states it.
    """

    NAME: ClassVar[str] = "curve_pair"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"runs": "runs"}

    runs: int = 3

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return two rows per evaluation: share of the resource, axis, loss; nothing is drawn.

        Raises:
            InputError: If the table lacks a column.
        """
        table = policy.table()
        needs_columns(table, ("family", "model_B", "step", *RESOURCES, "test_loss"), self.NAME)
        curves = curve_labels(table, "family", "model_B")
        parts = [_both(table, np.flatnonzero(curves == name)) for name in dict.fromkeys(curves.tolist())]
        columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        pure = dict.fromkeys(("share", "axis", "total", "weight"), "1")
        return Measurement(
            columns=columns,
            units={"family": "name", "model_B": "1e9 parameters", **pure},
            x=("share", "axis"),
            statistic="share",
            response="test loss (1 - pass@1)",
            response_unit="1",
            resample="series",
            regime=("family", "model_B"),
            provenance=provenance(policy, runs=self.runs),
        )


def _both(table: Mapping[str, NDArray[Any]], rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Return the rows of one curve on both axes."""
    rows = rows[np.argsort(table["step"][rows], kind="stable")]
    for name in RESOURCES:
        rows = rows[rising(table[name][rows])]
    n = rows.size
    share = [table[name][rows] / table[name][rows[-1]] for name in RESOURCES]
    return {
        "family": np.tile(table["family"][rows], 2),
        "model_B": np.tile(table["model_B"][rows], 2),
        "share": np.concatenate(share),
        "axis": np.repeat([0.0, 1.0], n),
        "total": np.tile(table["test_loss"][rows], 2),
        "weight": np.ones(2 * n),
        "cluster": np.repeat(np.array(["compute", "data"]), n),
    }
