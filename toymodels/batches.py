"""Batches of responses: groups as tensors, their layout as rows of tokens, and the buffer of earlier groups."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from toymodels.flops import token_flops
from toymodels.model import Critic, Decoder, Trunk
from toymodels.prefix import response_states
from toymodels.tasks import Task


class Deck(NamedTuple):
    """The questions of a task on the model's device.

    Attributes:
        questions: Padded on the right, [N, Q].
        length: Tokens of each, [N].
        pad: Id of the padding token.
    """

    questions: Tensor
    length: Tensor
    pad: int

    @staticmethod
    def of(task: Task, device: torch.device) -> Deck:
        """Return the questions of a task."""
        questions, length = (torch.from_numpy(x).to(device) for x in (task.questions, task.question_length))
        return Deck(questions, length, task.vocabulary.id("pad"))


class Batch(NamedTuple):
    """P groups of G responses of at most R tokens.

    Attributes:
        row: Problem of each group, [P].
        response: Tokens, [P, G, R].
        log_mu: Log-probability of each token under the policy that sampled it, [P, G, R].
        mask: 1 where the response has a token, END included, [P, G, R].
        reward: Reward of each token, [P, G, R].
        fresh: Sampled by the present policy, [P].
    """

    row: Tensor
    response: Tensor
    log_mu: Tensor
    mask: Tensor
    reward: Tensor
    fresh: Tensor

    def part(self, index: Tensor) -> Batch:
        """Return some of the groups."""
        return Batch(*(x[index] for x in self))

    @staticmethod
    def join(batches: list[Batch]) -> Batch:
        """Return the groups of all batches."""
        return Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


def remember(buffer: Batch | None, fresh: Batch, capacity: int) -> Batch:
    """Return the buffer with fresh groups put in, the newest ``capacity`` of them."""
    kept = fresh._replace(fresh=torch.zeros_like(fresh.fresh))
    joined = kept if buffer is None else Batch.join([buffer, kept])
    return Batch(*(x[-capacity:] for x in joined))


class Rows(NamedTuple):
    """Questions and responses as rows of tokens.

    Attributes:
        tokens: Question, response, padding, [M, W].
        before: Position whose state predicts token t of the response, [M, R]; token t itself stands one further.
    """

    tokens: Tensor
    before: Tensor


def lay_out(deck: Deck, row: Tensor, response: Tensor) -> Rows:
    """Put responses directly behind their questions.

    Args:
        deck: Questions.
        row: Problem of each response, [M].
        response: Tokens, [M, R].
    """
    start, steps = deck.length[row], torch.arange(response.shape[1], device=row.device)
    question = deck.questions[row][:, : int(start.max())]
    tokens = torch.cat([question, torch.full_like(response, deck.pad)], dim=1)
    at = start[:, None] + steps
    tokens.scatter_(1, at, response)
    return Rows(tokens, at - 1)


def hidden_at(model: Trunk, tokens: Tensor, at: Tensor, routes: list[Tensor] | None = None) -> Tensor:
    """Return the hidden states of some positions of each row, [M, R, D].

    Args:
        model: The model.
        tokens: Rows, [M, W].
        at: Positions, [M, R].
        routes: Receives the load-balance losses of mixtures.
    """
    states = model.states(tokens, routes)
    return states.gather(1, at[..., None].expand(-1, -1, states.shape[-1]))


def states_before(
    model: Trunk, deck: Deck, row: Tensor, response: Tensor, routes: list[Tensor] | None = None
) -> Tensor:
    """Return the hidden state before each response token, [P, G, R, D].

    Each question is run once for its G responses; a model that is compiled (as whole blocks) takes whole rows.

    Args:
        model: The model.
        deck: Questions.
        row: Problem of each group, [P].
        response: Tokens, [P, G, R].
        routes: Receives the load-balance losses of mixtures.
    """
    if model.config.compile:
        laid = lay_out(deck, row.repeat_interleave(response.shape[1]), response.flatten(0, 1))
        return hidden_at(model, laid.tokens, laid.before, routes).unflatten(0, response.shape[:2])
    length = deck.length[row]
    return response_states(model, deck.questions[row][:, : int(length.max())], length, response, routes)


def values(model: Decoder | Critic, hidden: Tensor) -> Tensor:
    """Return the values of hidden states, [...] of [..., D]."""
    return model.values(hidden) if isinstance(model, Decoder) else F.linear(hidden, model.value).squeeze(-1)


def states_cost(model: Trunk, deck: Deck, row: Tensor, response: Tensor) -> float:
    """Return the FLOPs of ``states_before`` and of the heads on its states."""
    c, critic = model.config, isinstance(model, Critic)
    (groups, samples, steps), size = response.shape, int(deck.length[row].max())
    head = token_flops(c, 0, critic=critic) - token_flops(c, 0, head=False, critic=critic)
    heads = groups * samples * steps * head
    if c.compile:
        width = size + steps
        return float(groups * samples * width * token_flops(c, width, head=False) + heads)
    own = samples * (steps - 1) * token_flops(c, size + steps - 1, head=False)
    return float(groups * (size * token_flops(c, size, head=False) + own) + heads)


def log_policy(model: Decoder, hidden: Tensor, temperature: float) -> Tensor:
    """Return log pi of every token at a temperature, [..., V], in float32 or better."""
    logits = model.logits(hidden)
    return (logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature).log_softmax(dim=-1)
