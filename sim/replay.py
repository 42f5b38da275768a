"""Replay: training on samples that an earlier policy drew.

Bandit. A softmax over A answers, each right with its own probability. A fresh sample (answer a ~ π, reward R) is used
at once and kept; then ratio - 1 kept samples are drawn and used again,

    θ += step w (R - b) grad log π(a),   w = 1, or min(π(a)/μ(a), cap) with μ the chance at which a was drawn

Compute is samples x (fresh + ratio x update). The uncorrected gradient of a kept sample is biased towards what the old
policy did (``sim.exact.replay``).

Tour. K tasks with features φ_k, right with probability σ(θ · φ_k), visited in turn. Neighbouring tasks point opposite
ways along a shared direction, φ_k = (±sqrt(c), sqrt(1-c) e_k): learning one pulls the logits of half of the others down
by c. An update on a replayed wrong answer ("negative") pushes that task away from the old error again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.policy import Array, Checkpoint
from rlaws.problems import ProblemSet
from rlaws.seeding import child, word
from sim import replay_kernels as kernels
from sim.bernoulli import KnownSuccess
from sim.flows import rising
from sim.rng import seed_word


def train_bandit(means: Array, how: kernels.Bandit, marks: Sequence[int], seed: int) -> Array:
    """Return the expected reward of every run after each number of samples in ``marks``, [runs, M].

    Args:
        means: Success probability of each answer, [runs, A].
        how: Settings; ``samples`` is at least the last mark.
        marks: Rising numbers of samples.
        seed: 64-bit word.
    """
    at = np.asarray(marks, dtype=np.int64)
    if at.size == 0 or at[0] < 1 or np.any(np.diff(at) < 0) or at[-1] > how.samples:
        raise ValueError(f"marks must rise from 1 to at most {how.samples} samples.")
    out = np.empty((len(means), at.size))
    kernels.bandit_runs(np.ascontiguousarray(means, dtype=np.float64), how, seed_word(seed), at, out)
    return out


@dataclass(frozen=True, slots=True)
class ReplayPolicy:
    """A bandit trained with replay. Every problem is an independent run with answers of its own.

    Time is compute: a fresh sample costs ``fresh``, an update ``update``. Success is the expected reward, from that of
    the uniform policy (0) to that of the best answer (1).

    Attributes:
        ratio: Updates for each fresh sample, at least 1.
        step: Step size.
        answers: Number of answers; their success probabilities are uniform in [0.1, 0.9].
        capacity: Samples kept.
        cap: Largest importance weight; 0 for no correction.
        fresh: Cost of a fresh sample; ``update`` that of an update.
        update: See above.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "ratio": "updates a sample", "step": "1", "answers": "answers", "capacity": "samples", "cap": "1",
        "fresh": "cost", "update": "cost",
    }  # fmt: skip
    ratio: int = 1
    step: float = 0.1
    answers: int = 8
    capacity: int = 4096
    cap: float = 0.0
    fresh: float = 1.0
    update: float = 0.2

    def __post_init__(self) -> None:
        if self.ratio < 1 or self.answers < 2 or self.capacity < 1 or min(self.step, self.cap, self.update) < 0:
            raise ValueError("ratio and capacity must be at least 1, answers 2, and step, cap and update not negative.")
        if not self.fresh > 0:
            raise ValueError(f"fresh = {self.fresh} must be positive: samples are what a run is counted by.")

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield the policy at the rising amounts of compute."""
        first, second = child(seed, 0), child(seed, 1)
        means = np.random.default_rng(first).uniform(0.1, 0.9, (len(problems), self.answers))
        due = rising(times)
        marks = [max(1, int(t / (self.fresh + self.ratio * self.update))) for t in due]
        how = kernels.Bandit(int(self.ratio), float(self.step), int(self.capacity), float(self.cap), marks[-1])
        reward = train_bandit(means, how, marks, word(second))
        floor, best = means.mean(axis=1), means.max(axis=1)
        for i, time in enumerate(due):
            done = np.clip((reward[:, i] - floor) / (best - floor), 0.0, 1.0)
            cost = {"samples": marks[i] * len(problems), "updates": marks[i] * self.ratio * len(problems)}
            yield Checkpoint(time, "compute", KnownSuccess.of(done), cost)


@dataclass(frozen=True, slots=True)
class Lost:
    """How often solved tasks were lost.

    Attributes:
        losses: Since the start, [P].
    """

    losses: NDArray[np.int64]

    def recurrences(self, problems: ProblemSet) -> Array:
        """Return the number of solved tasks that became unsolved, [P]."""
        return self.losses.astype(np.float64)


@dataclass(frozen=True, slots=True)
class TourPolicy:
    """Tasks that share a direction, visited in turn. Every problem is an independent run over all tasks.

    Attributes:
        tasks: Number of tasks.
        overlap: c in [0, 1): the squared share of the common direction.
        stay: Updates on a task before the next.
        share: Share of updates on replayed wrong answers, in [0, 1).
        step: Step size.
        baseline: b; a wrong answer pushes with -b.
        solved: Success at which a task counts as solved; ``lost`` below which a solved one counts as lost.
        lost: See above.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "tasks": "tasks", "overlap": "1", "stay": "updates", "share": "1", "step": "1", "baseline": "reward",
        "solved": "1", "lost": "1",
    }  # fmt: skip
    tasks: int = 6
    overlap: float = 0.5
    stay: int = 100
    share: float = 0.0
    step: float = 0.5
    baseline: float = 0.5
    solved: float = 0.9
    lost: float = 0.5

    def __post_init__(self) -> None:
        if self.tasks < 2 or self.stay < 1 or not (0 <= self.overlap < 1 and 0 <= self.share < 1 and self.step >= 0):
            raise ValueError("tasks must be at least 2, stay 1, overlap and share in [0, 1), step not negative.")
        if not 0 < self.lost < self.solved < 1:
            raise ValueError(f"needed is 0 < lost = {self.lost} < solved = {self.solved} < 1.")

    def features(self) -> Array:
        """Return the features of the tasks, [K, K + 1]."""
        side = np.where(np.arange(self.tasks) % 2 == 0, 1.0, -1.0)[:, None]
        return np.asarray(np.hstack([np.sqrt(self.overlap) * side, np.sqrt(1 - self.overlap) * np.eye(self.tasks)]))

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield the losses so far at the rising numbers of updates."""
        runs, done = len(problems), 0
        features = np.tile(self.features(), (runs, 1, 1))
        theta, state = np.zeros((runs, self.tasks + 1)), np.zeros((runs, 2, self.tasks))
        losses = np.zeros(runs, dtype=np.int64)
        tour = kernels.Tour(
            int(self.stay), float(self.share), float(self.step), float(self.baseline), self.solved, self.lost
        )
        for time in rising(times):
            kernels.tour_runs(features, theta, state, tour, np.uint64(word(seed)), (done, int(time)), losses)
            done = max(done, int(time))
            yield Checkpoint(time, "updates", Lost(losses.copy()), {"updates": done * runs})
