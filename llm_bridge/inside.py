"""What gradients and hidden states need of a model: the model itself, sampled answers, and where their steps stand.

A worded answer to an arithmetic chain has one line a step, "Step t: value". A label "Step t: " counts where it begins a
line and its number is higher than that of the label before, read from left to right: whether a step has begun is known
when its label has been written, and not only afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from llm_bridge import models
from llm_bridge.backends.base import Request, Sampling
from llm_bridge.models import Loaded
from rlaws.errors import InputError
from rlaws.problems import Bools, ChainProblem, Ints, ProblemSet, chain_arrays, grade, read_text
from rlaws.seeding import child, word

if TYPE_CHECKING:
    from llm_bridge.settings import ModelSettings

LABEL = re.compile(r"(?:^|\n)Step (\d{1,6}): ")
NUMBERS = 2**26
"""Most logits, or numbers of hidden states, that are held at a time."""
SLACK = 8
"""Tokens that an answer may take beyond those of the right one."""


class Span(NamedTuple):
    """Where a step stands in an answer, in characters.

    Attributes:
        label: Where its label begins, the line break before it included.
        begin: Where what it shows begins.
        end: Where the next label begins; the answer's end if there is none.
        stop: Where the next label ends; likewise.
    """

    label: int
    begin: int
    end: int
    stop: int


def label(step: int) -> str:
    """Return what stands before the value of a step."""
    return f"{'' if step == 1 else chr(10)}Step {step}: "


def spans(answer: str, steps: int) -> list[Span | None]:
    """Return where each of the steps stands, [L]; None for one that is not there."""
    found: list[tuple[int, int, int]] = []
    for match in LABEL.finditer(answer):
        if (found[-1][0] if found else 0) < int(match[1]) <= steps:
            found.append((int(match[1]), match.start(), match.end()))
    out: list[Span | None] = [None] * steps
    nexts = [*found, (0, len(answer), len(answer))][1:]
    for (step, start, begin), (_, end, stop) in zip(found, nexts, strict=True):
        out[step - 1] = Span(start, begin, end, stop)
    return out


def refuse_other_engines(settings: ModelSettings) -> None:
    """Refuse an engine that does not let one look inside.

    Raises:
        InputError: If it is another than "hf".
    """
    if settings.backend != "hf":
        raise InputError(
            f"backend = {settings.backend} shows what a model writes and not what happens inside it: gradients and "
            "hidden states need backend=hf."
        )


def model_of(settings: ModelSettings) -> Loaded:
    """Return the model of the settings.

    Raises:
        InputError: If the engine does not let one look inside.
    """
    refuse_other_engines(settings)
    return models.load(models.resolve(settings), settings.dtype, settings.device, settings.adapter)


@dataclass(frozen=True, slots=True)
class Answers:
    """Distinct answers to problems, and the samples that gave them.

    Attributes:
        problem: Problem of each answer, [U].
        text: The answers, [U].
        finished: Whether the model ended it by itself, [U].
        right: Whether its last value is the right one, [U].
        drawn: Answer of each sample, an array for every problem.
        tokens: Tokens that were sampled.
    """

    problem: Ints
    text: tuple[str, ...]
    finished: Bools
    right: Bools
    drawn: tuple[Ints, ...]
    tokens: int


def sample(
    settings: ModelSettings, problems: ProblemSet, each: Sequence[int], sampling: Sampling, seed: np.random.SeedSequence
) -> Answers:
    """Sample answers to worded chains.

    Args:
        settings: Model and engine.
        problems: Chains of one length.
        each: Samples of every problem, [P].
        sampling: How tokens are drawn.
        seed: Every problem has a stream of its own.
    """
    asked = [i for i, n in enumerate(each) if n > 0]
    requests = [Request(problems.items[i].to_text(), int(each[i]), word(child(seed, i)) % 2**63) for i in asked]
    written = settings.open().generate(requests, sampling)
    known: dict[tuple[int, str, bool], int] = {}
    drawn = [np.empty(0, dtype=np.int64)] * len(problems)
    for i, several in zip(asked, written, strict=True):
        drawn[i] = np.array([known.setdefault((i, c.text, c.finished), len(known)) for c in several])
    rows, texts, finished = zip(*known, strict=True)
    steps = chain_arrays(problems)[1].shape[1]
    shown = np.array([read_text(text, steps) for text in texts])
    right = grade(problems, np.array(rows), shown).outcome
    tokens = sum(c.tokens for several in written for c in several)
    return Answers(np.array(rows), tuple(texts), np.array(finished), right, tuple(drawn), tokens)


def chains_of(problems: ProblemSet | None) -> ProblemSet:
    """Return the problems if they are chains of one length.

    Raises:
        InputError: If they are not.
    """
    if problems is None:
        raise InputError("The model needs problems to answer; add problems=llm_chain.")
    chain_arrays(problems)
    return problems


def longest_answer(loaded: Loaded, problems: ProblemSet) -> int:
    """Return the tokens of the longest right answer, its end included."""
    return 1 + max(len(loaded.answer(item.solution_text())[0]) for item in problems.items)


def sampling_of(loaded: Loaded, problems: ProblemSet, temperature: float, max_tokens: int = 0) -> Sampling:
    """Return how answers to the problems are drawn; ``max_tokens`` = 0 takes what they need."""
    return Sampling(temperature, max_tokens or longest_answer(loaded, problems) + SLACK)


def token_ends(pieces: Sequence[str]) -> Ints:
    """Return where each token of an answer ends, in characters, [T]."""
    return np.cumsum([len(piece) for piece in pieces], dtype=np.int64)


def end_token(loaded: Loaded) -> int:
    """Return the token that an answer is taken to have ended with."""
    own = loaded.tokenizer.eos_token_id
    return int(own) if own in loaded.ends else min(loaded.ends)


def following(problem: ChainProblem, step: int, before: int | None) -> int | None:
    """Return the value that follows at a step (from 1) from the value shown before it; None where none follows."""
    operation = problem.operations[step - 1]
    if step == 1:
        before = problem.start
    if operation.kind == "set":
        before = 0
    if before is None or not 0 <= before < problem.modulus:
        return None
    return ChainProblem(problem.id, before, problem.modulus, (operation,)).answer


def padded(rows: Sequence[Sequence[int]], device: str) -> Any:
    """Return tokens padded at the right, where the causal mask hides the padding, [B, T]."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)


def pieces_of(lengths: Sequence[int], batch: int, numbers: int) -> Iterator[Ints]:
    """Yield rows of like length, so many at a time that ``numbers`` for each token of each stay below ``NUMBERS``.

    Args:
        lengths: Tokens of each row.
        batch: Most rows.
        numbers: Numbers a token.
    """
    order = np.argsort(lengths, kind="stable")
    size = max(1, min(batch, NUMBERS // max(1, max(lengths, default=1) * numbers)))
    for i in range(0, len(order), size):
        yield order[i : i + size]
