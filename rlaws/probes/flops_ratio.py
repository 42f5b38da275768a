"""Counted FLOPs of training runs against the rule of 2N forward and 4N backward a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance
from rlaws.probes.seeds import SEED, runs_behind
from rlaws.problems import ProblemSet

TOKENS = {"run": "tokens_run", "shown": "tokens_shown"}


@dataclass(frozen=True, slots=True)
class FlopsRatio:
    """Counted FLOPs / (2N generated tokens + 6N trained tokens) at the end of each run; runs are the clusters.

    N is the number of parameters, embeddings included. The trained tokens are responses and prompts.

    Attributes:
        counting: "run": a prompt counts as often as it went through the model, once for a whole group where its states
            are shared; "shown": once with each of its answers, as a user counts who knows batch and length only.
    """

    NAME: ClassVar[str] = "flops_ratio"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"counting": "name"}

    counting: str = "run"

    def __post_init__(self) -> None:
        if self.counting not in TOKENS:
            raise InputError(f"counting = '{self.counting}' is not known.{suggest(self.counting, TOKENS)}")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row per family, size and run; nothing is drawn.

        Raises:
            InputError: If the table lacks a column.
        """
        table = policy.table()
        wanted = ("family", "model_B", SEED, "step", "cum_flops", "tokens_generated", TOKENS[self.counting])
        needs_columns(table, wanted, self.NAME)
        models = curve_labels(table, "family", "model_B")
        labels = curve_labels(table, "family", "model_B", SEED)
        runs = [np.flatnonzero(labels == name) for name in dict.fromkeys(labels.tolist())]
        last = [int(rows[np.argmax(table["step"][rows])]) for rows in runs]
        size = table["model_B"][last] * 1e9
        rule = 2.0 * size * table["tokens_generated"][last] + 6.0 * size * table[TOKENS[self.counting]][last]
        return Measurement(
            columns={
                "family": table["family"][last],
                "model_B": table["model_B"][last],
                "total": table["cum_flops"][last] / rule,
                "weight": np.ones(len(last)),
                "cluster": labels[last],
            },
            units={"family": "name", "model_B": "1e9 parameters", "total": "1", "weight": "1"},
            x=("model_B",),
            statistic="mean",
            response="counted FLOPs over 2N a generated and 6N a trained token",
            response_unit="1",
            regime=("family",),
            provenance=provenance(policy, runs=runs_behind(table, models, 1)),
        )
