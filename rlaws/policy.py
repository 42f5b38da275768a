"""What a policy can do: the protocols that every rung implements, so that one probe runs on all of them.

A simulator, a toy transformer, a language model and a recorded table are all policies. A probe names the capabilities
it needs (``Probe.requires``); a study is refused before it starts where the policy lacks one. A probe never asks what
kind of policy it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.problems import ProblemSet
from rlaws.rollouts import Rollouts

Array = NDArray[np.float64]
Counts = tuple[NDArray[np.int64], NDArray[np.int64]]


class Capability(Enum):
    """What a probe may ask of a policy; the value is the method that offers it."""

    SAMPLE = "sample"
    COUNT = "count"
    SUCCESS = "success"
    SCORE = "score"
    BRANCH = "branch"
    TRAIN = "train"
    GRADIENT = "gradient_sums"
    SKETCH = "gradient_sketches"
    STATES = "state_counts"
    TABLE = "table"
    TEMPERATURE = "at_temperature"


@runtime_checkable
class Sampler(Protocol):
    """Can be sampled."""

    def sample(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Rollouts:
        """Return n solutions of every problem."""
        ...


@runtime_checkable
class Counter(Protocol):
    """Can be sampled so often that only counts are kept."""

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return samples and right ones of every problem, each [P]."""
        ...


@runtime_checkable
class Exact(Protocol):
    """Knows its success probability."""

    def success(self, problems: ProblemSet) -> Array:
        """Return the probability of a right answer to each problem, [P]."""
        ...


@dataclass(frozen=True, slots=True)
class GradientSums:
    """Sums of the score-function gradient g_t of each step's right action over independent batches of rollouts.

    Attributes:
        n: Rollouts of each batch, [C].
        s1: sum of g_t, [C, L].
        s2: sum of g_t squared, [C, L].
        hits: Rewarded rollouts of each batch, [C].
        cost: What it took, by ledger entry.
    """

    n: NDArray[np.int64]
    s1: Array
    s2: Array
    hits: NDArray[np.int64]
    cost: Mapping[str, Any]


@runtime_checkable
class GradientSampler(Protocol):
    """Gives per-step gradient statistics of the outcome reward."""

    def gradient_sums(
        self, problems: ProblemSet, rollouts: int, batches: int, seed: np.random.SeedSequence
    ) -> GradientSums:
        """Return the sums over ``batches`` independent batches of ``rollouts`` rollouts each."""
        ...


@dataclass(frozen=True, slots=True)
class GradientSketches:
    """Sketched score-function gradients of K parts of an answer, by independent batches of rollouts.

    A sketch is a fixed random projection to D numbers that keeps inner products in expectation.

    Attributes:
        distance: Distance of each part to the reward, [K], at least 1.
        mean: Mean of the sketched gradients over a batch's rollouts, [C, K, D].
        square: Mean of the squared length of the gradients, not sketched, [C, K].
        cost: What it took, by ledger entry.
        unit: Unit of the distance, for example "steps" or "tokens".
    """

    distance: NDArray[np.int64]
    mean: Array
    square: Array
    cost: Mapping[str, Any]
    unit: str = "steps"


@runtime_checkable
class GradientSketcher(Protocol):
    """Gives gradients by its own parameters, sketched."""

    def gradient_sketches(
        self, problems: ProblemSet, rollouts: int, batches: int, seed: np.random.SeedSequence
    ) -> GradientSketches:
        """Return the means over ``batches`` independent batches of ``rollouts`` rollouts each."""
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A policy during training.

    Attributes:
        time: Amount of training in the trainer's own unit.
        unit: That unit, for example "updates" or "learning rate x steps".
        policy: The policy at that time.
        cost: What training took so far, by ledger entry.
    """

    time: float
    unit: str
    policy: Any
    cost: Mapping[str, Any]


@runtime_checkable
class Trainer(Protocol):
    """Can be trained; its options are its own."""

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Yield a checkpoint at each of the rising ``times``."""
        ...


@runtime_checkable
class Recorded(Protocol):
    """A table of somebody's measurements that stands in for a policy."""

    def table(self) -> Mapping[str, NDArray[Any]]:
        """Return the columns, checked and typed."""
        ...


def counts(policy: Any, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
    """Return samples and right ones of every problem, by counting where the policy can, else from its rollouts."""
    if isinstance(policy, Counter):
        return policy.count(problems, n, seed)
    rollouts: Rollouts = policy.sample(problems, n, seed)
    return rollouts.counts(len(problems))


def success_rates(policy: Any, problems: ProblemSet, samples: int, seed: np.random.SeedSequence) -> Array:
    """Return the success on each problem, [P]: known where the policy knows it, else the share right among samples."""
    if isinstance(policy, Exact):
        return policy.success(problems)
    taken, right = counts(policy, problems, samples, seed)
    return np.asarray(right / taken)


def lacks(policy: Any, requires: Sequence[frozenset[Capability]]) -> list[str]:
    """Return the needs that a policy does not meet.

    Args:
        policy: Any policy.
        requires: Needs; each a set of capabilities of which one suffices.
    """
    return [
        " or ".join(sorted(c.name for c in need))
        for need in requires
        if not any(hasattr(policy, c.value) for c in need)
    ]


def refuse_unless_able(policy: Any, requires: Sequence[frozenset[Capability]], probe: str) -> None:
    """Refuse a probe that the policy cannot serve, saying what it offers.

    Raises:
        InputError: If a need is not met.
    """
    missing = lacks(policy, requires)
    if missing:
        offers = ", ".join(c.name for c in Capability if hasattr(policy, c.value)) or "nothing"
        raise InputError(
            f"Probe '{probe}' needs {' and '.join(missing)}; {type(policy).__name__} offers {offers}. "
            "Choose another policy or another probe."
        )
