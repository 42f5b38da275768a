"""The mean reward of a group as a baseline: its error, the advantages it gives, and what dividing by the std does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, counts
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet, given_or_own
from rlaws.seeding import child

QUANTITIES = ("error", "variance", "length", "divided")


@dataclass(frozen=True, slots=True)
class GroupBaseline:
    """Statistics of the mean of G rewards, from real groups; the problems are the clusters, the quantity a regime.

    With V and Var(R) those of one problem (rewards 0 and 1), the quantities are:

    * "error": E (mean - V)^2, from the spread of a problem's group means about their own mean; Var(R)/G in theory.
    * "variance": E A^2 of A_i = R_i - mean of the others, over E Var(R) G/(G - 1); 1 in theory.
    * "length": E A_i (R_i - V) of A_i = R_i - mean of all, over E Var(R) (1 - 1/G); 1 in theory. A_i (R_i - V) is the
      gradient of a policy whose one logit sets V, whose true gradient is Var(R).
    * "divided": E A_i (R_i - V) of A_i = (R_i - mean)/std, over E sqrt(Var(R)); 1 in theory for G -> infinity.

    Attributes:
        samples: Rewards of each problem in a round; the budget sets the number of rounds.
        groups: Sizes G, each at most half the samples.
        quantities: Which are told, all from the same rewards.
    """

    NAME: ClassVar[str] = "group_baseline"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.COUNT, Capability.SAMPLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"samples": "samples", "groups": "samples", "quantities": "name"}

    samples: int = 512
    groups: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    quantities: tuple[str, ...] = QUANTITIES

    def __post_init__(self) -> None:
        for name in self.quantities:
            if name not in QUANTITIES:
                raise InputError(f"quantity '{name}' is not known.{suggest(name, QUANTITIES)}")
        if not self.groups or min(self.groups) < 2 or 2 * max(self.groups) > self.samples:
            raise InputError(f"groups = {self.groups}: each must be at least 2 and at most half of {self.samples}.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each quantity, problem and group size."""
        problems = given_or_own(problems, policy, self.NAME)
        rounds, shape = budget.of(1, least=1), (len(self.quantities), len(problems), len(self.groups))
        both = np.zeros((2, *shape))
        for i in range(rounds):
            drawn = rewards(policy, problems, self.samples, child(seed, i))
            for q, quantity in enumerate(self.quantities):
                for k, size in enumerate(self.groups):
                    both[:, q, :, k] += sums(drawn, size, quantity)
        quantity, problem, group = (x.ravel() for x in np.indices(shape))
        return Measurement(
            columns={
                "quantity": np.array(self.quantities)[quantity],
                "cluster": problems.ids[problem],
                "group_size": np.array(self.groups)[group],
                "total": both[0].ravel() / rounds,
                "weight": both[1].ravel() / rounds,
            },
            units={"quantity": "name", "group_size": "samples", "total": "1", "weight": "1"},
            x=("group_size",),
            statistic="mean",
            response="squared error of the group mean, or what its advantages give over what they should",
            response_unit="1",
            regime=("quantity",),
            provenance={"cost": {"samples": rounds * shape[1] * self.samples}},
        )


def rewards(policy: Any, problems: ProblemSet, samples: int, seed: np.random.SeedSequence) -> NDArray[np.bool_]:
    """Return the rewards of every problem in the order they were drawn, [P, n].

    Of a policy that only counts, the counted ones in random order: rewards of one problem are exchangeable, so given
    their number every order is as likely.
    """
    if hasattr(policy, Capability.SAMPLE.value):
        drawn = policy.sample(problems, samples, child(seed, 0))
        out = np.zeros((len(problems), samples), dtype=bool)
        out[drawn.problem, drawn.sample] = drawn.correct
        return out
    _, right = counts(policy, problems, samples, child(seed, 0))
    ordered = np.arange(samples) < right[:, None]
    return np.asarray(np.random.default_rng(child(seed, 1)).permuted(ordered, axis=1))


def sums(drawn: NDArray[np.bool_], size: int, quantity: str) -> Array:
    """Return numerator and denominator of a quantity for every problem, [2, P].

    Args:
        drawn: Rewards, [P, n].
        size: G; the rewards that fill no group are left out.
        quantity: A name of ``QUANTITIES``.
    """
    many = drawn.shape[1] // size
    group = drawn[:, : many * size].reshape(len(drawn), many, size)
    mean = group.mean(axis=2)
    spread = mean * (1.0 - mean)  # of rewards 0 and 1 about their own mean
    if quantity == "error":
        return np.array([np.var(mean, axis=1, ddof=1), np.ones(len(drawn))])
    of_all = drawn.mean(axis=1)
    variance = of_all * (1.0 - of_all) * drawn.shape[1] / (drawn.shape[1] - 1)
    if quantity == "variance":  # A_i = (R_i - mean) G/(G - 1)
        return np.array([(spread * (size / (size - 1)) ** 2).mean(axis=1), variance * size / (size - 1)])
    if quantity == "length":  # sum_i (R_i - mean)(R_i - V) = sum_i (R_i - mean)^2, whatever V is
        return np.array([spread.mean(axis=1), variance * (1.0 - 1.0 / size)])
    std = np.sqrt(spread * size / (size - 1))
    gained = np.divide(spread, std, out=np.zeros_like(spread), where=std > 0)
    return np.array([gained.mean(axis=1), np.sqrt(variance)])
