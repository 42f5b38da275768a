"""Verifiers of steps, trained on labelled chains of a base, and how often they misjudge a step: exactly.

A verifier is a small transformer that reads a question and the values shown so far, and gives every possible next value
the log-odds of being right: one logit a value, as a policy has, but trained by logistic regression on the values that
were taken. Outcome labels say of every step of a chain whether the chain's answer was right, so what is learned is
P(right answer | this step), the value of the step; step labels say whether the step follows. Either way a right step
should get more than a wrong one, and ``step_error`` is how often it does not.

A verifier that reads the step first and then judges it (``toymodels.rewards``) is the same thing in principle, but at
these sizes learns the arithmetic of a check some ten times slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlaws.policy import Array
from rlaws.problems import ArithmeticChain
from rlaws.seeding import child, seed_sequence, word
from toymodels import ladder
from toymodels.batches import Deck, states_before
from toymodels.cache import Arrays, cached
from toymodels.config import Config
from toymodels.critics import critic_config, rollouts
from toymodels.ladder import VALUES
from toymodels.losses import binary_loss
from toymodels.model import Decoder
from toymodels.rewards import drawn_at, label
from toymodels.tasks import Task, Verifier, make_task

SAMPLES = 4
"""Labelled chains of each problem; the base's ``critics.rollouts`` have more of them."""
BATCH = 32
"""Problems of an update, each with its ``SAMPLES`` chains."""
RATE = 0.064
"""First learning rate times the width, that of the critics (``toymodels.critics``); it falls linearly to 0."""
EXAM = 256
"""Fresh problems whose steps are judged."""


@dataclass(frozen=True, slots=True)
class VerifierFit:
    """One verifier.

    Attributes:
        policy: Rung of the base whose chains are labelled.
        seed: Which base; also the seed of the verifier.
        recipe: Recipe of the base.
        size: Size of the verifier (``critics.critic_config``).
        labels: "outcome" or "process".
        chains: Labelled chains D.
        noise: q, the chance that a label is flipped: of the answer, or of each step.
        updates: Updates, of ``BATCH`` problems each.
        shuffled: Exchange the labels of chains at random: the negative control.
    """

    policy: int
    seed: int
    recipe: str
    size: int
    labels: str
    chains: int
    noise: float = 0.0
    updates: int = 256
    shuffled: bool = False


def verifier_config(size: int) -> Config:
    """Return the shape of a verifier: a critic's, with a logit for every value in place of the value head."""
    return replace(critic_config(size), value_head=False)


def verified(plan: VerifierFit) -> Arrays:
    """Return "error", the step error at each step [L], from the cache or from a verifier trained now."""
    return cached("verifier", asdict(plan), partial(fit_verifier, plan))


def fit_verifier(plan: VerifierFit) -> Mapping[str, NDArray[Any]]:
    """Train one verifier and examine it."""
    return {"error": step_error(train_verifier(plan), exam(plan.recipe))}


def train_verifier(plan: VerifierFit) -> Decoder:
    """Train one verifier on the first ``chains`` chains of its base."""
    data, stream = rollouts(plan.policy, plan.seed, plan.recipe), _stream(plan)
    problems = plan.chains // SAMPLES
    response = data.response[:problems, :SAMPLES]
    right, written = labels_of(plan, data.task, response, np.random.default_rng(child(stream, 2)))
    model, deck = Decoder(verifier_config(plan.size), seed=word(child(stream, 0))), Deck.of(data.task, response.device)
    rate = RATE / model.config.width
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    for step in range(plan.updates):
        row = torch.from_numpy(drawn_at(child(stream, 1), problems, BATCH, step))
        hidden = states_before(model, deck, row, response[row])[:, :, : right.shape[2]]
        taken = model.logits(hidden).gather(3, response[row][:, :, : right.shape[2], None])[..., 0]
        optimiser.param_groups[0]["lr"] = rate * (1 - step / plan.updates)
        optimiser.zero_grad(set_to_none=True)
        binary_loss(taken, right[row], written[row]).backward()
        optimiser.step()
    return model


def labels_of(plan: VerifierFit, task: Task, response: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return the label of each step of the chains, and which steps were written, both [P, G, S]."""
    problems, group, _ = response.shape
    rows, flat = np.arange(problems).repeat(group), response.flatten(0, 1).numpy()
    steps = label(task, rows, flat, "process", rng, noise=plan.noise)
    right = steps.labels
    if plan.labels == "outcome":
        told = label(task, rows, flat, "outcome", rng, Verifier(fp=plan.noise, fn=plan.noise)).labels
        right = np.broadcast_to(told[:, None], right.shape)
    if plan.shuffled:
        right = rng.permutation(right, axis=0)

    def grouped(x: NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(x.astype(np.float32)).view(problems, group, -1)

    return grouped(right), grouped(steps.counts)


def _stream(plan: VerifierFit) -> np.random.SeedSequence:
    """Return the seed of a verifier: weights, order and noise; the same for all numbers of chains and both labels."""
    return seed_sequence(plan.seed, "toy verifier", plan.recipe, plan.policy, plan.size)


# ----------------------------------------------------------------------------------------------------------- exams
def exam(recipe: str) -> Task:
    """Return the problems whose steps are judged, the same for all verifiers.

    They have no "set" steps: before one of those a wrong step does no harm, and its outcome cannot tell it from a right
    one.
    """
    known = ladder.recipe_of(recipe)
    chains = ArithmeticChain(known.length, known.modulus, 0.0, EXAM)
    return make_task(chains.draw(seed_sequence(0, "toy verifier exam")), VALUES)


@torch.inference_mode()
def step_error(model: Decoder, task: Task) -> Array:
    """Return how often a verifier gives a wrong step at least the odds of the right one, by step, [L].

    At every right prefix the right next value is compared with each of the m - 1 wrong ones; a tie counts one half, so
    a verifier that knows nothing has 1/2. All pairs are counted: no sampling noise.

    Args:
        model: The verifier.
        task: Problems of one length and modulus.
    """
    deck = Deck.of(task, torch.device("cpu"))
    shown = torch.from_numpy(task.demonstrations)[:, None]
    steps, modulus = int(task.tables.steps[0]), int(task.tables.modulus[0])
    hidden = states_before(model, deck, torch.arange(len(task)), shown)[:, 0, :steps]
    odds = model.logits(hidden)[..., :modulus].double().numpy()
    return misordered(odds, task.tables.truth[:, :steps])


def misordered(odds: Array, right: NDArray[np.int64]) -> Array:
    """Return the share of wrong values that are put above the right one, ties one half, mean over problems, [L].

    Args:
        odds: Of every value at every step, [P, L, m].
        right: The right value, [P, L].
    """
    best = np.take_along_axis(odds, right[..., None], axis=2)
    above = (odds > best).sum(axis=2) + 0.5 * ((odds == best).sum(axis=2) - 1)
    return np.asarray(above.mean(axis=0) / (odds.shape[2] - 1))
