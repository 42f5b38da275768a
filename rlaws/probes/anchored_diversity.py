"""Probe: does a KL penalty to an anchor keep ideas at equal reward, and does it prevent collapse or delay it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, refuse_unless_able
from rlaws.probes.base import Budget, log_times
from rlaws.probes.trajectories import all_found, at_level, crossed, follow
from rlaws.problems import ProblemSet, given_or_own
from rlaws.seeding import child
from rlaws.vary import vary

TOLD = ("success", "semantic_entropy")
Rows = list[tuple[str, str, float, NDArray[np.str_], Array, Array]]


@dataclass(frozen=True, slots=True)
class AnchoredDiversity:
    """Training with no anchor, with the start as anchor, and with a trailing mean (EMA) of several memories.

    Every problem is one random world and one cluster; all anchors meet the same worlds.

    Attributes:
        strength: Weight of the KL penalty.
        memories: 1/alpha of the EMA anchors, in the trainer's time.
        gain: Share of the reward that training without an anchor gains, at which semantic entropies are compared.
        half: Share of the initial semantic entropy below which a policy counts as collapsed.
        first: First and last checkpoint.
        last: See above.
        per_decade: Checkpoints for each factor of ten.
    """

    NAME: ClassVar[str] = "anchored_diversity"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "strength": "reward", "memories": "trainer's time", "gain": "1", "half": "1", "first": "trainer's time",
        "last": "trainer's time", "per_decade": "1",
    }  # fmt: skip
    strength: float = 1.0
    memories: Sequence[float] = (5.0, 10.0, 20.0, 40.0)
    gain: float = 0.5
    half: float = 0.5
    first: float = 0.1
    last: float = 3000.0
    per_decade: int = 20

    def __post_init__(self) -> None:
        if not (0 < self.gain < 1 and 0 < self.half < 1 and 0 < self.first < self.last and len(self.memories) >= 3):
            raise InputError("anchored_diversity: gain and half lie in (0, 1), first < last, three memories or more.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return rows "kept" (entropy at equal reward minus that without anchor), "left" (end over start), "time".

        Raises:
            InputError: If a policy without anchor does not collapse, or an anchored one never reaches the reward.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        times = log_times(self.first, self.last, self.per_decade)
        free = self._curves(vary(policy, bonus="none", strength=0.0), problems, times, seed)
        level = free["success"][0] + self.gain * (free["success"][-1] - free["success"][0])
        without = at_level(free["success"], free["semantic_entropy"], level)
        all_found(without, "reach no reward without an anchor", "train longer")
        rows: Rows = []
        for kind, memory in (("static", 0.0), *(("ema", float(m)) for m in self.memories)):
            anchored = {"bonus": kind, "strength": self.strength, **({"alpha": 1.0 / memory} if memory else {})}
            curves = self._curves(vary(policy, **anchored), problems, times, seed)
            rows += self._rows(kind, memory, problems, times, curves, level, without)
        return self._measurement(rows, problems)

    def _curves(
        self, policy: Any, problems: ProblemSet, times: Array, seed: np.random.SeedSequence
    ) -> Mapping[str, Array]:
        told, _, _ = follow(policy, problems, times.tolist(), child(seed, 0), TOLD, self.NAME)
        return told

    def _rows(
        self, kind: str, memory: float, problems: ProblemSet, times: Array, curves: Mapping[str, Array], level: Array,
        without: Array,
    ) -> Rows:  # fmt: skip
        """Return (anchor, quantity, memory, cluster, total, weight) of one anchor."""
        ids, entropy = problems.ids, curves["semantic_entropy"]
        ones = np.ones(ids.size)
        same = at_level(curves["success"], entropy, level)
        reached = ~np.isnan(same)
        if reached.sum() < 0.9 * ids.size:
            raise InputError(f"anchored_diversity: with {kind} {ids.size - reached.sum()} worlds reach no such reward; "
                             "lower 'strength' or 'gain'.")  # fmt: skip
        rows = [(kind, "kept", memory, ids[reached], (same - without)[reached], ones[reached])]
        rows.append((kind, "left", memory, ids, entropy[-1], entropy[0]))
        if kind == "ema":
            when = all_found(crossed(times, entropy, self.half * entropy[0]), "did not collapse", "raise 'last'")
            rows.append((kind, "time", memory, ids, when, ones))
        return rows

    def _measurement(self, rows: Rows, problems: ProblemSet) -> Measurement:
        sizes = [r[3].size for r in rows]
        return Measurement(
            columns={
                "anchor": np.repeat([r[0] for r in rows], sizes),
                "quantity": np.repeat([r[1] for r in rows], sizes),
                "memory": np.repeat([r[2] for r in rows], sizes),
                "cluster": np.concatenate([r[3] for r in rows]),
                "total": np.concatenate([r[4] for r in rows]),
                "weight": np.concatenate([r[5] for r in rows]),
            },
            units={"anchor": "name", "quantity": "name", "memory": "trainer's time", "total": "nats", "weight": "1"},
            x=("memory",),
            statistic="mean",
            response="semantic entropy kept at equal reward, share left at the end, or time of collapse",
            response_unit="nats, 1, or trainer's time",
            regime=("anchor", "quantity"),
            provenance={"problems": dict(problems.settings), "worlds": len(problems)},
        )
