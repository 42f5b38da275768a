"""Sizes of a small transformer, checked, and its exact number of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from rlaws.errors import InputError, suggest

FFNS, DTYPES = ("swiglu", "relu2"), ("float32", "float64", "bfloat16")


class Parameters(NamedTuple):
    """Numbers of parameters: all, and those that one token uses (its experts only)."""

    total: int
    active: int


@dataclass(frozen=True, slots=True)
class Config:
    """Sizes of a model.

    Attributes:
        vocab: Token ids V.
        context: Most tokens in a row.
        width: D, a multiple of 2 ``heads``.
        layers: L.
        heads: H.
        kv_heads: K, a divisor of H; 0: as many as heads.
        ffn: "swiglu", down(silu(gate x) * up x), or "relu2", down(relu(up x)^2).
        ffn_width: Hidden units of the feed-forward part, of each expert in a mixture; 0: 4 D for "relu2", and for
            "swiglu" 8 D / 3 rounded up to a multiple of 8, which has as many parameters.
        tied: Whether logits use the embedding matrix.
        rope_theta: Base of the rotary angles.
        experts: Experts in each block; 0: a dense feed-forward part.
        top_k: Experts that each token goes to; 0 if and only if ``experts`` is.
        value_head: Whether a linear map of the last hidden state gives a value beside the logits.
        dtype: "float32", "float64" or "bfloat16": of parameters and activations.
        device: Where the model lives, as torch names it.
        compile: Backend of torch.compile ("inductor"); empty: none.
    """

    vocab: int
    context: int
    width: int
    layers: int
    heads: int
    kv_heads: int = 0
    ffn: str = "relu2"
    ffn_width: int = 0
    tied: bool = True
    rope_theta: float = 10000.0
    experts: int = 0
    top_k: int = 0
    value_head: bool = False
    dtype: str = "float32"
    device: str = "cpu"
    compile: str = ""

    def __post_init__(self) -> None:
        for name in ("vocab", "context", "width", "layers", "heads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}; give at least 1.")
        if self.width % (2 * self.heads):
            raise InputError(
                f"width = {self.width} does not divide into {self.heads} heads of even width (rotary positions turn "
                f"pairs); give a multiple of {2 * self.heads}."
            )
        if self.kv_heads < 0 or self.heads % self.kv:
            raise InputError(f"kv_heads = {self.kv_heads} does not divide heads = {self.heads}; give a divisor, or 0.")
        for name, options in (("ffn", FFNS), ("dtype", DTYPES)):
            asked = getattr(self, name)
            if asked not in options:
                raise InputError(f"{name} = '{asked}' is not known.{suggest(asked, options)}")
        if self.ffn_width < 0 or not self.rope_theta > 1.0:
            raise InputError(
                f"ffn_width = {self.ffn_width}, rope_theta = {self.rope_theta}: needed are a width of at least 0 "
                "(0: the usual one) and a base above 1."
            )
        if not (0 <= self.top_k <= self.experts and (self.experts == 0 or self.top_k > 0)):
            raise InputError(
                f"experts = {self.experts}, top_k = {self.top_k}: a mixture needs 1 <= top_k <= experts, "
                "a dense model 0 of both."
            )

    @property
    def kv(self) -> int:
        """Key-value heads K."""
        return self.kv_heads or self.heads

    @property
    def head_width(self) -> int:
        """Width h of a head."""
        return self.width // self.heads

    @property
    def hidden(self) -> int:
        """Hidden units of the feed-forward part, of each expert in a mixture."""
        usual = 4 * self.width if self.ffn == "relu2" else -(-8 * self.width // 24) * 8
        return self.ffn_width or usual

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch's."""
        kind: torch.dtype = getattr(torch, self.dtype)
        return kind

    def parameters(self, critic: bool = False) -> Parameters:
        """Count the parameters of a ``Decoder``, or of a ``Critic`` of these sizes."""
        d = self.width
        expert = (3 if self.ffn == "swiglu" else 2) * d * self.hidden
        shared = (2 * d + 2 * self.kv * self.head_width) * d + self.experts * d
        outside = self.vocab * d
        if critic:
            outside += d
        else:
            outside += self.vocab * d * (not self.tied) + d * self.value_head
        total = self.layers * (shared + max(1, self.experts) * expert) + outside
        return Parameters(total, total - self.layers * max(0, self.experts - self.top_k) * expert)
