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
from rlaws.probes.learning_curve import AXES, curve_labels, keep_rising, needs_columns, provenance
from rlaws.problems import ProblemSet


@dataclass(frozen=True, slots=True)
class CurveSlope:
    """k = -d log L / d log X by least squares, one row per model, with its standard error.

    The standard error is the spread of the slope over replicas of the curve: the line plus AR(1) noise of the
    residuals' own correlation. The level of the curve does not enter, so a slope can be predicted from other sizes.

    Attributes:
        axis: "samples" or "flops".
        replicas: Replicas behind each standard error.
        runs: Independent runs behind every curve, as the source states it.
    """

    NAME: ClassVar[str] = "curve_slope"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"axis": "name", "replicas": "replicas", "runs": "runs"}

    axis: str = "samples"
    replicas: int = 1000
    runs: int = 3

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise InputError(f"axis = '{self.axis}' is not known.{suggest(self.axis, AXES)}")
        if self.replicas < 100:
            raise InputError(f"replicas = {self.replicas} must be at least 100.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per family and size.

        Raises:
            InputError: If the table lacks a column, a loss is 0, or a curve has fewer than four evaluations.
        """
        table = policy.table()
        column = AXES[self.axis][0]
        needs_columns(table, ("family", "model_B", "step", column, "test_loss"), self.NAME)
        curves = curve_labels(table, "family", "model_B")
        names = list(dict.fromkeys(curves.tolist()))
        keep = keep_rising(curves, table["step"], table[column])
        first = [int(np.flatnonzero(curves == name)[0]) for name in names]
        fits = []
        for name, stream in zip(names, seed.spawn(len(names)), strict=True):
            rows = np.flatnonzero(keep & (curves == name))
            rows = rows[np.argsort(table["step"][rows], kind="stable")]
            generator = np.random.default_rng(stream)
            fits.append(slope(table[column][rows], table["test_loss"][rows], self.replicas, generator, name))
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
            response="slope k = -d log L / d log X",
            response_unit="1",
            resample="reported",
            regime=("family",),
            provenance=provenance(policy, runs=self.runs, axis=self.axis),
        )


def slope(
    resource: NDArray[np.float64], loss: NDArray[np.float64], replicas: int, rng: np.random.Generator, name: str
) -> tuple[float, float]:
    """Return the least-squares slope k of one curve and its standard error.

    Args:
        resource: Cumulative resource, rising, [T].
        loss: Test loss, above 0, [T].
        replicas: Number of replicas.
        rng: Source of the replicas.
        name: Name of the curve, for messages.

    Raises:
        InputError: Fewer than four evaluations, or a loss of 0.
    """
    if resource.size < 4 or np.any(loss <= 0):
        raise InputError(f"Curve '{name}' needs at least 4 evaluations above 0; it has {int(np.sum(loss > 0))}.")
    u, y = np.log(resource), np.log(loss)
    design = np.column_stack([np.ones(u.size), u])
    solve = np.linalg.pinv(design)
    line = design @ (solve @ y)
    labels = np.full(u.size, name)
    noise = autoregression.estimate(y - line, labels, design)
    replica = line + autoregression.simulate(noise, labels, replicas, rng)
    return -float((solve @ y)[1]), float(np.std(replica @ solve[1], ddof=1))
