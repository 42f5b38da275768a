"""What reusing the data costs at the end of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance
from rlaws.probes.seeds import resampling, run_labels, runs_behind, seeded
from rlaws.problems import ProblemSet


@dataclass(frozen=True, slots=True)
class ReuseLoss:
    """Test loss with every problem used tau times, less the loss with each used once, at equal total samples.

    The last evaluations of each run are compared with the single-use run at the same step; where the table has several
    runs of a curve (column "seed"), with that of the same seed, and the runs are the clusters.

    Attributes:
        last: Evaluations at the end of the run that count as "final".
        runs: Independent runs behind every curve, as the source states it.
    """

    NAME: ClassVar[str] = "reuse_loss"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"last": "evaluations", "runs": "runs"}

    last: int = 20
    runs: int = 1

    def __post_init__(self) -> None:
        if self.last < 2:
            raise InputError(f"last = {self.last} must be at least 2 evaluations.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per reuse factor and final evaluation; nothing is drawn.

        Raises:
            InputError: If the table lacks a column or a model has no run with tau = 1.
        """
        table = policy.table()
        needs_columns(table, ("family", "model_B", "reuse_tau", "step", "test_loss"), self.NAME)
        models = curve_labels(table, "family", "model_B")
        runs = run_labels(table, models)
        parts = [p for name in dict.fromkeys(runs.tolist()) for p in self._excess(table, runs == name, name)]
        columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        units = {"family": "name", "model_B": "1e9 parameters", "reuse_tau": "1", "step": "updates"}
        return Measurement(
            columns=columns,
            units={**units, "total": "1", "weight": "1"},
            x=("reuse_tau", "step"),
            statistic="mean",
            response="test loss less that of single use",
            response_unit="1",
            resample=resampling(table),
            regime=("family", "model_B"),
            provenance=provenance(policy, runs=runs_behind(table, models, self.runs)),
        )

    def _excess(
        self, table: Mapping[str, NDArray[Any]], of_model: NDArray[np.bool_], name: str
    ) -> list[dict[str, NDArray[Any]]]:
        taus = np.unique(table["reuse_tau"][of_model])
        if taus[0] != 1 or taus.size < 2:
            raise InputError(f"Model '{name}' needs a run with reuse_tau = 1 and one above; it has {taus.tolist()}.")
        once = _by_step(table, of_model & (table["reuse_tau"] == 1))
        row = int(np.flatnonzero(of_model)[0])
        found = []
        for tau in taus[1:].tolist():
            again = _by_step(table, of_model & (table["reuse_tau"] == tau))
            steps = sorted(set(once) & set(again))[-self.last :]
            if not steps:
                raise InputError(f"Model '{name}': the runs with reuse_tau = {tau} and 1 share no step.")
            found.append(
                {
                    "family": np.repeat(table["family"][row], len(steps)),
                    "model_B": np.repeat(table["model_B"][row], len(steps)),
                    "reuse_tau": np.full(len(steps), tau, dtype=float),
                    "step": np.array(steps, dtype=float),
                    "total": np.array([again[s] - once[s] for s in steps]),
                    "weight": np.ones(len(steps)),
                    "cluster": np.repeat(name if seeded(table) else f"tau = {tau}", len(steps)),
                }
            )
        return found


def _by_step(table: Mapping[str, NDArray[Any]], keep: NDArray[np.bool_]) -> dict[int, float]:
    """Return step -> loss of one run."""
    return dict(zip(table["step"][keep].tolist(), table["test_loss"][keep].tolist(), strict=True))
