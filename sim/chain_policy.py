"""The credit-assignment chain as a policy: what the probes of credit ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.policy import GradientSums
from rlaws.problems import ProblemSet
from rlaws.rollouts import Rollouts
from rlaws.seeding import word
from sim import chain
from sim.chain import ChainWorld


class _Measured:
    """What both policies offer, on the world that their settings make."""

    __slots__ = ()

    def world(self) -> ChainWorld:
        """Return the simulator's parameters."""
        raise NotImplementedError

    def gradient_sums(
        self, problems: ProblemSet | None, rollouts: int, batches: int, seed: np.random.SeedSequence
    ) -> GradientSums:
        """Return sums of g_t = (c_t - p)(G_t - E[R]) over ``batches`` of ``rollouts`` each."""
        world = self.world()
        sums = chain.gradient_sums(world, rollouts, word(seed), clusters=batches)
        cost = {"env_steps": rollouts * batches * world.length, "rollouts": rollouts * batches}
        return GradientSums(sums.n, sums.s1, sums.s2, sums.hits.astype(np.int64), cost)

    def state_counts(
        self, problems: ProblemSet | None, rollouts: int, seed: np.random.SeedSequence
    ) -> NDArray[np.int64]:
        """Return counts of (z_t, z_t+1) over the second half of the chain, where its start is forgotten, [2, 2]."""
        world = self.world()
        transitions = chain.state_counts(world, rollouts, word(seed)).transitions[0]
        late: NDArray[np.int64] = transitions[world.length // 2 :].sum(axis=0)
        return late


@dataclass(frozen=True, slots=True)
class ChainPolicy(_Measured):
    """A policy that is right at every step with probability p, on chains whose settings are its own.

    The fields are those of ``sim.chain.ChainWorld``: p, recovery r, slip e, forgiveness f, the verifier's
    false_positive and false_negative rates, and the standard deviation of dense_noise.
    """

    length: int
    p: float
    recovery: float = 0.0
    slip: float = 0.0
    forgiveness: float = 0.0
    false_positive: float = 0.0
    false_negative: float = 0.0
    dense_noise: float = 0.0

    UNITS: ClassVar[Mapping[str, str]] = {
        "length": "steps",
        "p": "1",
        "recovery": "1/step",
        "slip": "1/step",
        "forgiveness": "1",
        "false_positive": "1",
        "false_negative": "1",
        "dense_noise": "reward/step^(1/2)",
    }

    def __post_init__(self) -> None:
        self.world()

    def world(self) -> ChainWorld:
        """Return the simulator's parameters."""
        return ChainWorld(
            self.length,
            self.p,
            self.recovery,
            self.slip,
            self.forgiveness,
            self.false_positive,
            self.false_negative,
            self.dense_noise,
        )

    def sample(self, problems: ProblemSet | None, n: int, seed: np.random.SeedSequence) -> Rollouts:
        """Return n solutions of one chain."""
        right, _, reward = chain.sample(self.world(), n, word(seed))
        return Rollouts(
            problem=np.zeros(n, dtype=np.int64),
            sample=np.arange(n),
            correct=reward.astype(bool),
            length=np.full(n, self.length),
            step_correct=right.astype(bool),
            cost={"env_steps": n * self.length},
        )


@dataclass(frozen=True, slots=True)
class StationaryChainPolicy(_Measured):
    """The chain in the coordinates of its state: stationary probability pi of being on track, and memory l.

    Without slip and forgiveness P(on track after on track) = p and after off track = r, so that l = p - r and
    pi = r / (1 - l); hence r = pi (1 - l) and p = l + r.

    Attributes:
        length: Steps.
        stationary: pi, in (0, 1).
        memory: l, the second eigenvalue, in (0, 1).
    """

    length: int
    stationary: float
    memory: float

    UNITS: ClassVar[Mapping[str, str]] = {"length": "steps", "stationary": "1", "memory": "1"}

    def __post_init__(self) -> None:
        for name in ("stationary", "memory"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie strictly between 0 and 1, not {getattr(self, name)}.")
        self.world()

    def world(self) -> ChainWorld:
        """Return the simulator's parameters."""
        recovery = self.stationary * (1.0 - self.memory)
        return ChainWorld(self.length, self.memory + recovery, recovery)
