"""A small decoder-only transformer: RMSNorm, rotary positions, SwiGLU or ReLU squared, dense or a mixture of experts.

Each block adds attention and then a feed-forward part to the residual stream x [B, T, D]:
x <- x + A(norm x), x <- x + F(norm x); the hidden states are norm(x) after the last block, the logits their products
with the embeddings (or with a matrix of their own). ``layers`` has the parts.

Shapes: B rows, T tokens, V vocabulary, D width, K key-value heads of width h, C places of a cache, L layers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlaws.errors import InputError
from toymodels.config import Config
from toymodels.layers import Block, Maker, Place, rms_norm, rotary_table


class Trunk(nn.Module):
    """Embedding, blocks and final norm: tokens [B, T] -> hidden states [B, T, D].

    Args:
        config: Its sizes.
        seed: Of the generator that draws the parameters: normal with variance 1 / (inputs), divided by 2 L where a
            matrix writes to the residual stream; embeddings have standard deviation 0.02.
    """

    def __init__(self, config: Config, seed: int) -> None:
        super().__init__()
        self.config = config
        make = Maker(config, seed)
        self.embedding = make(config.vocab, config.width, std=0.02)
        self.blocks = nn.ModuleList(Block(config, make) for _ in range(config.layers))
        self._make_heads(make)
        if config.compile:  # block by block: one compilation serves all layers; a deep copy runs uncompiled
            for block in self.blocks:
                block.compile(backend=config.compile)

    def _make_heads(self, make: Maker) -> None:
        """Make what the subclass puts on the hidden states."""

    def turns(self) -> Tensor:
        """Return the rotary table, complex [context, 1, h/2]."""
        c = self.config
        return rotary_table(c.context, c.head_width, c.rope_theta, c.dtype == "float64", self.embedding.device)

    def states(self, tokens: Tensor, routes: list[Tensor] | None = None, cache: Tensor | None = None) -> Tensor:
        """Return the hidden states [B, T, D] of tokens [B, T] (int64); position t has seen tokens 0 .. t.

        Args:
            tokens: Token ids, [B, T].
            routes: Receives each mixture's load-balance loss E sum_e f_e p_e (Fedus et al. 2022, eq. 4): f_e the share
                of assignments to expert e, p_e its mean routing probability. It is 1 where the load is even.
            cache: Receives keys and values in its first T places, [L, 2, B, K, C, h] (``empty_cache``).

        Raises:
            InputError: If there are more tokens than the context holds.
        """
        self.refuse_beyond(tokens.shape[1])
        x, turns = F.embedding(tokens, self.embedding), self.turns()[: tokens.shape[1]]
        for i, block in enumerate(self.blocks):
            x = block(x, turns, routes, None if cache is None else cache[i])
        return rms_norm(x)

    def refuse_beyond(self, length: int) -> None:
        """Refuse rows of more tokens than the context holds."""
        if length > self.config.context:
            raise InputError(
                f"Rows of {length} tokens do not fit into the context of {self.config.context}; shorten them or build "
                "the model with a larger context."
            )

    def empty_cache(self, rows: int, places: int) -> Tensor:
        """Return room for keys and values, [L, 2, rows, K, places, h]; ``cache[:, :, index]`` gathers rows."""
        c = self.config
        shape = (c.layers, 2, rows, c.kv, places, c.head_width)
        # zeros, not empty: a masked place has weight 0, and 0 times what lies in memory may be NaN
        return torch.zeros(shape, dtype=self.embedding.dtype, device=self.embedding.device)

    def step(self, tokens: Tensor, at: Tensor, cache: Tensor) -> Tensor:
        """Return the hidden states [B, D] of one new token a row and put it into the cache.

        Args:
            tokens: The new tokens, [B].
            at: Their positions, [B]; the places before must be filled, those behind are not looked at.
            cache: [L, 2, B, K, C, h], changed in place.
        """
        x, place = F.embedding(tokens, self.embedding), Place.of(at, cache.shape[4])
        turns = self.turns()[at]
        for block, part in zip(self.blocks, cache, strict=True):
            x = block.step(x, turns, part, place)
        return rms_norm(x)


class Decoder(Trunk):
    """A language model: logits, and with ``value_head`` values."""

    def _make_heads(self, make: Maker) -> None:
        c = self.config
        self.unembedding = None if c.tied else make(c.vocab, c.width, std=c.width**-0.5)
        self.value = make(1, c.width, std=c.width**-0.5) if c.value_head else None

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits [..., V] of hidden states [..., D]."""
        return F.linear(hidden, self.embedding if self.unembedding is None else self.unembedding)

    def values(self, hidden: Tensor) -> Tensor:
        """Return values [...] of hidden states [..., D].

        Raises:
            InputError: If the model has no value head.
        """
        if self.value is None:
            raise InputError("This model has no value head; build it with value_head = true, or use a Critic.")
        return F.linear(hidden, self.value).squeeze(-1)

    def forward(self, tokens: Tensor, routes: list[Tensor] | None = None) -> Tensor:
        """Return logits [B, T, V] of tokens [B, T]: position t predicts token t + 1; ``routes`` as in ``states``."""
        return self.logits(self.states(tokens, routes))


class Critic(Trunk):
    """A value model with a trunk of its own size, dense or mixture; ``tied`` and ``value_head`` do not matter."""

    def _make_heads(self, make: Maker) -> None:
        self.value = make(1, self.config.width, std=self.config.width**-0.5)

    def forward(self, tokens: Tensor, routes: list[Tensor] | None = None) -> Tensor:
        """Return values [B, T] of tokens [B, T]: position t values the prefix 0 .. t."""
        return F.linear(self.states(tokens, routes), self.value).squeeze(-1)


# -------------------------------------------------------------------------------------------------------------- files
def save(model: Trunk, path: str | os.PathLike[str]) -> None:
    """Write kind, sizes and parameters to a file, whole or not at all."""
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    torch.save({"kind": type(model).__name__, "config": asdict(model.config), "state": model.state_dict()}, part)
    part.replace(target)


def load(path: str | os.PathLike[str], device: str = "cpu") -> Decoder | Critic:
    """Read a model that ``save`` wrote; the file is read as numbers only and cannot run code.

    Raises:
        InputError: If the file holds no such model.
    """
    kinds = {"Decoder": Decoder, "Critic": Critic}
    stored: Any = torch.load(path, map_location=device, weights_only=True)
    known = {field.name for field in fields(Config)}
    if not isinstance(stored, Mapping) or stored.get("kind") not in kinds or set(stored.get("config", {})) - known:
        raise InputError(f"'{path}' holds no model of this version; save it with toymodels.model.save.")
    model: Decoder | Critic = kinds[stored["kind"]](Config(**{**stored["config"], "device": device}), seed=0)
    model.load_state_dict(stored["state"])
    return model
