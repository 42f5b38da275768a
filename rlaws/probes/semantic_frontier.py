"""Probe: what a token-entropy bonus and a semantic-entropy bonus keep at equal reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.probes.trajectories import all_found, at_level, follow
from rlaws.problems import ProblemSet, given_or_own
from rlaws.seeding import child
from rlaws.vary import vary

TOLD = ("success", "semantic_entropy", "token_entropy")


@dataclass(frozen=True, slots=True)
class SemanticFrontier:
    """Entropies at the bonus strength at which a problem's reward is ``target``, for two kinds of bonus.

    Every problem is one random world and one cluster; both bonuses meet the same worlds.

    Attributes:
        kinds: The two values of the policy's setting "bonus": the one that is doubted, then its rival.
        strengths: Falling strengths of the bonus; reward rises as they fall.
        target: Reward at which the two are compared.
        time: Training time; long enough to settle.
    """

    NAME: ClassVar[str] = "semantic_frontier"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "kinds": "name", "strengths": "reward", "target": "reward", "time": "trainer's time",
    }  # fmt: skip
    kinds: Sequence[str] = ("token", "semantic")
    strengths: Sequence[float] = (2.0, 1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
    target: float = 0.9
    time: float = 100.0

    def __post_init__(self) -> None:
        if len(self.kinds) != 2 or len(self.strengths) < 3 or np.any(np.diff(self.strengths) >= 0):
            raise InputError("semantic_frontier: needed are two kinds and three or more falling strengths.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return rows "ideas_lost" (rival minus doubted), "ideas_share" (doubted over rival), "wordings_kept".

        Raises:
            InputError: If the reward of a problem does not pass the target as the bonus weakens.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        at = [self._at_target(policy, kind, problems, child(seed, 0)) for kind in self.kinds]
        ideas, wordings = [a["semantic_entropy"] for a in at], [a["token_entropy"] for a in at]
        ones = np.ones(len(problems))
        parts = (
            ("ideas_lost", ideas[1] - ideas[0], ones),
            ("ideas_share", ideas[0], ideas[1]),
            ("wordings_kept", wordings[0] - wordings[1], ones),
        )
        return Measurement(
            columns={
                "quantity": np.repeat([p[0] for p in parts], ones.size),
                "one": np.ones(3 * ones.size),
                "cluster": np.tile(problems.ids, 3),
                "total": np.concatenate([p[1] for p in parts]),
                "weight": np.concatenate([p[2] for p in parts]),
            },
            units={"quantity": "name", "one": "1", "total": "nats", "weight": "1"},
            x=("one",),
            statistic="mean",
            response=f"entropy at reward {self.target:g}, {self.kinds[0]} against {self.kinds[1]}",
            response_unit="nats, or 1",
            regime=("quantity",),
            provenance={"problems": dict(problems.settings), "worlds": len(problems)},
        )

    def _at_target(
        self, policy: Any, kind: str, problems: ProblemSet, seed: np.random.SeedSequence
    ) -> Mapping[str, Array]:
        """Return both entropies of every problem where its reward passes the target."""
        curves: dict[str, list[Array]] = {name: [] for name in TOLD}
        for strength in self.strengths:
            varied = vary(policy, bonus=kind, strength=strength)
            told, _, _ = follow(varied, problems, [self.time], seed, TOLD, self.NAME)
            for name in TOLD:
                curves[name].append(told[name][-1])
        reward = np.array(curves["success"])
        level = np.full(len(problems), self.target)
        remedy = "widen 'strengths', lengthen 'time' or move 'target'"
        return {
            name: all_found(at_level(reward, np.array(curves[name]), level), "do not pass the target reward", remedy)
            for name in TOLD[1:]
        }
