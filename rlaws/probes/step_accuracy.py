"""Probe: which steps of a shown solution are right, how long it stays without error, and whether errors heal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Capability, refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet, given_or_own
from rlaws.rollouts import Rollouts

Bools = NDArray[np.bool_]
Tally = tuple[Bools, Bools]


def _accuracy(right: Bools, shown: Bools, correct: Bools) -> Tally:
    return right & shown, shown


def _intact(right: Bools, shown: Bools, correct: Bools) -> Tally:
    return np.logical_and.accumulate(right | ~shown, axis=1) & shown, shown


def _first_error(right: Bools, shown: Bools, correct: Bools) -> Tally:
    whole = np.logical_and.accumulate(right | ~shown, axis=1)
    before = np.concatenate([np.ones((len(whole), 1), dtype=bool), whole[:, :-1]], axis=1)
    return before & ~right & shown, before & shown


def _recovery(right: Bools, shown: Bools, correct: Bools) -> Tally:
    first, _ = _first_error(right, shown, correct)
    left = shown[:, ::-1].cumsum(axis=1)[:, ::-1] - 1  # steps that follow, by position
    at_distance = np.zeros_like(first)
    rows, steps = np.nonzero(first)
    at_distance[rows, left[rows, steps]] = True
    return at_distance & correct[:, None], at_distance


QUANTITIES: dict[str, tuple[str, int, str, Callable[[Bools, Bools, Bools], Tally]]] = {
    "accuracy": ("step", 1, "share of right steps", _accuracy),
    "intact": ("step", 1, "share of solutions without an error up to the step", _intact),
    "first_error": ("step", 1, "chance of the first error at a step, given none before", _first_error),
    "recovery": ("distance", 0, "share of right answers, by steps that follow the first error", _recovery),
}
"""Quantity -> design variable, its first value, response in words, and what is counted at each position."""


@dataclass(frozen=True, slots=True)
class StepAccuracy:
    """One quantity of the steps of shown solutions, as hits and trials of each problem and position.

    Attributes:
        quantity: accuracy, intact, first_error or recovery (see ``QUANTITIES``). Under the credit-assignment chain
            with step accuracy p, second eigenvalue l and recovery r they are p, p^t, 1 - p and r (1 - l^d) / (1 - l).
        samples: Solutions of each problem at the quick budget.
    """

    NAME: ClassVar[str] = "step_accuracy"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.SAMPLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"quantity": "1", "samples": "samples"}
    quantity: str = "accuracy"
    samples: int = 64

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise InputError(f"quantity = '{self.quantity}' is not measured.{suggest(self.quantity, QUANTITIES)}")
        if self.samples < 1:
            raise InputError(f"samples = {self.samples}; give at least 1.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each problem and position that was counted at all.

        Raises:
            InputError: If there are no problems, the policy shows no steps, or nothing could be counted.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        rollouts: Rollouts = policy.sample(problems, budget.of(self.samples), seed)
        if rollouts.step_correct is None:
            raise InputError(
                f"step_accuracy needs solutions that show their steps; {type(policy).__name__} on these problems shows "
                "none. Use problems = arithmetic_chain."
            )
        name, first, words, tally = QUANTITIES[self.quantity]
        shown = np.arange(rollouts.step_correct.shape[1]) < rollouts.length[:, None]
        flags = tally(rollouts.step_correct, shown, rollouts.correct)
        hits, trials = (_per_problem(f, rollouts.problem, len(problems)) for f in flags)
        at, who = np.nonzero(np.broadcast_to(trials.sum(axis=0) > 0, trials.shape).T)
        if not at.size:
            raise InputError(f"step_accuracy: no solution made '{self.quantity}' countable; sample more solutions.")
        columns = {"cluster": problems.ids[who], name: at + first, "n_hits": hits[who, at], "n_trials": trials[who, at]}
        return Measurement(
            columns=columns,
            units={name: "steps", "n_hits": "solutions", "n_trials": "solutions"},
            x=(name,),
            statistic="rate",
            response=words,
            response_unit="1",
            provenance={"problems": dict(problems.settings), "cost": dict(rollouts.cost)},
        )


def _per_problem(flags: Bools, problem: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Count flags [M, L] by problem, [P, L]."""
    out = np.zeros((size, flags.shape[1]), dtype=np.int64)
    np.add.at(out, problem, flags.astype(np.int64))
    return out
