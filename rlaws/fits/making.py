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
from rlaws.fits.answers import answers_of, by_samples, counted
from rlaws.fits.asking import Asked, axis_of, check_kinds
from rlaws.fits.families import families
from rlaws.fits.forecasting import made, tasks
from rlaws.fits.judging import (
    COUNTS,
    Askable,
    Refused,
    numbered,
    owned,
    owned_counts,
    policy_of,
    refusal,
    unmeasured,
)
from rlaws.jsonable import plain
from rlaws.lock import locked
from rlaws.logs.explain import explain
from rlaws.logs.imported import ImportedCurves
from rlaws.logs.imported_counts import ImportedCounts, Table
from rlaws.logs.mapping import load
from rlaws.logs.recipes import Recipe, grouped, response_of, responses
from rlaws.logs.runs import Run
from rlaws.runner import Finished, run_study
from rlaws.sentences import said, text_of
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
    read = ready(asked, tell)
    forecast = _forecast(read, len(claims.asked), tell)
    with locked(place):
        judged = _judge(read, claims, place, command, tell)
        result = _result(read, judged) | forecast | {"code": code, "hash": place.name}
        result["sources"] = [dataclasses.asdict(f) for f in files]
        mapping = load(asked.logs.mapping, None).text if asked.logs.mapping else ""
        if not judged.failed:
            folders.save(place, dict(plain(result)), command, mapping, time.monotonic() - began)
    return Fit(place, dict(plain(result)), tuple(judged.failed))


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What was imported.

    Attributes:
        runs: Runs of training logs.
        recipes: The same by recipe, with derived axes.
        tables: Models of answers per problem.
        left_out: Why answers that lie beside training logs were left out.
        asked: The settings, with the responses that are forecast.
    """

    runs: tuple[Run, ...]
    recipes: list[Recipe]
    tables: tuple[Table, ...]
    left_out: tuple[str, ...]
    asked: Asked


def imported(asked: Asked, tell: Callable[[int], None]) -> tuple[tuple[Run, ...], tuple[Table, ...], tuple[str, ...]]:
    """Return runs, models of answers per problem, and why answers beside training logs were left out.

    Args:
        asked: The settings.
        tell: Told the number of bytes read since the last call.

    Raises:
        InputError: As the imports.
    """
    runs = asked.logs.runs(tell) if asked.logs.records() else ()
    return runs, *answers_of(asked).read(tell)


def ready(asked: Asked, tell: Told) -> Read:
    """Return what the logs hold, and the settings with the responses that are forecast.

    Raises:
        InputError: As the imports, or for a fact, a response or a setting that speaks of nothing among the logs.
    """
    runs, tables, left_out = imported(asked, tell.read)
    check_kinds(asked, bool(runs), bool(tables))
    if not runs:
        return Read(runs, [], tables, left_out, asked)
    asked.facts.check(runs)
    chosen = [response_of(runs, name) for name in asked.responses or (None,)]
    return Read(runs, grouped(runs, asked.facts), tables, left_out, dataclasses.replace(asked, responses=tuple(chosen)))


def _forecast(read: Read, claims: int, tell: Told) -> dict[str, Any]:
    """Return axis, forecasts and fits over sizes; without training logs there are none."""
    if not read.runs:
        tell.total(claims)
        return {"axis": None, "forecasts": [], "families": []}
    axis = axis_of([run for r in read.recipes for run in r.runs], read.asked.x)
    todo = tasks(read.recipes, axis, read.asked)
    tell.total(3 * len(todo) + claims)
    forecasts = [made(task, read.asked, lambda what: tell.at(what, 1)) for task in todo]
    tell.at("sizes")
    return {"axis": dataclasses.asdict(axis), "forecasts": forecasts, "families": families(todo, read.asked)}


# ------------------------------------------------------------------------------------------------ the claims
@dataclass(frozen=True, slots=True)
class _Ready:
    """A study with the logs in the place of its data.

    Attributes:
        one: Which study of the catalogue it is.
        policy: The logs; None for answers per problem, whose cells have been measured already.
        values: Its configuration.
        refused: Its readings that speak of others' runs.
    """

    one: Askable
    policy: ImportedCurves | None
    values: Mapping[str, Any]
    refused: Sequence[Refused]


def _judge(read: Read, claims: Claims, place: Path, command: str, tell: Told) -> _Judged:
    """Run every study that the logs can answer; its run folder lies in the folder of the fit."""
    judged = _Judged()
    usable: list[_Ready] = []
    for one in claims.asked:
        here = read.tables if one.layout == COUNTS else read.runs
        if not here and read.asked.claims is None:
            continue
        values = claims.compose(one.study)
        claim = str(values["claim"]["id"])
        if not here:
            why = said("no_counts" if one.layout == COUNTS else "no_logs")
            judged.refused.append(Refused(claim, one.study, "", why))
        elif one.layout == COUNTS:
            usable += _of_answers(read, claims, one, values, judged)
        else:
            usable += _of_logs(read.asked, claims, one, values, judged)
    kept = numbered([found.values for found in usable])
    tell.at("claims", len(claims.asked) - len(kept))
    for i, name in kept:
        found = usable[i]
        tell.at(name, 1)
        values = {**found.values, "study": {**found.values["study"], "id": name}}
        judged.refused += [dataclasses.replace(r, study=name) for r in found.refused]
        _run(claims, found.policy, values, place, command, judged)
    whole = {r.study for r in judged.refused if not r.reading}
    judged.refused = [r for r in judged.refused if not r.reading or r.study not in whole]
    return judged


def _of_logs(asked: Asked, claims: Claims, one: Askable, values: Mapping[str, Any], judged: _Judged) -> list[_Ready]:
    """Return a study with training logs in the place of its table; none where they cannot be."""
    policy = policy_of(asked, asked.responses[0], one.layout)
    probe = None if one.probe is None else claims.probes[one.probe]
    try:
        return [_Ready(one, policy, *owned(values, one, policy, probe, asked.seed))]
    except InputError as error:
        judged.refused.append(Refused(str(values["claim"]["id"]), one.study, "", _sentence(error)))
        return []


def _of_answers(read: Read, claims: Claims, one: Askable, values: Mapping[str, Any], judged: _Judged) -> list[_Ready]:
    """Return a study with answers in the place of its counts, for each number of answers a problem.

    Models that cannot be measured (too few problems, none hard enough) are left out, each with its reason.
    """
    answers, out = answers_of(read.asked), []
    claim = str(values["claim"]["id"])
    policy = ImportedCounts(answers.paths, "", answers.dialect, answers.step, answers.threshold)
    for _, tables in by_samples(read.tables):
        try:
            first, _ = owned_counts(values, one, policy, tables, read.asked.seed)
            lacking = unmeasured(claims.study(first))
            for model, why in lacking.items():
                text = said("model_left_out", model=model, error=why)
                judged.refused.append(Refused(claim, one.study, "", text))
            able = [table for table in tables if table.name not in lacking]
            if able:
                out.append(_Ready(one, None, *owned_counts(values, one, policy, able, read.asked.seed)))
        except InputError as error:
            judged.refused.append(Refused(claim, one.study, "", _sentence(error)))
    return out


def _run(
    claims: Claims, policy: ImportedCurves | None, values: Mapping[str, Any], place: Path, command: str,
    judged: _Judged,
) -> None:  # fmt: skip
    """Run one study and sort what came of it: a verdict, a claim that cannot be judged, or a failure."""
    study = claims.study(values)
    why = None if policy is None else refusal(study, policy)
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
    """Return the first line of an error; a sentence in both languages is one line."""
    text = text_of(error)
    return error.args[0] if "zh" in text else text["en"].splitlines()[0]


# ------------------------------------------------------------------------------------------------ plain values
def _result(read: Read, judged: _Judged) -> dict[str, Any]:
    """Return what fit.json holds, without forecasts, sources and hashes."""
    runs, asked = read.runs, read.asked
    possible = [{"column": name, "points": points} for name, points in responses(runs)]
    by_run = {run.name: (recipe, run) for recipe in read.recipes for run in recipe.runs}
    return {
        "schema": folders.SCHEMA,
        "settings": asked.to_json(),
        "mapping": _mapping(runs),
        "responses": {"chosen": list(asked.responses), "possible": possible, "rule": RULE},
        "runs": [run_json(run, *by_run[run.name]) for run in runs],
        "recipes": [{"name": r.name, "size": r.size, "runs": [run.name for run in r.runs]} for r in read.recipes],
        "counts": [counted(table, asked) for table in read.tables],
        "counts_left_out": list(read.left_out),
        "verdicts": judged.verdicts,
        "not_judged": [{**dataclasses.asdict(r), "reason": text_of(r.reason)} for r in judged.refused],
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
