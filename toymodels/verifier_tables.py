"""Verifiers as a table: the step error of what ``toymodels.verifiers`` trains, a row for each seed and design point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import Any, ClassVar

from rlaws.errors import InputError, suggest
from toymodels import ladder
from toymodels.critic_tables import Row, Table, seeds_of, tabulated
from toymodels.critics import POOL
from toymodels.rewards import KINDS
from toymodels.verifiers import SAMPLES, VerifierFit, verified, verifier_config

DIFFERENCE = "outcome less process"
"""Rows of the paired difference of the two errors, where both kinds of labels are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierErrors:
    """How often verifiers of several sizes, trained on several numbers of labelled chains, misjudge a step.

    A row a seed, kind of labels, noise, number of chains and size: ``error``, the share of wrong next values that are
    put above the right one, exact (``toymodels.verifiers.step_error``), mean over the steps. Chance is 1/2.

    Attributes:
        policy: Rung of the base whose chains are labelled.
        labels: Kinds of labels, of "outcome" and "process"; both also give their difference.
        noises: Chances q that a label is flipped.
        chains: Numbers of labelled chains D, multiples of 4.
        sizes: Sizes of the verifier.
        seeds: Independent bases and verifiers at scale 1; their number grows as the root of ``scale``.
        recipe: Recipe of the bases.
        updates: Updates of a verifier at scale 1, the same whatever D; likewise.
        shuffled: Exchange labels between chains at random: the negative control.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "policy": "parameters", "labels": "name", "noises": "1", "chains": "chains", "sizes": "parameters",
        "seeds": "seeds", "recipe": "name", "updates": "updates", "shuffled": "name", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "labels": "name", "noise": "1", "chains": "chains", "parameters": "parameters", "error": "1",
    }  # fmt: skip
    policy: int = 15_000
    labels: tuple[str, ...] = KINDS
    noises: tuple[float, ...] = (0.0, 0.2)
    chains: tuple[int, ...] = (128, 512, 2048, 8192)
    sizes: tuple[int, ...] = (15_000,)
    seeds: int = 4
    recipe: str = "standard"
    updates: int = 256
    shuffled: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in self.labels:
            if name not in KINDS:
                raise InputError(f"labels = '{name}' are not known.{suggest(name, KINDS)}")
        most = SAMPLES * POOL
        if not self.chains or any(d % SAMPLES or not SAMPLES <= d <= most for d in self.chains):
            raise InputError(f"chains = {self.chains}: give multiples of {SAMPLES} up to {most}.")
        if not all(0 <= q <= 0.5 for q in self.noises) or self.updates < 1:
            raise InputError(f"noises = {self.noises}, updates = {self.updates}: give q in [0, 0.5], and 1 or more.")
        if not (self.labels and self.noises and self.sizes):
            raise InputError("labels, noises and sizes: give at least one of each.")
        ladder.recipe_of(self.recipe)
        for size in self.sizes:
            verifier_config(size)

    def plan(self, seed: int, labels: str, noise: float, chains: int, size: int) -> VerifierFit:
        """Return one verifier."""
        updates = round(self.updates * sqrt(self.scale))
        return VerifierFit(self.policy, seed, self.recipe, size, labels, chains, noise, updates, self.shuffled)

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        return tabulated([row for seed in seeds_of(self.seeds, self.scale) for row in self._rows(seed)])

    def _rows(self, seed: int) -> Iterator[Row]:
        """Return the errors of one seed."""
        for noise, chains, size in product(self.noises, self.chains, self.sizes):
            exact = verifier_config(size).parameters().total
            own = {"seed": seed, "noise": noise, "chains": chains, "parameters": exact}
            error = {k: float(verified(self.plan(seed, k, noise, chains, size))["error"].mean()) for k in self.labels}
            if len(error) == len(KINDS):
                error[DIFFERENCE] = error["outcome"] - error["process"]
            yield from ({**own, "labels": name, "error": value} for name, value in error.items())

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"step verifiers of toy policies, recipe {self.recipe}", "origin": "trained here"}
