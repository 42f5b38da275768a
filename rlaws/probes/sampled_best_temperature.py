"""The best sampling temperature, from samples: what n answers achieve at each temperature of a sweep, against size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.probes.best_temperature import METRICS
from rlaws.problems import ProblemSet, given_or_own
from rlaws.rollouts import Rollouts
from rlaws.seeding import child
from rlaws.vary import along

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def vote_won(answer: Ints, right: Bools) -> Array:
    """Return the share of a vote's win that falls to right answers; equals share, and no votes are no win, [...].

    Args:
        answer: Class of each of n answers, -1 for none (a blank vote), [..., n].
        right: Whether it is right, [..., n]; all right answers are one class.
    """
    same = (answer[..., :, None] == answer[..., None, :]) & (answer[..., :, None] >= 0)
    votes = same.sum(axis=-1)  # of each answer's class
    most = votes.max(axis=-1, keepdims=True)
    winners = np.where((votes == most) & (most > 0), 1.0 / np.maximum(votes, 1), 0.0)  # a class counts once
    total = winners.sum(axis=-1)
    return np.asarray(np.divide((winners * right).sum(axis=-1), total, out=np.zeros(total.shape), where=total > 0))


def chosen(right: Bools, accepted: Bools) -> Array:
    """Return the share right among the accepted of n answers, among all where none is accepted, [...].

    It is the expected success of answering with one of them at random.

    Args:
        right: Whether each answer is right, [..., n].
        accepted: Whether the verifier accepts it, [..., n].
    """
    some = accepted.any(axis=-1, keepdims=True)
    kept = np.where(some, accepted, True)
    return np.asarray((kept & right).sum(axis=-1) / kept.sum(axis=-1))


def top(temperatures: Array, values: Array) -> float:
    """Return the temperature at the top of a parabola through the best point of a sweep and its two neighbours.

    The parabola is one in log temperature. An end that is the best is told as it stands: a bound, 0 for the coldest.

    Args:
        temperatures: Rising, positive, [T].
        values: What is achieved at each, [T].
    """
    best = int(np.argmax(values))
    if best == 0:
        return 0.0
    if best == values.size - 1:
        return float(temperatures[-1])
    x, y = np.log(temperatures[best - 1 : best + 2]), values[best - 1 : best + 2]
    second, first, _ = np.polyfit(x - x[1], y, 2)
    move = -first / (2.0 * second) if second < 0 else 0.0
    return float(np.exp(x[1] + np.clip(move, x[0] - x[1], x[2] - x[1])))


@dataclass(frozen=True, slots=True)
class SampledBestTemperature:
    """tau*(size) for four ways to use n answers: the top of a sweep of temperatures, from samples.

    The answers to a problem fall into groups of n; a group's success is exact given its answers: any of them right
    ("pass_at_n"), the share of a vote's win ("majority"), the chance of answering right with an accepted one
    ("verifier"). "pass_at_1" takes every answer for itself. All temperatures and sizes meet the same problems, and the
    samples of a temperature serve all four. One policy, a base with all its sizes, is one cluster: pool the setting
    that names the base, and the spread over bases, each asked its own problems, is the interval. Where an end of the
    sweep is best, tau* is a bound (0, or the hottest); how many there are is in the provenance. ``best_temperature``
    is the exact probe for policies that know their success.

    Attributes:
        axis: Setting of the policy that is varied.
        values: Its values.
        scale: What the policy tells of itself at each of them; the column "training".
        n: Answers of a group.
        groups: Groups of each problem at each temperature, at the quick budget.
        temperatures: The sweep, rising; where its coldest is best, tau* is told as 0 (greedy).
        false_positive: Of the verifier.
        false_negative: Of the verifier.
    """

    NAME: ClassVar[str] = "sampled_best_temperature"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (
        frozenset({Capability.SAMPLE}),
        frozenset({Capability.TEMPERATURE}),
    )
    UNITS: ClassVar[Mapping[str, str]] = {
        "axis": "name", "values": "1", "scale": "name", "n": "answers", "groups": "groups", "temperatures": "1",
        "false_positive": "1", "false_negative": "1",
    }  # fmt: skip
    axis: str = "rung"
    values: tuple[Any, ...] = (0, 1, 2)
    scale: str = "exact_parameters"
    n: int = 8
    groups: int = 2
    temperatures: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
    false_positive: float = 0.05
    false_negative: float = 0.05

    def __post_init__(self) -> None:
        t = self.temperatures
        if len(t) < 4 or t[0] <= 0 or any(a >= b for a, b in pairwise(t)):
            raise InputError(f"temperatures = {t}: give at least four, rising and above 0.")
        rates = (self.false_positive, self.false_negative)
        if min(self.n, self.groups) < 1 or len(self.values) < 2 or not all(0 <= r <= 1 for r in rates):
            raise InputError(
                f"n = {self.n}, groups = {self.groups}, values = {self.values}, error rates {rates}: needed are at "
                "least 1 answer and group, two values and rates in [0, 1]."
            )

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row a metric and size: tau* of the mean over problems.

        Raises:
            InputError: If the policy does not tell its answers.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        groups = budget.of(self.groups)
        sizes = along(policy, self.axis, self.values, self.scale)
        swept = np.stack([self._sweep(p, problems, groups, child(seed, i)) for i, (_, p) in enumerate(sizes)], axis=1)
        best = np.array([[top(np.array(self.temperatures), curve) for curve in metric] for metric in swept])
        metric, at = (index.ravel() for index in np.indices(best.shape))
        samples = len(problems) * groups * self.n * len(self.temperatures) * len(sizes)
        return Measurement(
            columns={
                "metric": np.array(METRICS)[metric],
                "training": np.array([size for size, _ in sizes])[at],
                "cluster": np.full(best.size, "base"),
                "total": best.ravel(),
                "weight": np.ones(best.size),
            },
            units={"metric": "name", "training": "parameters", "total": "1", "weight": "1"},
            x=("training",),
            statistic="mean",
            response="best temperature",
            response_unit="1",
            regime=("metric",),
            provenance={
                "problems": dict(problems.settings),
                "bounds": {"coldest": int((best == 0).sum()), "hottest": int((best == self.temperatures[-1]).sum())},
                "swept": swept.tolist(),
                "cost": {"samples": samples},
            },
        )

    def _sweep(self, policy: Any, problems: ProblemSet, groups: int, seed: np.random.SeedSequence) -> Array:
        """Return what is achieved by each metric at each temperature, mean over problems, [M, T]."""
        told = []
        for i, temperature in enumerate(self.temperatures):
            stream = child(seed, i)
            rollouts = policy.at_temperature(temperature).sample(problems, groups * self.n, child(stream, 0))
            told.append(self.achieved(rollouts, len(problems) * groups, np.random.default_rng(child(stream, 1))))
        return np.stack(told, axis=1)

    def achieved(self, rollouts: Rollouts, groups: int, rng: np.random.Generator) -> Array:
        """Return the mean success of each metric, [M].

        Args:
            rollouts: n answers of each group in turn.
            groups: Groups in all.
            rng: Of the verifier's errors.

        Raises:
            InputError: If the rollouts tell no answers.
        """
        if rollouts.answer is None:
            raise InputError(f"{self.NAME} needs the classes of answers; these rollouts tell none.")
        right, answer = rollouts.correct.reshape(groups, self.n), rollouts.answer.reshape(groups, self.n)
        accepted = rng.random(right.shape) < np.where(right, 1.0 - self.false_negative, self.false_positive)
        of = {
            "pass_at_1": right.mean(),
            "pass_at_n": right.any(axis=1).mean(),
            "majority": vote_won(answer, right).mean(),
            "verifier": chosen(right, accepted).mean(),
        }
        return np.array([of[name] for name in METRICS])
