"""Hidden states of the responses to a question: the question is run once for all of its responses, with gradient.

A group of G responses of R tokens behind a question of Q takes Q + G (R - 1) tokens instead of G (Q + R), and gives
the states that whole rows give. Attention of a response goes to the question's keys and to its own in one softmax.

Shapes: P questions, G responses of each, R tokens, S = R - 1, D width, H heads of h, K key-value heads, g = H / K.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from toymodels.layers import attend, rms_norm
from toymodels.model import Trunk


class _Masks(NamedTuple):
    """0 where a response token may look, else -inf: at the question [P, 1, Q], at its own response [S, S]."""

    far: Tensor
    near: Tensor


def response_states(
    model: Trunk, question: Tensor, length: Tensor, response: Tensor, routes: list[Tensor] | None = None
) -> Tensor:
    """Return the state before each response token, [P, G, R, D].

    Args:
        model: Any trunk.
        question: Tokens, padded on the right, [P, Q].
        length: Tokens of each question, [P].
        response: Tokens of its responses, [P, G, R].
        routes: Receives the load-balance losses of mixtures, one a layer.

    Raises:
        InputError: If question and response together exceed the context.
    """
    groups, samples, steps = response.shape
    model.refuse_beyond(question.shape[1] + steps)
    own = response[..., :-1]
    at = (length[:, None, None] + torch.arange(steps - 1, device=length.device)).expand_as(own)
    first = torch.arange(question.shape[1], device=length.device).expand_as(question)
    turns = model.turns()[torch.cat([first.flatten(), at.flatten()])]
    masks = _masks(length, question.shape[1], steps - 1, model.embedding.dtype)
    x = F.embedding(torch.cat([question.flatten(), own.flatten()]), model.embedding)
    for block in model.blocks:
        parts = [_parted(part, question.shape, own.shape) for part in block.project(x, turns)]
        (q, q_own), (k, k_own), (v, v_own) = parts
        seen = attend(q, k, v), _attend_both(q_own, (k, v), (k_own, v_own), masks)
        x = block.finish(x, torch.cat([y.flatten(0, -2) for y in seen]), routes)
    before, after = _parted(rms_norm(x), question.shape, own.shape)
    last = before[torch.arange(groups, device=length.device), length - 1]
    return torch.cat([last[:, None, None].expand(-1, samples, -1, -1), after], dim=2)


def _parted(x: Tensor, question: torch.Size, own: torch.Size) -> tuple[Tensor, Tensor]:
    """Return what belongs to questions [P, Q, ..] and to responses [P, G, S, ..] of x [tokens, ..]."""
    cut = question.numel()
    return x[:cut].unflatten(0, question), x[cut:].unflatten(0, own)


def _masks(length: Tensor, size: int, steps: int, dtype: torch.dtype) -> _Masks:
    beyond = torch.arange(size, device=length.device) >= length[:, None, None]
    later = torch.ones(steps, steps, dtype=torch.bool, device=length.device).triu(1)
    nothing = torch.zeros((), dtype=dtype, device=length.device)
    return _Masks(nothing.masked_fill(beyond, -torch.inf), nothing.masked_fill(later, -torch.inf))


def _attend_both(q: Tensor, far: tuple[Tensor, Tensor], near: tuple[Tensor, Tensor], masks: _Masks) -> Tensor:
    """Return the values seen by response tokens, [P, G, S, D].

    Args:
        q: Queries, [P, G, S, H, h].
        far: Keys and values of the question, each [P, Q, K, h].
        near: Keys and values of the response, each [P, G, S, K, h].
        masks: Where they may look.
    """
    groups, samples, steps, heads, size = q.shape
    kv, scale = far[0].shape[2], size**-0.5
    q = q.unflatten(3, (kv, -1)).permute(0, 3, 1, 4, 2, 5)  # [P, K, G, g, S, h]
    k, v = (x.transpose(1, 2).flatten(0, 1) for x in far)  # [P K, Q, h]
    k_own, v_own = (x.permute(0, 3, 1, 2, 4).reshape(-1, steps, size) for x in near)  # [P K G, S, h]
    by_question, by_response = q.reshape(len(k), -1, size), q.reshape(len(k_own), -1, size)
    beyond = masks.far.to(q.dtype).repeat_interleave(kv, dim=0)
    later = masks.near.to(q.dtype).repeat(heads // kv, 1)
    at_question = torch.baddbmm(beyond, by_question, k.transpose(1, 2), alpha=scale)
    at_response = torch.baddbmm(later, by_response, k_own.transpose(1, 2), alpha=scale)
    scores = torch.cat([at_question, at_response.view(*at_question.shape[:2], steps)], dim=2)
    of_question, of_response = scores.softmax(dim=2).to(v.dtype).split([k.shape[1], steps], dim=2)
    y = torch.bmm(of_response.reshape(at_response.shape), v_own).view(by_question.shape) + torch.bmm(of_question, v)
    return y.view(groups, kv, samples, heads // kv, steps, size).permute(0, 2, 4, 1, 3, 5).flatten(3)
