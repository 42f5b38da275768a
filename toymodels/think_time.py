"""Compute that solves half of the problems, against the steps of an answer: one base a length, modulus 3.

With modulus 3 all solutions of up to 7 steps can be enumerated. The compute is exact where the search samples:
best-of-n solves a share 1 - mean (1 - p)^n of the problems, p known, and n is where that is 1/2. Searches that draw
nothing are walked. Two goals are told apart. "solution": every step is right; a policy right at each step with chance c
does so with c^L. "answer": the last value is right, however it was reached; as there are only m values, guessing solves
it with 1/m at any length, so its compute need not grow faster than the length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import brentq

from rlaws.errors import InputError, suggest
from rlaws.policy import Array
from rlaws.probes.search_failure import crossing, whole_grid
from rlaws.search import Search
from rlaws.seeding import seed_sequence
from toymodels import ladder
from toymodels.cache import cached
from toymodels.critic_tables import Row, Table, seeds_of, tabulated
from toymodels.enumeration import LARGEST, Solutions, enumerate_solutions
from toymodels.guides import guide_of
from toymodels.ladder import PRETRAINING_RATE, VALUES, Recipe
from toymodels.model import Decoder
from toymodels.search import Options, Tree, within
from toymodels.tasks import Task, make_task

MODULUS = 3
GOALS = ("answer", "solution")
WALKED = ("best_of_n", "mcts", "lookahead")
"""best_of_n, and the searches that draw nothing and keep every answer, guided by the likelihood."""
PER_OCTAVE = 6
"""Budgets for each factor of two, where a search is walked."""


def base(parameters: int, seed: int, recipe: Recipe) -> Decoder:
    """Return a base of a recipe that has no name, from the cache or trained now."""
    config = ladder.config_of(parameters)
    settings = {"config": asdict(config), "recipe": asdict(recipe), "seed": seed, "rate": PRETRAINING_RATE}
    return ladder.from_arrays(config, cached("base", settings, partial(ladder.pretrain, config, recipe, seed)))


def samples_for_half(chance: Array) -> float:
    """Return the n at which 1 - mean (1 - p)^n = 1/2, at least 1.

    Args:
        chance: p of each problem, [P].

    Raises:
        InputError: If half of the problems or more can never be solved.
    """

    def unsolved(log_n: float) -> float:
        return float(np.mean(np.exp(np.exp(log_n) * np.log1p(-np.minimum(chance, 1 - 1e-15))))) - 0.5

    if np.mean(chance <= 0) >= 0.5:
        raise InputError("Half of the problems have no chance at all, so no number of samples solves half of them.")
    if unsolved(0.0) <= 0:
        return 1.0
    return float(np.exp(brentq(unsolved, 0.0, 100.0, xtol=1e-12)))


def right_leaves(found: Solutions) -> Array:
    """Return the number of the leaf that is right at every step, [P]."""
    depth = len(found.value)
    return np.asarray(found.states @ found.modulus ** np.arange(depth - 1, -1, -1))


def chances(found: Solutions, goal: str) -> Array:
    """Return the probability that one sample reaches the goal, [P]."""
    if goal == "answer":
        return found.success()
    return np.take_along_axis(found.reached()[-1], right_leaves(found)[:, None].astype(np.int64), axis=1)[:, 0]


def walked(found: Solutions, task: Task, method: str, goal: str, most: int) -> float:
    """Return the expansions at which a search without chance has solved half of the problems.

    Raises:
        InputError: If it does not within ``most`` expansions.
    """
    depth, guide = len(found.value), guide_of("likelihood", found, task, None)
    grid = whole_grid(depth + 1, most, max(2, int(PER_OCTAVE * np.log2(most / (depth + 1)))))
    search, leaf = Search(method, grid), right_leaves(found)
    solved = np.zeros(len(grid))
    for i, truth in enumerate(found.truth):
        tree = Tree([p[i] for p in found.value], [v[i] for v in guide.value], found.modulus, depth)
        rounds = within(tree, search, Options(1.25, 4), np.random.default_rng(0), None)
        for k, (_, leaves) in enumerate(rounds):
            hit = leaf[i] in leaves if goal == "solution" else any(x % found.modulus == truth for x in leaves)
            if hit:  # and within every larger budget
                solved[k:] += 1
                break
    at = crossing(grid, 1.0 - solved / len(found.truth), 0.5)
    if at is None:
        raise InputError(f"'{method}' does not solve half of the problems of {depth} steps within {most} expansions.")
    return float(at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkTimes:
    """Expansions that solve half of the problems, as a table: a row a base, length, method and goal.

    Attributes:
        parameters: Rung of the bases.
        lengths: Steps of the answers, a base for each.
        seeds: Independent bases of each length at scale 1; their number grows as the root of ``scale``.
        pretraining: Updates of pre-training.
        temperature: Of sampling. At 1 one answer solves half of the shortest problems, and no compute below one answer
            can be told.
        problems: Problems of each length.
        methods: Of ``WALKED``.
        most: Most expansions for one problem.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "lengths": "steps", "seeds": "seeds", "pretraining": "updates", "temperature": "1",
        "problems": "problems", "methods": "name", "most": "expansions", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "depth": "steps", "method": "name", "goal": "name", "expansions": "expansions", "step_success": "1",
    }  # fmt: skip
    parameters: int = 15_000
    lengths: tuple[int, ...] = (2, 3, 4, 5, 6, 7)
    seeds: int = 3
    pretraining: int = 200
    temperature: float = 2.0
    problems: int = 64
    methods: tuple[str, ...] = ("best_of_n",)
    most: int = 4096
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1 or MODULUS ** max(self.lengths) > LARGEST:
            raise InputError(
                f"lengths = {self.lengths}: give lengths of at least 1 of which the solutions can be enumerated, "
                f"{MODULUS}^length <= {LARGEST}."
            )
        for method in self.methods:
            if method not in WALKED:
                raise InputError(f"method = '{method}' is not possible here.{suggest(method, WALKED)}")
        if min(self.problems, self.temperature) <= 0 or self.most <= max(self.lengths) + 1 or not self.methods:
            raise InputError(
                f"problems = {self.problems}, most = {self.most}, methods = {self.methods}, temperature = "
                f"{self.temperature}: give at least one problem and method, more expansions than steps, and some heat."
            )
        ladder.config_of(self.parameters)

    def recipe(self, length: int) -> Recipe:
        """Return the recipe of a length."""
        return replace(Recipe(), modulus=MODULUS, length=length, others=0.0, steps=self.pretraining)

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        seeds = seeds_of(self.seeds, self.scale)
        return tabulated([row for seed in seeds for length in self.lengths for row in self._rows(seed, length)])

    def _rows(self, seed: int, length: int) -> list[Row]:
        """Return the rows of a base."""
        recipe = self.recipe(length)
        task = make_task(recipe.chains(self.problems).draw(seed_sequence(0, "toy think time", length)), VALUES)
        found = enumerate_solutions(base(self.parameters, seed, recipe), task, self.temperature)
        each = float(np.exp(np.mean(np.log(chances(found, "solution"))) / length))
        own = {"seed": seed, "depth": length, "step_success": each}
        rows = []
        for goal in GOALS:
            for method in self.methods:
                if method == "best_of_n":
                    took = (length + 1) * samples_for_half(chances(found, goal))
                else:
                    took = walked(found, task, method, goal, self.most)
                rows.append(own | {"method": method, "goal": goal, "expansions": took})
        return rows

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"searches of toy policies modulo {MODULUS}, a base a length", "origin": "trained here"}
