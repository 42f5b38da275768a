"""Run the workloads: every implementation in turn, round after round, so that a ratio compares runs of the same moment.

    python -m benchmarks.run                  all workloads found in benchmarks/w*.py
    python -m benchmarks.run w1 --rounds 7    one of them
    python -m benchmarks.run w1 --json        one JSON object a row instead of a table

A workload is a module with ``TITLE``, ``UNIT``, ``contests(threads)``; a contest is a case with its entries, the work
of one run, and a check of the result. Every result is checked, and a wrong one ends the program with 1. A module
without ``contests`` is a program of its own that takes --rounds and --threads and prints JSON lines.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CFLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-fno-math-errno", "-std=gnu11")
LIMIT = "C limit"
SLOW_ROUNDS = 3  # timed runs of an entry that does a share of the work only


class Skip(Exception):
    """An entry cannot run here; the message says why."""


@dataclass
class Contest:
    """One case.

    Attributes:
        case: Its name.
        work: Units of work in a run.
        entries: Name -> a function that prepares (may raise Skip) and returns run(seed) -> result.
        check: result -> None, or what is wrong with it.
        share: Name -> the share of the work that the entry does, for slow peers (default 1).
    """

    case: str
    work: float
    entries: Mapping[str, Callable[[], Callable[[int], Any]]]
    check: Callable[[Any], str | None]
    share: Mapping[str, float] = field(default_factory=dict)


def compile_c(source: str) -> ctypes.CDLL:
    """Compile a C file of this folder with the machine's compiler ($CC, cc, gcc) and load it.

    Raises:
        Skip: If there is no compiler, or it refuses.
    """
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        raise Skip("no C compiler (set CC)")
    path = HERE / source
    key = hashlib.sha256(path.read_bytes() + " ".join([compiler, *CFLAGS]).encode()).hexdigest()[:16]
    folder = Path(tempfile.mkdtemp(prefix="rlaws-bench-"))
    out = folder / f"{path.stem}-{key}.so"
    command = [compiler, *CFLAGS, "-shared", "-fPIC", "-o", str(out), str(path), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skip(f"{compiler} failed: {done.stderr.strip().splitlines()[-1:]}")
        return ctypes.CDLL(str(out))
    except OSError as problem:
        raise Skip(f"{compiler}: {problem}") from None
    finally:
        shutil.rmtree(folder)  # the library stays mapped


def race(contest: Contest, rounds: int) -> list[dict[str, Any]]:
    """Time every entry in turns; return a row for each: rate, ratio to the limit, first call, verdict of the check.

    The rate is that of the fastest round, which other programs on the machine disturb least; ``spread`` is the median
    round over the fastest, near 1 on a quiet machine.
    """
    rows, runs = [], {}
    for name, prepare in contest.entries.items():
        row: dict[str, Any] = {"case": contest.case, "entry": name, "wrong": None, "skipped": None}
        rows.append(row)
        try:
            start = time.perf_counter()
            run = prepare()
            result = run(1)
            row["first_s"] = time.perf_counter() - start
        except Skip as reason:
            row["skipped"] = str(reason)
            continue
        row["wrong"] = contest.check(result)
        runs[name] = run
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name, run in runs.items():
            if turn >= SLOW_ROUNDS and name in contest.share:
                continue
            start = time.perf_counter()
            run(2 + turn)
            seconds[name].append((time.perf_counter() - start) / contest.share.get(name, 1.0))
    for row in rows:
        if row["entry"] in runs:
            own = seconds[row["entry"]]
            row["rate"] = contest.work / min(own)
            row["spread"] = statistics.median(own) / min(own)
            if LIMIT in seconds:
                row["ratio"] = min(seconds[LIMIT]) / min(own)
    return rows


def table(title: str, unit: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a markdown table."""
    head = ("case", "entry", f"{unit}/s", f"x {LIMIT}", "median/fastest", "first call, s", "check")
    lines = [f"## {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        if row["skipped"]:
            lines.append(f"| {row['case']} | {row['entry']} | skipped: {row['skipped']} | | | | |")
            continue
        ratio = f"{row['ratio']:.3g}" if "ratio" in row else ""
        verdict = row["wrong"] or "ok"
        figures = (f"{row['rate']:.3g}", ratio, f"{row['spread']:.2f}", f"{row['first_s']:.2f}", verdict)
        lines.append(f"| {row['case']} | {row['entry']} | {' | '.join(figures)} |")
    return "\n".join(lines)


def workloads() -> dict[str, str]:
    """Return short name -> module of every workload here (w1 -> benchmarks.w1_chain)."""
    return {path.stem.split("_")[0]: f"benchmarks.{path.stem}" for path in sorted(HERE.glob("w*.py"))}


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for; 1 if any result was wrong."""
    found = workloads()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="workload", help=f"of {', '.join(found)}; all by default")
    parser.add_argument("--rounds", type=int, default=15, help="timed runs of each entry (default 15)")
    parser.add_argument("--threads", type=int, default=1, help="threads of entries that can use them (default 1)")
    parser.add_argument("--json", action="store_true", help="JSON lines instead of tables")
    args = parser.parse_args(argv)
    unknown = set(args.names) - set(found)
    if unknown:
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(args.threads)  # before the workload brings NumPy in
    wrong = False
    for name in args.names or found:
        module = importlib.import_module(found[name])
        if not hasattr(module, "contests"):
            options = ["--rounds", str(args.rounds), "--threads", str(args.threads)]
            wrong = bool(subprocess.run([sys.executable, "-m", found[name], *options], check=False).returncode) or wrong
            continue
        rows = [row for contest in module.contests(args.threads) for row in race(contest, args.rounds)]
        wrong = wrong or any(row["wrong"] for row in rows)
        if args.json:
            for row in rows:
                print(json.dumps({"workload": name, "unit": module.UNIT, "threads": args.threads, **row}))
        else:
            print(table(module.TITLE, module.UNIT, rows), flush=True)
    return int(wrong)


if __name__ == "__main__":
    # as an import, so that workloads meet the same classes
    sys.exit(importlib.import_module("benchmarks.run").main())
