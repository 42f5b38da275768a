"""Sampling with a key-value cache, stepwise branching, and log-probabilities of given tokens.

A token is drawn by an exponential race: argmax_v q_v / E_v with independent E_v ~ Exp(1) is v with probability q_v.
The E_v come from a counter (SplitMix64; Steele, Lea & Flood 2014) under the row's key, its position and v, so the draws
of a row depend neither on how many rows run beside it nor on which of them have finished. The logits do in their last
bits, for matrix products are summed in another order: a token can differ where two racers tie to about 1e-6.

Shapes: P prompts, R rows, B batch, T tokens, V vocabulary, C places of a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rlaws.errors import InputError
from toymodels.model import Decoder

BLOCK = 16
"""Places by which a cache grows: little of it is empty then, and it is seldom copied."""

KEEP = 0.75
"""Share of running rows below which finished ones are moved out of the cache."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Sampled rows; row p n + j is sample j of prompt p. Entry t of a row belongs to its token t.

    Attributes:
        tokens: Prompt, then at once what was sampled, then the stop token (or 0) up to T = T_prompt + max_new, [R, T].
        prompt_lengths: Tokens of the prompt, [R].
        lengths: Sampled tokens, the stop token included, [R].
        logprobs: Log-probability of each sampled token at temperature 1 and without cut, [R, T]; 0 elsewhere.
        sampled_logprobs: The same under the distribution it was drawn from; 0 at temperature 0, [R, T].
        entropy: Entropy in nats, at temperature 1, of the distribution before each sampled token, [R, T].
    """

    tokens: Tensor
    prompt_lengths: Tensor
    lengths: Tensor
    logprobs: Tensor
    sampled_logprobs: Tensor
    entropy: Tensor


class Rule(NamedTuple):
    """How a token is drawn: temperature (0: the likeliest), and how many of the likeliest compete (0: all)."""

    temperature: float = 1.0
    top_k: int = 0


class Draw(NamedTuple):
    """A drawn token of each row [R], its log-probabilities at temperature 1 and as drawn, and the entropy at 1."""

    token: Tensor
    logprob: Tensor
    sampled_logprob: Tensor
    entropy: Tensor


# ------------------------------------------------------------------------------------------------------------ drawing
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64 words, in place; torch shifts arithmetically, so the sign bits are masked off."""
    z.bitwise_xor_((z >> 30) & (2**34 - 1)).mul_(_MULTIPLIERS[0])
    z.bitwise_xor_((z >> 27) & (2**37 - 1)).mul_(_MULTIPLIERS[1])
    return z.bitwise_xor_((z >> 31) & (2**33 - 1))


def child_keys(keys: Tensor, children: Tensor) -> Tensor:
    """Return the key of child ``children`` [R] of each key [R]; int64."""
    return _mix(keys + (children + 1) * _GOLDEN)


def exponentials(keys: Tensor, at: Tensor, size: int) -> Tensor:
    """Return Exp(1) variables in float64, [R, size]: a function of the key [R], the position [R] and the column."""
    columns = torch.arange(1, size + 1, device=keys.device) * _GOLDEN
    words = _mix((keys + at * size * _GOLDEN)[:, None] + columns)
    return ((words >> 11) & (2**53 - 1)).double().add_(0.5).mul_(2.0**-53).log_().neg_()


def _tempered(logits: Tensor, rule: Rule) -> Tensor:
    """Return the log-probabilities that are drawn from, [R, V]: divided by the temperature, then cut to the top k."""
    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / rule.temperature
    if 0 < rule.top_k < logits.shape[-1]:
        best = scaled.topk(rule.top_k, dim=-1)
        scaled = torch.full_like(scaled, -torch.inf).scatter(-1, best.indices, best.values)
    return scaled.log_softmax(dim=-1)


def draw(logits: Tensor, rule: Rule, keys: Tensor, at: Tensor) -> Draw:
    """Draw a token from each row of logits [R, V] at position ``at`` [R].

    Raises:
        InputError: If logits are not finite.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    base = logits.log_softmax(dim=-1)
    chance = base.exp()
    entropy = -(chance * base).sum(dim=-1)
    if not bool(entropy.isfinite().all()):
        raise InputError(
            f"The model gave logits that are not finite (at position {int(at[~entropy.isfinite()][0])}); its "
            "parameters have probably diverged. Lower the learning rate, or go back to a checkpoint."
        )
    if rule.temperature == 0:
        token = logits.argmax(dim=-1)
        return Draw(token, _of(base, token), torch.zeros_like(entropy), entropy)
    drawn = base
    if rule.temperature != 1 or rule.top_k:
        drawn = _tempered(logits, rule)
        chance = drawn.exp()
    token = (chance / exponentials(keys, at, logits.shape[-1])).argmax(dim=-1)
    logprob = _of(base, token)
    return Draw(token, logprob, logprob if drawn is base else _of(drawn, token), entropy)


def _of(table: Tensor, token: Tensor) -> Tensor:
    return table.gather(-1, token.unsqueeze(-1)).squeeze(-1)


# ------------------------------------------------------------------------------------------------------------- checks
def _rule(temperature: float, top_k: int) -> Rule:
    if not 0 <= temperature < float("inf"):
        raise InputError(f"temperature = {temperature}; give 0 (the likeliest token) or a positive number.")
    if top_k < 0:
        raise InputError(f"top_k = {top_k}; give 0 (all tokens) or how many of the likeliest may be drawn.")
    return Rule(float(temperature), int(top_k))


def _checked_prompts(model: Decoder, prompts: Tensor, lengths: Tensor | None, room: int) -> tuple[Tensor, Tensor]:
    """Return prompts [P, T] and their lengths [P] on the model's device, or refuse them."""
    device = model.embedding.device
    if prompts.dim() != 2 or prompts.dtype != torch.int64 or not prompts.numel():
        raise InputError(
            f"Prompts are {tuple(prompts.shape)} of {prompts.dtype}; give [prompts, tokens] of int64, not empty."
        )
    low, high = int(prompts.min()), int(prompts.max())
    if low < 0 or high >= model.config.vocab:
        raise InputError(f"Prompts hold tokens from {low} to {high}; the model knows 0 to {model.config.vocab - 1}.")
    size, width = prompts.shape
    if lengths is None:
        lengths = torch.full((size,), width)
    if lengths.shape != (size,) or int(lengths.min()) < 1 or int(lengths.max()) > width:
        raise InputError(f"prompt_lengths must be {size} numbers from 1 to {width}, one a prompt.")
    if room < 1 or width + room > model.config.context:
        raise InputError(
            f"Prompts of {width} tokens and {room} new ones do not fit into the context of {model.config.context}; "
            "ask for at least 1 new token, shorten the prompts, or build the model with a larger context."
        )
    return prompts.to(device), lengths.to(device)


# ---------------------------------------------------------------------------------------------------------- generation
def _prefill(model: Decoder, prompts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cache [L, 2, P, K, T, h] of prompts [P, T], and the logits [P, V] after their last tokens."""
    cache = model.empty_cache(*prompts.shape)
    if prompts.shape[1] > 1:
        model.states(prompts[:, :-1], cache=cache)
    last = lengths - 1
    return cache, model.logits(model.step(_of(prompts, last), last, cache))


def _widen(model: Decoder, cache: Tensor, used: int, limit: int, index: Tensor | None = None) -> Tensor:
    """Return a cache with at least ``used`` places: whole blocks, ``limit`` at most, its rows gathered by ``index``."""
    rows = cache if index is None else cache[:, :, index]
    places = min(limit, -(-used // BLOCK) * BLOCK)
    if places <= cache.shape[4]:
        return rows
    wide = model.empty_cache(rows.shape[2], places)
    wide[..., : cache.shape[4], :] = rows
    return wide


def generate(
    model: Decoder,
    prompts: Tensor,
    n: int,
    max_new: int,
    generator: torch.Generator,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    stop: int | None = None,
    prompt_lengths: Tensor | None = None,
    first_row: int = 0,
) -> Samples:
    """Sample n continuations of every prompt.

    Each prompt is run once and its cache handed to its n rows; finished rows leave the cache when they are many.

    Args:
        model: Any decoder; it is run as it stands, without gradient.
        prompts: Token ids, [P, T].
        n: Samples of each prompt.
        max_new: Most new tokens of a row.
        generator: A CPU generator; one number is taken from it.
        temperature: 0 takes the likeliest token.
        top_k: How many of the likeliest tokens may be drawn; 0: all.
        stop: Token that ends a row; None: all rows have ``max_new`` tokens.
        prompt_lengths: Tokens of each prompt where they differ, [P]; what stands behind is not read.
        first_row: Number of the first row: prompts run in pieces, each with a generator in the same state, draw what
            they would draw together if piece by piece it counts the rows before.

    Raises:
        InputError: If an argument is out of range, or the model's logits are not finite.
    """
    rule = _rule(temperature, top_k)
    if n < 1:
        raise InputError(f"n = {n} samples of each prompt; give at least 1.")
    prompts, lengths = _checked_prompts(model, prompts, prompt_lengths, max_new)
    index = torch.arange(len(prompts), device=prompts.device).repeat_interleave(n)
    names = torch.arange(first_row, first_row + len(index), device=prompts.device)
    keys = child_keys(_key(generator, prompts.device), names)
    out = _blank(model, prompts[index], lengths[index], max_new, 0 if stop is None else stop)
    with torch.inference_mode():  # the results were made outside, so that a loss may be taken on them
        cache, logits = _prefill(model, prompts, lengths)
        cache = _widen(model, cache, prompts.shape[1] + 1, out.tokens.shape[1], index)
        _fill(model, out, cache, logits[index], (rule, keys, stop, max_new))
    return out


def _key(generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randint(2**63 - 1, (1,), generator=generator).to(device)


def _numbers(model: Decoder, *shape: int) -> Tensor:
    """Return zeros for log-probabilities: float64 if the model is, else float32."""
    kind = torch.promote_types(model.embedding.dtype, torch.float32)
    return torch.zeros(shape, dtype=kind, device=model.embedding.device)


def _blank(model: Decoder, prompts: Tensor, lengths: Tensor, max_new: int, pad: int) -> Samples:
    """Return rows before sampling: prompts [R, T] of some lengths [R], then padding."""
    tokens = F.pad(prompts, (0, max_new), value=pad)
    tokens.masked_fill_(torch.arange(tokens.shape[1], device=tokens.device) >= lengths[:, None], pad)
    numbers = (_numbers(model, *tokens.shape) for _ in range(3))
    return Samples(tokens, lengths, torch.zeros_like(lengths), *numbers)


def _fill(
    model: Decoder, out: Samples, cache: Tensor, logits: Tensor, how: tuple[Rule, Tensor, int | None, int]
) -> None:
    """Sample into ``out`` until every row has stopped or has its new tokens."""
    rule, keys, stop, max_new = how
    limit, live, at = out.tokens.shape[1], torch.arange(len(keys), device=keys.device), out.prompt_lengths
    running, seen = torch.ones_like(live, dtype=torch.bool), []
    for t in range(max_new):
        d = draw(logits, rule, keys[live], at)
        seen.append((live, at, running, *d))
        running = running if stop is None else running & (d.token != stop)
        left = len(live) if stop is None else int(running.sum())
        if t == max_new - 1 or not left:
            break
        token, keep = d.token, None
        if left <= KEEP * len(live):
            keep = running.nonzero().squeeze(-1)
            token, live, at, running = token[keep], live[keep], at[keep], running[keep]
        cache = _widen(model, cache, limit - max_new + t + 1, limit, keep)
        logits = model.logits(model.step(token, at, cache))
        at = at + 1
    _store(out, *(torch.cat(column) for column in zip(*seen, strict=True)))


def _store(out: Samples, rows: Tensor, at: Tensor, running: Tensor, *drawn: Tensor) -> None:
    """Put what was drawn at rows and positions into ``out``, but for rows that had stopped."""
    rows, at = rows[running], at[running]
    for store, values in zip((out.tokens, out.logprobs, out.sampled_logprobs, out.entropy), drawn, strict=True):
        store[rows, at] = values[running]
    out.lengths.copy_(torch.bincount(rows, minlength=len(out.lengths)))


# ------------------------------------------------------------------------------------------------------------ branching
@dataclass(frozen=True, slots=True)
class Branches:
    """Partial solutions that can be continued; nothing in them changes.

    Attributes:
        tokens: Prompt and what was sampled, [R, C]; 0 behind.
        prompt_lengths: Tokens of the prompt, [R].
        lengths: Tokens in all, [R].
        parent: Row of the ``Branches`` that each was grown from, [R]; a prompt's is its own.
        logprob: Sum over the sampled tokens, at temperature 1, [R].
        done: Whether the stop token was drawn or the places are used up, [R].
        keys: What the next draws of each row come from, [R].
        cache: Keys and values of all but the last token, [L, 2, R, K, places so far, h].
    """

    tokens: Tensor
    prompt_lengths: Tensor
    lengths: Tensor
    parent: Tensor
    logprob: Tensor
    done: Tensor
    keys: Tensor
    cache: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Tensor | Sequence[int]) -> Branches:
        """Return some of the rows, in the given order; a row may be taken more than once and is then the same."""
        index = torch.as_tensor(rows, device=self.tokens.device)
        own = (self.tokens, self.prompt_lengths, self.lengths, self.parent, self.logprob, self.done, self.keys)
        return Branches(*(part[index] for part in own), self.cache[:, :, index])


def join(parts: Sequence[Branches]) -> Branches:
    """Return the rows of several branches of one session, one after the other; parents keep their numbers."""
    names = ("tokens", "prompt_lengths", "lengths", "parent", "logprob", "done", "keys")
    own = (torch.cat([getattr(part, name) for part in parts]) for name in names)
    places = max(part.cache.shape[4] for part in parts)
    caches = [F.pad(part.cache, (0, 0, 0, places - part.cache.shape[4])) for part in parts]
    return Branches(*own, torch.cat(caches, dim=2))


@dataclass(frozen=True, slots=True)
class Session:
    """Grows partial solutions step by step: what a search over solutions needs of a model.

    Attributes:
        model: The policy.
        places: Most tokens of a row, prompt included.
        separator: Token that ends a step and belongs to it; None: every token is a step.
        stop: Token that ends a solution; None: only ``places`` does.
        temperature: 0 takes the likeliest token, so that all children of a row are equal.
        top_k: How many of the likeliest tokens may be drawn; 0: all.
    """

    model: Decoder
    places: int
    separator: int | None = None
    stop: int | None = None
    temperature: float = 1.0
    top_k: int = 0

    @torch.no_grad()
    def start(self, prompts: Tensor, generator: torch.Generator, prompt_lengths: Tensor | None = None) -> Branches:
        """Return one row a prompt [P, T]; partial solutions may be part of the prompts.

        Raises:
            InputError: If prompts do not fit.
        """
        _rule(self.temperature, self.top_k)
        room = self.places - prompts.shape[-1]
        prompts, lengths = _checked_prompts(self.model, prompts, prompt_lengths, room)
        index = torch.arange(len(prompts), device=prompts.device)
        cache, _ = _prefill(self.model, prompts, lengths)
        blank = _blank(self.model, prompts, lengths, room, 0)  # its tokens only
        keys = child_keys(_key(generator, prompts.device), index)
        none, zero = torch.zeros_like(index, dtype=torch.bool), _numbers(self.model, len(index))
        return Branches(blank.tokens, lengths, lengths.clone(), index, zero, none, keys, cache)

    @torch.no_grad()
    def grow(
        self,
        branches: Branches,
        rows: Tensor | Sequence[int],
        children: int,
        *,
        max_step: int = 0,
        first_child: int = 0,
    ) -> Branches:
        """Sample ``children`` next steps of each of the given rows; child j of the i-th row is row i children + j.

        A child is a function of its row and its number, so the same call gives the same children.

        Args:
            branches: What to grow from; it stays as it is.
            rows: Rows that are not done, [Q].
            children: Of each row.
            max_step: Most tokens of the step, also without separator; 0: no limit but ``places``.
            first_child: Number of the first child; a row that has k children already gets other ones with k.

        Raises:
            InputError: If there is nothing to grow, or a row is done.
        """
        index = torch.as_tensor(rows, device=branches.tokens.device)
        if children < 1 or not index.numel() or bool(branches.done[index].any()):
            raise InputError(
                f"{index.numel()} rows with {children} children asked; give at least one row and one child, and only "
                "rows that are not done."
            )
        old = branches.take(index)
        last = old.lengths - 1
        old = replace(old, cache=_widen(self.model, old.cache, int(last.max()) + 1, self.places))
        logits = self.model.logits(self.model.step(_of(old.tokens, last), last, old.cache))
        family = torch.arange(len(old), device=index.device).repeat_interleave(children)
        new, child = old.take(family), torch.arange(children, device=index.device).repeat(len(old))
        keys = child_keys(new.keys, first_child + child)
        cache = self._step(new, logits[family], keys, max_step or self.places)
        return Branches(
            new.tokens, new.prompt_lengths, new.lengths, index[family], new.logprob, new.done, keys, cache
        )

    def _step(self, new: Branches, logits: Tensor, keys: Tensor, limit: int) -> Tensor:
        """Draw tokens into the fresh rows ``new`` until each has ended its step; return their cache."""
        rule, rows = _rule(self.temperature, self.top_k), torch.arange(len(new), device=keys.device)
        running, cache = torch.ones_like(new.done), new.cache
        for t in range(limit):
            d = draw(logits, rule, keys, new.lengths)
            new.tokens[rows[running], new.lengths[running]] = d.token[running]
            new.logprob.add_(d.logprob * running)
            new.lengths.add_(running)
            ended = d.token == (-1 if self.stop is None else self.stop)
            new.done.logical_or_(running & (ended | (new.lengths == self.places)))
            running = running & ~new.done & (self.separator is not None) & (d.token != self.separator)
            if t == limit - 1 or not bool(running.any()):
                break
            last = new.lengths - 1  # a row that has ended its step runs its last token early, and again when it grows
            cache = _widen(self.model, cache, int(last.max()) + 1, self.places)
            logits = self.model.logits(self.model.step(_of(new.tokens, last), last, cache))
        return cache


# -------------------------------------------------------------------------------------------------------------- scoring
class Evaluation(NamedTuple):
    """What a fresh forward pass says of given tokens; entry t belongs to token t, [B, T], 0 outside the completion.

    Attributes:
        logprobs: Log-probability of token t given the tokens before it.
        entropy: Entropy in nats of the distribution of token t; None if not asked for.
        values: Value head's value of the tokens before t; None without such a head.
    """

    logprobs: Tensor
    entropy: Tensor | None
    values: Tensor | None


def completion_mask(tokens: Tensor, prompt_lengths: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return which tokens [B, T] lie behind the prompt [B] and, if given, within the completion's lengths [B]."""
    place = torch.arange(tokens.shape[1], device=tokens.device)
    inside = place >= prompt_lengths[:, None]
    return inside if lengths is None else inside & (place < (prompt_lengths + lengths)[:, None])


def evaluate(
    model: Decoder,
    tokens: Tensor,
    prompt_lengths: Tensor,
    lengths: Tensor | None = None,
    *,
    temperature: float = 1.0,
    entropy: bool = False,
    routes: list[Tensor] | None = None,
) -> Evaluation:
    """Evaluate tokens by a fresh forward pass, with gradient.

    Args:
        model: Any decoder.
        tokens: Prompt and completion, [B, T].
        prompt_lengths: Tokens of the prompt, at least 1, [B].
        lengths: Tokens of the completion, [B]; None: all that follow.
        temperature: Divides the logits; positive.
        entropy: Whether the entropies are asked for.
        routes: Receives the mixtures' load-balance losses.

    Raises:
        InputError: If the temperature is not positive, a prompt is empty, or the rows do not fit into the context.
    """
    if not 0 < temperature < float("inf") or int(prompt_lengths.min()) < 1:
        raise InputError(f"temperature = {temperature}, shortest prompt {int(prompt_lengths.min())}; both must be > 0.")
    inside = completion_mask(tokens, prompt_lengths, lengths)
    hidden = model.states(tokens[:, :-1], routes)
    logits = model.logits(hidden)
    table = (logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature).log_softmax(dim=-1)
    spread = _aligned(-(table.exp() * table).sum(dim=-1), inside) if entropy else None
    values = _aligned(model.values(hidden), inside) if model.value is not None else None
    return Evaluation(_aligned(_of(table, tokens[:, 1:]), inside), spread, values)


def _aligned(after: Tensor, inside: Tensor) -> Tensor:
    """Move entries [B, T - 1] that say something of the next token to that token, [B, T], 0 outside."""
    return F.pad(after, (1, 0)) * inside


def score(
    model: Decoder,
    tokens: Tensor,
    prompt_lengths: Tensor,
    lengths: Tensor | None = None,
    *,
    temperature: float = 1.0,
) -> Tensor:
    """Return the log-probabilities of the completions' tokens, [B, T], 0 elsewhere; see ``evaluate``."""
    return evaluate(model, tokens, prompt_lengths, lengths, temperature=temperature).logprobs
