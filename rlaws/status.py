"""How far the runs of a folder are, read from their files alone; nothing is changed, nobody is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlaws.errors import InputError
from rlaws.lock import holder
from rlaws.runner import PROGRESS
from rlaws.store import RunFolder

ERRORS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class RunStatus:
    """State of one run folder.

    Attributes:
        study: Its id.
        run: budget-hash.
        state: "done", "failed", "missing data", "running", "interrupted", or "unknown" (a driver on another machine).
        total: Cells of the study; None if the run never came to count them.
        done: Cells that are stored.
        failed: Cells that failed and were not done since.
        running: Cells in the hands of workers; 0 unless the driver lives.
        left: Cells that are neither done nor failed.
        left_s: Seconds until the end, as the driver told last; None if nobody works.
        driver: Host and process id of the driver, while there is a lock.
        errors: First line of the error of each failed cell, by key (at most 100).
        problem: Why there is no verdict, if there is a reason beside cells.
    """

    study: str
    run: str
    state: str
    total: int | None
    done: int
    failed: int
    running: int
    left: int | None
    left_s: float | None
    driver: str | None
    errors: Mapping[str, str]
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def statuses(runs: Path, study: str | None = None) -> list[RunStatus]:
    """Return the state of every run folder under ``runs``, in alphabetical order.

    Args:
        runs: Folder of all runs.
        study: Only this study.

    Raises:
        InputError: If there is none.
    """
    folders = sorted(p.parent for p in runs.glob(f"{study or '*/*'}/*/config.json"))
    if not folders:
        raise InputError(f"There is no run of {study or 'any study'} under '{runs}'; give runs=… or start one.")
    return [status(folder) for folder in folders]


def status(folder: Path) -> RunStatus:
    """Return the state of one run folder."""
    manifest, progress = _read(folder / "manifest.json"), _read(folder / PROGRESS)
    lock = holder(folder)
    alive = lock.alive() if lock else False
    done, failed = RunFolder(folder).listing()
    if alive is not False:
        state = "running" if alive else "unknown"
    else:
        state = "interrupted" if progress or "status" not in manifest else str(manifest["status"])
    total = progress.get("total") or (manifest.get("cells") or {}).get("total")
    left = None if total is None else max(0, total - len(done) - len(failed))
    return RunStatus(
        study="/".join(folder.parts[-3:-1]),
        run=folder.name,
        state=state,
        total=total,
        done=len(done),
        failed=len(failed),
        running=min(int(progress.get("running") or 0), left or 0) if alive else 0,
        left=left,
        left_s=progress.get("left_s") if alive else None,
        driver=f"process {lock.pid} on {lock.host}" if lock and alive is not False else None,
        errors={key: _first_line(RunFolder(folder).error(key)) for key in sorted(failed)[:ERRORS_SHOWN]},
        problem=manifest.get("error") if state in ("failed", "missing data") else None,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _first_line(record: Path) -> str:
    lines = str(_read(record).get("error") or "(the record cannot be read)").splitlines()
    return lines[0] if lines else ""


def span(seconds: float | None) -> str:
    """Return a duration as 1:02:03, "" for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    return time.strftime("%M:%S", time.gmtime(whole)) if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02d} h"
