"""What every engine can do, and the words in which it is asked.

A question is the user's turn in plain words; the engine renders it (chat template or plain) and continues the answer
after ``prefix``, the part of it that is already there. Nothing here knows of tasks or probes.

Shapes: n samples of a request, T tokens of a completion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rlaws.errors import InputError
from rlaws.policy import Array


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: 0 takes the likeliest token.
        max_tokens: Most new tokens.
        top_p: Nucleus; 1 for all tokens.
        stop: Strings that end a completion; the string itself is left out of ``text``.
    """

    temperature: float = 1.0
    max_tokens: int = 64
    top_p: float = 1.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < np.inf or self.max_tokens < 1 or not 0 < self.top_p <= 1:
            raise InputError(
                f"temperature = {self.temperature}, max_tokens = {self.max_tokens}, top_p = {self.top_p}: needed are "
                "temperature >= 0, at least 1 token and 0 < top_p <= 1."
            )


@dataclass(frozen=True, slots=True)
class Request:
    """n continuations of one answer.

    Attributes:
        question: The user's turn.
        n: Samples.
        seed: Names the random stream; sample i of a request is drawn from stream (seed, first + i), whatever else runs
            in the same batch.
        prefix: The answer so far.
        first: Number of the first sample, so that a request can be extended.
    """

    question: str
    n: int
    seed: int
    prefix: str = ""
    first: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One continuation.

    Attributes:
        text: What was written after the prefix, without the end token or stop string.
        tokens: New tokens, the end token included.
        logprob: Sum of the model's log-probabilities of those tokens at temperature 1, or None where the engine gives
            none.
        finished: Whether it ended by itself (end token or stop string) and not at ``max_tokens``.
    """

    text: str
    tokens: int
    logprob: float | None
    finished: bool


@dataclass(frozen=True, slots=True)
class Scored:
    """A given continuation under the model at temperature 1.

    Attributes:
        pieces: The text of each token, [T].
        logprobs: Log-probability of each token, [T].
        entropies: Entropy in nats of the distribution that each token was drawn from, [T], or None where unknown.
    """

    pieces: tuple[str, ...]
    logprobs: Array
    entropies: Array | None


@runtime_checkable
class Backend(Protocol):
    """An engine with a model in it."""

    def identity(self) -> Mapping[str, Any]:
        """Return what determines its numbers; stored samples are keyed by it, and it goes into provenance.

        Model, revision (hash of the weights where it has them), engine and its version, dtype, device, template.
        """
        ...

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """Return the completions of every request, in order.

        Raises:
            InputError: If a prompt does not fit the context, or the engine cannot do what is asked.
        """
        ...

    def score(self, texts: Sequence[tuple[str, str]]) -> list[Scored]:
        """Return log-probabilities of (question, answer) pairs, the end token not included.

        Raises:
            InputError: If a pair does not fit the context, or the engine gives no log-probabilities.
        """
        ...

    def length(self, question: str, answer: str = "") -> int:
        """Return the tokens of a rendered question with the beginning of an answer."""
        ...
