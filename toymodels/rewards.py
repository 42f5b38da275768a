"""Rewards of responses: the exact checker with errors, step labels with noise, and reward models trained on labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlaws.errors import InputError, suggest
from rlaws.seeding import child, word
from rlaws.store import digest
from toymodels.advantage import shrink_negative
from toymodels.batches import Deck, lay_out
from toymodels.checkpoints import fingerprint
from toymodels.config import Config
from toymodels.losses import binary_loss
from toymodels.model import Critic
from toymodels.options import Reward
from toymodels.tasks import Reading, Task, Verifier, label_noise
from toymodels.tasks.programs import Bools, Grade, Ints

KINDS = ("outcome", "process")
Floats = NDArray[np.float64]


class Scorer(Protocol):
    """A reward model: probabilities that responses, or their steps, are right."""

    kind: str
    identity: str

    def scores(self, task: Task, rows: Ints, responses: Ints) -> Floats:
        """Return P(right) of each response, [M] ("outcome"), or of each step, [M, S] ("process")."""
        ...


class Judged(NamedTuple):
    """M responses, read, graded and rewarded.

    Attributes:
        reward: Reward of each token, [M, R].
        reading: What they show.
        grade: What is right, exactly, whatever was rewarded.
    """

    reward: Floats
    reading: Reading
    grade: Grade


def judge(
    options: Reward, task: Task, rows: Ints, responses: Ints, rng: np.random.Generator, scorer: Scorer | None = None
) -> Judged:
    """Reward responses.

    Right is worth 1 and wrong ``options.negative``; a probability p lies between. An outcome is paid at the last
    token, a step at its own, with weight 1/L.

    Args:
        options: What is rewarded.
        task: The task.
        rows: Problem of each response, [M].
        responses: Tokens, [M, R].
        rng: Generator of the noise.
        scorer: Reward model, for learned rewards.
    """
    reading = task.read(rows, responses)
    grade = task.grade(rows, reading)
    refuse_unless_scored(options, scorer)
    if options.learned and scorer is not None:
        right = scorer.scores(task, rows, responses)
    elif options.by_step:
        right = label_noise(grade.follows, options.label_noise, rng).astype(np.float64)
    else:
        right = options.verifier(grade.outcome, reading.styled, rng).astype(np.float64)
    if options.shuffled:
        right = rng.permutation(right, axis=0)
    value = options.negative + (1 - options.negative) * right
    if options.shrink_where == "reward":
        value = shrink_negative(torch.from_numpy(value), options.shrink).numpy()
    return Judged(_pay(task, rows, reading, grade, value), reading, grade)


def refuse_unless_scored(options: Reward, scorer: Scorer | None) -> None:
    """Refuse learned rewards without a reward model of their kind.

    Raises:
        InputError: If it is missing or of the other kind.
    """
    kind = options.source.removeprefix("learned_")
    if options.learned and (scorer is None or scorer.kind != kind):
        has = "none was given" if scorer is None else f"the one given scores the {scorer.kind}"
        raise InputError(
            f"reward.source = '{options.source}' needs a reward model of kind '{kind}', and {has}; "
            f"train one with toymodels.rewards.train_reward_model on labels of that kind."
        )


def _pay(task: Task, rows: Ints, reading: Reading, grade: Grade, value: Floats) -> Floats:
    """Put values [M] or [M, S] on tokens, [M, R]; a step that was not written earns nothing."""
    out = np.zeros((len(rows), task.response))
    if value.ndim == 1:
        out[np.arange(len(rows)), reading.length - 1] = value
        return out
    steps = value.shape[1]
    written = grade.exists & (np.arange(steps) < reading.length[:, None])
    out[:, :steps] = np.where(written, value / task.tables.steps[rows, None], 0.0)
    return out


# --------------------------------------------------------------------------------------------------- reward models
class Labelled(NamedTuple):
    """Responses with labels, from which a reward model learns.

    Attributes:
        rows: Problem of each, [M].
        responses: Tokens, [M, R].
        labels: Right or wrong: of the answer, [M], or of each step, [M, S].
        counts: Labels that exist, of the labels' shape.
    """

    rows: Ints
    responses: Ints
    labels: Bools
    counts: Bools


def label(
    task: Task,
    rows: Ints,
    responses: Ints,
    kind: str,
    rng: np.random.Generator,
    verifier: Verifier | None = None,
    noise: float = 0.0,
) -> Labelled:
    """Label responses as a person or a checker would.

    Args:
        task: The task.
        rows: Problem of each response, [M].
        responses: Tokens, [M, R].
        kind: "outcome": the verifier's word on the answer; "process": whether each step follows.
        rng: Generator of the noise.
        verifier: Errors of outcome labels; None for none.
        noise: q, the chance that a step label is flipped.
    """
    _known_kind(kind)
    reading = task.read(rows, responses)
    grade = task.grade(rows, reading)
    if kind == "outcome":
        labels = (verifier or Verifier())(grade.outcome, reading.styled, rng)
        return Labelled(rows, responses, labels, np.ones_like(labels))
    written = grade.exists & (np.arange(grade.exists.shape[1]) < reading.length[:, None])
    return Labelled(rows, responses, label_noise(grade.follows, noise, rng), written)


def _known_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"No reward model of kind '{kind}'." + suggest(kind, KINDS))


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A value model read as log-odds of being right: after the last token, or after each step's token.

    Attributes:
        model: The network.
        kind: "outcome" or "process".
        identity: Hash of sizes and weights.
    """

    model: Critic
    kind: str
    identity: str

    @torch.inference_mode()
    def scores(self, task: Task, rows: Ints, responses: Ints) -> Floats:
        """Return P(right) of each response, [M], or of each step, [M, S]."""
        deck = Deck.of(task, self.model.embedding.device)
        scores: Floats = _log_odds(self.model, self.kind, task, deck, rows, responses).sigmoid().double().cpu().numpy()
        return scores


def _log_odds(model: Critic, kind: str, task: Task, deck: Deck, rows: Ints, responses: Ints) -> Tensor:
    """Return log-odds of being right, [M] or [M, S]."""
    device = deck.questions.device
    laid = lay_out(deck, torch.from_numpy(rows).to(device), torch.from_numpy(responses).to(device))
    values: Tensor = model(laid.tokens)
    if kind == "process":
        return values.gather(1, laid.before[:, : task.tables.kind.shape[1]] + 1)
    last = torch.from_numpy(task.read(rows, responses).length - 1).to(device)
    return values.gather(1, laid.before.gather(1, last[:, None]) + 1)[:, 0]


def train_reward_model(
    config: Config,
    task: Task,
    labelled: Labelled,
    steps: int,
    batch: int,
    lr: float,
    seed: np.random.SeedSequence,
) -> RewardModel:
    """Train a reward model by logistic regression on labels (AdamW, linear decay to 0).

    Args:
        config: Sizes of the network.
        task: The task whose problems the labels name.
        labelled: Responses with labels.
        steps: Updates.
        batch: Responses an update, drawn without replacement until all have been seen.
        lr: First learning rate.
        seed: Of the initial weights and of the order.
    """
    kind = "outcome" if labelled.labels.ndim == 1 else "process"
    model = Critic(config, seed=word(child(seed, 0)))
    deck = Deck.of(task, model.embedding.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    for step in range(steps):
        pick = drawn_at(child(seed, 1), len(labelled.rows), batch, step)
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        scores = _log_odds(model, kind, task, deck, labelled.rows[pick], labelled.responses[pick])
        label_, counts = (torch.from_numpy(x[pick]).to(scores) for x in (labelled.labels, labelled.counts))
        optimiser.zero_grad(set_to_none=True)
        binary_loss(scores, label_, counts).backward()
        optimiser.step()
    return RewardModel(model, kind, digest(asdict(config), kind, fingerprint(model)))


def drawn_at(seed: np.random.SeedSequence, size: int, batch: int, step: int) -> Ints:
    """Return what a step takes from a pool: passes in fresh orders, nothing twice within one pass.

    The step takes places step * batch .. (step + 1) * batch - 1 of the joined orders, so any step can be entered
    without those before it.

    Args:
        seed: Of the orders; pass e uses its e-th child.
        size: Size of the pool.
        batch: Items a step; may exceed the pool.
        step: The step, from 0.
    """
    place = np.arange(step * batch, (step + 1) * batch)
    passes = place // size
    orders = {int(e): np.random.default_rng(child(seed, int(e))).permutation(size) for e in np.unique(passes)}
    return np.array([orders[int(e)][i] for e, i in zip(passes, place % size, strict=True)])
