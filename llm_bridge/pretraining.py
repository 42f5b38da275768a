"""How a base of the ladder is trained from scratch, and written down as a model like any other."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from llm_bridge import vocabulary
from llm_bridge.corpus import Recipe, demonstrations
from rlaws.errors import RlawsError
from rlaws.seeding import child, seed_sequence, word

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

CONTEXT = 512
ROPE_THETA = 100.0
"""Wavelengths up to the context. With 1000 a small model takes twice as many updates to find out where to look."""
RATE = 0.32
"""Peak learning rate times the width. Of 0.16, 0.32 and 0.64 the one with the lowest loss of the smallest rung in a
pilot of 400 updates; at the other sizes it follows from the width."""
LAST = 0.05
"""Share of the peak learning rate at the end of the cosine."""
GRAD_CLIP = 1.0
CUT = 0.125
"""Share of rows in which one line break of the answer is a token of its own, so that a model can go on after a prefix
that ends with one; the break itself is not learned, so no model writes it so."""
BLOCK = 64
"""Updates whose demonstrations are made at once."""
CORPUS = 4096
"""Demonstrations that the tokenizer is trained on; the same for all bases of a recipe."""
SECONDS_BETWEEN_LINES = 20.0
CURVE = "pretraining.json"


class Shape(NamedTuple):
    """Width, layers, heads (as many of keys and values) and hidden units of each MLP."""

    width: int
    layers: int
    heads: int
    hidden: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how a base is trained.

    Attributes:
        device: "cpu" or "cuda".
        bf16: Matrix products in bfloat16; the weights stay in float32.
        compile: Whether ``torch.compile`` fuses the model first.
    """

    device: str = "cpu"
    bf16: bool = False
    compile: bool = False


class Rows(NamedTuple):
    """Tokens of questions with answers, [N, T], padded on the right, and which of them are learned, [N, T]."""

    tokens: torch.Tensor
    learned: torch.Tensor


def pretrain(shape: Shape, recipe: Recipe, seed: int, machine: Machine, folder: Path) -> None:
    """Train a base and write its directory: configuration, weights, tokenizer, how it samples, and its loss curve."""
    words = tokenizer_of(recipe)
    weights, data = seed_sequence(seed, "ladder base").spawn(2)
    with _one_thread():
        model = initial(shape, words, word(weights) % 2**63)
        losses = train(model, blocks(recipe, words, data), recipe, machine, f"base {seed} of width {shape.width}")
    save(model, words, folder)
    record = {"recipe": asdict(recipe), "seed": seed, "machine": asdict(machine), "losses": losses}
    (folder / CURVE).write_text(json.dumps(record) + "\n", encoding="utf-8")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one torch thread: the order of a sum, and with it the last bit, depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# --------------------------------------------------------------------------------------------------------------- data
@lru_cache(maxsize=8)
def tokenizer_of(recipe: Recipe) -> Tokenizer:
    """Return the tokenizer that all bases of a recipe share."""
    seed = seed_sequence(0, "ladder tokenizer")
    problems = recipe.chains(CORPUS).draw(child(seed, 0))
    shown = demonstrations(problems, recipe, np.random.default_rng(child(seed, 1)))
    return vocabulary.trained(text for pair in shown for text in pair)


def blocks(recipe: Recipe, words: Tokenizer, seed: np.random.SeedSequence) -> Iterator[Rows]:
    """Yield the demonstrations of ``BLOCK`` updates at a time; the last block may be short."""
    for start in range(0, recipe.steps, BLOCK):
        problems, teacher = child(seed, start).spawn(2)
        size = min(BLOCK, recipe.steps - start) * recipe.batch
        rng = np.random.default_rng(teacher)
        yield encoded(demonstrations(recipe.chains(size).draw(problems), recipe, rng), words, rng)


def encoded(pairs: list[tuple[str, str]], words: Tokenizer, rng: np.random.Generator) -> Rows:
    """Return questions with answers as tokens; the answers are learned."""
    cut = np.where(rng.random(len(pairs)) < CUT, rng.integers(0, 1 << 30, len(pairs)), -1)
    heads, tails = zip(*(_parted(answer, int(c)) for (_, answer), c in zip(pairs, cut, strict=True)), strict=True)
    turns = [vocabulary.USER + question + vocabulary.ASSISTANT for question, _ in pairs]
    parts = [[e.ids for e in words.encode_batch(list(texts))] for texts in (turns, heads, tails)]
    end = [words.token_to_id(vocabulary.END)]
    longest = max(sum(map(len, row)) for row in zip(*parts, strict=True)) + 1
    tokens = np.full((len(pairs), longest), words.token_to_id(vocabulary.PAD), dtype=np.int64)
    learned = np.zeros(tokens.shape, dtype=bool)
    for i, (asked, head, tail) in enumerate(zip(*parts, strict=True)):
        row = [*asked, *head, *tail, *end]
        tokens[i, : len(row)] = row
        learned[i, len(asked) : len(row)] = True
        if cut[i] >= 0 and head:
            learned[i, len(asked) + len(head) - 1] = False
    return Rows(torch.from_numpy(tokens), torch.from_numpy(learned))


def _parted(answer: str, number: int) -> tuple[str, str]:
    """Return an answer in two parts, the first up to one of its line breaks, or empty where ``number`` is below 0."""
    breaks = [i for i, c in enumerate(answer, 1) if c == "\n"]
    place = breaks[number % len(breaks)] if number >= 0 and breaks else 0
    return answer[:place], answer[place:]


# -------------------------------------------------------------------------------------------------------------- model
def config_of(shape: Shape, words: Tokenizer) -> LlamaConfig:
    """Return the configuration of a rung."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=shape.width,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=CONTEXT,
        initializer_range=shape.width**-0.5,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        pad_token_id=words.token_to_id(vocabulary.PAD),
        eos_token_id=words.token_to_id(vocabulary.END),
        bos_token_id=None,
    )


def initial(shape: Shape, words: Tokenizer, seed: int) -> LlamaForCausalLM:
    """Return a model with random weights; torch's own random stream is left as it was."""
    from transformers import LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config_of(shape, words))


def save(model: LlamaForCausalLM, words: Tokenizer, folder: Path) -> None:
    """Write a model directory."""
    from transformers import GenerationConfig

    ends = {"pad_token_id": model.config.pad_token_id, "eos_token_id": model.config.eos_token_id}
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, **ends)
    with _no_bars():
        model.save_pretrained(folder)
    vocabulary.wrapped(words).save_pretrained(folder)


@contextmanager
def _no_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


# ----------------------------------------------------------------------------------------------------------- training
def train(model: LlamaForCausalLM, data: Iterator[Rows], recipe: Recipe, machine: Machine, label: str) -> list[float]:
    """Train a model in place by AdamW on the answers' tokens; return the mean loss of each update in nats a token.

    Raises:
        RlawsError: If the loss is no number any more.
    """
    model.to(machine.device).train()
    body = torch.compile(model.model) if machine.compile else model.model
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=RATE / model.config.hidden_size, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, recipe.steps))
    told: list[torch.Tensor] = []
    shown = time.monotonic()
    for rows in data:
        for batch in zip(*(x.split(recipe.batch) for x in rows), strict=True):
            with torch.autocast(machine.device, torch.bfloat16, enabled=machine.bf16):
                loss = loss_of(model, body, Rows(*(x.to(machine.device) for x in batch)))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
            optimiser.step()
            schedule.step()
            told.append(loss.detach())
        refuse_if_lost(told, label)
        if time.monotonic() - shown > SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            print(f"Pre-training {label}: update {len(told)} of {recipe.steps}, loss {told[-1]:.3f}", file=sys.stderr)
    model.to("cpu").eval()
    return [round(float(x), 6) for x in told]


def loss_of(model: LlamaForCausalLM, body: Any, rows: Rows) -> torch.Tensor:
    """Return the mean loss of the learned tokens in nats; ``body`` is the model without its head, as it is run."""
    hidden = body(input_ids=rows.tokens, use_cache=False).last_hidden_state[:, :-1]
    wanted = rows.learned[:, 1:]
    return functional.cross_entropy(model.lm_head(hidden[wanted]).float(), rows.tokens[:, 1:][wanted])


def rate(step: int, steps: int) -> float:
    """Return the learning rate as a share of its peak: a short rise, then a cosine."""
    warmup = max(1, min(50, steps // 4))
    return min(1.0, (step + 1) / warmup) * (LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def refuse_if_lost(told: Sequence[torch.Tensor], label: str) -> None:
    """Stop where the loss of one of the last updates is no finite number.

    Raises:
        RlawsError: If it is not.
    """
    first = max(0, len(told) - BLOCK)
    bad = [i for i, x in enumerate(told[first:], first + 1) if not bool(torch.isfinite(x))]
    if bad:
        raise RlawsError(
            f"Pre-training {label}: the loss is no finite number from update {bad[0]} on. The learning rate is too "
            "high for this shape (llm_bridge.pretraining.RATE), or bfloat16 overflowed; train in float32."
        )


def curve(folder: Path) -> dict[str, Any]:
    """Return what a base was trained on and its loss of each update."""
    record: dict[str, Any] = json.loads((folder / CURVE).read_text(encoding="utf-8"))
    return record
