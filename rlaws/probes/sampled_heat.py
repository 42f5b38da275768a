"""What heat costs, from samples: success lost, tail answers and ill-formed answers gained, against size."""

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
from rlaws.problems import ProblemSet, given_or_own
from rlaws.rollouts import Rollouts
from rlaws.seeding import child
from rlaws.vary import along

QUANTITIES = ("success_lost", "tail_gained", "invalid_gained")


def tail_share(answer: NDArray[np.int64], right: NDArray[np.bool_]) -> Array:
    """Return the share of answers that are neither right nor the strongest wrong one, [P].

    The strongest wrong answer is picked on every second sample and counted on the others, and the other way round:
    picked and counted on the same samples, it would be strong by luck. Samples without an answer are of the tail.

    Args:
        answer: Class of each answer, -1 for none, [P, n].
        right: Whether it is right, [P, n].
    """
    halves = [(answer[:, i::2], right[:, i::2]) for i in (0, 1)]
    shares = [_tail(*halves[i], *halves[1 - i]) for i in (0, 1)]
    return np.asarray(np.mean(shares, axis=0))


def _tail(
    picked: NDArray[np.int64], picked_right: NDArray[np.bool_], counted: NDArray[np.int64], right: NDArray[np.bool_]
) -> Array:
    """Return the tail's share of the counted samples, the strongest wrong answer being that of the picked ones."""
    out = np.empty(len(picked))
    for p in range(len(picked)):
        wrong = picked[p][~picked_right[p] & (picked[p] >= 0)]
        classes, votes = np.unique(wrong, return_counts=True)
        strongest = classes[np.argmax(votes)] if classes.size else -2
        out[p] = np.mean(~right[p] & (counted[p] != strongest))
    return out


@dataclass(frozen=True, slots=True)
class SampledHeat:
    """For each problem and size the difference between a hot and a cold sampling temperature, for three quantities.

    "success_lost" is the share right at ``cold`` less that at ``hot``; "tail_gained" the rise of the share of answers
    that are neither right nor the strongest wrong one; "invalid_gained" the rise of the share of answers that have not
    the asked form. All are told from the same samples; problems are the clusters, and every size meets the same ones.

    Attributes:
        axis: Setting of the policy that is varied.
        values: Its values.
        scale: What the policy tells of itself at each of them; the column "training".
        cold: Lower temperature.
        hot: Higher temperature.
        samples: Samples of each problem at each temperature, at the quick budget.
    """

    NAME: ClassVar[str] = "sampled_heat"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (
        frozenset({Capability.SAMPLE}),
        frozenset({Capability.TEMPERATURE}),
    )
    UNITS: ClassVar[Mapping[str, str]] = {
        "axis": "name", "values": "1", "scale": "name", "cold": "1", "hot": "1", "samples": "samples",
    }  # fmt: skip
    axis: str = "rung"
    values: tuple[Any, ...] = (0, 1, 2)
    scale: str = "exact_parameters"
    cold: float = 0.2
    hot: float = 1.0
    samples: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.cold <= self.hot or len(self.values) < 2 or self.samples < 4:
            raise InputError(
                f"sampled_heat: 0 <= cold = {self.cold} <= hot = {self.hot}, two values of '{self.axis}' and 4 samples "
                "are needed."
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
        n, own = budget.of(self.samples, least=4), problems
        return against_size(
            lambda varied, stream: self._change(varied, own, n, stream),
            QUANTITIES,
            along(policy, self.axis, self.values, self.scale),
            problems,
            seed,
            "training",
            f"change from temperature {self.cold:g} to {self.hot:g}",
            2 * n * len(problems),
        )

    def _change(self, policy: Any, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Array:
        """Return the three changes of each problem, [3, P]."""
        cold, hot = (
            shares(policy.at_temperature(t).sample(problems, n, child(seed, i)), len(problems), self.NAME)
            for i, t in enumerate((self.cold, self.hot))
        )
        return np.asarray(np.stack([cold[0] - hot[0], hot[1] - cold[1], hot[2] - cold[2]]))


def shares(rollouts: Rollouts, size: int, probe: str) -> Array:
    """Return the shares of right, tail and ill-formed answers of each problem, [3, P].

    Raises:
        InputError: If the rollouts do not tell answers and their form.
    """
    answer, valid = rollouts.answers_and_form(size, probe)
    right = rollouts.correct.reshape(size, -1)
    return np.stack([right.mean(axis=1), tail_share(answer, right), 1.0 - valid.mean(axis=1)])
