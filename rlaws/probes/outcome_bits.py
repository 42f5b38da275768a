"""How many bits one outcome carries about the steps, and how many rollouts it takes to find the right actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.problems import ProblemSet
from rlaws.rollouts import Rollouts

Array = NDArray[np.float64]
LONGEST = 12  # 2^L patterns of right and wrong steps are counted
TRIAL = 64  # a trial ends after this many times the bound


@dataclass(frozen=True, slots=True)
class OutcomeBits:
    """I(R; c_1..c_L) <= H(R) <= 1 bit, and rollouts needed over the bound L log2(V) / I.

    Two quantities a batch. "information": the mutual information of the outcome and the pattern of right and wrong
    steps, in bits, from their joint counts with the Miller-Madow correction. "effort": rollouts after which, at every
    step, the right action has the highest mean reward of the V actions and keeps it until the trial ends, over the
    bound that a rollout gives at most I bits of the L log2(V) to be known; the mean of as many trials of 64 times the
    bound as the batch holds. A trial that never gets there counts its full size, which can only make the ratio smaller.
    The policy must pick each of V actions alike, so that its steps are
    right with probability 1/V; a wrong step is each of the V-1 wrong actions alike.

    Attributes:
        rollouts: Rollouts of a batch in the quick budget.
        batches: Batches; they are the clusters.
    """

    rollouts: int
    batches: int

    NAME: ClassVar[str] = "outcome_bits"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.SAMPLE}),)
    UNITS: ClassVar[Mapping[str, str]] = {"rollouts": "rollouts", "batches": "batches"}

    def __post_init__(self) -> None:
        if self.rollouts < 100 or self.batches < 8:
            raise InputError(
                f"outcome_bits: rollouts = {self.rollouts} (at least 100), batches = {self.batches} (at least 8)."
            )

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return two rows a batch: information and effort."""
        rollouts = budget.of(self.rollouts)
        values = np.empty((self.batches, 2))
        for batch, stream in enumerate(seed.spawn(self.batches)):
            for_policy, for_actions = stream.spawn(2)
            right, outcome = _steps(policy.sample(problems, rollouts, for_policy))
            bits = information_bits(right, outcome)
            bound = right.shape[1] * np.log2(_actions(right)) / max(bits, 1e-12)
            trial = int(min(rollouts, np.ceil(TRIAL * bound)))
            taken = effort(right, outcome, trial, np.random.default_rng(for_actions))
            values[batch] = bits, taken.mean() / bound
        return Measurement(
            columns={
                "quantity": np.tile(["information", "effort"], self.batches),
                "cluster": np.repeat(np.arange(self.batches), 2),
                "one": np.ones(2 * self.batches),
                "total": values.ravel(),
                "weight": np.ones(2 * self.batches),
            },
            units={"quantity": "name", "one": "1", "total": "1", "weight": "1"},
            x=("one",),
            statistic="mean",
            response="bits of one outcome, or effort over its bound",
            response_unit="1",
            regime=("quantity",),
            provenance={"cost": {"rollouts": rollouts * self.batches}},
        )


def _steps(rows: Rollouts) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which steps were right [M, L] and the outcomes [M].

    Raises:
        InputError: If the policy shows no steps or the chains are too long to count patterns.
    """
    if rows.step_correct is None:
        raise InputError("outcome_bits needs a policy that shows its steps; this one gives outcomes only.")
    if rows.step_correct.shape[1] > LONGEST:
        raise InputError(
            f"outcome_bits counts 2^L patterns: give length <= {LONGEST}, not {rows.step_correct.shape[1]}."
        )
    return rows.step_correct, rows.correct


def _actions(right: NDArray[np.bool_]) -> int:
    """Return V = 1 / P(right step) and refuse a policy that does not pick alike."""
    share = float(right.mean())
    actions = max(2, round(1.0 / max(share, 1e-9)))
    if abs(share - 1.0 / actions) > 6.0 * np.sqrt(share * (1 - share) / right.size) + 1e-9:
        raise InputError(f"outcome_bits needs steps that are right with chance 1/V; measured {share:.4f}.")
    return actions


def information_bits(right: NDArray[np.bool_], outcome: NDArray[np.bool_]) -> float:
    """Return I(R; c) in bits from joint counts, with the Miller-Madow bias correction (never below 0).

    Args:
        right: Right steps, [M, L].
        outcome: Outcomes, [M].
    """
    pattern = right @ (1 << np.arange(right.shape[1]))
    joint = np.bincount(pattern * 2 + outcome, minlength=2 << right.shape[1]).reshape(-1, 2).astype(float)
    n = joint.sum()

    def entropy(counts: Array) -> float:
        p = counts[counts > 0] / n
        return float(-(p * np.log2(p)).sum() + (p.size - 1) / (2 * n * np.log(2)))

    return max(0.0, entropy(joint.sum(axis=0)) + entropy(joint.sum(axis=1)) - entropy(joint.ravel()))


def effort(
    right: NDArray[np.bool_], outcome: NDArray[np.bool_], trial: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return, for each trial, the rollouts after which every step's right action leads by mean reward until its end.

    Args:
        right: Right steps, [M, L]; a wrong step is given one of V-1 wrong actions by ``rng``.
        outcome: Outcomes, [M].
        trial: Rollouts of a trial; the M rollouts are M // trial independent trials.
        rng: Labels of the wrong actions.
    """
    trials, length = right.shape[0] // trial, right.shape[1]
    actions = _actions(right)
    label = np.where(right, 0, rng.integers(1, actions, right.shape, dtype=np.int8))
    label = label[: trials * trial].reshape(trials, trial, length)
    paid = outcome[: trials * trial].reshape(trials, trial, 1)
    found = np.ones((trials, trial), dtype=bool)
    for action in range(actions):
        taken = label == action
        count = np.maximum(np.cumsum(taken, axis=1, dtype=np.int32), 1)
        mean = np.cumsum(taken & paid, axis=1, dtype=np.int32) / count.astype(np.float32)
        if action == 0:
            best = mean
        else:
            found &= (mean < best).all(axis=2)
    last_wrong = trial - 1 - np.argmax(~found[:, ::-1], axis=1)
    return np.where(found.all(axis=1), 1, np.minimum(last_wrong + 2, trial)).astype(np.int64)
