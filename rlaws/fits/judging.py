"""Which claims the user's logs can judge: the catalogue's studies of recorded data, with the logs in their place.

A study can be asked where it reads a recorded table that ``logs.imported`` can make, or where its probe has a twin that
reads such a table (``conf/probe/recorded_<probe>.yaml``). Nothing is listed by hand: a new study of recorded curves is
asked too. Of several studies of one claim that differ in their table only, the first is asked. Studies of recorded
counts take answers per problem, one study for all models with equally many.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from rlaws import catalogue
from rlaws.errors import InputError, suggest
from rlaws.fits.asking import Asked
from rlaws.logs.imported import LAYOUTS, ImportedCurves
from rlaws.logs.imported_counts import ImportedCounts, Table
from rlaws.policy import refuse_unless_able
from rlaws.sentences import joined, said
from rlaws.store import digest
from rlaws.study import Cell, Study

PRINTED = {"qwen25_converged": "converged", "policy_gain": "policy_gain"}
COUNTS = "counts"  # the layout of studies that read recorded counts
OWN = {"en": "Your runs: {response}, {recipes} recipe(s)", "zh": "你的运行：{response}，{recipes} 个配方"}
OWN_COUNTS = {"en": "Your answers per problem: {models} model(s)", "zh": "你的逐题作答：{models} 个模型"}
COLUMN = re.compile(r"needs the column '(\w+)'")


@dataclass(frozen=True, slots=True)
class Askable:
    """A study that can be asked of imported logs.

    Attributes:
        study: Its name in the catalogue.
        claim: group/name of its claim.
        layout: Table that its probe reads; ``COUNTS`` for answers per problem.
        probe: Probe in the place of its own, or None.
    """

    study: str
    claim: str
    layout: str
    probe: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A claim, or one reading of it, that the logs cannot judge.

    Attributes:
        claim: Its id.
        study: The study that was to ask it.
        reading: The reading, or "" for the whole claim.
        reason: What is missing and what to give.
    """

    claim: str
    study: str
    reading: str
    reason: str


def askable(extra: Sequence[Path] = ()) -> list[Askable]:
    """Return the studies of the catalogue that can be asked of imported logs, in alphabetical order."""
    twins = {n.removeprefix("recorded_") for n in catalogue.names("probe", extra) if n.startswith("recorded_")}
    found = []
    for name in catalogue.names("study", extra):
        chosen = _groups(catalogue.read("study", name, extra))
        layout = _layout(chosen.get("policy", ""), extra)
        probe = chosen.get("probe", "")
        if layout in (*LAYOUTS, COUNTS):
            found.append(Askable(name, chosen.get("claim", name), layout))
        elif probe in twins and probe in LAYOUTS:
            found.append(Askable(name, chosen.get("claim", name), probe, f"recorded_{probe}"))
    return found


def stamp(found: Sequence[Askable], extra: Sequence[Path] = ()) -> str:
    """Return the hash of the configuration that studies are composed of: studies, claims, probes and budgets."""
    if not found:
        return ""
    texts: dict[str, str] = {}
    for root in (catalogue.conf_dir(), *extra):
        for group in ("study", "claim", "probe", "budget"):
            texts |= {f"{group}/{p.relative_to(root)}": p.read_text("utf-8") for p in (root / group).rglob("*.yaml")}
    return digest([a.study for a in found], texts)


def _groups(study: Mapping[str, Any]) -> dict[str, str]:
    """Return what a study's defaults choose of each config group."""
    pairs = [entry for entry in study.get("defaults", ()) if isinstance(entry, Mapping)]
    return {str(k).lstrip("/"): str(v) for entry in pairs for k, v in entry.items()}


def _layout(policy: str, extra: Sequence[Path]) -> str:
    if not policy or policy not in catalogue.names("policy", extra):
        return ""
    spec = catalogue.read("policy", policy, extra)
    kind = str(spec.get("_target_", "")).rpartition(".")[2]
    if kind == "PrintedTable":
        return PRINTED.get(str(spec.get("name")), "")
    if kind == "RecordedCounts":
        return COUNTS
    return str(spec.get("layout", "")) if kind == "RecordedCurves" else ""


def wanted(found: Sequence[Askable], claims: Sequence[str] | None) -> list[Askable]:
    """Return the studies of the claims that were asked for.

    Raises:
        InputError: If a claim cannot be asked of logs.
    """
    if claims is None:
        return list(found)
    possible = {a.claim.replace("/", ".") for a in found}
    for claim in claims:
        if claim.replace("/", ".") not in possible:
            raise InputError(f"claims: '{claim}' cannot be asked of logs.{suggest(claim, possible)}")
    named = {c.replace("/", ".") for c in claims}
    return [a for a in found if a.claim.replace("/", ".") in named]


def policy_of(asked: Asked, response: str, layout: str) -> ImportedCurves:
    """Return the logs as a policy with a layout."""
    facts, logs = asked.facts, asked.logs
    return ImportedCurves(
        logs=logs.paths, layout=layout, dialect=logs.dialect, mapping=logs.mapping, metric=logs.metric, join=logs.join,
        response=response, low=asked.range[0], high=asked.range[1], better=asked.better, sizes=facts.sizes,
        families=facts.families, groups=facts.groups, reuse=facts.reuse, recipes=facts.recipes, batch=facts.batch,
        gpus=facts.gpus, convention=facts.convention, fill=facts.fill, questions=asked.questions,
        converged=asked.converged, averaged=asked.averaged,
    )  # fmt: skip


def owned(
    values: Mapping[str, Any], one: Askable, policy: ImportedCurves, probe: Mapping[str, Any] | None, seed: int
) -> tuple[dict[str, Any], list[Refused]]:
    """Return a study's configuration with the logs in the place of its table, and the readings that were left out.

    Args:
        values: The study as the catalogue composes it.
        one: Which study it is.
        policy: The logs.
        probe: Specification of the probe in the place of its own, or None.
        seed: Root seed.

    Raises:
        InputError: If the table cannot be made.
    """
    changed = {**values, "policy": _spec(policy), "seed": seed}
    if probe is not None:
        changed |= {"probe": dict(probe), "problems": None, "grid": {}}
    if "runs" in _settings(changed["probe"]):
        changed["probe"] = {**changed["probe"], "runs": policy.runs_behind()}
    title = {n: t.format(response=policy.response, recipes=len(policy.curves())) for n, t in OWN.items()}
    return _as_own(changed, one, title, policy.table())


def owned_counts(
    values: Mapping[str, Any], one: Askable, policy: ImportedCounts, tables: Sequence[Table], seed: int
) -> tuple[dict[str, Any], list[Refused]]:
    """Return a study's configuration with answers per problem in the place of its table.

    Every model is a point of the grid, and all answers are used, as of a recorded table.

    Args:
        values: The study as the catalogue composes it.
        one: Which study it is.
        policy: The answers.
        tables: The models; each problem of theirs has the first one's fewest answers or more.
        seed: Root seed.

    Raises:
        InputError: If no reading speaks of these models.
    """
    fewest = int(tables[0].n.min())
    probe = dict(values["probe"])
    probe |= {name: fewest for name in ("samples", "k_largest") if name in _settings(probe)}
    models = [table.name for table in tables]
    changed = {**values, "policy": _spec(policy), "problems": None, "probe": probe, "seed": seed}
    changed["grid"] = {**values["grid"], "model": models}
    title = {n: t.format(models=len(models)) for n, t in OWN_COUNTS.items()}
    return _as_own(changed, one, title, {"model": np.array(models)})


def _spec(policy: ImportedCurves | ImportedCounts) -> dict[str, Any]:
    """Return the specification that builds a policy."""
    found = {f.name: getattr(policy, f.name) for f in fields(policy)}
    kept = {k: list(v) if isinstance(v, tuple) else dict(v) if isinstance(v, Mapping) else v for k, v in found.items()}
    return {"_target_": f"{type(policy).__module__}.{type(policy).__name__}", **kept}


def _as_own(
    changed: Mapping[str, Any], one: Askable, title: Mapping[str, str], table: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Refused]]:
    """Return a study named as the user's own, with the readings that speak of the table.

    Raises:
        InputError: If none does.
    """
    base = one.claim.rpartition("/")[2]
    claim = dict(changed["claim"])
    kept, refused = _readings(claim, table)
    if not kept:
        raise InputError(joined(list(dict.fromkeys(r.reason for r in refused)), said("then")))
    study = {**changed["study"], "id": f"own/{base}", "rung": "logs", "title": dict(title)}
    return {**changed, "study": study, "claim": {**claim, "readings": kept}}, refused


def _settings(probe: Mapping[str, Any]) -> list[str]:
    from rlaws.build import resolve

    return [f.name for f in fields(resolve(str(probe["_target_"])))]


def _readings(claim: Mapping[str, Any], table: Mapping[str, Any]) -> tuple[list[Any], list[Refused]]:
    """Return the readings that speak of these runs; one that names another family speaks of other people's."""
    kept, refused = [], []
    for reading in claim["readings"]:
        where = {k: v for k, v in (reading.get("where") or {}).items() if k in table and v not in table[k].tolist()}
        if where:
            shown = ", ".join(f"{k} = {v}" for k, v in where.items())
            reason = said("other_family" if "family" in where else "other_runs", where=shown)
            refused.append(Refused(str(claim["id"]), "", str(reading["id"]), reason))
        else:
            kept.append(reading)
    return kept, refused


def numbered(values: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """Return which of the studies are asked, and their ids, where several are of one claim.

    Studies that differ from an earlier one in nothing but their table are left out; the others get the setting of
    their probe that differs as a suffix.

    Args:
        values: Composed studies, the logs in their place already.
    """
    first: dict[str, Mapping[str, Any]] = {}
    seen: set[str] = set()
    out = []
    for i, one in enumerate(values):
        probe = {k: v for k, v in one["probe"].items() if k != "runs"}
        key = repr((one["claim"]["id"], sorted(probe.items(), key=str), sorted(one["grid"].items(), key=str)))
        if key in seen:
            continue
        seen.add(key)
        base = first.setdefault(one["study"]["id"], probe)
        parts = [str(v) for k, v in probe.items() if base.get(k) != v]
        suffix = re.sub(r"\W+", "_", "_".join(parts)).lower()
        out.append((i, f"{one['study']['id']}_{suffix}" if suffix else one["study"]["id"]))
    return out


def refusal(study: Study, policy: ImportedCurves) -> str | None:
    """Return why the logs cannot answer a study, or None: every cell is measured once, which a table makes cheap."""
    for cell in study.cells():
        error = _unmeasured(study, cell)
        if error is not None:
            column = COLUMN.search(str(error))
            lacks = policy.lacking().get(column[1]) if column else None
            return joined([error.args[0]]) if lacks is None else said("stop", text=lacks)
    return None


def unmeasured(study: Study) -> dict[str, str]:
    """Return why models cannot be measured, by model; every cell is measured once, which a table makes cheap."""
    found = {str(cell.point["model"]): _unmeasured(study, cell) for cell in study.cells()}
    return {model: joined([error.args[0]]) for model, error in found.items() if error is not None}


def _unmeasured(study: Study, cell: Cell) -> InputError | None:
    """Return why a cell cannot be measured, or None."""
    try:
        parts = cell.build()
        refuse_unless_able(parts["policy"], parts["probe"].REQUIRES, parts["probe"].NAME)
        parts["probe"].measure(parts["policy"], None, study.budget, np.random.SeedSequence(0))
    except InputError as error:
        return error
    return None
