"""Scale of a sweep, through the command line: overhead of a cell, resume, report, memory, disk; 10^3 to 10^5 cells.

    python -m benchmarks.sweep                       10^3, 10^4 and 10^5 cells of 1 ms (about 3 minutes on 2 cores)
    python -m benchmarks.sweep --cells 1000 10000    fewer
    python -m benchmarks.sweep --json                JSON lines instead of a table

Each size is run from nothing, then one cell is deleted and the command given again (resume: until that cell is being
measured; report: from there to the end, with every cell read, checked, fitted and drawn), then ``rlaws report`` alone.
The cells differ in two axes of the probe, so that no specification is shared. A limit that is missed ends the program
with 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rlaws.measurement import Measurement

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 1e-3  # of a cell
LIMITS = {"overhead_ms": 2.0, "resume_s": 5.0, "report_s": 30.0, "memory_gb": 1.0, "growth": 1.25}
STUDY = """# @package _global_
defaults:
  - /claim: search/fail_1_over_n
  - _self_
study:
  id: bench/sweep
  rung: sim
  title: {{en: "Many small cells", zh: "大量小单元"}}
  pool: [a, b]
policy: {{_target_: benchmarks.sweep.Idle}}
probe: {{_target_: benchmarks.sweep.Spin, a: 0, b: 0}}
grid: {{a: {a}, b: {b}}}
allow_targets: [benchmarks]
"""


@dataclass(frozen=True, slots=True)
class Idle:
    """A policy that is never asked."""

    UNITS: ClassVar[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Spin:
    """A probe that keeps a core busy for a millisecond and returns the failure of best-of-k of 20 problems."""

    NAME: ClassVar[str] = "spin"
    REQUIRES: ClassVar[tuple[frozenset[Any], ...]] = ()
    UNITS: ClassVar[Mapping[str, str]] = {"a": "1", "b": "1"}
    a: int
    b: int

    def measure(self, policy: Any, problems: Any, budget: Any, seed: np.random.SeedSequence) -> Measurement:
        until = time.perf_counter() + SECONDS
        p = np.random.default_rng(seed).random(20)
        k = 2 ** np.arange(8)
        total = ((1 - p) ** k[:, None]).sum(axis=1)
        columns = {"k": k, "total": total, "weight": np.full(8, 20.0), "cluster": np.full(8, "all")}
        units = {"k": "samples", "total": "problems", "weight": "problems"}
        measured = Measurement(columns, units, ("k",), "share", "failure of best-of-k", "1",
                               provenance={"cost": {"samples": 20 * 128}})  # fmt: skip
        while time.perf_counter() < until:
            pass
        return measured


def command(folder: Path, workers: int) -> list[str]:
    words = ["run", "--config-dir", str(folder / "conf"), "study=bench/sweep", f"engine.workers={workers}", "json=true"]
    return [sys.executable, "-m", "rlaws", *words]


def start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.DEVNULL)


def finish(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; return its peak memory in GB (the driver alone: workers hold one cell at a time)."""
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{' '.join(map(str, process.args))} failed")  # type: ignore[arg-type]
    return usage.ru_maxrss / 1e6


def until_stored(process: subprocess.Popen[bytes], cell: Path) -> None:
    while not cell.exists():
        if process.poll() is not None:
            raise SystemExit("the run ended without the cell")
        time.sleep(0.005)


def measure(cells: int, workers: int, folder: Path) -> dict[str, Any]:
    """Run one size; return its row."""
    a = round(math.sqrt(cells))
    b = round(cells / a)
    path = folder / "conf/study/bench/sweep.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(STUDY.format(a=list(range(a)), b=list(range(b))))
    began = time.perf_counter()
    memory = finish(start(command(folder, workers), folder))
    row: dict[str, Any] = {"cells": a * b, "workers": workers, "run_s": time.perf_counter() - began}
    stored = sorted(folder.glob("runs/bench/sweep/*/cells/*.npz"))
    row["bytes_a_cell"] = sum(p.stat().st_size for p in stored) / len(stored)
    row["disk_bytes_a_cell"] = sum(p.stat().st_blocks for p in stored) * 512 / len(stored)
    stored[0].unlink()
    began = time.perf_counter()
    process = start(command(folder, workers), folder)
    until_stored(process, stored[0])
    row["resume_s"] = time.perf_counter() - began
    row["memory_gb"] = max(memory, finish(process))
    row["report_s"] = time.perf_counter() - began - row["resume_s"]
    row["measuring_s"] = row["run_s"] - row["report_s"]
    row["overhead_ms"] = 1e3 * (row["measuring_s"] * workers / row["cells"] - SECONDS)
    began = time.perf_counter()
    finish(start([sys.executable, "-m", "rlaws", "report"], folder))
    row["report_alone_s"] = time.perf_counter() - began
    return row


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """Return the limits that were missed; overhead is judged from 10^4 cells on, where the start no longer counts."""
    out = []
    for row in rows:
        names = ["resume_s", "report_s", "memory_gb", *(["overhead_ms"] if row["cells"] >= 10_000 else [])]
        out += [f"{row['cells']} cells: {n} = {row[n]:.3g} exceeds {LIMITS[n]:g}" for n in names if row[n] > LIMITS[n]]
    if growth(rows) > LIMITS["growth"]:
        out.append(f"time grows like cells^{growth(rows):.2f}")
    return out


def growth(rows: list[dict[str, Any]]) -> float:
    """Return the exponent of run time against cells, over the two largest sizes."""
    if len(rows) < 2:
        return 1.0
    small, large = sorted(rows, key=lambda r: r["cells"])[-2:]
    return math.log(large["run_s"] / small["run_s"]) / math.log(large["cells"] / small["cells"])


def main(argv: list[str] | None = None) -> int:
    """Measure; 1 if a limit was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true", help="JSON lines instead of a table")
    args = parser.parse_args(argv)
    rows = []
    for cells in args.cells:
        with tempfile.TemporaryDirectory(prefix="rlaws-sweep-") as folder:
            rows.append(measure(cells, args.workers, Path(folder)))
            print(json.dumps(rows[-1]) if args.json else _line(rows), flush=True)
    if not args.json:
        print(f"\nrun time grows like cells^{growth(rows):.2f}")
    problems = missed(rows)
    print("\n".join(problems), file=sys.stderr)
    return int(bool(problems))


COLUMNS = ("cells", "workers", "run_s", "overhead_ms", "resume_s", "report_s", "report_alone_s", "memory_gb",
           "bytes_a_cell", "disk_bytes_a_cell")  # fmt: skip


def _line(rows: list[dict[str, Any]]) -> str:
    head = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n" if len(rows) == 1 else ""
    return head + "| " + " | ".join(f"{rows[-1][c]:.4g}" for c in COLUMNS) + " |"


if __name__ == "__main__":
    sys.exit(main())
