"""Policy-gradient training of independent prompts, each with one right answer class of probability p.

Each prompt is a softmax over two logits, right and wrong; a right answer pays ``gap``, a wrong one 0. With
u = logit p = theta_right - theta_wrong, the gradient flows of the expected reward are

    pg     dtheta/dt = grad J                 du/dt = 2 gap p (1-p)        dp/dt = 2 gap p^2 (1-p)^2
    grpo   advantage divided by its std       du/dt = 2 sqrt(p (1-p))      dp/dt = 2 (p (1-p))^(3/2)
    npg    Fisher metric                      du/dt = gap                  dp/dt = gap p (1-p)

(pg: arXiv 2005.06392; grpo: arXiv 2402.03300; npg: Kakade 2001). Under grpo the gap cancels. The exact solutions are

    pg     u + sinh u  =  u_0 + sinh u_0 + gap t
    grpo   sinh(u/2)   =  sinh(u_0/2) + t/2
    npg    u           =  u_0 + gap t

A finite group of G rollouts an update replaces the expectation by the group's mean; a group that is all wrong or all
right moves nothing (``GroupFlowPolicy``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from rlaws.errors import suggest
from rlaws.policy import Array, Checkpoint, Counts
from rlaws.problems import ProblemSet, difficulty
from rlaws.rollouts import Rollouts
from sim.bernoulli import KnownSuccess, draw_counts, draw_rollouts

ALGORITHMS = ("pg", "grpo", "npg")
UNIT = "learning rate x updates"
NEWTON_STEPS = 60
_ALWAYS_MIXED = 37.0  # from G min(p, 1-p) = 37 on, a group without the rarer outcome has probability below 2^-53
_STUCK = 700.0  # beyond |logit| = 700 the success is 0 or 1 to within the smallest double


def check_algorithm(algorithm: str, gap: float) -> None:
    """Refuse an unknown algorithm or a gap that is no reward.

    Raises:
        ValueError: Naming the setting.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm = '{algorithm}' is not known.{suggest(algorithm, ALGORITHMS)}")
    if not 0 < gap < np.inf:
        raise ValueError(f"gap = {gap} must be positive and finite: it is what a right answer pays.")


def solve_sinh(s: ArrayLike) -> Array:
    """Return the u with u + sinh u = s, elementwise, to rounding.

    f(u) = u + sinh u - s is odd in (u, s), and for s > 0 it is increasing and convex with f(asinh s) >= 0, so Newton
    from asinh |s| falls to the root without overshooting: no bracket is needed.
    """
    target = np.abs(np.asarray(s, dtype=np.float64))
    u = np.arcsinh(target)
    for _ in range(NEWTON_STEPS):
        step = (u + np.sinh(u) - target) / (1.0 + np.cosh(u))
        u = u - step
        if np.all(np.abs(step) <= 1e-9 * u):  # convergence is quadratic: what is left is 1e-18
            break
    return np.asarray(np.copysign(u, s))


def flow(algorithm: str, gap: float, p0: ArrayLike, time: float) -> Array:
    """Return the success after training for a time, elementwise.

    Args:
        algorithm: pg, grpo or npg.
        gap: What a right answer pays, in units of reward.
        p0: Initial success probabilities; 0 and 1 stay as they are.
        time: Learning rate x updates, not negative.

    Raises:
        ValueError: Unknown algorithm, gap not positive, negative time, or p0 outside [0, 1].
    """
    check_algorithm(algorithm, gap)
    start = np.asarray(p0, dtype=np.float64)
    if not (np.all((start >= 0) & (start <= 1)) and time >= 0):
        raise ValueError(f"time = {time} must not be negative and p0 must lie in [0, 1].")
    with np.errstate(divide="ignore"):
        u0 = logit(start)
    moving = np.clip(u0, -_STUCK, _STUCK)
    if algorithm == "pg":
        u = solve_sinh(moving + np.sinh(moving) + gap * time)
    elif algorithm == "grpo":
        u = 2.0 * np.arcsinh(np.sinh(moving / 2.0) + time / 2.0)
    else:
        u = moving + gap * time
    return np.where(np.abs(u0) < _STUCK, expit(u), start)


@dataclass(frozen=True, slots=True)
class FlowPolicy:
    """The exact gradient flow: infinitely many rollouts, infinitely small steps.

    Attributes:
        algorithm: pg, grpo or npg.
        gap: What a right answer pays; a wrong one pays 0.
        time: Training so far, learning rate x updates.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"algorithm": "1", "gap": "reward", "time": UNIT}
    algorithm: str = "pg"
    gap: float = 1.0
    time: float = 0.0

    def __post_init__(self) -> None:
        check_algorithm(self.algorithm, self.gap)
        if not 0 <= self.time < np.inf:
            raise ValueError(f"time = {self.time} must be finite and not negative.")

    def success(self, problems: ProblemSet) -> Array:
        """Return the success on each problem, whose difficulty "p" is the success before training, [P]."""
        return flow(self.algorithm, self.gap, difficulty(problems, "p"), self.time)

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return n and the number of right ones for every problem, each [P]."""
        return draw_counts(self.success(problems), n, seed)

    def sample(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Rollouts:
        """Return n rollouts of every problem."""
        return draw_rollouts(self.success(problems), n, seed)

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield the policy at each of the rising times, counted from where it stands; nothing is random."""
        for time in rising(times):
            yield Checkpoint(time, UNIT, replace(self, time=self.time + time), {})


def rising(times: Sequence[float]) -> list[float]:
    """Return the times as floats.

    Raises:
        ValueError: If they are negative or do not rise.
    """
    out = [float(t) for t in times]
    if any(b <= a for a, b in pairwise(out)) or (out and out[0] < 0):
        raise ValueError("times must rise and not be negative.")
    return out


@dataclass(frozen=True, slots=True)
class GroupFlowPolicy:
    """The same prompts trained with finite groups: G rollouts an update, group mean as baseline, step size ``step``.

    With q the share of right answers in a group, one update moves u = logit p by

        pg    2 step gap q (1-q)           grpo    2 step sqrt(q (1-q))           npg    step gap q (1-q) / (p (1-p))

    where grpo divides by the group's own standard deviation and npg uses the exact Fisher matrix. Time counts
    step x updates, as in the flow. The mean that includes the rollout itself costs a factor 1 - 1/G (pg, npg).

    Attributes:
        algorithm: pg, grpo or npg.
        gap: What a right answer pays; a wrong one pays 0.
        group: Rollouts G in an update, at least 2.
        step: Learning rate.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"algorithm": "1", "gap": "reward", "group": "rollouts", "step": "1"}
    algorithm: str = "pg"
    gap: float = 1.0
    group: int = 64
    step: float = 0.5

    def __post_init__(self) -> None:
        check_algorithm(self.algorithm, self.gap)
        if self.group < 2 or not 0 < self.step < np.inf:
            raise ValueError(f"group = {self.group}, step = {self.step}: a group needs 2 rollouts, a step is positive.")

    def success(self, problems: ProblemSet) -> Array:
        """Return the success on each problem before training, its difficulty "p", [P]."""
        return difficulty(problems, "p")

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return n and the number of right ones for every problem before training, each [P]."""
        return draw_counts(self.success(problems), n, seed)

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield the policy at each of the rising times; every problem is an independent run.

        Groups without a right answer, and without a wrong one, are skipped by drawing how many there are in a row.
        """
        rng = np.random.default_rng(seed)
        with np.errstate(divide="ignore"):
            u = np.asarray(logit(difficulty(problems, "p")))
        due = _wait(rng, expit(u), expit(-u), self.group)  # updates done when the next group moves, [P]
        for time in rising(times):
            done = np.floor(time / self.step + 1e-9)
            while (moving := np.flatnonzero(due <= done)).size:
                new = u[moving] + self._move(rng, u[moving])
                u[moving] = new
                due[moving] += _wait(rng, expit(new), expit(-new), self.group)
            cost = {"samples": int(done) * self.group * len(problems), "updates": int(done)}
            yield Checkpoint(time, UNIT, KnownSuccess.of(expit(u)), cost)

    def _move(self, rng: np.random.Generator, u: Array) -> Array:
        """Draw groups that are neither all right nor all wrong, and return by how much they move u."""
        share = _mixed_group(rng, np.minimum(expit(u), expit(-u)), self.group) / self.group
        spread = share * (1.0 - share)
        if self.algorithm == "pg":
            return np.asarray(2.0 * self.step * self.gap * spread)
        if self.algorithm == "grpo":
            return np.asarray(2.0 * self.step * np.sqrt(spread))
        return np.asarray(self.step * self.gap * spread / (expit(u) * expit(-u)))


def _wait(rng: np.random.Generator, p: Array, q: Array, group: int) -> Array:
    """Draw the number of groups up to and with the next mixed one, [P]; infinite where none can come.

    A group is mixed with probability m = 1 - p^G - q^G, and the number is geometric: 1 + floor(log U / log(1 - m)).
    """
    smaller = np.minimum(p, q)
    if group * smaller.min() > _ALWAYS_MIXED:
        return np.ones(p.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_rest = np.log(np.exp(group * np.log(p)) + np.exp(group * np.log(q)))
        # near p = 0 or 1 the rest is 1 - G min(p, q): its logarithm is taken without the difference
        log_rest = np.where(group * smaller < 1e-8, -group * smaller, log_rest)
        waits = 1.0 + np.floor(np.log1p(-rng.random(p.size)) / log_rest)
    return np.where(smaller > 0, np.nan_to_num(waits, nan=1.0, posinf=np.inf), np.inf)


def _mixed_group(rng: np.random.Generator, p: Array, group: int) -> NDArray[np.float64]:
    """Draw the rarer outcome's count in a group, given that the group is mixed; p <= 1/2 is its probability, [P].

    The first occurrence J has a geometric law cut off at G; the rest is Binomial(G - J, p). A group full of it is
    drawn again.
    """
    if group * p.min() > _ALWAYS_MIXED:
        return rng.binomial(group, p).astype(np.float64)
    counts = np.full(p.size, float(group))
    full = np.arange(p.size)
    while full.size:
        chance = p[full]
        some = -np.expm1(group * np.log1p(-chance))
        first = np.ceil(np.log1p(-rng.random(full.size) * some) / np.log1p(-chance))
        rest = group - np.clip(first, 1, group).astype(np.int64)
        counts[full] = 1.0 + rng.binomial(rest, chance)
        full = full[counts[full] == group]
    return counts
