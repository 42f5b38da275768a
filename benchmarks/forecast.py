"""Score forecasts of published learning curves from their first 30, 50 and 70 %: python -m benchmarks.forecast [DATA].

DATA is the folder of the tables (docs/data.md), default $RLAWS_DATA. Prints the table of docs/forecast.md, and writes
it as JSON with --json FILE. Every curve is scored, also those that turn back, which a user is told about instead.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from rlaws.forecast import Curve, Metric, Row, Score, score, table, turn
from rlaws.forecast.scoring import SHARES

ACCURACY = Metric("accuracy", 0.0, 1.0)
LOSS = Metric("1 - pass@1", 0.0, 1.0, "lower")
ELO = Metric("Elo against perfect play", None, 0.0)
ANSI = re.compile(r"\x1b\[[0-9;]*m")
Source = tuple[Metric, list[Curve]]


def qwen25(folder: Path, name: str) -> Source:
    """Read one of the three tables of arXiv 2509.25300; a curve is a size and its setting."""
    rows = defaultdict(list)
    with (folder / "qwen25-grpo" / f"{name}.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            key = "/".join(row[k] for k in ("model_B", "group_size", "reuse_tau") if row.get(k))
            rows[f"{name}/{key}"].append((float(row["step"]), float(row["test_loss"])))
    return LOSS, [_curve(k, v) for k, v in rows.items()]


def qwen3(folder: Path) -> Source:
    """Read the W&B panel: a column a model, blank where it was not evaluated; step 0 has no logarithm."""
    with (folder / "qwen3-gsm8k-grpo" / "wandb_export.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    sizes = [c for c in rows[0] if c != "Step"]
    return ACCURACY, [
        _curve(s, [(float(r["Step"]), float(r[s])) for r in rows if r[s] and float(r["Step"]) > 0]) for s in sizes
    ]


def hex_runs(folder: Path) -> Source:
    """Read the runs of AlphaZero on Hex (arXiv 2104.03113); the frontiers are no training curves."""
    rows = defaultdict(list)
    with (folder / "hex-alphazero" / "compute_elo.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if row["kind"] == "run":
                point = (10.0 ** float(row["log10_train_flops"]), float(row["elo_vs_perfect"]))
                rows[f"{row['board_size']}/{row['line']}"].append(point)
    return ELO, [_curve(k, v) for k, v in rows.items()]


def verl(folder: Path) -> Source:
    """Read the validation score of a verl console log."""
    text = ANSI.sub("", (folder / "verl-ppo-log" / "console.log").read_text(encoding="utf-8", errors="replace"))
    found = re.findall(r"step:(\d+)[^\n]*?val/[^:]*:([\d.]+)", text)
    return ACCURACY, [_curve("verl", [(float(a), float(b)) for a, b in found])]


def _curve(name: str, points: Sequence[tuple[float, float]]) -> Curve:
    x, y = np.array(points).T
    return Curve(x, y, name)


def sources(folder: Path) -> dict[str, Source]:
    """Return all sources."""
    return {
        "qwen25 sizes": qwen25(folder, "loss_curves"),
        "qwen25 group size": qwen25(folder, "group_size_7B"),
        "qwen25 reuse": qwen25(folder, "data_reuse_7B"),
        "qwen3": qwen3(folder),
        "hex": hex_runs(folder),
        "verl": verl(folder),
    }


def scores(found: dict[str, Source], link: str = "absolute") -> dict[str, list[Score]]:
    """Score every curve at every share under a link; sources without a range are left out under other links."""
    out: dict[str, list[Score]] = {}
    for name, (metric, curves) in found.items():
        if link != "absolute" and not metric.bounded:
            continue
        out[name] = [s for c in curves for share in SHARES for s in score(c, share, metric, bends=False, link=link)]
    return out


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table: mixture, then both naive forecasts, errors in per cent of a curve's range."""
    lines = [
        "| source | seen | curves | points | covered | error | last | line | score | last | line |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    keys = dict.fromkeys((r.source, r.share) for r in rows)
    for source, share in keys:
        m, last, line = (next(r for r in rows if (r.source, r.share, r.method) == (source, share, name))
                         for name in ("mixture", "last_value", "straight_line"))  # fmt: skip
        seen = "all" if share == 0 else f"{share:.0%}"
        errors = " | ".join(f"{100 * v:.1f}" for v in (m.error, last.error, line.error))
        intervals = " | ".join(f"{v:.2f}" for v in (m.interval, last.interval, line.interval))
        lines.append(f"| {source} | {seen} | {m.curves} | {m.points} | {m.covered:.1%} | {errors} | {intervals} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", default=os.environ.get("RLAWS_DATA"))
    parser.add_argument("--link", default="absolute")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    if not given.data:
        parser.error("name the folder of the tables, or set RLAWS_DATA")
    found = sources(Path(given.data))
    for name, (metric, curves) in found.items():
        for curve in curves:
            bend = turn(curve, metric)
            if bend is not None:
                print(f"{name}: {bend.sentence}")
    start = time.perf_counter()
    rows = table(scores(found, given.link))
    print(markdown(rows))
    print(f"{time.perf_counter() - start:.0f} s")
    if given.json:
        given.json.write_text(json.dumps([asdict(r) for r in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
