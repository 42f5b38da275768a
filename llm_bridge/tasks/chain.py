"""The arithmetic chain in words: one line a step, every step checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_bridge.tasks.base import NO_ANSWER, Bools, Graded, Ints
from rlaws.problems import ChainProblem, ProblemSet, chain_arrays, grade, read_text, true_states

_FORM = re.compile(r"Step (\d+): (\d+)")


def is_chain(problems: ProblemSet) -> bool:
    """Tell whether all problems are arithmetic chains."""
    return bool(problems.items) and all(isinstance(item, ChainProblem) for item in problems.items)


@dataclass(frozen=True, slots=True)
class ChainTask:
    """Arithmetic chains of one length; an answer is one line "Step t: value" for every step.

    The class of an answer is the value after the last step. Steps that are right are those of ``rlaws.problems.grade``,
    so that step accuracy p and recovery r mean what they mean on the other rungs.

    Attributes:
        problems: The chains.
    """

    problems: ProblemSet
    separator = "\n"
    max_tokens = 0

    def __post_init__(self) -> None:
        chain_arrays(self.problems)  # refuses chains of several lengths

    @property
    def questions(self) -> Sequence[str]:
        """The worded chains, [P]."""
        return tuple(item.to_text() for item in self.problems.items)

    @property
    def solutions(self) -> Sequence[str]:
        """The right solutions, [P]."""
        return tuple(item.solution_text() for item in self.problems.items)

    @property
    def steps(self) -> int:
        """Steps of every chain."""
        return len(self.problems.items[0].operations)

    def grade(self, problem: Ints, texts: Sequence[str]) -> Graded:
        """Return outcome, value of the last step, form and steps of each answer."""
        rows = np.asarray(problem, dtype=np.int64)
        shown = self._values(texts)
        graded = grade(self.problems, rows, shown)
        modulus = chain_arrays(self.problems)[3][rows]
        last = shown[:, -1]
        known = (last >= 0) & (last < modulus)
        return Graded(
            correct=graded.outcome,
            answer=np.where(known, last, NO_ANSWER),
            valid=self._formed(texts) & ((shown >= 0) & (shown < modulus[:, None])).all(axis=1),
            step_correct=graded.step_correct,
        )

    def _values(self, texts: Sequence[str]) -> Ints:
        """Return the values shown, [M, L]; equal texts are read once."""
        unique, back = np.unique(np.array(texts, dtype=object), return_inverse=True)
        return np.array([read_text(t, self.steps) for t in unique], dtype=np.int64).reshape(-1, self.steps)[back]

    def _formed(self, texts: Sequence[str]) -> Bools:
        """Tell which answers are the lines of steps 1 .. L and nothing else, [M]."""
        seen = {t: self._is_formed(t) for t in set(texts)}
        return np.array([seen[t] for t in texts], dtype=bool)

    def _is_formed(self, text: str) -> bool:
        lines = text.strip().split(self.separator)
        found = [_FORM.fullmatch(line.strip()) for line in lines]
        return len(lines) == self.steps and all(m and int(m[1]) == t for t, m in enumerate(found, 1))

    def complete(self, text: str) -> bool:
        """Tell whether as many lines were written as there are steps."""
        return len([line for line in text.split(self.separator) if line.strip()]) >= self.steps

    def right_steps(self, problem: int, text: str) -> int:
        """Return the steps before the first one whose value is not the true one."""
        same = read_text(text, self.steps) == true_states(self.problems)[problem]
        return int(np.logical_and.accumulate(same).sum())
