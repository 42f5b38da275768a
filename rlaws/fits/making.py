"""A fit from beginning to end: import, choose, forecast, judge, store. Pure but for the folder it writes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rlaws.engine import LocalEngine
from rlaws.errors import InputError
from rlaws.fits import folder as folders
from rlaws.fits.asking import Asked, axis_of
from rlaws.fits.families import families
from rlaws.fits.forecasting import made, tasks
from rlaws.fits.judging import Askable, Refused, numbered, owned, policy_of, refusal
from rlaws.jsonable import plain
from rlaws.lock import locked
from rlaws.logs.explain import explain
from rlaws.logs.imported import ImportedCurves
from rlaws.logs.mapping import load
from rlaws.logs.recipes import Recipe, grouped, response_of, responses
from rlaws.logs.runs import Run
from rlaws.runner import Finished, run_study
from rlaws.study import Study

RULE = {
    "en": "Of the columns that every run has, the evaluation with most points (five a run at least), else the task's "
    "reward.",
    "zh": "在所有运行都有的列中，取点数最多的评测（每次运行至少五个点）；否则取任务奖励。",
}


class Told(Protocol):
    """Is told how far a fit is."""

    def read(self, count: int) -> None:
        """Take bytes that were read since the last call."""

    def total(self, count: int) -> None:
        """Take the number of steps that are left to do."""

    def at(self, what: str, done: int = 0) -> None:
        """Take what is being done, and steps that were done since the last call."""


class Silent:
    """Tells nobody."""

    def read(self, count: int) -> None:
        """See ``Told``."""

    def total(self, count: int) -> None:
        """See ``Told``."""

    def at(self, what: str, done: int = 0) -> None:
        """See ``Told``."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that may be judged, and how a plain configuration becomes a study.

    Attributes:
        asked: Studies of the catalogue that read such tables.
        compose: Returns the composed configuration of a study.
        probes: Name of a probe in the place of a study's own -> its specification.
        study: Validates a configuration.
        stored: Returns the part of a configuration that is stored.
        stamp: Hash of the configuration that they are composed of.
    """

    asked: Sequence[Askable]
    compose: Callable[[str], Mapping[str, Any]]
    probes: Mapping[str, Mapping[str, Any]]
    study: Callable[[Mapping[str, Any]], Study]
    stored: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit left behind.

    Attributes:
        folder: Its folder.
        result: What fit.json holds.
        failed: Sentences on studies whose cells failed.
    """

    folder: Path
    result: Mapping[str, Any]
    failed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Judged:
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def make(asked: Asked, claims: Claims, out: Path, command: str, tell: Told) -> Fit:
    """Make a fit, or return the one that is stored.

    Args:
        asked: The settings.
        claims: The claims that may be judged.
        out: Folder of all fits.
        command: The command that reproduces it.
        tell: Told how far it is.

    Raises:
        InputError: If a log or a setting is not usable.
        RlawsError: If the disk refuses.
    """
    began = time.monotonic()
    files = folders.sources(asked)
    code = folders.code_hash()
    place = out / folders.name_of(asked, files, code, claims.stamp)
    found = folders.stored(place)
    if found is not None:
        return Fit(place, found)
    runs, recipes, asked = ready(asked, tell)
    axis = axis_of([run for r in recipes for run in r.runs], asked.x)
    todo = tasks(recipes, axis, asked)
    tell.total(3 * len(todo) + len(claims.asked))
    forecasts = [made(task, asked, lambda what: tell.at(what, 1)) for task in todo]
    tell.at("sizes")
    sized = families(todo, asked)
    with locked(place):
        judged = _judge(asked, claims, place, command, tell)
        result = _result(asked, runs, recipes, forecasts, judged)
        result |= {"axis": dataclasses.asdict(axis), "code": code, "hash": place.name, "families": sized}
        result["sources"] = [dataclasses.asdict(f) for f in files]
        mapping = load(asked.logs.mapping, None).text if asked.logs.mapping else ""
        if not judged.failed:
            folders.save(place, dict(plain(result)), command, mapping, time.monotonic() - began)
    return Fit(place, dict(plain(result)), tuple(judged.failed))


def ready(asked: Asked, tell: Told) -> tuple[tuple[Run, ...], list[Recipe], Asked]:
    """Return the runs, the recipes with derived axes, and the settings with the responses that are forecast.

    Raises:
        InputError: As the import, or for a fact or a response that names nothing.
    """
    runs = asked.logs.runs(tell.read)
    asked.facts.check(runs)
    chosen = [response_of(runs, name) for name in asked.responses or (None,)]
    return runs, grouped(runs, asked.facts), dataclasses.replace(asked, responses=tuple(chosen))


# ------------------------------------------------------------------------------------------------ the claims
def _judge(asked: Asked, claims: Claims, place: Path, command: str, tell: Told) -> _Judged:
    """Run every study that the logs can answer; its run folder lies in the folder of the fit."""
    judged = _Judged()
    usable: list[tuple[Askable, ImportedCurves, dict[str, Any], list[Refused]]] = []
    for one in claims.asked:
        policy = policy_of(asked, asked.responses[0], one.layout)
        probe = None if one.probe is None else claims.probes[one.probe]
        values = claims.compose(one.study)
        try:
            usable.append((one, policy, *owned(values, one, policy, probe, asked.seed)))
        except InputError as error:
            judged.refused.append(Refused(str(values["claim"]["id"]), one.study, "", _sentence(error)))
    kept = numbered([values for _, _, values, _ in usable])
    tell.at("claims", len(claims.asked) - len(kept))
    for i, name in kept:
        one, policy, values, refused = usable[i]
        tell.at(name, 1)
        values = {**values, "study": {**values["study"], "id": name}}
        judged.refused += [dataclasses.replace(r, study=name) for r in refused]
        _run(claims, policy, values, place, command, judged)
    whole = {r.study for r in judged.refused if not r.reading}
    judged.refused = [r for r in judged.refused if not r.reading or r.study not in whole]
    return judged


def _run(
    claims: Claims, policy: ImportedCurves, values: Mapping[str, Any], place: Path, command: str, judged: _Judged
) -> None:
    """Run one study and sort what came of it: a verdict, a claim that cannot be judged, or a failure."""
    study = claims.study(values)
    why = refusal(study, policy)
    if why is not None:
        judged.refused.append(Refused(study.claim.id, study.id, "", why))
        return
    done: Finished = run_study(study, LocalEngine(workers=1), place / folders.VERDICTS, claims.stored(values), command)
    where = done.folder.relative_to(place).as_posix()
    if done.verdict is not None:
        readings = [{k: r[k] for k in ("id", "outcome", "margin")} for r in done.verdict["readings"]]
        entry = {"study": study.id, "claim": study.claim.id, "outcome": done.verdict["outcome"]}
        judged.verdicts.append({**entry, "readings": readings, "folder": where})
    elif any((done.folder / "cells").glob("*.error.json")):
        judged.failed.append(str(done.problem))
    else:
        judged.refused.append(Refused(study.claim.id, study.id, "", str(done.problem).removeprefix(f"{study.id}: ")))


def _sentence(error: Exception) -> str:
    return str(error).splitlines()[0]


# ------------------------------------------------------------------------------------------------ plain values
def _result(
    asked: Asked, runs: Sequence[Run], recipes: Sequence[Recipe], forecasts: Sequence[Any], judged: _Judged
) -> dict[str, Any]:
    """Return what fit.json holds, without sources and hashes."""
    possible = [{"column": name, "points": points} for name, points in responses(runs)]
    by_run = {run.name: (recipe, run) for recipe in recipes for run in recipe.runs}
    return {
        "schema": folders.SCHEMA,
        "settings": asked.to_json(),
        "mapping": _mapping(runs),
        "responses": {"chosen": list(asked.responses), "possible": possible, "rule": RULE},
        "runs": [run_json(run, *by_run[run.name]) for run in runs],
        "recipes": [{"name": r.name, "size": r.size, "runs": [run.name for run in r.runs]} for r in recipes],
        "forecasts": list(forecasts),
        "verdicts": judged.verdicts,
        "not_judged": [dataclasses.asdict(r) for r in judged.refused],
    }


def _mapping(runs: Sequence[Run]) -> dict[str, str]:
    names = ("mapping", "mapping_sha256")
    return {n: run.settings[n] for run in runs[:1] for n in names if n in run.settings}


def run_json(run: Run, recipe: Recipe, derived: Run) -> dict[str, Any]:
    """Return what was imported of a run: the table of its keys, its columns, stretches, gaps and warnings."""
    return {
        "name": run.name,
        "recipe": recipe.name,
        "size": recipe.size,
        "family": recipe.family,
        "dialect": run.dialect,
        "sources": list(run.sources),
        "steps": {"first": run.step[0], "last": run.step[-1], "number": run.step.size},
        "keys": _keys(run),
        "columns": [
            {"name": n, "unit": c.unit, "origin": c.origin, "from": list(c.keys), "points": int(c.finite().sum())}
            for n, c in derived.columns.items()
        ],
        "unknown": list(run.unknown()),
        "segments": [{**dataclasses.asdict(s), "replaced": len(s.replaced)} for s in run.segments],
        "duplicates": {"steps": len(run.duplicates), "differing": sum(d.differing > 0 for d in run.duplicates)},
        "gaps": [dataclasses.asdict(g) for g in run.gaps[:100]],
        "gaps_total": len(run.gaps),
        "warnings": list(run.warnings),
        "not_derived": [w for w in derived.warnings if w not in run.warnings],
        "settings": {k: v for k, v in derived.settings.items() if k not in ("mapping", "mapping_sha256")},
    }


def _keys(run: Run) -> list[dict[str, Any]]:
    """Return what became of every key of the log, in both languages."""
    names = ("key", "column", "unit", "coverage", "nonfinite", "texts", "understood", "note")
    both = zip(explain(run, "en"), explain(run, "zh"), strict=True)
    return [{**{n: getattr(en, n) for n in names}, "meaning": {"en": en.meaning, "zh": zh.meaning}} for en, zh in both]
