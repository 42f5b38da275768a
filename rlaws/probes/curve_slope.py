"""The slope of every recorded learning curve in log-log axes, with a standard error that knows of autocorrelation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws import autoregression
from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance, rising
from rlaws.probes.seeds import run_labels, runs_behind, seeded
from rlaws.problems import ProblemSet

RESPONSES = {
    "samples": (("samples",), "slope k = -d log L / d log D"),
    "flops": (("cum_flops",), "slope k = -d log L / d log C"),
    "difference": (("samples", "cum_flops"), "difference of the slopes against data and compute, k_D - k_C"),
}


@dataclass(frozen=True, slots=True)
class CurveSlope:
    """k = -d log L / d log X by least squares, one row per model, with its standard error.

    The standard error is the spread over replicas of the curve: its line plus AR(1) noise of the residuals' own
    correlation. The level of the curve does not enter, so a slope can be predicted from other sizes. Both slopes of a
    difference are taken from the same losses and the same replicas, so that the noise they share drops out; an
    evaluation at which either total does not rise is left out of both. Where the table has several runs of a curve
    (column "seed") there is a row for each run, and the runs are the clusters: their spread takes the place of the
    replicas.

    Attributes:
        of: "samples" (k_D), "flops" (k_C) or "difference" (k_D - k_C).
        per_size: Whether every size is a regime point with a verdict of its own.
        replicas: Replicas behind each standard error.
        runs: Independent runs behind every curve, as the source states it.
    """

    NAME: ClassVar[str] = "curve_slope"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"of": "name", "per_size": "name", "replicas": "replicas", "runs": "runs"}

    of: str = "samples"
    per_size: bool = False
    replicas: int = 1000
    runs: int = 3

    def __post_init__(self) -> None:
        if self.of not in RESPONSES:
            raise InputError(f"of = '{self.of}' is not known.{suggest(self.of, RESPONSES)}")
        if self.replicas < 100:
            raise InputError(f"replicas = {self.replicas} must be at least 100.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per family, size and run.

        Raises:
            InputError: If the table lacks a column, a loss is 0, or a curve has fewer than four evaluations.
        """
        table = policy.table()
        columns, response = RESPONSES[self.of]
        needs_columns(table, ("family", "model_B", "step", *columns, "test_loss"), self.NAME)
        models = curve_labels(table, "family", "model_B")
        curves = run_labels(table, models)
        names = list(dict.fromkeys(curves.tolist()))
        first = [int(np.flatnonzero(curves == name)[0]) for name in names]
        fits = []
        for name, stream in zip(names, seed.spawn(len(names)), strict=True):
            resources, loss = _curve(table, curves == name, columns)
            fits.append(slope(resources, loss, self.replicas, np.random.default_rng(stream), name))
        return Measurement(
            columns={
                "family": table["family"][first],
                "model_B": table["model_B"][first],
                "total": np.array([k for k, _ in fits]),
                "weight": np.ones(len(names)),
                "stderr": np.array([s for _, s in fits]),
                "cluster": np.array(names),
            },
            units={"family": "name", "model_B": "1e9 parameters", "total": "1", "weight": "1", "stderr": "1"},
            x=("model_B",),
            statistic="mean",
            response=response,
            response_unit="1",
            resample="clusters" if seeded(table) else "reported",
            regime=("family", "model_B") if self.per_size else ("family",),
            provenance=provenance(policy, runs=runs_behind(table, models, self.runs), of=self.of),
        )


def _curve(
    table: Mapping[str, NDArray[Any]], of_curve: NDArray[np.bool_], columns: tuple[str, ...]
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the resources and the loss of one curve, in the order of its steps, where every resource rises."""
    rows = np.flatnonzero(of_curve)
    rows = rows[np.argsort(table["step"][rows], kind="stable")]
    for column in columns:
        rows = rows[rising(table[column][rows])]
    return [table[column][rows] for column in columns], table["test_loss"][rows]


def slope(
    resources: list[NDArray[np.float64]],
    loss: NDArray[np.float64],
    replicas: int,
    rng: np.random.Generator,
    name: str,
) -> tuple[float, float]:
    """Return the least-squares slope of one curve, or the first less the second of two, and its standard error.

    Args:
        resources: One or two cumulative resources, rising, each [T].
        loss: Test loss, above 0, [T].
        replicas: Number of replicas.
        rng: Source of the replicas.
        name: Name of the curve, for messages.

    Raises:
        InputError: Fewer than four evaluations, or a loss of 0.
    """
    if loss.size < 4 or np.any(loss <= 0):
        raise InputError(f"Curve '{name}' needs at least 4 evaluations above 0; it has {int(np.sum(loss > 0))}.")
    y = np.log(loss)
    designs = [np.column_stack([np.ones(y.size), np.log(x)]) for x in resources]
    weights = [-np.linalg.pinv(d)[1] for d in designs]
    linear = weights[0] - weights[1] if len(weights) > 1 else weights[0]
    line = designs[0] @ (np.linalg.pinv(designs[0]) @ y)
    labels = np.full(y.size, name)
    noise = autoregression.estimate(y - line, labels, designs[0])
    replica = line + autoregression.simulate(noise, labels, replicas, rng)
    return float(linear @ y), float(np.std(replica @ linear, ddof=1))
