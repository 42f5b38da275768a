"""What a search makes of the divergence it spends, exact: the distribution of its answer over whole solutions.

A search with answers from one policy is a distribution q over solutions beside the policy's pi. Both are known here:
pi by enumeration, q for best-of-n by the order statistics of the scores, and for a search without chance as the one
solution that it gives. So KL(q || pi) is exact, over all solutions and the event that nothing is shown. Over classes of
answers (how many steps are right) it would be smaller, and searches would seem to beat the Gibbs optimum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError, suggest
from rlaws.policy import Array
from rlaws.probes.search_work import divergence, gibbs_optimum
from rlaws.search import METHODS, Search
from rlaws.seeding import seed_sequence
from toymodels import ladder
from toymodels.critic_tables import Row, Table, tabulated
from toymodels.enumeration import Solutions, enumerate_solutions
from toymodels.guides import guide_of, refuse_unknown, reward_model
from toymodels.ladder import VALUES
from toymodels.search import Guide, Options, Tree, chosen, within
from toymodels.tasks import make_task


def outcomes(found: Solutions) -> Array:
    """Return the probability of every solution, and last that nothing is shown, [P, m^L + 1]."""
    whole = found.reached()[-1]
    return np.concatenate([whole, np.clip(1.0 - whole.sum(axis=1, keepdims=True), 0.0, 1.0)], axis=1)


def best_of_n(chance: Array, score: Array, n: int) -> Array:
    """Return the distribution of the highest score among n samples, ties going to the first, [X].

    With F the distribution function of the score, a level of score has probability F(s)^n - F(s-)^n; within a level the
    samples keep their proportions.

    Args:
        chance: Probability of each outcome under one sample, [X].
        score: Its score, [X].
        n: Samples.
    """
    _, level = np.unique(score, return_inverse=True)
    each = np.bincount(level, weights=chance)
    below = np.concatenate([[0.0], np.minimum(np.cumsum(each), 1.0)])
    below[-1] = 1.0
    won = np.diff(below**n)
    share = np.divide(won, each, out=np.zeros_like(won), where=each > 0)
    return np.asarray(chance * share[level])


def answered(tree: Tree, truth: int, search: Search, options: Options, chance: Array) -> list[Array]:
    """Return the distribution of the answer within each budget; a search that completed none samples once.

    Args:
        tree: One problem.
        truth: Its answer.
        search: Method, budgets and choice.
        options: Of the methods.
        chance: Probability of each outcome under one sample, [m^L + 1].
    """
    if search.method == "best_of_n":
        score = np.append(tree.value[-1], 0.0)  # as toymodels.search: what shows nothing scores 0
        return [best_of_n(chance, score, budget // (tree.depth + 1)) for budget in search.budgets]
    given = []
    for _, leaves in within(tree, search, options, np.random.default_rng(0), None):  # no other method draws
        certain = np.zeros_like(chance)
        if leaves:
            certain[chosen(tree, search.select, leaves, truth)] = 1.0
        given.append(certain if leaves else chance)
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTilts:
    """Work of a search per problem, as a table: a row a problem, amount of search and quantity.

    "efficiency": ``value`` is the success gained and ``weight`` what the Gibbs tilt of the policy gains at the same
    divergence. "kl_slack": log N - (N - 1)/N less the divergence, N the answers that the compute would have written.

    Attributes:
        parameters: Rung of the ladder.
        base_seed: Which base.
        recipe: Its recipe.
        method: Method of ``rlaws.search``.
        guide: What judges nodes and answers: process, outcome or likelihood.
        guide_labels: Labelled responses that a reward model was trained on.
        answers: Amounts of search, in full answers, rising from 2.
        problems: Problems.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "base_seed": "1", "recipe": "name", "method": "name", "guide": "name",
        "guide_labels": "responses", "answers": "answers", "problems": "problems",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {"answers": "answers", "quantity": "name", "value": "1", "weight": "1"}
    parameters: int = 4_000
    base_seed: int = 0
    recipe: str = "standard"
    method: str = "best_of_n"
    guide: str = "process"
    guide_labels: int = 8192
    answers: tuple[int, ...] = (2, 4, 8, 16)
    problems: int = 200

    def __post_init__(self) -> None:
        refuse_unknown(self.guide)
        if self.method not in METHODS:
            raise InputError(f"method = '{self.method}' is not known.{suggest(self.method, METHODS)}")
        if not self.answers or min(self.answers) < 2 or self.problems < 1:
            raise InputError(
                f"answers = {self.answers}, problems = {self.problems}: give 2 answers or more, 1 problem."
            )
        ladder.config_of(self.parameters)

    def table(self) -> Table:
        """Return the rows; bases and reward models that are not in the cache are trained."""
        recipe = ladder.recipe_of(self.recipe)
        task = make_task(recipe.chains(self.problems).draw(seed_sequence(0, "toy tilts")), VALUES)
        found = enumerate_solutions(ladder.base(self.parameters, self.base_seed, self.recipe), task)
        own = (self.parameters, self.base_seed, self.recipe, self.parameters, self.guide_labels, 0.0)
        model = None if self.guide == "likelihood" else reward_model(self.guide, *own)
        guide, chance = guide_of(self.guide, found, task, model), outcomes(found)
        rows = [row for i in range(len(task)) for row in self._rows(i, found, guide, chance[i])]
        return tabulated(rows)

    def _rows(self, i: int, found: Solutions, guide: Guide, chance: Array) -> list[Row]:
        """Return the rows of a problem."""
        depth, truth = len(found.value), int(found.truth[i])
        tree = Tree([p[i] for p in found.value], [v[i] for v in guide.value], found.modulus, depth)
        search = Search(self.method, tuple((depth + 1) * n for n in self.answers), "verifier")
        right = np.append(np.arange(chance.size - 1) % found.modulus == truth, False)
        success, rows = float(chance[right].sum()), []
        for n, q in zip(self.answers, answered(tree, truth, search, Options(1.25, 4), chance), strict=True):
            kl, own = divergence(q, chance), {"problem": i, "answers": n}
            best = gibbs_optimum(success, kl) - success
            rows.append(own | {"quantity": "efficiency", "value": float(q[right].sum()) - success, "weight": best})
            rows.append(own | {"quantity": "kl_slack", "value": float(np.log(n) - (n - 1) / n - kl), "weight": 1.0})
        return rows

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"searches of toy policies, recipe {self.recipe}", "origin": "trained here"}
