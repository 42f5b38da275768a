"""Run one study: measure what is missing, store it, analyse what is stored, write verdict, panels and manifest."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlaws.analysis import analyse
from rlaws.engine import LocalEngine
from rlaws.errors import CellError, MissingDataError, RlawsError
from rlaws.measurement import Measurement, concat
from rlaws.store import RunFolder, digest, unpack
from rlaws.study import Cell, Study, code_hash, data_files, regime_of

PACKAGES = ("rlaws", "numpy", "numba", "scipy", "hydra-core")


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a study while it runs; every number is derived from files."""

    study: str
    total: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left behind.

    Attributes:
        folder: The run folder.
        verdict: Plain values of the verdict, or None where none could be given.
        problem: Why there is none, one sentence.
        missing_data: True where the reason is an absent public data file.
    """

    folder: Path
    verdict: Mapping[str, Any] | None
    problem: str | None = None
    missing_data: bool = False


def run_study(
    study: Study,
    engine: LocalEngine,
    out: Path,
    config: Mapping[str, Any],
    command: str,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Finished:
    """Run a study; finished cells are skipped, failed ones tried again.

    Args:
        study: What to run.
        engine: Where cells run.
        out: Folder of all runs.
        config: The resolved configuration, stored beside the results.
        command: The command that reproduces this run.
        tell: Called after every cell.

    Raises:
        RlawsError: If the disk refuses or the configuration is impossible; what fails in a cell or in the analysis is
            recorded instead.
    """
    started = time.time()
    try:
        code = code_hash(study)
    except MissingDataError as error:
        return _without_data(study, out, config, command, str(error))
    cells = study.cells()
    keys = [c.key(code) for c in cells]
    folder = RunFolder(out / study.id / f"{study.budget.name}-{study.run_hash(code)}")
    folder.save("config.json", config)
    reused, failed = _measure(study, cells, keys, folder, engine, tell)
    manifest = _manifest(study, folder, code, command, started)
    manifest["cells"] = {"total": len(cells), "done": len(cells) - failed, "failed": failed, "reused": reused}
    if failed:
        first = next(k for k in keys if folder.error(k).exists())
        problem = _first_error(folder, first, failed, len(cells), command)
        folder.save("manifest.json", {**manifest, "status": "failed", "error": problem})
        return Finished(folder.path, None, problem)
    try:
        verdict, panels = analyse(study, collect(study, cells, keys, folder), manifest["hashes"], command)
    except RlawsError as error:
        folder.save("manifest.json", {**manifest, "status": "failed", "error": str(error)})
        return Finished(folder.path, None, f"{study.id}: {error}")
    folder.save("panels.json", {"panels": panels})
    folder.save("verdict.json", verdict.to_json())
    folder.save("manifest.json", {**manifest, "status": "done", "wall_s": round(time.time() - started, 3)})
    return Finished(folder.path, verdict.to_json())


def _measure(
    study: Study,
    cells: list[Cell],
    keys: list[str],
    folder: RunFolder,
    engine: LocalEngine,
    tell: Callable[[Progress], None],
) -> tuple[int, int]:
    """Measure the cells that are not stored; return how many were reused and how many failed."""
    left = [i for i, key in enumerate(keys) if not folder.done(key)]
    reused, failed = len(cells) - len(left), 0
    tell(Progress(study.id, len(cells), reused, 0))
    for done, (index, content, failure) in enumerate(engine.run([cells[i] for i in left]), start=1):
        key = keys[left[index]]
        if content is not None:
            folder.save_cell(key, content)
        else:
            failed += 1
            folder.save_error(key, failure or {})
        tell(Progress(study.id, len(cells), reused + done - failed, failed))
    return reused, failed


def collect(study: Study, cells: list[Cell], keys: list[str], folder: RunFolder) -> Measurement:
    """Return the stored rows of all cells in grid order, with the grid as regime.

    Raises:
        CellError: If a cell is missing: the verdict would rest on fewer rows than the study says.
    """
    absent = [k for k in keys if not folder.done(k)]
    if absent:
        raise CellError(f"{len(absent)} of {len(keys)} cells of {study.id} are missing; run the study again.")
    parts = []
    for cell, key in zip(cells, keys, strict=True):
        measured = regime_of(study, cell.point, unpack(folder.cell(key)))
        parts.append(measured if study.replicates == 1 else measured.labelled(f"r{cell.replicate}"))
    return concat(parts)


def _first_error(folder: RunFolder, key: str, failed: int, total: int, command: str) -> str:
    import json

    record = json.loads(folder.error(key).read_text())
    return (
        f"{failed} of {total} cells failed; the first, at {record.get('point')}: {record.get('error')} "
        f"Records: {folder.path}/cells/*.error.json. Retry only those with: {command}"
    )


def _manifest(study: Study, folder: RunFolder, code: str, command: str, started: float) -> dict[str, Any]:
    """Provenance: everything that made the numbers, and the clock (which is nowhere else)."""
    return {
        "study": study.id,
        "claim": study.claim.id,
        "rung": study.rung,
        "title": dict(study.title),
        "statement": dict(study.claim.statement),
        "seed": study.seed,
        "budget": study.budget.name,
        "command": command,
        "hashes": {
            "run": folder.path.name.rpartition("-")[2],
            "code": code,
            "grid": digest({k: list(v) for k, v in study.grid.items()}),
            "data": digest([p.name for p in data_files(study)]),
        },
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "host": {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count()},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
    }


def _without_data(study: Study, out: Path, config: Mapping[str, Any], command: str, problem: str) -> Finished:
    """Record a study whose public data file is not here; that is no failure, and the report says what to fetch."""
    folder = RunFolder(out / study.id / f"{study.budget.name}-no-data")
    folder.save("config.json", config)
    folder.save(
        "manifest.json",
        {
            "study": study.id,
            "claim": study.claim.id,
            "rung": study.rung,
            "title": dict(study.title),
            "statement": dict(study.claim.statement),
            "seed": study.seed,
            "budget": study.budget.name,
            "command": command,
            "status": "missing data",
            "error": problem,
        },
    )
    return Finished(folder.path, None, problem, missing_data=True)
