"""Questions with an answer in words: what an item must offer, and the task made of such items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from llm_bridge.tasks.base import NO_ANSWER, Graded, Ints
from rlaws.errors import InputError
from rlaws.problems import ProblemSet

TOKENS = 512
"""Most tokens of a free answer, unless the policy says otherwise."""


class Judged(NamedTuple):
    """Whether an answer is right, and its plain form: equal forms are equal answers."""

    right: bool
    form: str


@runtime_checkable
class Asked(Protocol):
    """One question."""

    @property
    def question(self) -> str:
        """The user's turn, with how the answer is to be given."""
        ...

    @property
    def solution(self) -> str:
        """A right answer in the asked form, or "" where none is known."""
        ...

    def read(self, text: str) -> str | None:
        """Return the final answer of a response, None where there is none in the asked form."""
        ...

    def judge(self, answer: str) -> Judged:
        """Grade a final answer."""
        ...


def is_asked(problems: ProblemSet) -> bool:
    """Tell whether all problems are questions in words."""
    return bool(problems.items) and all(isinstance(item, Asked) for item in problems.items)


@dataclass(frozen=True, slots=True)
class AskedTask:
    """Questions whose final answer alone is graded; a line is a step, as far as searches go.

    Attributes:
        problems: The questions.
    """

    problems: ProblemSet
    separator = "\n"
    steps = 0
    max_tokens = TOKENS

    @property
    def questions(self) -> Sequence[str]:
        """The questions, [P]."""
        return tuple(item.question for item in self.problems.items)

    @property
    def solutions(self) -> Sequence[str]:
        """Right answers, [P]."""
        return tuple(item.solution for item in self.problems.items)

    def grade(self, problem: Ints, texts: Sequence[str]) -> Graded:
        """Grade each answer; equal answers to one problem are judged once.

        Classes count the distinct forms of a problem in the order of the alphabet; all right answers are one class.
        """
        rows = np.asarray(problem, dtype=np.int64)
        read = [self.problems.items[p].read(t) for p, t in zip(rows, texts, strict=True)]
        known = {
            (p, a): self.problems.items[p].judge(a)
            for p, a in sorted({(int(p), a) for p, a in zip(rows, read, strict=True) if a is not None})
        }
        classes = _classes(known)
        keys = [None if a is None else (int(p), a) for p, a in zip(rows, read, strict=True)]
        return Graded(
            correct=np.array([k is not None and known[k].right for k in keys], dtype=bool),
            answer=np.array([NO_ANSWER if k is None else classes[k] for k in keys], dtype=np.int64),
            valid=np.array([k is not None for k in keys], dtype=bool),
        )

    def complete(self, text: str) -> bool:
        """Tell whether the final answer was given, by the form of the first problem (all share one)."""
        return self.problems.items[0].read(text) is not None

    def right_steps(self, problem: int, text: str) -> int:
        """Return 1 for a right final answer and 0 for a wrong one.

        Raises:
            InputError: If there is no final answer yet: nothing is known of the lines before it.
        """
        answer = self.problems.items[problem].read(text)
        if answer is None:
            raise InputError(
                "The lines of these answers cannot be checked before the final answer; guide = oracle needs "
                "problems = llm_chain. Choose guide = likelihood or scorer."
            )
        return int(self.problems.items[problem].judge(answer).right)


def _classes(known: dict[tuple[int, str], Judged]) -> dict[tuple[int, str], int]:
    """Return the class of each judged answer: 0 for right ones, then one for each other form of its problem."""
    numbers: dict[tuple[int, str], int] = {}
    taken: dict[int, int] = {}
    out = {}
    for key, judged in known.items():
        form = (key[0], "" if judged.right else judged.form)
        if judged.right:
            numbers[form] = 0
        elif form not in numbers:
            taken[key[0]] = taken.get(key[0], 0) + 1
            numbers[form] = taken[key[0]]
        out[key] = numbers[form]
    return out
