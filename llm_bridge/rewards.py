"""What an answer earns in training: exact grading, the mistakes of a verifier, and a negative control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_bridge.learning import Learning
from llm_bridge.tasks.base import Task
from rlaws.errors import InputError
from rlaws.policy import Array


class Reward:
    """Rewards of one run, in the order in which its answers come; what is random is drawn from a stream of the run."""

    def __init__(self, task: Task, learning: Learning, seed: np.random.SeedSequence) -> None:
        self.task, self.learning, self.rng = task, learning, np.random.default_rng(seed)

    def __call__(self, rows: Sequence[int], texts: Sequence[str]) -> Array:
        """Return the reward of each answer, [M].

        A verifier's mistakes are drawn for the outcome; a process reward is the share of steps that follow from the
        value shown before them.

        Args:
            rows: Problem of each answer, [M].
            texts: The answers, [M].

        Raises:
            InputError: If a process reward is asked for where steps are not checked.
        """
        marks = self.task.grade(np.asarray(rows, dtype=np.int64), texts)
        if self.learning.reward == "process":
            if marks.step_correct is None:
                raise InputError("reward = process needs steps that are checked: problems = llm_chain. Give outcome.")
            earned = marks.step_correct.mean(axis=1)
        else:
            chance = np.where(marks.correct, 1.0 - self.learning.false_negative, self.learning.false_positive)
            earned = (self.rng.random(len(texts)) < chance).astype(np.float64)
        return self.rng.permutation(earned) if self.learning.shuffled else earned
