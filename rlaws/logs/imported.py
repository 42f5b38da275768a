"""Training logs of the user's own, imported: in place of a policy, as the tables that recorded curves have.

The runs of a recipe (``rlaws.logs.recipes``) are compared at the steps that all of them evaluated. Where every recipe
has three runs or more, each run is a row of its own (column "seed") and the runs are the clusters; else their mean is
one curve.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.logs.recipes import Facts, Logs, Recipe, bounds, direction, grouped, in_settings, response_of, values_at
from rlaws.logs.runs import Run
from rlaws.sentences import Said, said

Array = NDArray[np.float64]

LAYOUTS = ("loss_curves", "group_size", "data_reuse", "reward_entropy", "converged", "policy_gain")


@dataclass(frozen=True, slots=True)
class ImportedCurves:
    """Learning curves of imported logs, as the tables of recorded ones.

    Attributes:
        logs: Files, folders or patterns.
        layout: One of ``LAYOUTS``: which columns are wanted.
        dialect: See ``import_runs``; ``mapping``, ``metric`` and ``join`` likewise.
        response: Column that is the share of right answers; None for the rule of ``responses``.
        low: Lowest value of the response, where the log does not tell; ``high`` likewise.
        better: "higher" or "lower"; None to tell it from the name.
        sizes: See ``Facts``; the settings that follow likewise.
        questions: Questions of the evaluation set, for binomial standard errors; None where not known.
        converged: Whether the runs have converged, so that their last value is the final one.
        averaged: Independent runs that every logged curve is already the mean of.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"layout": "name", "response": "name", "batch": "questions", "gpus": "GPUs"}

    logs: tuple[str, ...]
    layout: str = "loss_curves"
    dialect: str | None = None
    mapping: str | None = None
    metric: str | None = None
    join: bool = False
    response: str | None = None
    low: float | None = None
    high: float | None = None
    better: str | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, float] = field(default_factory=dict)
    reuse: Mapping[str, float] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)
    batch: float | None = None
    gpus: float | None = None
    convention: str = "generation"
    fill: bool = False
    questions: int | None = None
    converged: bool = False
    averaged: int = 1

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise InputError(f"layout = '{self.layout}' is not known.{suggest(self.layout, LAYOUTS)}")
        if not self.logs:
            raise InputError("No logs are given: policy.logs=[runs/a.log] names your training logs.")

    def sources(self) -> list[Path]:
        """Return the files that the numbers come from."""
        return self._logs().files()

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are and where they come from."""
        runs = self._logs().runs()
        return {
            "table": self.layout,
            "origin": "the user's own training logs",
            "response": response_of(runs, self.response),
            "recipes": {r.name: self.averaged * len(r.runs) for r in self.curves()},
        }

    def table(self) -> Mapping[str, NDArray[Any]]:
        """Return the columns that these logs and settings can fill; ``lacking`` says why others are not there.

        Raises:
            InputError: As the import, or if the runs of a recipe share no evaluation.
        """
        makers = {"converged": _converged, "policy_gain": _gains, "reward_entropy": _exchange}
        return makers.get(self.layout, _curves_table)(self, self.curves())

    def lacking(self) -> dict[str, str]:
        """Return a sentence for every column of the layout that cannot be filled: what is missing, what to give."""
        curves = self.curves()
        have = self.table()
        return {name: _WANTED[name](self, curves) for name in _WANTED if name not in have}

    def runs_behind(self) -> int:
        """Return the fewest runs behind any curve."""
        return self.averaged * min(len(curve.runs) for curve in self.curves())

    def curves(self) -> list[Recipe]:
        """Return the recipes, in the order of their first run."""
        facts = self._facts()
        runs = self._logs().runs()
        facts.check(runs)
        return grouped(runs, facts)

    def share(self, name: str, values: Array, runs: Sequence[Run]) -> Array | None:
        """Return a response as the share of right answers, or None if its range is not known."""
        low, high = bounds(name, runs)
        low, high = (low if self.low is None else self.low), (high if self.high is None else self.high)
        if low is None or high is None:
            return None
        found = (values - low) / (high - low)
        return np.asarray(1.0 - found if (self.better or direction(name)) == "lower" else found)

    def _logs(self) -> Logs:
        return Logs(tuple(self.logs), self.dialect, self.mapping, self.metric, self.join)

    def _facts(self) -> Facts:
        return Facts(
            self.sizes, self.families, self.groups, self.reuse, self.recipes, self.batch, self.gpus, self.convention,
            self.fill,
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------ the tables
@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One curve of a table: a run of a recipe, or the mean of its runs.

    Attributes:
        curve: The recipe.
        family: Its family in the table.
        seed: Number of the run, or None for the mean.
        step: [T] the steps.
        values: Column -> [T].
    """

    curve: Recipe
    family: str
    seed: int | None
    step: Array
    values: Mapping[str, Array]


LEAST_RUNS = 3  # runs of every recipe from which the runs are the clusters


def units_of(policy: ImportedCurves, curves: Sequence[Recipe], *columns: str) -> list[Unit]:
    """Return the curves of a table: every run where all recipes have three or more, else the mean of each recipe.

    Args:
        policy: The settings.
        curves: The recipes.
        *columns: Columns beside the response.

    Raises:
        InputError: If the runs of a recipe share no evaluation.
    """
    response = response_of([run for curve in curves for run in curve.runs], policy.response)
    apart = policy.averaged == 1 and all(len(curve.runs) >= LEAST_RUNS for curve in curves)
    found = []
    for curve, family in zip(curves, _families(policy.layout, curves), strict=True):
        if apart:
            steps = curve.shared(response)
            each = [values_at(run, steps, (response, *columns)) for run in curve.runs]
            found += [Unit(curve, family, i, steps, values) for i, values in enumerate(each)]
        else:
            found.append(Unit(curve, family, None, *curve.mean(response, *columns)))
    return found


def _curves_table(policy: ImportedCurves, curves: Sequence[Recipe]) -> dict[str, NDArray[Any]]:
    """Return a row for every evaluation after the start of training."""
    runs = [run for curve in curves for run in curve.runs]
    response = response_of(runs, policy.response)
    parts: list[dict[str, NDArray[Any]]] = []
    for unit in units_of(policy, curves, "samples_cum", "flops_cum"):
        curve, step = unit.curve, unit.step
        part: dict[str, NDArray[Any]] = {"step": step, "family": np.full(step.size, unit.family)}
        share = policy.share(response, unit.values[response], runs)
        optional = {
            "test_loss": None if share is None else 1.0 - share,
            "samples": _questions(policy, curve, step, unit.values),
            "cum_flops": unit.values.get("flops_cum"),
            "model_B": _constant(curve.size, step),
            "group_size": _constant(curve.group, step, np.int64),
            "reuse_tau": _constant(curve.reuse, step, np.int64),
            "seed": _constant(unit.seed, step, np.int64),
        }
        part |= {k: v for k, v in optional.items() if v is not None and np.isfinite(v).all()}
        parts.append({k: v[step > 0] for k, v in part.items()})
    names = [n for n in parts[0] if all(n in part for part in parts)]
    return {n: np.concatenate([part[n] for part in parts]) for n in names}


def _families(layout: str, curves: Sequence[Recipe]) -> list[str]:
    """Return the family of each recipe; of several that a table could not tell apart, with the recipe's name."""
    extra = {"group_size": ("group",), "data_reuse": ("reuse",)}.get(layout, ())
    keys = [(c.family, c.size, *(getattr(c, e) for e in extra)) for c in curves]
    return [c.family if keys.count(k) == 1 else f"{c.family}: {c.name}" for c, k in zip(curves, keys, strict=True)]


def _constant(value: float | None, like: Array, kind: Any = np.float64) -> NDArray[Any] | None:
    return None if value is None else np.full(like.size, value, dtype=kind)


def _questions(policy: ImportedCurves, curve: Recipe, step: Array, means: Mapping[str, Array]) -> Array | None:
    """Return the questions used so far; the answers, where it is not known how many go to a question."""
    if policy.batch is not None:
        return policy.batch * step
    answers = means.get("samples_cum")
    if answers is None:
        return None
    if curve.group is not None:
        return answers / curve.group
    return None if policy.layout == "group_size" else answers


def _ends(policy: ImportedCurves, units: Sequence[Unit]) -> list[tuple[float, float | None]]:
    """Return the last share of right answers of every curve, and the one before training where it was measured."""
    runs = [run for unit in units for run in unit.curve.runs]
    response = response_of(runs, policy.response)
    out = []
    for unit in units:
        share = policy.share(response, unit.values[response], runs)
        if share is None:
            return []
        out.append((float(share[-1]), float(share[0]) if unit.step[0] == 0 else None))
    return out


def _finals(policy: ImportedCurves, units: Sequence[Unit]) -> dict[str, NDArray[Any]]:
    """Return the columns that one row a curve has."""
    have: dict[str, NDArray[Any]] = {"runs": np.array([policy.averaged * len(u.curve.runs) for u in units])}
    if all(u.curve.size is not None for u in units):
        have["model_B"] = np.array([float(u.curve.size or 0.0) for u in units])
    if all(u.seed is not None for u in units):
        have["seed"] = np.array([u.seed for u in units], dtype=np.int64)
    return have


def _converged(policy: ImportedCurves, curves: Sequence[Recipe]) -> dict[str, NDArray[Any]]:
    units = units_of(policy, curves)
    have = _finals(policy, units)
    have["table"] = np.full(len(units), "own")
    have["family"] = np.array([u.family for u in units])
    ends = _ends(policy, units)
    if ends and policy.converged:
        have["pass_at_1"] = np.array([last for last, _ in ends])
    if policy.questions and "pass_at_1" in have:
        share = np.clip(have["pass_at_1"], 0.5 / policy.questions, 1.0 - 0.5 / policy.questions)
        have["stderr"] = np.sqrt(share * (1.0 - share) / (policy.questions * have["runs"]))
    return have


def _gains(policy: ImportedCurves, curves: Sequence[Recipe]) -> dict[str, NDArray[Any]]:
    units = units_of(policy, curves)
    have = _finals(policy, units)
    have["task"] = np.full(len(units), response_of([r for c in curves for r in c.runs], policy.response))
    have["model"] = np.array([u.curve.name for u in units])
    ends = _ends(policy, units)
    if ends and all(first is not None for _, first in ends):
        have["before"] = np.array([float(first or 0.0) for _, first in ends])
        have["after"] = np.array([last for last, _ in ends])
        have["gain"] = have["after"] - have["before"]
        have["rounding"] = np.full(len(units), 5e-7)
    if policy.questions:
        have["questions"] = np.full(len(units), float(policy.questions))
    return have


def _exchange(policy: ImportedCurves, curves: Sequence[Recipe]) -> dict[str, NDArray[Any]]:
    """Return reward and entropy at every step that has both."""
    reward = reward_beside_entropy(curves, policy.response)
    parts = []
    for curve in curves:
        if reward is None or any("entropy_token" not in run.columns for run in curve.runs):
            return {"family": np.array([c.name for c in curves])}
        step, means = curve.mean("entropy_token", reward)
        both = np.isfinite(means[reward])
        part = {"step": step[both], "reward": means[reward][both], "entropy": means["entropy_token"][both]}
        parts.append({**part, "family": np.full(int(both.sum()), curve.name)})
    return {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}


def reward_beside_entropy(curves: Sequence[Recipe], response: str | None) -> str | None:
    """Return the reward that every run logs at most steps beside its entropy: the task's, or the response."""
    runs = [run for curve in curves for run in curve.runs]
    possible = ["reward_task", "correct", "reward_train", *([response] if response else [])]
    return next((n for n in possible if all(n in run.columns for run in runs)), None)


# ------------------------------------------------------------------------------------------------ what is missing
def _no_size(policy: ImportedCurves, curves: Sequence[Recipe]) -> str:
    names = [c.name for c in curves if c.size is None]
    return said("no_model_size", names=_first(names), hint=_size_hint(names))


def _size_hint(names: Iterable[str]) -> str:
    """Return how to give sizes: with the sizes that stand in the names, if they do."""
    seen = {n: re.search(r"(?<![\d.])(\d+(?:\.\d+)?)\s*[bB](?![a-zA-Z])", n) for n in names}
    pairs = [f"'*{m[0]}*': {m[1]}" for m in seen.values() if m]
    return "{" + ", ".join(dict.fromkeys(pairs) if pairs and len(pairs) == len(seen) else ["'*': 0.5"]) + "}"


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{n}'" for n in names[:3])
    return said("and_more", names=shown, n=len(names) - 3) if len(names) > 3 else shown


def _no_flops(policy: ImportedCurves, curves: Sequence[Recipe]) -> str:
    told = [w for c in curves for run in c.runs for w in run.warnings if w.startswith("flops_cum is not derived")]
    return in_settings(told[0]) if told else said("no_flops")


def _no_loss(policy: ImportedCurves, curves: Sequence[Recipe]) -> str:
    name = response_of([run for c in curves for run in c.runs], policy.response)
    return said("no_loss", name=name)


def _no_pair(policy: ImportedCurves, curves: Sequence[Recipe]) -> str:
    without = [c.name for c in curves if any("entropy_token" not in run.columns for run in c.runs)]
    if without:
        return said("no_entropy", names=_first(without))
    return said("no_reward")


def _plainly(key: str) -> Callable[..., Said]:
    """Return what says one sentence, whatever the runs."""
    return lambda *_: said(key)


_WANTED: Mapping[str, Any] = {
    "model_B": _no_size,
    "cum_flops": _no_flops,
    "test_loss": _no_loss,
    "samples": _plainly("no_samples"),
    "group_size": _plainly("no_group"),
    "reuse_tau": _plainly("no_reuse"),
    "reward": _no_pair,
    "entropy": _no_pair,
    "pass_at_1": _plainly("not_converged"),
    "stderr": _plainly("no_questions"),
    "questions": _plainly("no_questions"),
    "before": _plainly("no_before"),
    "after": _plainly("no_before"),
    "gain": _plainly("no_before"),
}
