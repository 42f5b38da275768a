"""Rollouts: raw rows of what a policy did, never means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError


@dataclass(frozen=True, slots=True)
class Rollouts:
    """One row per sampled solution.

    Attributes:
        problem: Index of the problem in its set, [M].
        sample: Index of the sample within the problem, [M].
        correct: Whether the final answer is right, [M].
        length: Number of steps (or tokens) of the solution, [M].
        step_correct: Whether each shown step is right, [M, L], or None where the task shows no steps.
        logprob: Log-probability of the solution under the policy, [M], or None.
        answer: Class of the answer within its problem, [M], -1 for none; None where the policy does not tell.
        valid: Whether the solution has the asked form, right or not, [M]; None where the policy does not tell.
        cost: What sampling them took, by ledger entry.
    """

    problem: NDArray[np.int64]
    sample: NDArray[np.int64]
    correct: NDArray[np.bool_]
    length: NDArray[np.int64]
    step_correct: NDArray[np.bool_] | None = None
    logprob: NDArray[np.float64] | None = None
    answer: NDArray[np.int64] | None = None
    valid: NDArray[np.bool_] | None = None
    cost: Mapping[str, Any] = field(default_factory=dict)

    def answers_and_form(self, problems: int, probe: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the class of each answer and whether it has the asked form, of every problem in turn, each [P, n].

        Args:
            problems: P.
            probe: Who asks, for the error.

        Raises:
            InputError: If the rollouts do not tell them.
        """
        if self.answer is None or self.valid is None:
            raise InputError(
                f"{probe} needs the classes of answers and whether they are well-formed; these tell neither."
            )
        return self.answer.reshape(problems, -1), self.valid.reshape(problems, -1)

    def counts(self, problems: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return samples and right ones for each of ``problems`` problems, each [P].

        Raises:
            InputError: If a row names a problem outside the set.
        """
        if self.problem.size and int(self.problem.max()) >= problems:
            raise InputError(f"A rollout names problem {int(self.problem.max())}, but the set has {problems} problems.")
        n = np.bincount(self.problem, minlength=problems)
        c = np.bincount(self.problem, weights=self.correct.astype(float), minlength=problems).astype(np.int64)
        return n, c
