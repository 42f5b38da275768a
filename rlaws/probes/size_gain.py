"""Gain from post-training against the size of the policy, from values before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance
from rlaws.probes.seeds import run_labels, runs_behind, seeded
from rlaws.problems import ProblemSet

WANTED = ("task", "model", "model_B", "before", "after", "gain")
PRINTED = ("questions", "rounding", "runs")
SPREAD = ("before", "after", "questions", "rounding")


@dataclass(frozen=True, slots=True)
class SizeGain:
    """The gain of each model under one reward.

    Where the metric is printed before and after, the response is the gain with its reference, so that it can be read
    under every link; its standard error is derived from the number of questions, sqrt((p0 q0 + p1 q1) / n), which
    takes before and after as independent and so errs on the wide side for one set of questions. Where only the gain
    is printed, the response is the gain itself: the other links need the value before and cannot be judged. Where no
    number of questions is printed, the rounding of the printed value is all that is known of its spread: a lower bound,
    with which no verdict is reached unless at least three runs stand behind every value.

    Where the table has several runs of a model (column "seed") there is a row for each and the runs are the clusters.
    """

    NAME: ClassVar[str] = "size_gain"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {}

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per task and model; nothing is drawn.

        Raises:
            InputError: If the table lacks a column.
        """
        table = policy.table()
        several = seeded(table)
        needs_columns(table, WANTED if several else (*WANTED, *PRINTED), self.NAME)
        models = curve_labels(table, "task", "model")
        known = bool(np.all(np.isfinite(table["before"]) & np.isfinite(table["after"])))
        sums, units = _sums(table, known)
        return Measurement(
            columns={
                "task": table["task"],
                "model_B": table["model_B"],
                **sums,
                **({} if several else {"stderr": derived_stderr(*(table[n] for n in SPREAD))}),
                "cluster": run_labels(table, models),
            },
            units={"task": "name", "model_B": "1e9 parameters", **units, "stderr": "1"},
            x=("model_B",),
            statistic="gain" if known else "mean",
            response="gain from post-training",
            response_unit="1",
            resample="clusters" if several else "reported",
            regime=("task",),
            provenance=provenance(policy, runs=runs_behind(table, models, 0 if several else int(table["runs"].min()))),
        )


def _sums(table: Mapping[str, NDArray[Any]], known: bool) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the statistic's columns and their units."""
    ones = np.ones(len(table["gain"]))
    if known:
        sums = {"after": table["after"], "before": table["before"], "weight": ones}
    else:
        sums = {"total": table["gain"], "weight": ones}
    return sums, dict.fromkeys(sums, "1")


def derived_stderr(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    questions: NDArray[np.float64],
    rounding: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the standard error of each gain.

    Args:
        before: Metric before, NaN where not printed, [M].
        after: Metric after, [M].
        questions: Number of questions, NaN where not printed, [M].
        rounding: Half a unit of the last printed digit, [M]; a uniform error within it has variance rounding^2 / 3.
    """
    sampling = (before * (1.0 - before) + after * (1.0 - after)) / questions
    return np.sqrt(np.where(np.isfinite(sampling), sampling, 0.0) + rounding**2 / 3.0)
