"""What judges partial solutions: a reward model trained on labelled samples of a base, or the policy's likelihood."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from rlaws.errors import InputError, suggest
from rlaws.seeding import seed_sequence, word
from toymodels import ladder
from toymodels.batches import Deck
from toymodels.cache import Arrays, cached
from toymodels.enumeration import Array, Solutions, digits
from toymodels.ladder import VALUES
from toymodels.model import Critic
from toymodels.rewards import RewardModel, label, train_reward_model
from toymodels.sampling import generate
from toymodels.search import Guide
from toymodels.tasks import Task, Verifier, make_task
from toymodels.tasks.programs import Ints

KINDS = ("process", "outcome", "likelihood")
STEPS, BATCH = 400, 128
SAMPLES = 8
"""Updates of a reward model, responses an update, and responses of each labelled problem."""
ROWS = 8192


def guide_of(kind: str, found: Solutions, task: Task, model: RewardModel | None) -> Guide:
    """Return the values of all nodes.

    Args:
        kind: "process": the product of the steps' probabilities of being right; "outcome": the probability of a right
            answer as a model says it that was trained after the last token only, read after each token; "likelihood":
            the geometric mean of the policy's probabilities of the steps.
        found: The solutions.
        task: Their problems.
        model: A reward model of that kind; None for "likelihood".
    """
    if kind == "likelihood":
        return Guide(tuple(x ** (1.0 / max(t, 1)) for t, x in enumerate(found.reached())))
    assert model is not None
    m, depth = found.modulus, len(found.value)
    rows, every = _all_solutions(m, depth, task)
    scores = _by_step(model, task, rows, every).reshape(len(task), m**depth, -1)[:, :, :depth]
    if kind == "process":
        scores = np.cumprod(scores, axis=2)
    else:
        scores[:, :, -1] = _pieces(model, task, rows, every).reshape(len(task), -1)
    levels = [scores[:, :: m ** (depth - t), t - 1] for t in range(1, depth + 1)]
    return Guide((np.ones((len(scores), 1)), *levels))


def _all_solutions(modulus: int, depth: int, task: Task) -> tuple[Ints, Ints]:
    """Return problem and tokens of every solution of every problem, [P m^L] and [P m^L, R]."""
    responses = np.full((modulus**depth, task.response), task.vocabulary.id("end"), dtype=np.int64)
    responses[:, :depth] = digits(modulus, depth)
    return np.repeat(np.arange(len(task)), modulus**depth), np.tile(responses, (len(task), 1))


def _by_step(model: RewardModel, task: Task, rows: Ints, responses: Ints) -> Array:
    """Return what a model says after each step, [M, S], whatever it was trained on."""
    return _pieces(RewardModel(model.model, "process", model.identity), task, rows, responses)


def _pieces(model: RewardModel, task: Task, rows: Ints, responses: Ints) -> Array:
    parts = [model.scores(task, rows[i : i + ROWS], responses[i : i + ROWS]) for i in range(0, len(rows), ROWS)]
    return np.concatenate(parts)


def refuse_unknown(kind: str) -> None:
    """Refuse a guide that there is not.

    Raises:
        InputError: With the nearest name.
    """
    if kind not in KINDS:
        raise InputError(f"guide = '{kind}' is not known.{suggest(kind, KINDS)}")


def reward_model(
    kind: str, parameters: int, base_seed: int, recipe: str, size: int, labels: int, noise: float
) -> RewardModel:
    """Return a reward model of a base, from the cache or trained now.

    Args:
        kind: "process" or "outcome".
        parameters: Rung of the base whose samples are labelled.
        base_seed: Which base.
        recipe: Its recipe.
        size: Rung of the reward model.
        labels: Labelled responses.
        noise: Chance that a label is flipped ("process"), or that a wrong answer is called right ("outcome").
    """
    settings = {
        "kind": kind, "parameters": parameters, "base_seed": base_seed, "recipe": recipe, "size": size,
        "labels": labels, "noise": noise,
    }  # fmt: skip
    arrays = cached("reward-model", settings, partial(fit_reward_model, **settings))
    model = Critic(ladder.config_of(size), seed=0)
    model.load_state_dict({name: torch.from_numpy(np.array(x)) for name, x in arrays.items()})
    return RewardModel(model, kind, f"{settings}")


def fit_reward_model(
    kind: str, parameters: int, base_seed: int, recipe: str, size: int, labels: int, noise: float
) -> Arrays:
    """Sample a base on fresh problems of its recipe, label the samples, and train a reward model on them."""
    data, draws, flips, order = seed_sequence(base_seed, "toy reward model", kind, parameters, recipe).spawn(4)
    task = make_task(ladder.recipe_of(recipe).chains(-(-labels // SAMPLES)).draw(data), VALUES)
    base, deck = ladder.base(parameters, base_seed, recipe), Deck.of(task, torch.device("cpu"))
    generator = torch.Generator().manual_seed(word(draws) % 2**63)
    stop, length = task.vocabulary.id("end"), deck.length
    out = generate(base, deck.questions, SAMPLES, task.response, generator, stop=stop, prompt_lengths=length)
    at = out.prompt_lengths[:, None] + torch.arange(task.response)
    rows, responses = np.arange(len(task)).repeat(SAMPLES), out.tokens.gather(1, at).numpy()
    verifier = Verifier(fp=noise) if kind == "outcome" else None
    flipped = noise if kind == "process" else 0.0
    labelled = label(task, rows, responses, kind, np.random.default_rng(flips), verifier, flipped)
    config = ladder.config_of(size)
    rate = ladder.PRETRAINING_RATE / config.width
    return ladder.to_arrays(train_reward_model(config, task, labelled, STEPS, BATCH, rate, order).model)
