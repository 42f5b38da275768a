"""Sampling with a cache: each prompt is read once for all its samples, and each sample has a stream of its own.

Token t of a sample is the quantile of the model's distribution at the t-th uniform number of the sample's stream, so
that what is drawn does not depend on the batch (up to the rounding of the logits, which does). Rows that have ended
leave the batch.

Shapes: P prompts, R rows (samples), T new tokens, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from llm_bridge.backends.base import Sampling
from rlaws.policy import Array

SLICE = 2**23
"""Most entries of the table of cumulative probabilities that is made at once."""
Ended = Callable[[Tensor, Tensor], Tensor]


class Decoded(NamedTuple):
    """What was drawn.

    Attributes:
        tokens: New tokens, the end token included, 0 after it, [R, T].
        lengths: How many, [R].
        logprobs: Sums of their log-probabilities at temperature 1, [R].
        finished: Whether a row ended by itself, [R].
    """

    tokens: Tensor
    lengths: Tensor
    logprobs: Tensor
    finished: Tensor


def uniforms(seed: int, samples: Sequence[int], tokens: int) -> Array:
    """Return the streams of samples, [R, T]: a counter-based generator, its key (seed, sample)."""
    low = seed % 2**64
    rows = [np.random.Generator(np.random.Philox(key=np.array([low, i], np.uint64))).random(tokens) for i in samples]
    return np.array(rows).reshape(len(rows), tokens)


@torch.inference_mode()
def decode(
    model: Any, prompts: Sequence[Sequence[int]], rows: Tensor, u: Tensor, limits: Tensor, sampling: Sampling,
    ended: Ended,
) -> Decoded:  # fmt: skip
    """Continue prompts.

    Args:
        model: A causal language model.
        prompts: Their tokens.
        rows: Prompt of each row, [R].
        u: Uniform numbers, [R, T].
        limits: Most new tokens of each row, [R].
        sampling: How tokens are drawn.
        ended: (tokens so far [r, t], the last of them [r]) -> which rows have ended by themselves, [r].
    """
    n, device = len(rows), rows.device
    tokens = torch.zeros((n, int(limits.max())), dtype=torch.long, device=device)
    lengths, totals = (
        torch.zeros(n, dtype=torch.long, device=device),
        torch.zeros(n, dtype=torch.float64, device=device),
    )
    finished = torch.zeros(n, dtype=torch.bool, device=device)
    logits, cache, mask = _read(model, prompts, rows)
    alive = torch.arange(n, device=device)
    for t in range(tokens.shape[1]):
        new, logp = draw(logits, u[alive, t], sampling)
        tokens[alive, t] = new
        totals[alive] += logp
        lengths[alive] = t + 1
        done = ended(tokens[alive, : t + 1], new)
        finished[alive] = done
        keep = (~done & (t + 1 < limits[alive])).nonzero().flatten()
        if not len(keep):
            break
        if len(keep) < len(alive):
            alive, new = alive[keep], new[keep]
            cache.batch_select_indices(keep)
            mask = None if mask is None else mask[keep]
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        logits = _step(model, new[:, None], cache, mask).logits[:, -1].float()
    return Decoded(tokens, lengths, totals, finished)


def _read(model: Any, prompts: Sequence[Sequence[int]], rows: Tensor) -> tuple[Tensor, Any, Tensor | None]:
    """Read the prompts, padded at the left; return logits [R, V], the cache and the mask [R, L] (None: no padding)."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts], device=rows.device)
    lengths = torch.tensor([len(p) for p in prompts], device=rows.device)
    padded = bool((lengths < longest).any())
    mask = (torch.arange(longest, device=rows.device) >= longest - lengths[:, None]).long() if padded else None
    out = _step(model, ids, None, mask)
    cache = out.past_key_values
    if len(rows) != len(prompts):
        cache.batch_select_indices(rows)
    return out.logits[:, -1].float()[rows], cache, None if mask is None else mask[rows]


def _step(model: Any, ids: Tensor, cache: Any, mask: Tensor | None) -> Any:
    """Run the model on the next tokens of each row; without padding its own positions are right."""
    more: dict[str, Any] = {"logits_to_keep": 1} if keeps_logits(type(model)) else {}
    if mask is not None:
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        more |= {"attention_mask": mask, "position_ids": places}
    return model(input_ids=ids, past_key_values=cache, use_cache=True, **more)


def keeps_logits(kind: type) -> bool:
    """Return whether a model can leave out the logits that nobody wants."""
    return "logits_to_keep" in kind.forward.__annotations__  # type: ignore[attr-defined]


def draw(logits: Tensor, u: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Draw a token of each row.

    Args:
        logits: [r, V].
        u: One uniform number for each row, [r].
        sampling: Temperature and nucleus.

    Returns:
        Tokens [r], and their log-probabilities at temperature 1 [r].
    """
    if sampling.temperature == 0:
        chosen = logits.argmax(dim=-1)
    else:
        piece = max(1, SLICE // logits.shape[-1])
        parts = zip(logits.split(piece), u.split(piece), strict=True)
        chosen = torch.cat([_quantile(part, at, sampling) for part, at in parts])
    return chosen, logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(dim=-1)


def _quantile(logits: Tensor, u: Tensor, sampling: Sampling) -> Tensor:
    """Return the first token at which the cumulative probability exceeds u, [r]."""
    p = ((logits - logits.amax(dim=-1, keepdim=True)) / sampling.temperature).softmax(dim=-1)
    if sampling.top_p < 1:
        p = nucleus(p, sampling.top_p)
    total = p.double().cumsum(dim=-1)
    return torch.searchsorted(total, (u * total[:, -1])[:, None], right=True)[:, 0].clamp(max=p.shape[-1] - 1)


def nucleus(p: Tensor, mass: float) -> Tensor:
    """Return the probabilities of the fewest likeliest tokens that hold ``mass``, 0 for the others, [r, V]."""
    ordered, order = p.sort(dim=-1, descending=True)
    kept = ordered.cumsum(dim=-1) - ordered < mass
    return torch.zeros_like(p).scatter(-1, order, ordered * kept)
