"""Critics as tables: what ``toymodels.critics`` trains, a row for each seed and world, read by the probe tabulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isnan, nan, sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.policy import Array
from toymodels import ladder
from toymodels.cache import Arrays
from toymodels.critics import Fit, Moving, critic_config, critic_flops, fitted, moved

Table = dict[str, NDArray[Any]]
Row = dict[str, Any]

PASSED, COLLAPSED_FOR = 0.2, 20
"""A collapse: EV stays low for so many updates after it was above PASSED."""
SEEN = ("all", "prompt")
"""States that an explained variance speaks of, and its column in a fit or a run."""
COLUMN = {"all": "explained", "prompt": "explained_prompt"}


def seeds_of(base: int, scale: float) -> tuple[int, ...]:
    """Return the seeds of a budget: their number grows as the root of the scale."""
    return tuple(range(max(1, round(base * sqrt(scale)))))


def tabulated(rows: list[Row]) -> Table:
    """Return rows as columns."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _known(layout: str, layouts: Mapping[str, Any]) -> None:
    if layout not in layouts:
        raise InputError(f"layout = '{layout}' is not known.{suggest(layout, layouts)}")


# -------------------------------------------------------------------------------------------------- a fixed policy
@dataclass(frozen=True, slots=True, kw_only=True)
class CriticFits:
    """Critics of several sizes fitted to the same rollouts of policies of several sizes.

    Layout "capacity": a row a seed and kind of states, with the slopes of EV = c0 + ``per_critic`` log N_V -
    ``per_policy`` log N_pi over all pairs of sizes: N_V for a given EV then goes as N_pi to the per_policy/per_critic,
    whatever the target. Layout "group": a row a seed and policy, with log10 of N_V/N_pi at which the critic's error at
    the questions, E(v - V)^2, is that of a group's leave-one-out mean, E Var(R|s)/(G - 1); where even the smallest
    critic does better, or even the largest worse, its own ratio is the bound that is told.

    Attributes:
        layout: "capacity" or "group".
        policies: Rungs of the policies.
        critics: Sizes of the critics.
        seeds: Independent bases of each policy, and fits, at scale 1; their number grows as the root of ``scale``.
        recipe: Recipe of the bases.
        fit_updates: Updates of a fit at scale 1, of 128 rollouts each; likewise.
        group: Responses G of a group.
        shuffled: Exchange outcomes at random: the negative control.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "layout": "name", "policies": "parameters", "critics": "parameters", "seeds": "seeds", "recipe": "name",
        "fit_updates": "updates", "group": "answers per prompt", "shuffled": "name", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "states": "name", "per_critic": "1", "per_policy": "1", "parameters": "parameters", "log10_multiple": "1",
        "explained": "1", "explained_prompt": "1",
    }  # fmt: skip
    layout: str = "capacity"
    policies: tuple[int, ...] = (4_000, 15_000, 58_000)
    critics: tuple[int, ...] = (300, 1_000, 4_000, 15_000)
    seeds: int = 3
    recipe: str = "standard"
    fit_updates: int = 240
    group: int = 64
    shuffled: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        _known(self.layout, _FIT_ROWS)
        pairs = self.layout == "group" or len(self.policies) > 1
        if not (self.policies and pairs) or len(self.critics) < 2 or self.group < 2 or self.fit_updates < 1:
            raise InputError(
                f"policies = {self.policies}, critics = {self.critics}, group = {self.group}, fit_updates = "
                f"{self.fit_updates}: give at least two critics, for capacity two policies, a group of 2, one update."
            )
        for size in self.critics:
            critic_config(size)

    def plans(self, seed: int, policy: int) -> list[Fit]:
        """Return the fits of a policy, by size of the critic."""
        updates = round(self.fit_updates * sqrt(self.scale))
        return [
            Fit(policy, seed, self.recipe, size, updates=updates, shuffled=self.shuffled)
            for size in sorted(self.critics)
        ]

    def table(self) -> Table:
        """Return the rows; what is not in the cache is fitted."""
        every = (row for seed in seeds_of(self.seeds, self.scale) for row in _FIT_ROWS[self.layout](self, seed))
        return tabulated(list(every))

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"critics of toy policies, recipe {self.recipe}", "origin": "trained here"}


def _sizes(plans: list[Fit]) -> Array:
    """Return the exact parameters of critics."""
    return np.array([critic_config(p.critic, p.mixture).parameters(critic=True).total for p in plans], dtype=float)


def _capacity_rows(own: CriticFits, seed: int) -> list[Row]:
    """Return the slopes of EV against the two sizes."""
    design, told = [], {states: list[float]() for states in SEEN}
    for policy in own.policies:
        plans = own.plans(seed, policy)
        design += [(1.0, np.log10(size), np.log10(ladder.parameters_of(policy))) for size in _sizes(plans)]
        for states in SEEN:
            told[states] += [float(fitted(plan)[COLUMN[states]]) for plan in plans]
    rows = []
    for states in SEEN:
        slopes = np.linalg.lstsq(np.array(design), np.array(told[states]), rcond=None)[0]
        rows.append({"seed": seed, "states": states, "per_critic": slopes[1], "per_policy": -slopes[2]})
    return rows


def _group_rows(own: CriticFits, seed: int) -> list[Row]:
    """Return the size of the critic that equals a group, over that of the policy."""
    rows = []
    for policy in own.policies:
        plans = own.plans(seed, policy)
        made = [fitted(plan) for plan in plans]
        error = np.array([float(x["error_prompt"]) for x in made])
        size = crossing(np.log10(_sizes(plans)), np.log(error), float(np.log(made[0]["variance"] / (own.group - 1))))
        exact = ladder.parameters_of(policy)
        rows.append({"seed": seed, "parameters": exact, "log10_multiple": size - np.log10(exact)})
    return rows


def crossing(x: Array, y: Array, level: float) -> float:
    """Return the smallest x at which y, joined by straight lines, is down to a level; the nearer end if it never is.

    Args:
        x: Rising, [X].
        y: [X].
        level: The level.
    """
    below = np.flatnonzero(y <= level)
    if below.size == 0:
        return float(x[-1])
    i = int(below[0])
    if i == 0:
        return float(x[0])
    return float(x[i - 1] + (x[i] - x[i - 1]) * (y[i - 1] - level) / (y[i - 1] - y[i]))


_FIT_ROWS: Mapping[str, Callable[[CriticFits, int], list[Row]]] = {"capacity": _capacity_rows, "group": _group_rows}


# ------------------------------------------------------------------------------------------------- a moving policy
@dataclass(frozen=True, slots=True, kw_only=True)
class CriticRuns:
    """Critics beside a policy that PPO trains; every critic starts fitted to the base's rollouts.

    EV is that of the values of the questions (``toymodels.critics``), exact at every evaluation. Layouts, each with a
    row a seed and ...

    * "collapse": kind of critic (shared, separate): ``level``, the lowest value that EV stays under for 20 updates
      after having passed 0.2: a collapse at 0.05 is a level of at most 0.05. A run that never passes it cannot
      collapse: it has no row, and the provenance counts such runs.
    * "cause": factor (size, recipe): ``effect`` on the mean EV of the run, averaged over the other factor: large
      critic less small one; value pre-training and lambda 1 less the start from a reward model and lambda 0.95.
    * "mixture": quantity: gain of a mixture of experts over the dense critic of the same active parameters in EV with
      the policy at rest ("at_rest") and as it moves ("moving", mean of the run), ``level`` as above, and "flops", the
      ratio of the forward FLOPs of a token.
    * "methods": quantity: GRPO less PPO at the end: success, KL to the start in nats, tokens of an answer.

    Attributes:
        layout: See above.
        parameters: Rung of the policy.
        large: Size of the critic.
        small: Size of the small critic of "cause".
        seeds: Independent runs at scale 1; their number grows as the root of ``scale``.
        recipe: Recipe of the bases.
        updates: Updates of a run.
        every: Updates from one evaluation to the next.
        fit_updates: Updates of the critic's fit before.
        speed: Factor on the policy's learning rate.
        shuffled: Exchange rewards at random: the negative control.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "layout": "name", "parameters": "parameters", "large": "parameters", "small": "parameters", "seeds": "seeds",
        "recipe": "name", "updates": "updates", "every": "updates", "fit_updates": "updates", "speed": "1",
        "shuffled": "name", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "critic": "name", "factor": "name", "quantity": "name", "level": "1", "effect": "1", "difference": "1",
    }  # fmt: skip
    layout: str = "collapse"
    parameters: int = 15_000
    large: int = 15_000
    small: int = 1_000
    seeds: int = 4
    recipe: str = "standard"
    updates: int = 40
    every: int = 4
    fit_updates: int = 240
    speed: float = 1.0
    shuffled: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        _known(self.layout, _RUN_ROWS)
        if self.every < 1 or COLLAPSED_FOR % self.every or self.updates < COLLAPSED_FOR:
            raise InputError(
                f"updates = {self.updates}, every = {self.every}: needed are at least {COLLAPSED_FOR} updates, and a "
                f"divisor of {COLLAPSED_FOR} from one evaluation to the next."
            )
        if self.speed < 0:
            raise InputError(f"speed = {self.speed}; give 0 (the policy rests) or more.")

    def plan(self, seed: int, kind: str, critic: int = 0, **more: Any) -> Moving:
        """Return a run of this policy with a kind and size of critic."""
        shared = {"updates": self.updates, "every": self.every, "speed": self.speed, "shuffled": self.shuffled}
        base = (self.parameters, seed, self.recipe)
        return Moving(*base, kind=kind, critic=critic, **{"fit_updates": self.fit_updates, **shared, **more})

    def plans(self, seed: int) -> dict[str, Moving]:
        """Return the runs of the layout by name."""
        bad, dense = {"start": "end", "lam": 0.95}, self.plan(seed, "separate", self.large)
        if self.layout == "collapse":
            return {"shared": self.plan(seed, "shared"), "separate": dense}
        if self.layout == "mixture":
            return {"dense": dense, "mixture": self.plan(seed, "separate", self.large, mixture=True)}
        if self.layout == "methods":
            return {"ppo": dense, "grpo": self.plan(seed, "none", fit_updates=0)}
        return {
            "large good": dense,
            "large bad": self.plan(seed, "separate", self.large, **bad),
            "small good": self.plan(seed, "separate", self.small),
            "small bad": self.plan(seed, "separate", self.small, **bad),
        }

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        rows: list[Row] = []
        for seed in seeds_of(self.seeds, self.scale):
            plans = self.plans(seed)
            runs = {name: moved(plan) for name, plan in plans.items()}
            rows += [{"seed": seed, **row} for row in _RUN_ROWS[self.layout](self, plans, runs)]
        return tabulated(_explained(rows))

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are, and the FLOPs of the runs (bases, fits and evaluations aside)."""
        plans = [plan for seed in seeds_of(self.seeds, self.scale) for plan in self.plans(seed).values()]
        cost = {"flops": float(sum(moved(plan)["flops"][-1] for plan in plans))}
        told = {"table": f"PPO runs of toy policies, recipe {self.recipe}", "origin": "trained here", "cost": cost}
        watched = [plan for plan in plans if self.layout == "collapse" or plan.mixture]
        if not watched:
            return told
        never = sum(isnan(_level(self, moved(plan))) for plan in watched)
        return {**told, "never_explained": f"{never} of {len(watched)} critics never passed EV = {PASSED}"}


def _explained(rows: list[Row]) -> list[Row]:
    """Return the rows without those of critics that never explained enough to collapse.

    Raises:
        InputError: If none is left of a kind of critic.
    """
    kept = [row for row in rows if not isnan(row.get("level", row.get("difference", 0.0)))]
    kinds = [{row.get("critic", row.get("quantity")) for row in part} for part in (rows, kept)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"Of {', '.join(map(str, kinds[0] - kinds[1]))} no EV ever passes {PASSED} with {COLLAPSED_FOR} updates "
            "left, so nothing can collapse; give more fit_updates or updates."
        )
    return kept


Plans = Mapping[str, Moving]
Runs = Mapping[str, Arrays]


def level(explained: Array, window: int) -> float:
    """Return the lowest value that EV stays under throughout a window, after it has passed ``PASSED``.

    NaN if it never passes, or too late for a window: nothing can then collapse.

    Args:
        explained: EV at evenly spaced evaluations, [E].
        window: Evaluations of a window.
    """
    passed = np.flatnonzero(explained > PASSED)
    after = explained[passed[0] :] if passed.size else explained[:0]
    if after.size < window:
        return nan
    return float(np.lib.stride_tricks.sliding_window_view(after, window).max(axis=1).min())


def _level(own: CriticRuns, run: Arrays) -> float:
    return level(run["explained_prompt"], COLLAPSED_FOR // own.every + 1)


def mean_explained(run: Arrays) -> float:
    """Return the mean EV of the questions over a run, the start left out."""
    return float(run["explained_prompt"][1:].mean())


def _collapse_rows(own: CriticRuns, plans: Plans, runs: Runs) -> list[Row]:
    return [{"critic": name, "level": _level(own, run)} for name, run in runs.items()]


def _cause_rows(own: CriticRuns, plans: Plans, runs: Runs) -> list[Row]:
    told = {name: mean_explained(run) for name, run in runs.items()}
    size = told["large good"] + told["large bad"] - told["small good"] - told["small bad"]
    recipe = told["large good"] + told["small good"] - told["large bad"] - told["small bad"]
    return [{"factor": "size", "effect": size / 2}, {"factor": "recipe", "effect": recipe / 2}]


def _mixture_rows(own: CriticRuns, plans: Plans, runs: Runs) -> list[Row]:
    rest = {name: float(fitted(plan.fit())["explained_prompt"]) for name, plan in plans.items()}
    told = {
        "at_rest": rest["mixture"] - rest["dense"],
        "moving": mean_explained(runs["mixture"]) - mean_explained(runs["dense"]),
        "level": _level(own, runs["mixture"]),
        "flops": critic_flops(own.large, True) / critic_flops(own.large),
    }
    return [{"quantity": name, "difference": value} for name, value in told.items()]


def _method_rows(own: CriticRuns, plans: Plans, runs: Runs) -> list[Row]:
    return [
        {"quantity": name, "difference": float(runs["grpo"][name][-1] - runs["ppo"][name][-1])}
        for name in ("success", "kl", "length")
    ]


_RUN_ROWS: Mapping[str, Callable[[CriticRuns, Plans, Runs], list[Row]]] = {
    "collapse": _collapse_rows,
    "cause": _cause_rows,
    "mixture": _mixture_rows,
    "methods": _method_rows,
}
