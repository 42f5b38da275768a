"""Policies of the density and the policy world, as probes see them.

| policy | world | what is random |
|---|---|---|
| ``DensityPolicy`` | a density that climbs a reward landscape | the landscape and the start of each problem |
| ``CloudPolicy`` | the same process as particles | the particles |
| ``ModesPolicy`` | K modes x S synonyms, expected gradient | each problem's start and right modes |
| ``BatchPolicy`` | two right modes and a wrong one, finite batches | the batches |
| ``GroupPolicy`` | right or wrong, groups of G with a verifier that errs | the groups |
| ``TailPolicy`` | answers with a known tail | the samples |

Deterministic worlds have no sampling noise; there each problem is its own random world and the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from rlaws.errors import suggest
from rlaws.policy import Array, Checkpoint, Counts
from rlaws.problems import ProblemSet, difficulty
from rlaws.seeding import child, word
from sim import density, drift
from sim.bernoulli import KnownSuccess, draw_counts
from sim.flows import rising

LOW, HIGH = -3.0, 3.0
PROCESS_TIME = "process time"
TRAIN_TIME = "learning rate x updates"


# ------------------------------------------------------------------------------------------------ density world
@dataclass(frozen=True, slots=True)
class Spread:
    """What a density tells of itself.

    Attributes:
        entropies: Differential entropy of each problem's density, [P].
        sds: Standard deviation, [P].
    """

    entropies: Array
    sds: Array

    def entropy(self, problems: ProblemSet) -> Array:
        """Return the differential entropy in nats, [P]."""
        return self.entropies

    def width(self, problems: ProblemSet) -> Array:
        """Return the standard deviation, [P]."""
        return self.sds


@dataclass(frozen=True, slots=True)
class DensityPolicy:
    """A policy as a density over [-3, 3] that climbs a reward landscape and diffuses with a temperature.

    Every problem is a world of its own: its steepness is the setting's times e^{scatter N(0,1)}, its density starts as
    a normal of standard deviation ``start_sd`` at scatter N(0,1).

    Attributes:
        landscape: single, double, tilted or step (``sim.density.landscape``).
        steepness: Of the landscape.
        temperature: T.
        start_sd: Width before training.
        scatter: Spread of the worlds.
        cells: Cells of the grid.
        tolerance: L1 error that the time stepping may make between two checkpoints.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "landscape": "name", "steepness": "1", "temperature": "reward", "start_sd": "1", "scatter": "1",
        "cells": "cells", "tolerance": "1",
    }  # fmt: skip
    landscape: str = "single"
    steepness: float = 8.0
    temperature: float = 0.05
    start_sd: float = 1.0
    scatter: float = 0.2
    cells: int = 300
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        density.landscape(self.landscape, self.steepness)
        if not (self.temperature > 0 and self.start_sd > 0 and self.scatter >= 0):
            raise ValueError("temperature and start_sd must be positive and scatter not negative.")

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield the entropy and width of each problem's density at the rising times."""
        rng, grid = np.random.default_rng(seed), density.Grid(LOW, HIGH, self.cells)
        steepness = self.steepness * np.exp(self.scatter * rng.standard_normal(len(problems)))
        at = self.scatter * rng.standard_normal(len(problems))
        lines = [density.climb(grid, density.landscape(self.landscape, s), self.temperature) for s in steepness]
        states, before = [grid.gaussian(float(m), self.start_sd) for m in at], 0.0
        for time in rising(times):
            if time > before:
                gap = time - before
                states = [
                    density.evolve(one, p, gap, tolerance=self.tolerance).p
                    for one, p in zip(lines, states, strict=True)
                ]
            before = time
            sds = np.sqrt([density.moments(grid, p)[1] for p in states])
            told = Spread(np.array([density.entropy(grid, p) for p in states]), sds)
            yield Checkpoint(time, PROCESS_TIME, told, {})


@dataclass(frozen=True, slots=True)
class Crowd:
    """Particles in a landscape with a better and a worse top.

    Attributes:
        x: Positions, [P, particles].
        slopes: Slope of the reward at each, [P, particles].
    """

    x: Array
    slopes: Array

    def success(self, problems: ProblemSet) -> Array:
        """Return the share of particles at the better top, x > 0, [P]."""
        return np.asarray((self.x > 0).mean(axis=1))

    def gradient_norm(self, problems: ProblemSet) -> Array:
        """Return the size of the gradient of the mean reward in the policy's location, |mean dU/dx|, [P]."""
        return np.asarray(np.abs(self.slopes.mean(axis=1)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class CloudPolicy:
    """Particles that climb U = -(s/8) ((x² - 1)² - 0.3 x), from the side of the worse top at -1.

    Each problem is an independent crowd.

    Attributes:
        steepness: s; the barrier out of the worse top is about 0.72 s/8.
        temperature: T.
        start: Where the particles start; ``start_sd`` their spread.
        start_sd: See above.
        crowd: Particles of a problem.
        step: Time step.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "steepness": "1", "temperature": "reward", "start": "1", "start_sd": "1", "crowd": "particles",
        "step": PROCESS_TIME,
    }  # fmt: skip
    steepness: float = 8.0
    temperature: float = 0.2
    start: float = -1.6
    start_sd: float = 0.2
    crowd: int = 128
    step: float = 0.01

    def __post_init__(self) -> None:
        if not (self.steepness > 0 and self.temperature >= 0 and self.step > 0 and self.crowd >= 2):
            raise ValueError("steepness and step must be positive, temperature not negative, and crowd at least 2.")

    def slope(self, x: Array) -> Array:
        """Return dU/dx."""
        return np.asarray(-self.steepness / 8.0 * (4.0 * x * (x**2 - 1.0) - density.TILT))

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield the crowds at the rising times, each rounded to a whole number of steps."""
        first, second = child(seed, 0), child(seed, 1)
        noise = np.random.default_rng(first).standard_normal((len(problems), self.crowd))
        cloud = density.Cloud(self.start + self.start_sd * noise)
        for time in rising(times):
            steps = round(time / self.step) - cloud.taken
            if steps > 0:
                cloud = density.particles(
                    cloud, self.slope, self.temperature, steps * self.step, steps, word(second), (LOW, HIGH)
                )
            cost = {"env_steps": cloud.taken * cloud.x.size}
            yield Checkpoint(time, PROCESS_TIME, Crowd(cloud.x, self.slope(cloud.x)), cost)


# ------------------------------------------------------------------------------------------------ policy world
@dataclass(frozen=True, slots=True)
class ModeTable:
    """A policy known answer by answer.

    Attributes:
        world: The problems.
        logits: [P, A].
    """

    world: drift.Answers
    logits: Array

    def success(self, problems: ProblemSet) -> Array:
        """Return the expected reward, [P]."""
        return drift.mean_reward(self.world, self.logits)

    def mode_mass(self, problems: ProblemSet) -> Array:
        """Return the probability of each mode, [P, K]."""
        return drift.mode_mass(self.world, self.logits)

    def semantic_entropy(self, problems: ProblemSet) -> Array:
        """Return the entropy over modes in nats, [P]."""
        return drift.semantic_entropy(self.world, self.logits)

    def token_entropy(self, problems: ProblemSet) -> Array:
        """Return the entropy over answers in nats, [P]."""
        return drift.token_entropy(self.logits)


@dataclass(frozen=True, slots=True)
class ModesPolicy:
    """K modes of synonyms under the expected gradient; each problem starts from its own normal logits.

    Which modes are right is drawn for each problem; so the number of synonyms of a right mode is random.

    Attributes:
        algorithm: pg, grpo or npg.
        modes: K.
        right: How many are right. Their rewards go evenly from 1 down to 1 - gap; wrong ones pay 0.
        gap: See above.
        synonyms: Synonyms of the largest mode.
        ratio: Largest over smallest number of synonyms; between them a geometric sequence.
        spread: Standard deviation of the logits before training.
        handicap: How much lower the logits of wrong modes start (negative: higher).
        bonus: none, token, semantic, static or ema (``sim.drift.Pull``); ``strength`` and ``alpha`` are its own.
        strength: See above.
        alpha: See above.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "algorithm": "name", "modes": "modes", "right": "modes", "gap": "reward", "synonyms": "answers", "ratio": "1",
        "spread": "1", "handicap": "1", "bonus": "name", "strength": "reward", "alpha": "1/(learning rate x updates)",
    }  # fmt: skip
    algorithm: str = "pg"
    modes: int = 8
    right: int = 4
    gap: float = 0.0
    synonyms: int = 4
    ratio: float = 1.0
    spread: float = 1.0
    handicap: float = 0.0
    bonus: str = "none"
    strength: float = 0.0
    alpha: float = 0.1

    def __post_init__(self) -> None:
        drift.Pull(self.bonus, self.strength, self.alpha)
        if self.algorithm not in drift.FLOWS:
            raise ValueError(f"algorithm = '{self.algorithm}' is not known.{suggest(self.algorithm, drift.FLOWS)}")
        if not (1 <= self.right <= self.modes and self.synonyms >= self.ratio >= 1 and 0 <= self.gap < 1):
            raise ValueError("needed are 1 <= right <= modes, synonyms >= ratio >= 1 and 0 <= gap < 1.")

    def world(self, problems: ProblemSet, seed: np.random.SeedSequence) -> drift.Answers:
        """Draw the problems' rewards and starts."""
        rng, size = np.random.default_rng(seed), len(problems)
        counts = np.maximum(1, np.rint(np.geomspace(self.synonyms / self.ratio, self.synonyms, self.modes))).astype(int)
        pay = np.zeros(self.modes)
        pay[: self.right] = np.linspace(1.0, 1.0 - self.gap, self.right)
        rewards = np.array([rng.permutation(pay) for _ in range(size)])
        logits = self.spread * rng.standard_normal((size, int(counts.sum())))
        mode = np.repeat(np.arange(self.modes), counts)
        return drift.answers(counts.tolist(), rewards, logits - self.handicap * (rewards[:, mode] == 0))

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield the policy at the rising times."""
        world, pull = self.world(problems, seed), drift.Pull(self.bonus, self.strength, self.alpha)
        at = rising(times)
        for time, logits in zip(at, drift.flow(world, at, self.algorithm, pull), strict=True):
            yield Checkpoint(time, TRAIN_TIME, ModeTable(world, logits), {})


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Two equally right modes and a wrong one, trained with finite batches; each problem is an independent run.

    Attributes:
        algorithm: pg, grpo, npg or imitate (``sim.drift.Batch``).
        batch: Answers in a batch.
        step: Step size.
        baseline: Whether the batch's mean reward is subtracted.
        wrong: Mass of the wrong mode before training, in [0, 1); the problem's "p" is the first right mode's share of
            the rest.
        level: A run in which a mode reaches this mass stops; 1 never stops.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "algorithm": "name", "batch": "answers", "step": "1", "baseline": "1", "wrong": "1", "level": "1",
    }  # fmt: skip
    algorithm: str = "imitate"
    batch: int = 16
    step: float = 0.2
    baseline: bool = False
    wrong: float = 0.0
    level: float = 1.0

    def __post_init__(self) -> None:
        drift.Batch(self.algorithm, self.batch, self.step, self.baseline)
        if not (0 <= self.wrong < 1 and 0.5 < self.level <= 1):
            raise ValueError(f"wrong = {self.wrong} must lie in [0, 1) and level = {self.level} in (1/2, 1].")

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield the policy at the rising times, counted in updates."""
        p = difficulty(problems, "p")
        masses = np.column_stack([p, 1 - p, *([np.full(p.size, self.wrong / (1 - self.wrong))] if self.wrong else [])])
        rewards = [1.0, 1.0, 0.0][: masses.shape[1]]
        world = drift.answers([1] * masses.shape[1], rewards, np.log(masses))
        how, runs = drift.Batch(self.algorithm, self.batch, self.step, self.baseline), drift.start(world)
        for time in rising(times):
            due = max(0, int(time + 1e-9) - runs.updates)
            runs = drift.train(world, runs, how, due, word(seed), self.level)
            cost = {"updates": runs.updates, "samples": runs.updates * self.batch * p.size}
            yield Checkpoint(time, "updates", ModeTable(world, runs.logits), cost)


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """Independent problems of success "p", trained with groups of G under a verifier that errs.

    Time counts rollouts of each problem, so an update costs G. The step is step (G/8)^power: power 0 keeps it, 1/2 is
    the square-root rule, 1 the linear rule.

    Attributes:
        group: G, at least 2.
        step: Step size at G = 8.
        power: Of the rule above.
        flip: Chance that the verifier errs, in [0, 1/2].
        algorithm: grpo or pg; the group mean is the baseline.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "group": "rollouts", "step": "1", "power": "1", "flip": "1", "algorithm": "name",
    }  # fmt: skip
    group: int = 8
    step: float = 0.2
    power: float = 0.0
    flip: float = 0.0
    algorithm: str = "grpo"

    def __post_init__(self) -> None:
        if self.group < 2 or self.algorithm not in ("grpo", "pg"):
            raise ValueError(f"group = {self.group} must be at least 2 and algorithm '{self.algorithm}' grpo or pg.")
        drift.Batch(self.algorithm, self.group, self.step, True, self.flip)

    def success(self, problems: ProblemSet) -> Array:
        """Return the success before training, [P]."""
        return difficulty(problems, "p")

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return n and the number of right answers before training, each [P]."""
        return draw_counts(self.success(problems), n, seed)

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield the policy at the rising times, counted in rollouts a problem."""
        p = np.clip(difficulty(problems, "p"), 1e-12, 1 - 1e-12)
        world = drift.answers([1, 1], [1.0, 0.0], np.column_stack([logit(p), np.zeros(p.size)]))
        step = self.step * (self.group / 8.0) ** self.power
        how, runs = drift.Batch(self.algorithm, self.group, step, True, self.flip), drift.start(world)
        for time in rising(times):
            due = max(0, int(time / self.group + 1e-9) - runs.updates)
            runs = drift.train(world, runs, how, due, word(seed))
            right = expit(runs.logits[:, 0] - runs.logits[:, 1])
            cost = {"samples": runs.updates * self.group * p.size, "updates": runs.updates}
            yield Checkpoint(time, "rollouts a problem", KnownSuccess.of(right), cost)


# ------------------------------------------------------------------------------------------------ tails
TAILS = ("geometric", "zipf", "finite")


@dataclass(frozen=True, slots=True)
class TailPolicy:
    """Answers i = 1, 2, ... with a known tail.

    geometric: p_i ~ e^(-shape i); zipf: p_i ~ i^-(1 + shape); finite: 20/shape answers of equal chance.

    Attributes:
        tail: geometric, zipf or finite.
        shape: Of the tail, positive; small is long.
        support: Where the infinite tails are cut.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"tail": "name", "shape": "1", "support": "answers"}
    tail: str = "geometric"
    shape: float = 0.1
    support: int = 100_000

    def __post_init__(self) -> None:
        if self.tail not in TAILS:
            raise ValueError(f"tail = '{self.tail}' is not known.{suggest(self.tail, TAILS)}")
        if not 0 < self.shape <= 10 or self.support < 2:
            raise ValueError(f"shape = {self.shape} must lie in (0, 10] and support = {self.support} be at least 2.")

    def probabilities(self) -> Array:
        """Return the probability of each answer."""
        size = round(20 / self.shape) if self.tail == "finite" else self.support
        i = np.arange(1, size + 1, dtype=np.float64)
        tails = {"geometric": np.exp(-self.shape * i), "zipf": i ** -(1.0 + self.shape), "finite": np.ones(size)}
        return np.asarray(tails[self.tail] / tails[self.tail].sum())

    def answers(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> NDArray[np.int64]:
        """Return the class of each of n answers to every problem, [P, n]."""
        edges = np.cumsum(self.probabilities())
        drawn = np.random.default_rng(seed).random((len(problems), n)) * edges[-1]
        return np.asarray(np.searchsorted(edges, drawn), dtype=np.int64)
