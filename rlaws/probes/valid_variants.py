"""What a model explores: the share of well-formed answers, and of distinct ones among them, against size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, refuse_unless_able
from rlaws.probes.against_size import against_size
from rlaws.probes.base import Budget
from rlaws.probes.distinct_answers import rarefied
from rlaws.problems import ProblemSet, given_or_own
from rlaws.vary import along

QUANTITIES = ("valid", "variants")


def distinct_valid(answer: NDArray[np.int64], valid: NDArray[np.bool_], k: int) -> float:
    """Return the expected number of distinct answers of the valid ones among k of the samples, over k.

    Invalid samples are one class of their own, which is then taken away: exact over all subsets of k samples.

    Args:
        answer: Class of each answer, [n].
        valid: Whether it has the asked form, [n].
        k: Samples, at most n.
    """
    marked = np.where(valid, answer - answer.min(), -1)
    invalid, n, i = int((~valid).sum()), valid.size, np.arange(k)
    seen = 1.0 - float(np.prod((n - invalid - i) / (n - i)))
    return (float(rarefied(marked, np.array([k]))[0]) - seen) / k


@dataclass(frozen=True, slots=True)
class ValidVariants:
    """Two shares of the samples of each problem, at one temperature, for models of several sizes.

    "valid" is the share of answers in the asked form, right or not; "variants" the number of distinct answers of such
    samples among ``k``, over k. Problems are the clusters, and every size meets the same ones.

    Attributes:
        axis: Setting of the policy that is varied.
        values: Its values.
        scale: What the policy tells of itself at each of them; the column "size".
        samples: Samples of each problem at the quick budget.
        k: Samples among which distinct answers are counted.
    """

    NAME: ClassVar[str] = "valid_variants"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.SAMPLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "axis": "name", "values": "1", "scale": "name", "samples": "samples", "k": "samples",
    }  # fmt: skip
    axis: str = "rung"
    values: tuple[Any, ...] = (0, 1, 2)
    scale: str = "exact_parameters"
    samples: int = 32
    k: int = 8

    def __post_init__(self) -> None:
        if len(self.values) < 2 or not 1 <= self.k <= self.samples:
            raise InputError(
                f"valid_variants: two values of '{self.axis}' and 1 <= k = {self.k} <= samples = {self.samples} are "
                "needed."
            )

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row a quantity, problem and size.

        Raises:
            InputError: If the policy does not tell answers and their form.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        n, own = budget.of(self.samples, least=self.k), problems
        return against_size(
            lambda varied, stream: self._shares(varied, own, n, stream),
            QUANTITIES,
            along(policy, self.axis, self.values, self.scale),
            problems,
            seed,
            "size",
            "share of samples that are valid, or distinct and valid",
            n * len(problems),
        )

    def _shares(self, policy: Any, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Array:
        """Return both shares of each problem, [2, P]."""
        answer, valid = policy.sample(problems, n, seed).answers_and_form(len(problems), self.NAME)
        variants = [distinct_valid(a, v, self.k) for a, v in zip(answer, valid, strict=True)]
        return np.stack([valid.mean(axis=1), np.array(variants)])
