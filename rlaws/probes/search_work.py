"""What search makes of the divergence it spends, against the Gibbs optimum and the bound of best-of-N."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import brentq

from rlaws.errors import InputError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import Array, Capability
from rlaws.probes.base import Budget
from rlaws.probes.pass_at_k import batches
from rlaws.problems import ProblemSet
from rlaws.search import Search, least_budget

QUANTITIES = ("efficiency", "kl_slack")


def divergence(q: Array, p: Array) -> float:
    """Return sum q log(q / p) in nats over the classes with q > 0."""
    seen = q > 0
    return float(np.sum(q[seen] * np.log(q[seen] / p[seen])))


def gibbs_optimum(success: float, kl: float) -> float:
    """Return the highest success at a divergence: s with KL(Bernoulli(s) || Bernoulli(P)) = kl, s >= P.

    The Gibbs tilt pi0 e^(R/T) / Z maximises E[R] at given KL(. || pi0); for R = 1[right] it keeps the proportions of
    the wrong answers, so its divergence is that of two Bernoulli variables. At kl >= -log P it is 1.
    """
    if kl <= 0:
        return success
    if kl >= -np.log(success):
        return 1.0

    def excess(s: float) -> float:
        return divergence(np.array([s, 1 - s]), np.array([success, 1 - success])) - kl

    return float(brentq(excess, success, 1.0 - 1e-15, xtol=1e-14))


@dataclass(frozen=True, slots=True)
class SearchWork:
    """Work of a search on the answers' distribution, by classes of answers: right, or first wrong at step 1 ... d.

    Within a class answers differ only in what no search can see, so the divergence of the classes is that of the
    answers. With q the classes' shares under search and pi under one sample, kl = KL(q || pi) and s*(kl) the success of
    the Gibbs tilt at that divergence:

    * "efficiency" = (s - P) / (s* - P), at most 1, and 1 exactly when search leaves the free energy F = -T log Z;
    * "kl_slack" = log N - (N - 1) / N - kl with N the answers that the compute would have written.

    Shares are counted in each cluster; the bias of the plug-in divergence is about d / (2 batch).

    Attributes:
        quantity: "efficiency" or "kl_slack".
        method: Method of ``rlaws.search``.
        select: Rule by which the answer is chosen.
        answers: Search, in units of one full answer, rising.
        base: Samples of each problem for pi.
        batch: Problems in one cluster; it must hold some hundred.
    """

    NAME: ClassVar[str] = "search_work"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.BRANCH}),)
    UNITS: ClassVar[Mapping[str, str]] = {
        "quantity": "name", "method": "name", "select": "name", "answers": "answers", "base": "samples",
        "batch": "problems",
    }  # fmt: skip
    quantity: str = "efficiency"
    method: str = "best_of_n"
    select: str = "verifier"
    answers: tuple[int, ...] = (2, 4, 8, 16, 32)
    base: int = 16
    batch: int = 1000

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise InputError(f"quantity = '{self.quantity}' is not known.{suggest(self.quantity, QUANTITIES)}")
        if self.base < 1 or self.batch < 100 or not self.answers or min(self.answers) < 2:
            raise InputError("search_work: base >= 1, batch >= 100 and answers >= 2 are needed.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return one row for each cluster and amount of search."""
        if problems is None:
            raise InputError("search_work needs problems; add a 'problems' group.")
        steps = least_budget(policy, self.method) - 1
        search_seed, *base_seeds = seed.spawn(1 + self.base)
        one = Search("best_of_n", (1,), "verifier")
        sampled = [_shares(policy.branch(problems, one, s).right_steps, steps)[:, 0] for s in base_seeds]
        pi = np.asarray(np.mean(sampled, axis=0))
        grid = tuple(1 + steps * n for n in self.answers)
        done = policy.branch(problems, Search(self.method, grid, self.select), search_seed)
        names, cluster = batches(problems, self.batch)
        rows = [_shares(done.right_steps[cluster == c], steps) for c in range(names.size)]
        values = [[self._value(q[:, k], pi, n) for k, n in enumerate(self.answers)] for q in rows]
        return Measurement(
            columns={
                "answers": np.tile(np.array(self.answers), names.size),
                "cluster": np.repeat(names, len(self.answers)),
                "total": np.array(values).ravel(),
                "weight": np.ones(names.size * len(self.answers)),
            },
            units={"answers": "answers", "total": "1" if self.quantity == "efficiency" else "nats", "weight": "1"},
            x=("answers",),
            statistic="mean",
            response="share of the Gibbs optimum" if self.quantity == "efficiency" else "bound on KL less KL",
            response_unit="1" if self.quantity == "efficiency" else "nats",
            provenance={"cost": dict(done.cost)},
        )

    def _value(self, q: Array, pi: Array, n: int) -> float:
        if np.any((pi == 0) & (q > 0)):
            raise InputError("search_work: a class of answers was searched but never sampled; raise 'base'.")
        kl = divergence(q, pi)
        if self.quantity == "kl_slack":
            return float(np.log(n) - (n - 1) / n - kl)
        best = gibbs_optimum(float(pi[-1]), kl)
        return float((q[-1] - pi[-1]) / (best - pi[-1])) if best > pi[-1] else 1.0


def _shares(right_steps: Any, steps: int) -> Array:
    """Return the share of each class (0 ... d right steps) in each column, [d + 1, K]."""
    return np.stack([np.mean(np.asarray(right_steps) == j, axis=0) for j in range(steps + 1)])
