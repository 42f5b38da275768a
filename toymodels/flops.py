"""Floating-point operations, counted from the matrix products that are run: 2 for each multiply-add, nothing else.

One token costs 2 for each parameter that multiplies it (a mixture's chosen experts only; the embedding is looked up,
which is free, but logits are a product with it), and 4 D for each layer and each position it attends to (queries with
keys, weights with values). The backward pass takes two products for each one of the forward pass, so its cost is twice
as large. The usual 2 N forward and 4 N backward (Kaplan et al. 2020, section 2.1) leaves the attention out.

Attention over a whole row is counted as it is run, as a full T x T square; ``causal=True`` counts the T (T + 1) / 2
pairs that matter.
"""

from __future__ import annotations

from collections.abc import Sequence

from toymodels.config import Config


def _body(config: Config) -> int:
    """Products of one token with the blocks' parameters, attention aside."""
    outside = config.vocab * config.width + config.width  # a critic's embedding and head
    return 2 * (config.parameters(critic=True).active - outside)


def _head(config: Config, critic: bool) -> int:
    """Products of one token with the logits' matrix and the value head, or with the critic's head."""
    return 2 * config.width * (1 if critic else config.vocab + config.value_head)


def token_flops(config: Config, context: int, *, head: bool = True, critic: bool = False) -> int:
    """Return the forward FLOPs of one token.

    Args:
        config: The model's sizes.
        context: Positions it attends to, its own included.
        head: Whether its logits are computed too (and its value, if the model has a value head).
        critic: Whether the model is a ``Critic``.
    """
    return _body(config) + 4 * config.layers * config.width * context + head * _head(config, critic)


def forward_flops(config: Config, tokens: int, rows: int = 1, *, causal: bool = False, critic: bool = False) -> int:
    """Return the forward FLOPs of ``rows`` rows of ``tokens`` tokens each, heads included.

    A decoder's value head counts, although a forward pass that asks for logits only does not run it.
    """
    pairs = tokens * (tokens + 1) // 2 if causal else tokens * tokens
    own = tokens * (_body(config) + _head(config, critic))
    return rows * (own + 4 * config.layers * config.width * pairs)


def backward_flops(config: Config, tokens: int, rows: int = 1, *, causal: bool = False, critic: bool = False) -> int:
    """Return the FLOPs of the backward pass that follows ``forward_flops``."""
    return 2 * forward_flops(config, tokens, rows, causal=causal, critic=critic)


def update_flops(
    config: Config, tokens: int, rows: int = 1, *, epochs: int = 1, causal: bool = False, critic: bool = False
) -> int:
    """Return the FLOPs of an update: ``epochs`` forward and backward passes over the rows; the optimiser is free."""
    return 3 * epochs * forward_flops(config, tokens, rows, causal=causal, critic=critic)


def rollout_flops(config: Config, prompt: int, lengths: Sequence[int], *, block: int = 1) -> int:
    """Return the FLOPs of sampling the rows of one prompt with ``generate``: the prompt once, then token by token.

    The value head is not run. Rows that wait, finished, for the others of their batch are not counted.

    Args:
        config: The model's sizes.
        prompt: Tokens of the prompt, at least 1.
        lengths: New tokens of each row, at least 1; the last one of a row is drawn but not run.
        block: Places of the cache that are read together: 1 counts the filled ones, ``sampling.BLOCK`` all that are
            multiplied.
    """
    body, each, head = _body(config), 4 * config.layers * config.width, 2 * config.width * config.vocab
    before = (prompt - 1) * (body + each * (prompt - 1))
    first = body + head + each * prompt
    limit = prompt + max(lengths)
    read = [min(limit, -(-context // block) * block) for context in range(prompt + 1, limit)]
    steps = sum(length - 1 for length in lengths)
    return before + first + steps * (body + head) + each * sum(sum(read[: length - 1]) for length in lengths)
