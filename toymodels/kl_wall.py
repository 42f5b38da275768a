"""What a penalty on the KL to the base costs and leaves, at the optimum and as RL reaches it (arXiv 1909.08593, eq. 2).

For a reward of 1 for a right answer and a base of success p the maximum of E[R] - T KL(. || base) over all
distributions of solutions is J* = T log(1 - p + p e^(1/T)), at the Gibbs tilt of the base, whose success is
p* = p e^(1/T) / (1 - p + p e^(1/T)): logit p* = logit p + 1/T. The wall, p* = 1/2, stands at logit p = -1/T.

The KL is that of token sequences: classes of answers would hide what a policy changes within a class, and with it
let a trained policy seem better than the optimum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from scipy.special import logit

from rlaws.errors import InputError
from rlaws.policy import Array
from toymodels import ladder
from toymodels.batches import Deck, log_policy, states_before
from toymodels.cache import Arrays
from toymodels.critic_tables import Row, Table, seeds_of, tabulated
from toymodels.enumeration import Solutions, countable, digits, enumerate_solutions
from toymodels.losses import full_kl
from toymodels.model import Decoder
from toymodels.runs import Exams, Plan, run, weights_of
from toymodels.settings import Settings
from toymodels.tasks import Task


# ----------------------------------------------------------------------------------------------------- closed forms
def optimum(success: Array, temperature: float) -> Array:
    """Return J* = T log(1 - p + p e^(1/T)) of base successes p, written so that e^(1/T) never overflows."""
    p = np.asarray(success, dtype=float)
    with np.errstate(divide="ignore"):
        return np.asarray(temperature * np.logaddexp(np.log1p(-p), np.log(p) + 1.0 / temperature))


def optimal_success(success: Array, temperature: float) -> Array:
    """Return p* = p e^(1/T) / (1 - p + p e^(1/T))."""
    p = np.asarray(success, dtype=float)
    return np.asarray(p / (p + (1.0 - p) * np.exp(-1.0 / temperature)))


# --------------------------------------------------------------------------------------------- KL of token sequences
class Drift(NamedTuple):
    """KL of a policy to its base in nats, and the chance of a token that is neither a value nor END, each [P]."""

    kl: Array
    odd: Array


@torch.inference_mode()
def drift(policy: Decoder, base: Decoder, task: Task, found: Solutions) -> Drift:
    """Return the KL of token sequences by the chain rule: that of the next token at each node, weighed by its reach.

    Nodes are the prefixes of shown values, the complete ones included, with the whole vocabulary behind each. What
    would follow a token that is neither a value nor END adds at most its chance (``odd``) times the KL there.

    Args:
        policy: The policy.
        base: Its base.
        task: Problems of one length.
        found: The policy's solutions to them.
    """
    if not countable(task):
        raise InputError("The KL of sequences needs problems so short that their solutions can be enumerated.")
    m, depth, problems = found.modulus, len(found.value), len(task)
    every = np.full((problems, m**depth, task.response), task.vocabulary.id("end"), dtype=np.int64)
    every[:, :, :depth] = digits(m, depth)
    deck, row, response = Deck.of(task, torch.device("cpu")), torch.arange(problems), torch.from_numpy(every)
    ours, theirs = (log_policy(x, states_before(x, deck, row, response), 1.0).double() for x in (policy, base))
    node = full_kl(ours, theirs).numpy()
    usual = [*range(m), task.vocabulary.id("end")]
    strange = np.clip(1.0 - ours.exp()[..., usual].sum(dim=-1).numpy(), 0.0, 1.0)
    kl, odd = (
        np.asarray(sum((p * x[:, :: m ** (depth - t), t]).sum(axis=1) for t, p in enumerate(found.reached())))
        for x in (node, strange)
    )
    return Drift(kl, odd)


# --------------------------------------------------------------------------------------------------------- runs
@dataclass(frozen=True, slots=True, kw_only=True)
class KlRuns(Settings):
    """RL under a KL penalty in the reward, as a table: a row a base, penalty and quantity.

    All are means over the held-out problems of ``toymodels.runs``, whose solutions are enumerated:

    * "net": (success - T KL) less the base's success: what the policy gained less what it paid, as reached;
    * "optimum": the same at the Gibbs optimum, J* - p;
    * "share": the sum of what was reached over that of the optimum;
    * "wall": -T logit p at which the trained policy's success passes 1/2, from a straight line of logit success
      against logit p over the problems: 1 at the optimum;
    * "odd": the chance of a token that is neither a value nor END, which bounds what the KL leaves out.

    Attributes:
        sizes: Rungs of the ladder.
        seeds: Independent bases and runs at scale 1; their number grows as the root of ``scale``.
        recipe: Recipe of the bases.
        penalties: T, the coefficients of the KL.
        updates: RL updates.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **Settings.UNITS, "sizes": "parameters", "seeds": "seeds", "recipe": "name", "penalties": "1",
        "updates": "updates", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "penalty": "1", "quantity": "name", "value": "1",
    }  # fmt: skip
    sizes: tuple[int, ...] = (4_000, 15_000, 58_000)
    seeds: int = 3
    recipe: str = "standard"
    penalties: tuple[float, ...] = (0.2, 1.0)
    updates: int = 128
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (self.sizes and self.penalties) or min(self.penalties) <= 0 or self.updates < 0:
            raise InputError(
                f"sizes = {self.sizes}, penalties = {self.penalties}, updates = {self.updates}: give sizes, positive "
                "penalties and a number of updates."
            )
        if self.kl:
            raise InputError("The penalties set the coefficient of the KL; leave kl = 0.")
        ladder.recipe_of(self.recipe)
        for size in self.sizes:
            self.training(size)

    def plan(self, size: int, seed: int, penalty: float) -> Plan:
        """Return a run."""
        settings = {**self.rl(), "kl": penalty, "kl_where": "reward"}
        return Plan(size, seed, self.recipe, settings, self.updates, 2, 1)

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        rows: list[Row] = []
        for seed in seeds_of(self.seeds, self.scale):
            for size in self.sizes:
                for penalty in self.penalties:
                    made = run(self.plan(size, seed, penalty))
                    own = {"seed": seed, "parameters": ladder.parameters_of(size), "penalty": penalty}
                    told = self._told(size, seed, penalty, made)
                    rows += [own | {"quantity": name, "value": value} for name, value in told.items()]
        return tabulated(rows)

    def _told(self, size: int, seed: int, penalty: float, made: Arrays) -> dict[str, float]:
        """Return the quantities of a run."""
        task = Exams.of(ladder.recipe_of(self.recipe)).tasks["test"]
        base = ladder.base(size, seed, self.recipe)
        policy = ladder.from_arrays(ladder.config_of(size), weights_of(made))
        found, p = enumerate_solutions(policy, task), enumerate_solutions(base, task).success()
        moved = drift(policy, base, task, found)
        net, best = found.success() - penalty * moved.kl - p, optimum(p, penalty) - p
        return {
            "net": float(net.mean()),
            "optimum": float(best.mean()),
            "share": float(net.mean() / best.mean()),
            "wall": wall(p, found.success(), penalty),
            "odd": float(moved.odd.mean()),
        }

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"RL runs under a KL penalty, recipe {self.recipe}", "origin": "trained here"}


def wall(before: Array, after: Array, temperature: float) -> float:
    """Return -T logit p where the straight line of logit ``after`` against logit p passes 0.

    Args:
        before: Success p of the base on each problem, [P].
        after: Success of the trained policy, [P].
        temperature: T.
    """
    x, y = (logit(np.clip(s, 1e-9, 1 - 1e-9)) for s in (before, after))
    slope, start = np.polyfit(x, y, 1)
    return float(temperature * start / slope)
