"""What a task is: how its problems are asked in words, how answers are read, and how they are graded.

Shapes: P problems, M answers, L steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.problems import ProblemSet

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NO_ANSWER = -1
"""Class of an answer that shows none."""


@dataclass(frozen=True, slots=True)
class Graded:
    """What M answers say.

    Attributes:
        correct: The final answer is right, [M].
        answer: Class of the final answer within its problem, [M]; ``NO_ANSWER`` where there is none. Equal classes mean
            equal answers, so that votes and entropies count them.
        valid: The answer has the form that was asked for, right or not, [M].
        step_correct: Each step follows from what was shown before it, [M, L]; None where steps are not checked.
    """

    correct: Bools
    answer: Ints
    valid: Bools
    step_correct: Bools | None = None


class Task(Protocol):
    """Problems in words.

    Attributes:
        questions: The user's turn of each problem, [P].
        solutions: A right answer in the asked form for each problem, [P]; empty where none is known.
        steps: Steps of an answer; 0 where answers have no fixed number.
        max_tokens: Most tokens that an answer needs; 0 where ``solutions`` tell.
        separator: What ends a step; a search continues answers from there.
    """

    @property
    def questions(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def solutions(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def max_tokens(self) -> int: ...  # noqa: D102
    @property
    def separator(self) -> str: ...  # noqa: D102

    def grade(self, problem: Ints, texts: Sequence[str]) -> Graded:
        """Grade answers; ``problem`` [M] is the index of the problem of each."""
        ...

    def complete(self, text: str) -> bool:
        """Tell whether the beginning of an answer already holds the whole of it."""
        ...

    def right_steps(self, problem: int, text: str) -> int:
        """Return how many steps of the beginning of an answer are right before its first error.

        Raises:
            InputError: If this task cannot check steps.
        """
        ...


def task_of(problems: ProblemSet | None) -> Task:
    """Return the problems as questions in words.

    Raises:
        InputError: If there are no problems, or none that can be asked in words.
    """
    from llm_bridge.tasks.asked import AskedTask, is_asked
    from llm_bridge.tasks.chain import ChainTask, is_chain

    if problems is None:
        raise InputError("A language model needs problems; choose problems = llm_chain, gym_in, gym_out or jsonl.")
    if is_chain(problems):
        return ChainTask(problems)
    if is_asked(problems):
        return AskedTask(problems)
    raise InputError(
        f"Problems such as '{problems.ids[0]}' have no words; a language model needs problems that have: "
        "llm_chain, arithmetic_chain, gym_in, gym_out or jsonl."
    )
