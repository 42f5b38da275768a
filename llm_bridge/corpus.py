"""What a base of the ladder is shown: worded chain problems with the written solutions of a teacher that errs.

At every step the teacher follows the rule from the value it has *shown*, except that with an error rate that belongs to
the operation it writes a uniform other value. Error rates rise from ``error_low`` to ``error_high`` over the operations
(set, add, multiply, and within these by amount), so a base is nearly sure of some problems and rarely right on others.
Some solutions are ill-formed: they stop before the end, or leave a line out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.problems import KINDS, ArithmeticChain, ProblemSet, chain_arrays

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a base is pre-trained on, and for how long.

    Attributes:
        modulus: m of all chains, at most 10, so that a value is one digit and one token.
        length: Steps of all problems. One length a recipe: a small transformer then finds out where to look several
            times sooner.
        reset: Share of "set" steps.
        error_low: Teacher's error rate at the easiest operation.
        error_high: At the hardest.
        ill_formed: Share of solutions that are no whole solution.
        steps: Updates.
        batch: Demonstrations an update; none is shown twice.
        shuffled: Exchange the solutions between problems: the negative control, from which nothing can be learned
            but the form.
    """

    modulus: int = 5
    length: int = 4
    reset: float = 0.1
    error_low: float = 0.02
    error_high: float = 0.3
    ill_formed: float = 0.04
    steps: int = 400
    batch: int = 64
    shuffled: bool = False

    def __post_init__(self) -> None:
        shares = (self.error_low, self.error_high, self.ill_formed)
        if not all(0 <= x < 1 for x in shares) or self.error_low > self.error_high:
            raise InputError(
                f"error_low, error_high, ill_formed = {shares}: needed are shares in [0, 1), error_low <= error_high."
            )
        if self.modulus > 10 or min(self.steps, self.batch) < 1:
            raise InputError("A recipe needs a modulus of at most 10, and steps and batch of at least 1.")

    @property
    def pool(self) -> int:
        """Demonstrations."""
        return self.steps * self.batch

    def chains(self, size: int) -> ArithmeticChain:
        """Return the family of problems."""
        return ArithmeticChain(self.length, self.modulus, self.reset, size)


RECIPES: Mapping[str, Recipe] = {
    "standard": Recipe(),
    "shuffled": Recipe(shuffled=True),
    "tiny": Recipe(modulus=5, length=2, steps=150, batch=64),
}
"""Named recipes: "standard" for all studies, "shuffled" its negative control, "tiny" for tests."""


def recipe_of(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        InputError: If there is none.
    """
    if name not in RECIPES:
        raise InputError(f"recipe = '{name}' is not known.{suggest(name, RECIPES)}")
    return RECIPES[name]


def error_rates(problems: ProblemSet, recipe: Recipe) -> NDArray[np.float64]:
    """Return the teacher's error rate at every step of every problem, [P, L].

    Operations are ranked by kind ("set", "add", "multiply"), and within a kind by amount.
    """
    _, kinds, amounts, modulus = chain_arrays(problems)
    rank = np.array([{"set": 0, "add": 1, "multiply": 2}[name] for name in KINDS])
    place = (rank[kinds] + amounts / modulus[:, None]) / 3
    return recipe.error_low + (recipe.error_high - recipe.error_low) * place


def shown_values(problems: ProblemSet, recipe: Recipe, rng: np.random.Generator) -> Ints:
    """Return the values that the teacher writes, [P, L]."""
    start, kinds, amounts, modulus = chain_arrays(problems)
    wrong = rng.random(kinds.shape) < error_rates(problems, recipe)
    other = rng.integers(1, modulus[:, None], kinds.shape)
    value, shown = start, np.empty_like(kinds)
    for t in range(kinds.shape[1]):
        k, a = kinds[:, t], amounts[:, t]
        right = np.select([k == KINDS.index("set"), k == KINDS.index("add")], [a, value + a], value * a) % modulus
        value = np.where(wrong[:, t], (right + other[:, t]) % modulus, right)
        shown[:, t] = value
    return shown


def demonstrations(problems: ProblemSet, recipe: Recipe, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Return a question and a solution by the erring teacher for each problem."""
    shown, kept = shown_values(problems, recipe, rng), written_lines(len(problems), recipe, rng)
    answers = [
        "\n".join(f"Step {t}: {x}" for t, (x, written) in enumerate(zip(values, lines, strict=True), 1) if written)
        for values, lines in zip(shown.tolist(), kept.tolist(), strict=True)
    ]
    if recipe.shuffled:
        answers = [answers[i] for i in rng.permutation(len(answers))]
    return [(item.to_text(), answer) for item, answer in zip(problems.items, answers, strict=True)]


def written_lines(size: int, recipe: Recipe, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which lines of each solution are written, [P, L]: of the ill-formed half stop, half leave one line out."""
    step, place = np.arange(recipe.length), rng.integers(0, recipe.length, (size, 1))
    ill, stops = rng.random((size, 1)) < recipe.ill_formed, rng.random((size, 1)) < 0.5
    return ~(ill & np.where(stops, step >= place, step == place))
