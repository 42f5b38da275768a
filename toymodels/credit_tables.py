"""Credit to steps as tables: what ``toymodels.leaks`` and ``toymodels.drifts`` train, read by the probe tabulated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log2
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.policy import Array
from toymodels import ladder
from toymodels.cache import Arrays
from toymodels.critic_tables import Row, Table, seeds_of, tabulated
from toymodels.drifts import Drift, drifted, snr, worse
from toymodels.leaks import Leak, leaked
from toymodels.settings import Settings

PASSED = 0.9
"""Style share and accuracy that count as learned."""


# ------------------------------------------------------------------------------------------------ a reward that leaks
@dataclass(frozen=True, slots=True, kw_only=True)
class LeakRuns:
    """Policy gradient under a reward that a style token can cheat, for several leaks and lengths of the solution.

    A row a seed, leak delta (``bonus``), number of steps and quantity:

    * "lead": log2 of the update at which the early steps pass 90 % over that at which the token does; positive where
      the token is first. Early steps that never pass count as passing just after the run, a token that never does as
      at twice its length, so that what is not seen counts against the claim.
    * "wrong_paid": change over the run of the share of answers that are wrong and paid.
    * "wrong_paid_by_steps": the same under step rewards, less the former.
    * "success_by_steps": success at the end under step rewards, less that under the leaking outcome reward.

    Attributes:
        parameters: Rung of the policy.
        recipes: Recipes of the bases, one for each number of steps.
        bonuses: Leaks delta in (0, 1].
        seeds: Independent runs at scale 1; their number grows as the root of ``scale``.
        updates: Updates of a run.
        every: Updates from one evaluation to the next.
        shuffled: Exchange rewards at random: the negative control.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "recipes": "name", "bonuses": "1", "seeds": "seeds", "updates": "updates",
        "every": "updates", "shuffled": "name", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {"bonus": "1", "steps": "steps", "quantity": "name", "value": "1"}
    parameters: int = 15_000
    recipes: tuple[str, ...] = ("standard", "steps8")
    bonuses: tuple[float, ...] = (0.25, 0.75)
    seeds: int = 3
    updates: int = 96
    every: int = 4
    shuffled: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.bonuses or not all(0 < b <= 1 for b in self.bonuses):
            raise InputError(f"bonuses = {self.bonuses}: give leaks in (0, 1].")
        if self.every < 1 or self.updates < self.every:
            raise InputError(f"updates = {self.updates}, every = {self.every}: at least one evaluation is needed.")
        for name in self.recipes:
            if ladder.recipe_of(name).length < 2:
                raise InputError(f"recipe = '{name}' has one step, so none of its steps is early.")
        ladder.config_of(self.parameters)

    def plan(self, seed: int, recipe: str, bonus: float, reward: str = "outcome") -> Leak:
        """Return one run."""
        return Leak(self.parameters, seed, recipe, bonus, reward, self.updates, self.every, self.shuffled)

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        return tabulated([row for seed in seeds_of(self.seeds, self.scale) for row in self._rows(seed)])

    def _rows(self, seed: int) -> Iterator[Row]:
        """Return the rows of one seed; the run under step rewards does not depend on the leak."""
        for recipe in self.recipes:
            by_steps = leaked(self.plan(seed, recipe, 1.0, "process"))
            for bonus in self.bonuses:
                own = {"seed": seed, "bonus": bonus, "steps": ladder.recipe_of(recipe).length}
                told = contrasts(leaked(self.plan(seed, recipe, bonus)), by_steps, bonus)
                yield from ({**own, "quantity": name, "value": value} for name, value in told.items())

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        told = f"toy runs under a leaking reward, recipes {', '.join(self.recipes)}"
        return {"table": told, "origin": "trained here"}


def contrasts(run: Arrays, by_steps: Arrays, bonus: float) -> dict[str, float]:
    """Return the quantities of ``LeakRuns``.

    Args:
        run: Evaluations of a run under the outcome reward with leak ``bonus``.
        by_steps: Those of a run under step rewards, judged with a leak of 1.
        bonus: The leak.
    """
    step = run["step"]
    end, later = float(step[-1] + step[1] - step[0]), 2.0 * float(step[-1])
    wrong = run["paid"] - run["success"]
    wrong_by_steps = bonus * (by_steps["paid"] - by_steps["success"])
    rise, rise_by_steps = float(wrong[-1] - wrong[0]), float(wrong_by_steps[-1] - wrong_by_steps[0])
    return {
        "lead": log2(passing(step, run["early"], end) / passing(step, run["style"], later)),
        "wrong_paid": rise,
        "wrong_paid_by_steps": rise_by_steps - rise,
        "success_by_steps": float(by_steps["success"][-1] - run["success"][-1]),
    }


def passing(step: Array, level: Array, never: float) -> float:
    """Return the first update at which a level is at least ``PASSED``, 1 where it is from the start."""
    passed = np.flatnonzero(level >= PASSED)
    return max(1.0, float(step[passed[0]])) if passed.size else never


# ------------------------------------------------------------------------------------------------- a single update
@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateDrifts:
    """How often an update makes a step worse that was right already, for several sizes and batches.

    A row a seed, size and batch: ``worse``, the share of such steps (``toymodels.drifts``), and ``signal``, the
    measured signal-to-noise ratio of one rollout's gradient at that size, mean over steps and seeds, times the root of
    the batch.

    Attributes:
        sizes: Rungs of the policies.
        batches: Rollouts of an update, multiples of 8.
        seeds: Independent bases and runs at scale 1; their number grows as the root of ``scale``.
        recipe: Recipe of the bases.
        updates: Updates in a row that are looked at.
        speed: Factor on the learning rate; 0 is the negative control.
        shuffled: Exchange rewards at random.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "sizes": "parameters", "batches": "rollouts", "seeds": "seeds", "recipe": "name", "updates": "updates",
        "speed": "1", "shuffled": "name", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "batch": "rollouts", "signal": "1", "worse": "1",
    }  # fmt: skip
    sizes: tuple[int, ...] = (4_000, 15_000, 58_000)
    batches: tuple[int, ...] = (32, 128, 512)
    seeds: int = 3
    recipe: str = "standard"
    updates: int = 8
    speed: float = 1.0
    shuffled: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        group = Settings().group
        if not self.batches or any(b < group or b % group for b in self.batches):
            raise InputError(f"batches = {self.batches}: give multiples of {group}, the answers to each prompt.")
        if self.updates < 1 or self.speed < 0:
            raise InputError(f"updates = {self.updates} must be at least 1, and speed = {self.speed} not negative.")
        for size in self.sizes:
            ladder.config_of(size)

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        seeds = seeds_of(self.seeds, self.scale)
        one = {size: float(np.mean([snr(size, seed, self.recipe) for seed in seeds])) for size in self.sizes}
        rows = []
        for size in self.sizes:
            for batch in self.batches:
                own = {"parameters": ladder.parameters_of(size), "batch": batch, "signal": one[size] * batch**0.5}
                for seed in seeds:
                    plan = Drift(size, seed, self.recipe, batch, self.updates, self.speed, self.shuffled)
                    rows.append({"seed": seed, **own, "worse": worse(drifted(plan)["right"])})
        return tabulated(rows)

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"single updates of toy policies, recipe {self.recipe}", "origin": "trained here"}
