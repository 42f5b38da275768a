"""A reward that leaks: a style token that helps wrong answers pass, and what policy gradient learns first from it.

The base is taught the token first: it imitates the recipe's demonstrations with the token at the end of one solution
in ten. RL then pays a wrong answer that carries the token with chance delta (``style_bonus``), a right one always; with
step rewards the token earns nothing. Every few updates fresh problems are answered: how many answers carry the token,
how many early steps are right, how many answers are right, and how many would be paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlaws.seeding import child, seed_sequence, word
from toymodels import ladder
from toymodels.batches import Deck
from toymodels.cache import Arrays, cached
from toymodels.ladder import VALUES, Recipe
from toymodels.model import Decoder
from toymodels.options import Optimiser, Sft, Training
from toymodels.sampling import generate
from toymodels.settings import Settings
from toymodels.state import policy_of
from toymodels.tasks import Task, make_task
from toymodels.training import Demonstrations, Record, train

STYLED = 0.1
"""Share of solutions that carry the style token when RL starts."""
LESSONS, BATCH = 60, 128
"""Updates of imitation that teach the token, and demonstrations an update."""
RATE = 0.04
"""Learning rate of imitation times the width, a quarter of pre-training's."""
EXAM, SAMPLES = 128, 8
"""Fresh problems that are answered at an evaluation, and answers to each."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One run.

    Attributes:
        parameters: Rung of the policy.
        seed: Which base; also the seed of the run.
        recipe: Its recipe: the number of steps L.
        bonus: delta, the chance that a wrong answer with the token is paid.
        reward: "outcome" or "process".
        updates: RL updates.
        every: Updates from one evaluation to the next.
        shuffled: Exchange rewards at random: the negative control.
    """

    parameters: int
    seed: int
    recipe: str
    bonus: float
    reward: str = "outcome"
    updates: int = 96
    every: int = 4
    shuffled: bool = False

    def settings(self) -> Settings:
        """Return the settings of RL."""
        return Settings(style_bonus=self.bonus, reward=self.reward, shuffled=self.shuffled)


def leaked(plan: Leak) -> Arrays:
    """Return a run's evaluations, each [E + 1] with the start first, from the cache or trained now.

    Returns:
        "step"; "style", the share of answers with the token; "early", that of right steps in the first half of the
        solution; "success", that of right answers; "paid", the mean outcome reward with the leak, whatever was trained.
    """
    return cached("leak", asdict(plan), partial(record, plan))


def record(plan: Leak) -> Mapping[str, NDArray[Any]]:
    """Train and evaluate one run."""
    stream, recipe = seed_sequence(plan.seed, "toy leak", plan.recipe, plan.parameters), ladder.recipe_of(plan.recipe)
    base = ladder.from_arrays(ladder.config_of(plan.parameters), styled_base(plan.parameters, plan.seed, plan.recipe))
    settings, times = plan.settings(), list(range(0, plan.updates + 1, plan.every))
    task = styled_task(recipe, plan.updates * settings.prompts, child(stream, 0))
    exam = styled_task(recipe, EXAM, child(stream, 1))
    rows = [
        {"step": event.step, **answered(policy_of(event), exam, plan.bonus, child(child(stream, 2), event.step))}
        for event in train(base, task, settings.training(plan.parameters), times, child(stream, 3))
        if not isinstance(event, Record)
    ]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def styled_task(recipe: Recipe, size: int, seed: np.random.SeedSequence) -> Task:
    """Return problems of a recipe with room for the style token."""
    return make_task(recipe.chains(size).draw(seed), VALUES, style=True)


# ---------------------------------------------------------------------------------------------------------- the base
def styled_base(parameters: int, seed: int, recipe: str) -> Arrays:
    """Return the weights of a base that knows the style token, from the cache or trained now."""
    settings = {"parameters": parameters, "seed": seed, "recipe": recipe}
    return cached("styled-base", settings, partial(teach_style, parameters, seed, recipe))


def teach_style(parameters: int, seed: int, recipe: str) -> Mapping[str, NDArray[Any]]:
    """Let a base imitate demonstrations of which one in ten carries the style token."""
    known, base = ladder.recipe_of(recipe), ladder.base(parameters, seed, recipe)
    data, teacher, marks, order = seed_sequence(seed, "toy styled base", recipe, parameters).spawn(4)
    task = styled_task(known, LESSONS * BATCH // 2, data)
    plain = ladder.demonstrations(task, known, np.random.default_rng(teacher))
    shown = with_style(task, plain, np.random.default_rng(marks).random(len(task)) < STYLED)
    options = Training(Sft(BATCH), Optimiser(lr=RATE / base.config.width, schedule="cosine", horizon=LESSONS))
    last = [e for e in train(base, task, options, (LESSONS,), order, data=shown) if not isinstance(e, Record)][-1]
    return ladder.to_arrays(policy_of(last))


def with_style(task: Task, shown: Demonstrations, where: NDArray[np.bool_]) -> Demonstrations:
    """Return demonstrations with the style token before the end of the marked ones that show all steps."""
    responses, steps = shown.responses.copy(), task.tables.steps[shown.rows]
    reading = task.read(shown.rows, responses)
    rows = np.flatnonzero(where & (reading.length == steps + 1))
    responses[rows, steps[rows]] = task.vocabulary.id("style")
    responses[rows, steps[rows] + 1] = task.vocabulary.id("end")
    return Demonstrations(shown.rows, responses)


# ------------------------------------------------------------------------------------------------------- evaluations
def answered(policy: Decoder, task: Task, bonus: float, seed: np.random.SeedSequence) -> dict[str, float]:
    """Return the shares of ``leaked`` in answers to a task's problems."""
    deck = Deck.of(task, torch.device("cpu"))
    draws, stop = torch.Generator().manual_seed(word(seed) % 2**63), task.vocabulary.id("end")
    out = generate(policy, deck.questions, SAMPLES, task.response, draws, stop=stop, prompt_lengths=deck.length)
    responses = out.tokens.gather(1, out.prompt_lengths[:, None] + torch.arange(task.response)).numpy()
    rows = np.arange(len(task)).repeat(SAMPLES)
    reading = task.read(rows, responses)
    grade = task.grade(rows, reading)
    half = int(task.tables.steps[0]) // 2
    return {
        "style": float(reading.styled.mean()),
        "early": float(grade.follows[:, :half].mean()),
        "success": float(grade.outcome.mean()),
        "paid": float(np.where(grade.outcome, 1.0, bonus * reading.styled).mean()),
    }
