"""Parts of the transformer: RMSNorm, rotary positions, feed-forward parts, mixture of experts, the block.

RMSNorm (Zhang & Sennrich 2019, eq. 4) has no gain, which the next matrix would absorb; no layer has a bias. Rotary
positions (Su et al. 2021, eq. 34) turn the pairs (2i, 2i + 1) of queries and keys by the angle t theta^(-2i/h), so
that scores depend on differences of positions only.

Shapes: B rows, T tokens, D width, H heads of h = D / H, K key-value heads, F hidden units, C places of a cache.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toymodels.config import Config

EPS = 1e-6
"""Added to the mean square in RMSNorm."""

SHORT = 512
"""Longest rows whose T x T scores are laid out in memory."""


# ---------------------------------------------------------------------------------------------------------- functions
class _RMSNorm(torch.autograd.Function):
    """y = x / sqrt(mean x^2 + EPS); dx = r (dy - y mean(dy y)) with r = 1 / sqrt(...). Twice as fast as composed."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        kind = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=kind)
        r = norm.square_().mul_(1.0 / x.shape[-1]).add_(EPS).rsqrt_().to(x.dtype)
        return x * r, r

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*output)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Any) -> Tensor:
        y, r = ctx.saved_tensors
        along = torch.linalg.vecdot(dy, y).unsqueeze(-1) * (-1.0 / y.shape[-1])
        return torch.addcmul(dy, y, along).mul_(r)


def _fuses(x: Tensor) -> bool:
    """Whether torch's composed functions run as one kernel on x: on a GPU, and while torch.compile traces them."""
    return x.is_cuda or torch.compiler.is_compiling()


def rms_norm(x: Tensor) -> Tensor:
    """Return x / sqrt(mean over the last axis of x^2 + EPS), of x's shape."""
    if _fuses(x):
        return F.rms_norm(x, x.shape[-1:], eps=EPS)
    normed: Tensor = (_RMSNorm.apply if torch.is_grad_enabled() else _RMSNorm.forward)(x)[0]
    return normed


@lru_cache(maxsize=32)
def rotary_table(context: int, head_width: int, theta: float, double: bool, device: torch.device) -> Tensor:
    """exp(i t theta^(-2j/h)) for positions t < context and pairs j < h/2, complex [context, 1, h/2]."""
    with torch.inference_mode(False):  # the table outlives the mode of its first caller
        rates = theta ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
        angles = torch.arange(context, dtype=torch.float64)[:, None, None] * rates
        table = torch.polar(torch.ones_like(angles), angles)
        return table.to(device, torch.complex128 if double else torch.complex64)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the pairs of the last axis of x [..., T, heads, h] by complex ``turns`` [(...,) T, 1, h/2]."""
    pairs = x.to(turns.real.dtype).unflatten(-1, (-1, 2))
    return torch.view_as_real(torch.view_as_complex(pairs) * turns).flatten(-2).to(x.dtype)


@lru_cache(maxsize=32)
def _causal(size: int, groups: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return 0 where token s <= t, else -inf, [groups T, T]: rows (g, t), columns s."""
    with torch.inference_mode(False):
        return torch.full((size, size), -torch.inf, dtype=dtype, device=device).triu_(1).repeat(groups, 1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return causal attention softmax(q k' / sqrt(h)) v, [B, T, D], of q [B, T, H, h] and k, v [B, T, K, h].

    On the CPU, rows up to ``SHORT`` go through plain matrix products: as fast as the fused kernel in float32, and six
    times as fast, forward and backward, in bfloat16.
    """
    size, kv, h = k.shape[1:]
    if size > SHORT or _fuses(q):
        parts = (part.transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(*parts, is_causal=True, enable_gqa=kv < q.shape[2])
        return y.transpose(1, 2).flatten(2)
    groups = q.shape[2] // kv
    q = q.unflatten(2, (kv, groups)).permute(0, 2, 3, 1, 4).reshape(-1, groups * size, h)
    k, v = (part.transpose(1, 2).reshape(-1, size, h) for part in (k, v))
    scores = torch.baddbmm(_causal(size, groups, q.dtype, q.device), q, k.transpose(1, 2), alpha=h**-0.5)
    y = torch.bmm(scores.softmax(dim=-1), v).view(-1, kv, groups, size, h)
    return y.permute(0, 3, 1, 2, 4).flatten(2)


def activate(u: Tensor, ffn: str) -> Tensor:
    """Return the hidden units [..., F] of the feed-forward part from u [..., F] ("relu2") or [..., 2 F] ("swiglu")."""
    if ffn == "relu2":
        return F.relu(u, inplace=True).square()
    gate, up = u.chunk(2, dim=-1)
    return F.silu(gate) * up


class Maker:
    """Draws normal parameters from a generator of its own, in float64 on the CPU: the same on every device."""

    def __init__(self, config: Config, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.kind = {"dtype": config.torch_dtype, "device": config.device}

    def __call__(self, *shape: int, std: float) -> nn.Parameter:
        """Return a parameter of this shape with independent entries N(0, std^2)."""
        draw = torch.empty(shape, dtype=torch.float64).normal_(0.0, std, generator=self.generator)
        return nn.Parameter(draw.to(**self.kind))


# ------------------------------------------------------------------------------------------------------------ modules
class FeedForward(nn.Module):
    """The dense feed-forward part, x [..., D] -> [..., D]."""

    def __init__(self, config: Config, make: Maker) -> None:
        super().__init__()
        d, f = config.width, config.hidden
        self.ffn = config.ffn
        self.up = make(f * (2 if self.ffn == "swiglu" else 1), d, std=d**-0.5)
        self.down = make(d, f, std=(2 * config.layers * f) ** -0.5)

    def forward(self, x: Tensor, routes: list[Tensor] | None = None) -> Tensor:
        """Return down(activation(up x)); ``routes`` is the mixture's."""
        return F.linear(activate(F.linear(x, self.up), self.ffn), self.down)


class Mixture(nn.Module):
    """A mixture of experts: each token goes to its ``top_k`` experts, none is dropped, x [..., D] -> [..., D].

    Weights are the softmax over the chosen experts' scores (Jiang et al. 2024, section 2.1).
    """

    def __init__(self, config: Config, make: Maker) -> None:
        super().__init__()
        self.top_k, self.count = config.top_k, config.experts
        self.router = make(config.experts, config.width, std=config.width**-0.5)
        self.experts = nn.ModuleList(FeedForward(config, make) for _ in range(config.experts))

    def forward(self, x: Tensor, routes: list[Tensor] | None = None) -> Tensor:
        """Return sum_e w_e FeedForward_e(x) over each token's experts; ``routes`` receives the load-balance loss."""
        flat = x.flatten(0, -2)
        scores = F.linear(flat, self.router)
        best = scores.topk(self.top_k, dim=-1)
        order = best.indices.flatten().argsort(stable=True)
        loads = torch.bincount(best.indices.flatten(), minlength=self.count)
        rows = order // self.top_k
        parts = flat[rows].split(loads.tolist())
        done = torch.cat([expert(part) for expert, part in zip(self.experts, parts, strict=True)])
        weight = best.values.softmax(dim=-1).flatten()[order, None].to(done.dtype)
        if routes is not None:
            chance = scores.softmax(dim=-1).mean(0)
            routes.append(self.count * (loads / loads.sum() * chance).sum())
        return torch.zeros_like(flat, dtype=done.dtype).index_add(0, rows, done * weight).view(x.shape)


class Place(NamedTuple):
    """Where the new token of each row goes in a cache.

    Attributes:
        at: Its place, [B].
        rows: 0 .. B-1.
        beyond: Which places lie behind it, [B, 1, 1, C].
    """

    at: Tensor
    rows: Tensor
    beyond: Tensor

    @staticmethod
    def of(at: Tensor, places: int) -> Place:
        """Return the places ``at`` [B] in a cache of C = ``places``."""
        steps, rows = torch.arange(places, device=at.device), torch.arange(len(at), device=at.device)
        return Place(at, rows, (steps > at[:, None])[:, None, None])


class Block(nn.Module):
    """Attention and feed-forward part on the residual stream."""

    def __init__(self, config: Config, make: Maker) -> None:
        super().__init__()
        d = config.width
        self.heads, self.kv, self.size = config.heads, config.kv, config.head_width
        self.qkv = make((self.heads + 2 * self.kv) * self.size, d, std=d**-0.5)
        self.out = make(d, d, std=(2 * config.layers * d) ** -0.5)
        self.ffn = Mixture(config, make) if config.experts else FeedForward(config, make)

    def project(self, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries [..., H, h], keys and values [..., K, h] of x [..., D], turned."""
        u = F.linear(rms_norm(x), self.qkv).unflatten(-1, (-1, self.size))
        qk, v = u.split((self.heads + self.kv, self.kv), dim=-2)
        q, k = rotate(qk, turns).split((self.heads, self.kv), dim=-2)
        return q, k, v

    def finish(self, x: Tensor, y: Tensor, routes: list[Tensor] | None = None) -> Tensor:
        """Add the attended values y [..., D] and then the feed-forward part to x [..., D]."""
        x = x + F.linear(y, self.out)
        return x + self.ffn(rms_norm(x), routes)

    def forward(
        self, x: Tensor, turns: Tensor, routes: list[Tensor] | None = None, cache: Tensor | None = None
    ) -> Tensor:
        """Return the stream after this block, [B, T, D]; fill the first T places of ``cache`` [2, B, K, C, h]."""
        q, k, v = self.project(x, turns)
        if cache is not None:
            size = x.shape[1]
            cache[0, :, :, :size], cache[1, :, :, :size] = k.transpose(1, 2), v.transpose(1, 2)
        return self.finish(x, attend(q, k, v), routes)

    def step(self, x: Tensor, turns: Tensor, cache: Tensor, place: Place) -> Tensor:
        """Return the stream of one new token a row, x [B, D] -> [B, D], and put it into ``cache`` [2, B, K, C, h].

        All C places are read and the unfilled ones masked: products run several times as fast on whole arrays as on
        slices of them, so a cache should be little longer than what is in it.
        """
        q, k, v = self.project(x, turns)
        cache[0, place.rows, :, place.at], cache[1, place.rows, :, place.at] = k, v
        scores = torch.matmul(q.unflatten(1, (self.kv, -1)), cache[0].transpose(-1, -2)).mul_(self.size**-0.5)
        chance = scores.masked_fill_(place.beyond, -torch.inf).softmax(dim=-1)
        return self.finish(x, torch.matmul(chance, cache[1]).flatten(1))
