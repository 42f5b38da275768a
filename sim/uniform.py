"""The policy that knows nothing: on the arithmetic chain it shows values drawn uniformly from Z_m.

Every step follows from the one before with probability 1/m, independently, and the answer is right with probability
1/m whatever the length and the resets. It is the floor that every other policy is measured against, and the world in
which a probe of skill must find none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rlaws.policy import Array, Counts
from rlaws.problems import ProblemSet, chain_arrays, grade
from rlaws.rollouts import Rollouts


@dataclass(frozen=True, slots=True)
class UniformPolicy:
    """Uniform values at every step of an arithmetic chain; it has no settings."""

    UNITS: ClassVar[Mapping[str, str]] = {}

    def sample(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Rollouts:
        """Return n solutions of every chain, with the steps graded."""
        if n < 1:
            raise ValueError(f"n = {n} samples asked; give at least 1.")
        _, kinds, _, modulus = chain_arrays(problems)
        length = kinds.shape[1]
        problem = np.repeat(np.arange(len(problems)), n)
        values = np.random.default_rng(seed).integers(0, modulus[problem, None], (problem.size, length))
        graded = grade(problems, problem, values)
        return Rollouts(
            problem=problem,
            sample=np.tile(np.arange(n), len(problems)),
            correct=graded.outcome,
            length=np.full(problem.size, length),
            step_correct=graded.step_correct,
            logprob=-length * np.log(modulus[problem].astype(np.float64)),
            answer=values[:, -1],
            valid=np.ones(problem.size, dtype=bool),
            cost={"samples": problem.size, "env_steps": problem.size * length},
        )

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return n and the number of right answers among n, each [P], without drawing the steps."""
        hits = np.random.default_rng(seed).binomial(n, self.success(problems))
        return np.full(len(problems), n, dtype=np.int64), hits.astype(np.int64)

    def success(self, problems: ProblemSet) -> Array:
        """Return the probability 1/m of a right answer to each chain, [P]."""
        return 1.0 / chain_arrays(problems)[3].astype(np.float64)
