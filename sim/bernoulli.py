"""Policies that are nothing but a success probability on each problem: the world of best-of-N."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaws.policy import Array, Counts
from rlaws.problems import ProblemSet, difficulty
from rlaws.rollouts import Rollouts


def draw_counts(p: Array, n: int, seed: np.random.SeedSequence) -> Counts:
    """Return n and Binomial(n, p) right ones for every problem, each [P]."""
    if n < 1:
        raise ValueError(f"n = {n} samples asked; give at least 1.")
    hits = np.random.default_rng(seed).binomial(n, p)
    return np.full(p.size, n, dtype=np.int64), hits.astype(np.int64)


def draw_rollouts(p: Array, n: int, seed: np.random.SeedSequence) -> Rollouts:
    """Return n one-step rollouts of every problem, right with probability p, as raw rows [P n]."""
    if n < 1:
        raise ValueError(f"n = {n} samples asked; give at least 1.")
    problem = np.repeat(np.arange(p.size), n)
    correct: NDArray[np.bool_] = np.random.default_rng(seed).random(problem.size) < p[problem]
    return Rollouts(
        problem=problem,
        sample=np.tile(np.arange(n), p.size),
        correct=correct,
        length=np.ones(problem.size, dtype=np.int64),
        cost={"samples": problem.size},
    )


@dataclass(frozen=True, slots=True)
class BernoulliPolicy:
    """Right on a problem of difficulty p with probability 1 - (1 - p)^strength, independently for each sample.

    One sample of strength s is worth s samples of strength 1, so strength shifts pass@k curves along log k, as
    stronger models of one family do (arXiv 2407.21787, section 3).

    Attributes:
        strength: Positive; 1 makes the success the problem's own difficulty.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"strength": "1"}
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.strength < np.inf:
            raise ValueError(f"strength = {self.strength} must be positive and finite.")

    def success(self, problems: ProblemSet) -> Array:
        """Return the probability of a right answer to each problem, [P]."""
        p = difficulty(problems, "p")
        with np.errstate(divide="ignore"):
            return p if self.strength == 1 else -np.expm1(self.strength * np.log1p(-p))

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return n and the number of right ones for every problem, each [P]."""
        return draw_counts(self.success(problems), n, seed)

    def sample(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Rollouts:
        """Return n rollouts of every problem."""
        return draw_rollouts(self.success(problems), n, seed)


@dataclass(frozen=True, slots=True)
class KnownSuccess:
    """A policy given by its success on each problem of one set, for example in the middle of training.

    Attributes:
        p: Success probability of each problem, [P].
    """

    p: Array

    @staticmethod
    def of(p: ArrayLike) -> KnownSuccess:
        """Return the policy of these success probabilities.

        Raises:
            ValueError: If one is outside [0, 1], naming the row.
        """
        values = np.array(p, dtype=np.float64, ndmin=1)
        bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
        if bad.size:
            raise ValueError(f"Row {bad[0]}: success {values[bad[0]]} is not a probability.")
        values.setflags(write=False)
        return KnownSuccess(values)

    def success(self, problems: ProblemSet) -> Array:
        """Return the success probabilities, [P].

        Raises:
            ValueError: If the problems are not as many as the policy knows.
        """
        if len(problems) != self.p.size:
            raise ValueError(f"{len(problems)} problems asked; this policy knows {self.p.size}, those it trained on.")
        return self.p

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return n and the number of right ones for every problem, each [P]."""
        return draw_counts(self.success(problems), n, seed)

    def sample(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Rollouts:
        """Return n rollouts of every problem."""
        return draw_rollouts(self.success(problems), n, seed)
