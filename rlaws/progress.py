"""What a run shows on the terminal: progress while it measures, verdicts when it is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from rlaws.power import Plan
    from rlaws.runner import Finished, Progress

STYLES = {"supported": "green", "refuted": "red", "conditional": "yellow", "undecided": "cyan", "invalid": "magenta"}


@contextmanager
def bar(label: str, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show done, failed, left and time of a study's cells on standard error; silent if ``quiet``."""
    if quiet:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=None, failed=0)
        yield lambda p: bars.update(task, total=p.total, completed=p.done + p.failed, failed=p.failed)


def print_verdicts(finished: Sequence[Finished], written: Mapping[str, Path], *, as_json: bool) -> None:
    """Print one line a reading, or one JSON document."""
    if as_json:
        runs = [
            {"folder": str(f.folder), "verdict": f.verdict, "problem": f.problem, "missing_data": f.missing_data}
            for f in finished
        ]
        report = {k: str(v) for k, v in written.items()}
        print(json.dumps({"runs": runs, "report": report}, ensure_ascii=False, allow_nan=False))
        return
    table = Table("study", "reading", "verdict", "margin", "why", title="Verdicts", expand=True)
    for f in finished:
        if f.verdict is None:
            table.add_row(str(f.folder.parent.name), "", "no data" if f.missing_data else "failed", "", f.problem)
            continue
        for reading in f.verdict["readings"]:
            outcome = str(reading["outcome"])
            margin = "" if reading["margin"] is None else f"{reading['margin']:+.2f}"
            style = STYLES[outcome]
            table.add_row(f.verdict["study"], reading["id"], f"[{style}]{outcome}[/]", margin, reading["reason"]["en"])
    Console().print(table)
    for kind, path in written.items():
        print(f"{kind}: {path}")


def print_plan(plan: Plan, *, as_json: bool) -> None:
    """Print cells, cost and power of a plan."""
    record: dict[str, Any] = plan.to_json()
    if as_json:
        print(json.dumps(record, ensure_ascii=False, allow_nan=False))
        return
    print(f"{plan.study}: {plan.cells} cells, {plan.points} regime points, about {plan.seconds:.0f} s of one core")
    table = Table("regime point", "reading", "prediction", "power", "finds a rival supported")
    for row in plan.rows:
        where = ", ".join(f"{k}={v}" for k, v in row.regime.items()) or "all"
        wrong = "" if row.wrong is None else f"{row.wrong:.0%}"
        table.add_row(where, row.reading, row.prediction, "" if row.power is None else f"{row.power:.0%}", wrong)
    Console().print(table)
