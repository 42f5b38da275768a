"""Probe: the best value of a training setting, against the compute spent or the problems' difficulty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability, refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.probes.trajectories import follow
from rlaws.problems import ProblemSet, difficulty, given_or_own
from rlaws.seeding import child
from rlaws.vary import setting, vary


def lowest(values: Array, errors: Array) -> Array:
    """Return where each column's error is lowest, by a parabola in log value through the lowest three, [C].

    At an edge of the grid the edge itself is returned.

    Args:
        values: Rising values of the setting, [V].
        errors: Error at each, [V, C].
    """
    u = np.log(values)
    out = np.empty(errors.shape[1])
    for c, column in enumerate(errors.T):
        i = int(np.argmin(column))
        if i in (0, values.size - 1):
            out[c] = values[i]
            continue
        a, b, _ = np.polyfit(u[i - 1 : i + 2], np.log(np.maximum(column[i - 1 : i + 2], 1e-300)), 2)
        top = -b / (2 * a) if a > 0 else u[i]
        out[c] = float(np.exp(np.clip(top, u[i - 1], u[i + 1])))
    return out


@dataclass(frozen=True, slots=True)
class BestSetting:
    """The value of a setting with the lowest mean failure at equal compute.

    A cluster is a batch of problems (or runs) trained under every value. With ``tuned`` each value is given the best of
    several values of another setting first.

    Attributes:
        axis: The setting.
        values: Its rising values.
        tuned: Another setting, or "" for none, and ``factors`` its values as multiples of the policy's own.
        factors: See above.
        compute: Rising amounts of the trainer's time at which failures are compared.
        pair: Two of the values whose log ratio of failures is reported besides ("log_ratio").
        batch: Problems in one cluster.
    """

    NAME: ClassVar[str] = "best_setting"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TRAIN}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "axis": "name", "values": "1", "tuned": "name", "factors": "1", "compute": "trainer's time", "pair": "1",
        "batch": "problems",
    }  # fmt: skip
    axis: str = "group"
    values: Sequence[float] = (2, 4, 8, 16, 32, 64, 128, 256)
    tuned: str = ""
    factors: Sequence[float] = (1.0,)
    compute: Sequence[float] = (256, 512, 1024, 2048, 4096)
    pair: Sequence[float] = (8, 32)
    batch: int = 64

    def __post_init__(self) -> None:
        if len(self.values) < 3 or np.any(np.diff(self.values) <= 0) or not set(self.pair) <= set(self.values):
            raise InputError("best_setting: needed are three or more rising values, with the pair among them.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return for each cluster and compute one row "best" and one row "log_ratio".

        Raises:
            InputError: If the problems do not divide into four clusters or more.
        """
        refuse_unless_able(policy, self.REQUIRES, self.NAME)
        problems = given_or_own(problems, policy, self.NAME)
        if len(problems) % self.batch or len(problems) < 4 * self.batch:
            raise InputError(f"best_setting: {len(problems)} problems make no four clusters of {self.batch}.")
        failures = np.array([self._failures(policy, v, problems, seed) for v in self.values])
        values, clusters = np.asarray(self.values, dtype=np.float64), failures.shape[2]
        best = np.array([lowest(values, failures[:, t]) for t in range(len(self.compute))])
        first, second = (list(self.values).index(v) for v in self.pair)
        ratio = np.log(np.maximum(failures[second], 1e-12) / np.maximum(failures[first], 1e-12))
        rows = best.size
        p = round(float(np.exp(np.log(np.maximum(difficulty(problems, "p"), 1e-12)).mean())), 9)
        edges = np.isin(best, values[[0, -1]]).mean()
        return Measurement(
            columns={
                "quantity": np.repeat(["best", "log_ratio"], rows),
                "compute": np.tile(np.repeat(np.asarray(self.compute, dtype=np.float64), clusters), 2),
                "p": np.full(2 * rows, p),
                "cluster": np.tile([f"{i}@{p:g}" for i in problems.ids[:: self.batch]], 2 * len(self.compute)),
                "total": np.concatenate([best.ravel(), ratio.ravel()]),
                "weight": np.ones(2 * rows),
            },
            units={"quantity": "name", "compute": "trainer's time", "p": "1", "total": "1", "weight": "clusters"},
            x=("compute", "p"),
            statistic="mean",
            response=f"best {self.axis}, or log ratio of the failures at {self.pair[1]:g} and {self.pair[0]:g}",
            response_unit=policy.UNITS[self.axis],
            regime=("quantity",),
            provenance={"problems": dict(problems.settings), "at_an_edge": float(edges)},
        )

    def _failures(self, policy: Any, value: float, problems: ProblemSet, seed: np.random.SeedSequence) -> Array:
        """Return the mean failure of each cluster at each compute, [T, C], under one value, best over what is tuned."""
        found = []
        own = setting(policy, self.axis)
        for i, factor in enumerate(self.factors):
            more = {self.tuned: factor * float(setting(policy, self.tuned))} if self.tuned else {}
            varied = vary(policy, **{self.axis: type(own)(value)}, **more)
            stream = child(child(seed, round(1000 * value)), i)
            told, _, _ = follow(varied, problems, list(self.compute), stream, ("success",), self.NAME)
            shape = (len(self.compute), len(problems) // self.batch, self.batch)
            found.append(1.0 - told["success"].reshape(shape).mean(axis=2))
        means = np.array(found).mean(axis=2)
        best = np.argmin(means, axis=0)  # tuned on the mean over clusters, so that no cluster picks its own luck
        return np.array([found[best[t]][t] for t in range(len(self.compute))])
