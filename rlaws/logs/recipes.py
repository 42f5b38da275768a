"""Which logs are read, and what the user says of their runs: recipes, sizes, groups, and the response.

Runs of one *recipe* differ in their seed only: their names are equal once "seed3", "rep2" and the like are taken out,
or the user says so by pattern. What a log cannot say (the size of the model, questions a step) the user says by pattern
of run names.
"""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.logs.canonical import FIELDS, parse_id
from rlaws.logs.derive import Setup, derive
from rlaws.logs.detection import parted
from rlaws.logs.dialects.base import Tell
from rlaws.logs.importing import import_runs
from rlaws.logs.runs import Column, Run
from rlaws.sentences import Said

Array = NDArray[np.float64]

SEED = re.compile(r"(?:^|[-_. /:]+)(?:seed|rep|replicate|trial)[-_=.]?\d+(?=$|[-_. /:])", re.IGNORECASE)
LOWER = ("error", "loss", "err")  # metrics of which less is better


# ------------------------------------------------------------------------------------------------ which files
def expand(patterns: Sequence[str]) -> list[Path]:
    """Return the files and folders that patterns name, in the order of the patterns, each sorted and once.

    Args:
        patterns: Paths, or patterns with ``*``, ``?``, ``[...]`` and ``**``; "~" is expanded. A name that is there as
            it stands is no pattern.

    Raises:
        InputError: If one names nothing; the nearest names beside it are told.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        hits = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(str(path), recursive=True))]
        if not hits:
            raise InputError(f"logs: there is nothing at '{pattern}'.{_beside(path)}")
        found.update(dict.fromkeys(hits))
    if not found:
        raise InputError("No logs are given: logs=runs/* takes files, folders or patterns of your training logs.")
    return list(found)


def _beside(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f" There is no folder '{parent}' either."
    return suggest(path.name, sorted(p.name for p in parent.iterdir())[:40])


def files_of(paths: Sequence[Path], dialect: str | None = None) -> list[Path]:
    """Return every file that an import of the paths reads: training logs, then answers per problem.

    Raises:
        InputError: As ``detection.parted``.
    """
    parts = parted(paths, dialect)
    return files_in([*parts.records, *parts.counts])


def files_in(parts: Sequence[Path]) -> list[Path]:
    """Return the files of some parts, a folder's sorted, each once."""
    inside = (sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part] for part in parts)
    return list(dict.fromkeys(file for files in inside for file in files))


# ------------------------------------------------------------------------------------------------ what the user says
@dataclass(frozen=True, slots=True)
class Facts:
    """What the user knows of the runs and their logs do not say, by patterns of the shell; the longest hit counts.

    Attributes:
        sizes: Pattern of run names -> parameters in 1e9.
        families: Pattern -> name of the model family.
        groups: Pattern -> answers a question in a rollout group.
        reuse: Pattern -> how often each question is used.
        recipes: Pattern -> recipe, where names do not show which runs differ in their seed only.
        batch: Questions a step, or None.
        gpus: GPUs of a run, or None.
        convention: How compute is counted; see ``logs.derive``.
        fill: See ``derive.Setup``.
    """

    sizes: Mapping[str, float] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, float] = field(default_factory=dict)
    reuse: Mapping[str, float] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)
    batch: float | None = None
    gpus: float | None = None
    convention: str = "generation"
    fill: bool = False

    def check(self, runs: Sequence[Run]) -> None:
        """Check the numbers, and that every pattern names a run.

        Raises:
            InputError: If a pattern names none (a typo), or a number is not positive.
        """
        for name in ("sizes", "families", "groups", "reuse", "recipes"):
            for pattern, value in getattr(self, name).items():
                if not any(_hit(pattern, run) for run in runs):
                    names = ", ".join(run.name for run in runs[:8])
                    raise InputError(f"{name}: '{pattern}' names no run. The runs are: {names}.")
                if name in ("sizes", "groups", "reuse") and not 0.0 < float(value) < np.inf:
                    raise InputError(f"{name}: '{pattern}' has the value {value}; give a positive number.")

    def of(self, name: str, run: Run) -> Any:
        """Return what a setting says of a run, or None.

        Raises:
            InputError: If two patterns of one length say different things of it.
        """
        hits = [(len(pattern), pattern, value) for pattern, value in getattr(self, name).items() if _hit(pattern, run)]
        longest = [hit for hit in hits if hit[0] == max(h[0] for h in hits)]
        if len({hit[2] for hit in longest}) > 1:
            patterns = " and ".join(f"'{hit[1]}'" for hit in longest)
            raise InputError(f"{name}: {patterns} both name the run '{run.name}', and differ; make one of them longer.")
        return longest[0][2] if longest else None

    def recipe(self, run: Run) -> str:
        """Return the recipe of a run."""
        said = self.of("recipes", run)
        return str(said) if said is not None else SEED.sub("", run.name).strip(" -_.:/") or run.name

    def setup(self, run: Run) -> Setup:
        """Return what is known for the derived axes of a run."""
        size, group = self.of("sizes", run), self.of("groups", run)
        answers = None if self.batch is None or group is None else self.batch * float(group)
        return Setup(None if size is None else 1e9 * float(size), answers, self.gpus, self.convention, self.fill)


def _hit(pattern: str, run: Run) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), str(pattern).lower()) for name in (run.name, *run.sources))


# ------------------------------------------------------------------------------------------------ the runs
@dataclass(frozen=True, slots=True)
class Logs:
    """Which logs are read, and how; see ``import_runs``."""

    paths: tuple[str, ...]
    dialect: str | None = None
    mapping: str | None = None
    metric: str | None = None
    join: bool = False

    def files(self) -> list[Path]:
        """Return the files of training logs, with the mapping file."""
        return [*files_in(self.records()), *([Path(self.mapping)] if self.mapping else [])]

    def records(self) -> tuple[Path, ...]:
        """Return the paths that hold training logs."""
        return parted(expand(self.paths), self.dialect).records

    def runs(self, tell: Tell | None = None) -> tuple[Run, ...]:
        """Return the imported runs, each with a name of its own; the same files are read once in a process.

        Raises:
            InputError: As ``import_runs``.
        """
        stamp = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in self.files() if p.exists())
        key = (self, stamp)
        if key not in _READ:
            if len(_READ) > 3:
                _READ.clear()
            found = import_runs(
                self.records(), dialect=self.dialect, mapping=self.mapping, metric=self.metric, join=self.join,
                tell=tell,
            )  # fmt: skip
            _READ[key] = named(found)
        return _READ[key]


_READ: dict[tuple[Logs, tuple[tuple[str, int, int], ...]], tuple[Run, ...]] = {}


class Nameable(Protocol):
    """What has a name, and files it comes from."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Its files."""


Item = TypeVar("Item", bound=Nameable)


def named(runs: Sequence[Item]) -> tuple[Item, ...]:
    """Return the runs, those of one name told apart by as many folders of their path as it takes."""
    names = [run.name for run in runs]
    for depth in range(1, 8):
        twice = {n for n in names if names.count(n) > 1}
        if not twice:
            break
        names = [_deeper(run, depth) if n in twice else n for n, run in zip(names, runs, strict=True)]
    seen: dict[str, int] = {}
    out: list[Item] = []
    for name, run in zip(names, runs, strict=True):
        seen[name] = seen.get(name, 0) + 1
        changed: Any = replace(cast(Any, run), name=name if seen[name] == 1 else f"{name} ({seen[name]})")
        out.append(changed)
    return tuple(out)


def _deeper(run: Nameable, depth: int) -> str:
    folders = Path(run.sources[0]).resolve().parent.parts[-depth:]
    return "/".join([*(f for f in folders if f != "/"), run.name])


# ------------------------------------------------------------------------------------------------ the response
def responses(runs: Sequence[Run]) -> list[tuple[str, int]]:
    """Return the columns that a forecast may be about with the points that all runs have of them, best first.

    The rule: evaluations by their number of points if each run has five or more, then the task's reward, the share of
    right answers, the reward of training, pass@k of training, and evaluations that are rarer.
    """
    points: dict[str, int] = {}
    least: dict[str, int] = {}
    for run in runs:
        for name, column in run.columns.items():
            if column.field in RESPONSES:
                count = int(column.finite().sum())
                points[name] = points.get(name, 0) + count
                least[name] = min(least.get(name, count), count)
    everywhere = [n for n in points if all(n in run.columns for run in runs)] or list(points)

    def rank(name: str) -> tuple[int, int, str]:
        where = parse_id(name)[0]
        rare = where == "eval" and least[name] < ENOUGH
        return (len(RESPONSES) if rare else RESPONSES.index(where)), -points[name], name

    return [(n, points[n]) for n in sorted(everywhere, key=rank)]


ENOUGH = 5  # evaluations of a run from which they are forecast
RESPONSES = ("eval", "reward_task", "correct", "reward_train", "pass_k")


def response_of(runs: Sequence[Run], wanted: str | None) -> str:
    """Return the column that the user asked for, or that the rule of ``responses`` picks.

    Raises:
        InputError: If no run has it, or the logs hold no score at all.
    """
    if wanted is None:
        possible = responses(runs)
        if not possible:
            raise InputError(
                "No log holds an evaluation or a reward that is understood, so there is nothing to forecast. "
                "`rlaws fit logs=… --explain` shows what was understood; response=… takes any column, and mapping=… "
                "says what a key is."
            )
        return possible[0][0]
    every = dict.fromkeys(name for run in runs for name in run.columns)
    if wanted not in every:
        raise InputError(f"response = '{wanted}' is no column of these logs.{suggest(wanted, every)}")
    return wanted


def direction(name: str) -> str:
    """Return whether less or more of a column is better: "lower" for losses and errors."""
    where, labels = parse_id(name)
    words = (where, labels.get("metric", ""))
    lower = any(w == m or w.startswith(f"{m}_") or w.endswith(f"_{m}") for w in words for m in LOWER)
    return "lower" if lower else "higher"


def bounds(name: str, runs: Sequence[Run]) -> tuple[float | None, float | None]:
    """Return the range of a column: the schema's, or 0 to 1 for an evaluation that never leaves it; else unknown."""
    where = parse_id(name)[0]
    low, high = FIELDS[where].low, FIELDS[where].high
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    parts = [c.values[c.finite()] for c in (run.columns[name] for run in runs if name in run.columns)]
    values = np.concatenate(parts) if parts else np.zeros(0)
    if where == "eval" and values.size and values.min() >= 0.0 and values.max() <= 1.0:
        return 0.0, 1.0
    return (low if np.isfinite(low) else None), (high if np.isfinite(high) else None)


# ------------------------------------------------------------------------------------------------ the recipes
@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """Runs that differ in their seed only.

    Attributes:
        name: Name of the recipe.
        runs: Its runs, with derived axes.
        size: Parameters in 1e9, or None.
        family: Model family.
        group: Answers a question, or None.
        reuse: How often each question is used, or None.
    """

    name: str
    runs: tuple[Run, ...]
    size: float | None
    family: str
    group: float | None
    reuse: float | None

    def shared(self, response: str) -> Array:
        """Return the steps that every run has of the response.

        Raises:
            InputError: If there is none.
        """
        kept = None
        for run in self.runs:
            column = run.columns.get(response)
            steps = run.step[column.finite()] if column is not None else run.step[:0]
            kept = steps if kept is None else np.intersect1d(kept, steps)
        if kept is None or not kept.size:
            raise InputError(f"The runs of '{self.name}' share no step with '{response}'; they cannot be compared.")
        return kept

    def mean(self, response: str, *others: str) -> tuple[Array, dict[str, Array]]:
        """Return the shared steps, and the means over the runs of the columns there.

        Raises:
            InputError: As ``shared``.
        """
        steps = self.shared(response)
        each = [values_at(run, steps, (response, *others)) for run in self.runs]
        common = [n for n in (response, *others) if all(n in found for found in each)]
        return steps, {n: np.mean([found[n] for found in each], axis=0) for n in common}


def values_at(run: Run, steps: Array, names: Sequence[str]) -> dict[str, Array]:
    """Return those of the columns that a run has at some of its steps; NaN where a value is missing."""
    place = np.searchsorted(run.step, steps)
    columns: dict[str, Column] = {n: run.columns[n] for n in names if n in run.columns}
    return {n: np.where(c.finite()[place], c.values[place], np.nan) for n, c in columns.items()}


def grouped(runs: Sequence[Run], facts: Facts) -> list[Recipe]:
    """Return the runs by recipe, with every axis that can be derived.

    Raises:
        InputError: If the runs of one recipe have several sizes or settings.
    """
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(facts.recipe(run), []).append(run)
    return [_recipe(name, members, facts) for name, members in by_name.items()]


def _recipe(name: str, runs: Sequence[Run], facts: Facts) -> Recipe:
    said: dict[str, Any] = {}
    for setting in ("sizes", "families", "groups", "reuse"):
        values = list(dict.fromkeys(facts.of(setting, run) for run in runs))
        if len(values) > 1:
            raise InputError(
                f"The runs of the recipe '{name}' have {len(values)} values of {setting} ({values}); seeds of one "
                "recipe share them. Tell them apart with recipes={pattern: name}."
            )
        said[setting] = values[0]
    return Recipe(
        name, tuple(derive(run, facts.setup(run)) for run in runs),
        None if said["sizes"] is None else float(said["sizes"]), str(said["families"] or "own"),
        None if said["groups"] is None else float(said["groups"]),
        None if said["reuse"] is None else float(said["reuse"]),
    )  # fmt: skip


def in_settings(sentence: str) -> str:
    """Return a sentence of ``logs.derive`` in the words of the settings here."""
    return sentence.mapped(_in_settings) if isinstance(sentence, Said) else _in_settings(sentence)


def _in_settings(sentence: str) -> str:
    for its, ours in (
        ("give samples=, the answers a step", "give batch=, the questions a step, and groups=, the answers a question"),
        ("give parameters=, the number N of the policy's parameters", "give sizes=, in 1e9 parameters"),
        ("fill=True", "fill=true"),
        ("请给出 samples=（每步回答数）", "请给出 batch=（每步题数）和 groups=（每题回答数）"),
        ("请给出 parameters=（策略的参数量 N）", "请给出 sizes=（以 1e9 参数为单位）"),
    ):
        sentence = sentence.replace(its, ours)
    return sentence.rstrip(".。")
