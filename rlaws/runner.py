"""Run one study: measure what is missing, store it, analyse what is stored, write verdict, panels and manifest."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlaws.analysis import analyse
from rlaws.collect import collect
from rlaws.engine import Engine
from rlaws.errors import MissingDataError, RlawsError
from rlaws.lock import locked
from rlaws.store import RunFolder, digest, write_json
from rlaws.study import Cell, Study, cell_keys, code_hash, data_files, source_hash, targets

PACKAGES = ("rlaws", "numpy", "numba", "scipy", "hydra-core")
PROGRESS = "progress.json"
SECONDS_BETWEEN_NOTES = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a study while it runs.

    Attributes:
        study: Its id.
        total: Cells of the study.
        done: Cells that are stored.
        failed: Cells that failed in this run.
        running: Cells in the hands of workers.
        left_s: Seconds until the end at the present pace (by the monotonic clock); None before the first cell.
        note: A sentence for the user, or "".
    """

    study: str
    total: int
    done: int
    failed: int
    running: int = 0
    left_s: float | None = None
    note: str = ""

    @property
    def left(self) -> int:
        """Cells that are neither done nor failed."""
        return self.total - self.done - self.failed


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
    engine: Engine,
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
        LockedError: If another driver works in the same run folder.
        RlawsError: If the disk refuses or the configuration is impossible; what fails in a cell or in the analysis is
            recorded instead.
    """
    cells = study.cells()
    try:
        files = data_files(study, cells)
    except MissingDataError as error:
        return _without_data(study, out, config, command, str(error))
    code = code_hash(study, files)
    keys = cell_keys(cells, code)
    folder = RunFolder.under(out, study.id, f"{study.budget.name}-{study.run_hash(keys)}")
    with locked(folder.path):
        folder.sweep()
        folder.save("config.json", config)
        manifest = _manifest(study, folder, code, files, command)
        return _Run(study, engine, cells, keys, folder, command, tell).go(manifest)


class _Run:
    """One run of one study, alone in its folder."""

    def __init__(
        self,
        study: Study,
        engine: Engine,
        cells: list[Cell],
        keys: list[str],
        folder: RunFolder,
        command: str,
        tell: Callable[[Progress], None],
    ) -> None:
        self.study, self.engine, self.cells, self.keys = study, engine, cells, keys
        self.folder, self.command, self.tell = folder, command, tell
        self.slots = engine.slots()
        self.began = time.monotonic()
        self.noted = float("-inf")
        self.new = self.reused = self.damaged = 0

    def go(self, manifest: dict[str, Any]) -> Finished:
        """Measure, analyse and store; what lies in the folder afterwards holds no trace of this process."""
        failed = self._measure()
        table = None if failed else self._table()
        if not failed and table is None:  # a disk or a hand changed stored cells: they are measured once more
            failed = self._measure()
            table = None if failed else self._table()
        self._seal(manifest, len(failed))
        if failed:
            return self._stopped(manifest, self._first_error(failed))
        if table is None:
            return self._stopped(manifest, f"{self.folder.path}: the disk returns other bytes than were written.")
        try:
            verdict, panels = analyse(self.study, table, manifest["hashes"], self.command)
        except RlawsError as error:
            return self._stopped(manifest, f"{self.study.id}: {error}")
        manifest["cost"] = dict(table.provenance.get("cost", {}))
        self.folder.save("panels.json", {"panels": panels, "study": self.study.id, "hashes": manifest["hashes"]})
        self.folder.save("verdict.json", verdict.to_json())
        self._finish({**manifest, "status": "done"})
        return Finished(self.folder.path, verdict.to_json())

    def _measure(self) -> list[str]:
        """Measure the cells that are not stored; return the keys of those that failed."""
        stored, _ = self.folder.listing()
        left = [i for i, key in enumerate(self.keys) if key not in stored]
        self.reused = max(self.reused, len(self.cells) - len(left))
        failed: list[str] = []
        self._note(len(self.cells) - len(left), 0, len(left))
        sources = source_hash(targets(self.study.parts()))
        results = self.engine.run([self.cells[i] for i in left], sources) if left else ()
        for done, (index, content, failure) in enumerate(results, start=1):
            key = self.keys[left[index]]
            if content is not None:
                self.folder.save_cell(key, content)
            else:
                failed.append(key)
                self.folder.save_error(key, failure or {})
            self.new += 1
            self._note(len(self.cells) - len(left) + done - len(failed), len(failed), len(left) - done)
        return failed

    def _table(self) -> Any:
        """Return the rows of all cells; None if some were damaged, which are then gone."""
        table, damaged = collect(self.study, self.cells, self.keys, self.folder)
        if damaged:
            self.damaged += len(damaged)
            for key in damaged:
                self.folder.discard(key)
            note = f"{len(damaged)} stored cells do not fit their checksum; they are measured again."
            self.tell(Progress(self.study.id, len(self.cells), len(self.cells) - len(damaged), 0, note=note))
        return table

    def _note(self, done: int, failed: int, left: int) -> None:
        """Tell where the run stands, and now and then leave it in a file for ``rlaws status``."""
        now = time.monotonic()
        pace = (now - self.began) / self.new if self.new else None
        running = min(left, self.slots)
        left_s = None if pace is None else round(pace * left, 1)
        state = Progress(self.study.id, len(self.cells), done, failed, running, left_s)
        self.tell(state)
        if now - self.noted > SECONDS_BETWEEN_NOTES:
            self.noted = now
            write_json(self.folder.path / PROGRESS, {**asdict(state), "engine": self.engine.NAME}, sync=False)

    def _seal(self, manifest: dict[str, Any], failed: int) -> None:
        """Say in the manifest how the cells ended."""
        total = len(self.cells)
        manifest["cells"] = {"total": total, "done": total - failed, "failed": failed, "reused": self.reused}
        if self.damaged:
            manifest["cells"]["damaged"] = self.damaged
        manifest["engine"] = {"name": self.engine.NAME, "slots": self.slots}

    def _stopped(self, manifest: Mapping[str, Any], problem: str) -> Finished:
        """Record why there is no verdict."""
        self._finish({**manifest, "status": "failed", "error": problem})
        return Finished(self.folder.path, None, problem)

    def _finish(self, manifest: Mapping[str, Any]) -> None:
        self.folder.save("manifest.json", {**manifest, "wall_s": round(time.monotonic() - self.began, 3)})
        (self.folder.path / PROGRESS).unlink(missing_ok=True)

    def _first_error(self, failed: Sequence[str]) -> str:
        """Return one sentence on the failed cells: how many, the first in grid order, and what to do."""
        known = set(failed)
        first = next(k for k in self.keys if k in known)
        record = json.loads(self.folder.error(first).read_text())
        return (
            f"{len(failed)} of {len(self.cells)} cells failed; the first, at {record.get('point')}: "
            f"{(str(record.get('error')).splitlines() or [''])[0]} Records: {self.folder.path}/cells/*.error.json. "
            f"Retry only those with: {self.command}"
        )


def _manifest(study: Study, folder: RunFolder, code: str, files: Sequence[Path], command: str) -> dict[str, Any]:
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
            "data": digest([p.name for p in files]),
        },
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "host": {
            "machine": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
            "processor": _processor(),
        },
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    """Return the name of the processor: results are bitwise the same on one kind of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _without_data(study: Study, out: Path, config: Mapping[str, Any], command: str, problem: str) -> Finished:
    """Record a study whose public data file is not here; that is no failure, and the report says what to fetch."""
    folder = RunFolder.under(out, study.id, f"{study.budget.name}-no-data")
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
