"""The sampling temperature that is best for a way of using samples, against the scale of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import comb, factorial
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize_scalar

from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet

METRICS = ("pass_at_1", "pass_at_n", "majority", "verifier")
SCAN = 61
TOLERANCE = 1e-6  # of the logarithm of the temperature
GROUPS = 20  # of problems left out in turn


@cache
def win_share(right: int, strongest: int, rest: int, tail: int) -> float:
    """Return the share of the win that the right answer gets, given the votes; equals share.

    The ``rest`` votes fall on ``tail`` answers with equal probability. With t of them tied at c = ``right`` votes, the
    count of arrangements is a coefficient of exponential generating functions,
    rest! [x^rest] C(tail, t) (x^c / c!)^t (sum_{j<c} x^j / j!)^(tail-t), over tail^rest.

    Args:
        right: Votes of the right answer, c.
        strongest: Votes of the strongest wrong answer.
        rest: Votes of the tail.
        tail: Answers in the tail.
    """
    if strongest > right or right == 0:
        return 0.0
    if rest == 0 or tail == 0:
        return 0.0 if rest else 1.0 / (1 + (strongest == right))
    below = np.array([1.0 / factorial(j) if j < right else 0.0 for j in range(rest + 1)])
    total = 0.0
    for t in range(min(tail, rest // right) + 1):
        ways = _power(below, tail - t, rest)[rest - right * t]
        ways *= comb(tail, t) * factorial(rest) / float(factorial(right)) ** t / float(tail) ** rest
        total += ways / (1 + t + (strongest == right))
    return total


def _power(series: Array, exponent: int, degree: int) -> Array:
    """Return a power of a polynomial up to a degree, by squaring."""
    out = np.zeros(degree + 1)
    out[0] = 1.0
    while exponent:
        if exponent & 1:
            out = np.convolve(out, series)[: degree + 1]
        series = np.convolve(series, series)[: degree + 1]
        exponent >>= 1
    return out


def vote(p: Array, strongest: Array, answers: int, n: int) -> Array:
    """Return the probability that the right answer wins a vote of n samples, [P], a sum over all counts.

    Args:
        p: Probability of the right answer, [P].
        strongest: Probability of the strongest wrong answer, [P]; the others share the rest equally.
        answers: K.
        n: Votes.
    """
    out = np.zeros(p.size)
    tail = np.maximum(1.0 - p - strongest, 0.0)
    for c in range(1, n + 1):
        for d in range(min(c, n - c) + 1):
            ways = comb(n, c) * comb(n - c, d) * win_share(c, d, n - c - d, answers - 2)
            out += ways * p**c * strongest**d * tail ** (n - c - d)
    return out


def accepted(p: Array, n: int, false_positive: float, false_negative: float) -> Array:
    """Return the success of n samples of which an accepted one is answered, else any one, [P].

    Each sample is judged afresh: a = p (1 - fn) + (1 - p) fp are accepted, a share p (1 - fn) / a of them right.
    """
    good, bad = p * (1 - false_negative), (1 - p) * false_positive
    a = good + bad
    none = (1 - a) ** n
    right = np.divide(good, a, out=np.zeros_like(a), where=a > 0)
    left = np.divide(p * false_negative, 1 - a, out=np.zeros_like(a), where=a < 1)
    return np.asarray(right * (1 - none) + left * none)


@dataclass(frozen=True, slots=True)
class BestTemperature:
    """tau*(C), where the mean over problems of what n samples achieve is highest; 0 where colder is always better.

    A scan of the logarithm of tau finds the highest hump, golden section and parabolas its top. Where the problems are
    the nodes of a quadrature ("weight" among their difficulties) nothing is random, and the standard error is the
    solver's own: its tolerance plus the change when every second node is left out. Where problems are a sample, it is
    the jackknife over groups of problems.

    Attributes:
        metric: "pass_at_1", "pass_at_n", "majority" or "verifier".
        n: Samples of each problem.
        false_positive: Of the verifier.
        false_negative: Of the verifier.
        scales: Training scales C, rising.
        coldest: Lowest temperature of the scan; where it is the best one, tau* is reported as 0 (greedy). It is not
            compared with greedy decoding itself, whose jump at m = 0 no quadrature over problems resolves.
        hottest: Highest temperature of the scan.
    """

    NAME: ClassVar[str] = "best_temperature"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (
        frozenset({Capability.SUCCESS}),
        frozenset({Capability.TRAIN}),
        frozenset({Capability.TEMPERATURE}),
    )
    UNITS: ClassVar[Mapping[str, str]] = {
        "metric": "name", "n": "samples", "false_positive": "1", "false_negative": "1",
        "scales": "C0", "coldest": "1", "hottest": "1",
    }  # fmt: skip
    metric: str = "pass_at_n"
    n: int = 16
    false_positive: float = 0.05
    false_negative: float = 0.05
    scales: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
    coldest: float = 0.05
    hottest: float = 100.0

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise InputError(f"metric = '{self.metric}' is not known.{suggest(self.metric, METRICS)}")
        if self.n < 1 or not 0 < self.coldest < self.hottest or len(self.scales) < 2:
            raise InputError("best_temperature: n >= 1, 0 < coldest < hottest and two scales are needed.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row a scale: tau* with its standard error."""
        if problems is None:
            raise InputError("best_temperature needs problems; choose problems=margins or problems=normal_margins.")
        found = [self.best(c.policy, problems) for c in policy.train(problems, self.scales, seed)]
        return Measurement(
            columns={
                "training": np.array(self.scales),
                "cluster": np.array(["all"] * len(found)),
                "total": np.array([v for v, _ in found]),
                "weight": np.ones(len(found)),
                "stderr": np.array([e for _, e in found]),
            },
            units={"training": "C0", "total": "1", "weight": "1", "stderr": "1"},
            x=("training",),
            statistic="mean",
            response="best temperature",
            response_unit="1",
            resample="reported",
            provenance={"cost": {"problems": len(problems)}},
        )

    def best(self, policy: Any, problems: ProblemSet) -> tuple[float, float]:
        """Return tau* of one policy and its standard error."""
        exact = "weight" in problems.difficulty
        weight = problems.difficulty["weight"] if exact else np.full(len(problems), 1.0 / len(problems))
        whole = self._solve(policy, problems, weight)
        error = TOLERANCE * max(abs(whole), TOLERANCE)
        if exact:
            thin = np.where(np.arange(weight.size) % 2 == 0, weight, 0.0)
            return whole, error + abs(self._solve(policy, problems, thin / thin.sum()) - whole)
        group = np.arange(weight.size) % GROUPS
        others = [np.where(group == g, 0.0, weight) for g in range(GROUPS)]
        left = np.array([self._solve(policy, problems, w / w.sum()) for w in others])
        return whole, float(np.hypot(error, np.sqrt((GROUPS - 1) * np.mean((left - left.mean()) ** 2))))

    def _solve(self, policy: Any, problems: ProblemSet, weight: Array) -> float:
        def mean(temperature: float) -> float:
            return float(weight @ self._achieved(policy.at_temperature(temperature), problems))

        return highest_hump(mean, self.coldest, self.hottest)

    def _achieved(self, policy: Any, problems: ProblemSet) -> Array:
        """Return what n samples achieve on each problem, [P]."""
        p = np.asarray(policy.success(problems), dtype=float)
        if self.metric == "pass_at_1":
            return p
        if self.metric == "pass_at_n":
            return np.asarray(1.0 - (1.0 - p) ** self.n)
        if self.metric == "verifier":
            return accepted(p, self.n, self.false_positive, self.false_negative)
        return vote(p, np.asarray(policy.strongest_wrong(problems)), int(policy.answers), self.n)


def highest_hump(mean: Callable[[float], float], coldest: float, hottest: float) -> float:
    """Return the temperature at the top of the highest hump; 0 where the coldest is best.

    Raises:
        InputError: If the function still rises at the hottest temperature.
    """
    logs = np.linspace(np.log(coldest), np.log(hottest), SCAN)
    values = np.array([mean(float(np.exp(x))) for x in logs])
    i = int(np.argmax(values))
    if i == SCAN - 1:
        raise InputError(
            f"best_temperature: success still rises at hottest = {hottest:g}: the policy knows less than chance there. "
            "Raise 'hottest', or start from a stronger policy."
        )
    if i == 0:
        return 0.0
    top = minimize_scalar(
        lambda x: -mean(float(np.exp(x))), bounds=(logs[i - 1], logs[i + 1]), method="bounded",
        options={"xatol": TOLERANCE / 10},
    )  # fmt: skip
    return float(np.exp(top.x))
