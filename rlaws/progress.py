"""What a run shows on the terminal: progress while it measures, verdicts when it is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from rlaws.status import span

if TYPE_CHECKING:
    from rlaws.designs.search import Plan as Designs
    from rlaws.designs.search import Tally
    from rlaws.power import Plan
    from rlaws.runner import Finished, Progress
    from rlaws.status import RunStatus

STYLES = {"supported": "green", "refuted": "red", "conditional": "yellow", "undecided": "cyan", "invalid": "magenta"}


SECONDS_BETWEEN_LINES = 0.1


@contextmanager
def bar(label: str, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show done, failed, running, left and time of a study's cells on standard error; silent if ``quiet``."""
    if quiet:
        yield lambda _: None
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=False)),  # what gives way on a narrow terminal
        BarColumn(bar_width=8),
        TextColumn("{task.fields[numbers]}"),
        TextColumn("{task.fields[left]}"),
    )
    console = Console(stderr=True)
    with Bars(*columns, console=console) as bars:
        task = bars.add_task(label, total=None, numbers="", left="")
        shown = float("-inf")

        def tell(p: Progress) -> None:
            nonlocal shown
            if p.note:
                console.print(p.note, markup=False)
            if p.note or p.left == 0 or monotonic() - shown > SECONDS_BETWEEN_LINES:
                shown = monotonic()
                left = f"{span(p.left_s)} left" if p.left_s is not None else ""
                bars.update(task, total=p.total, completed=p.done + p.failed, numbers=numbers(p), left=left)

        yield tell


def numbers(p: Progress | RunStatus) -> str:
    """Return done, failed, running and left in words, for the bar and for ``rlaws status``."""
    left = "?" if p.left is None else p.left
    return f"{p.done}/{'?' if p.total is None else p.total} done, {p.failed} failed, {p.running} running, {left} left"


def print_status(found: Sequence[RunStatus], *, as_json: bool) -> None:
    """Print the state of runs, with the first line of each error; or one JSON document."""
    if as_json:
        print(json.dumps({"runs": [s.to_json() for s in found]}, ensure_ascii=False, allow_nan=False))
        return
    for s in found:
        left = f", {span(s.left_s)} left" if s.left_s is not None else ""
        print(f"{s.study}/{s.run}: {s.state}{f' ({s.driver})' if s.driver else ''}: {numbers(s)}{left}")
        for key, line in s.errors.items():
            print(f"  {key}: {line}")
        if s.failed > len(s.errors):
            print(f"  … and {s.failed - len(s.errors)} more")
        if s.problem and not s.errors:
            print(f"  {s.problem.splitlines()[0]}")


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
            word = "no data" if f.missing_data else "failed"
            table.add_row(f.folder.parent.name, "", word, "", escape(str(f.problem)))
            continue
        for reading in f.verdict["readings"]:
            outcome = str(reading["outcome"])
            margin = "" if reading["margin"] is None else f"{reading['margin']:+.2f}"
            style = STYLES[outcome]
            why = escape(reading["reason"]["en"])
            table.add_row(f.verdict["study"], reading["id"], f"[{style}]{outcome}[/]", margin, why)
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
        power = "" if row.power is None else f"{row.power:.0%}"
        table.add_row(escape(where), row.reading, escape(row.prediction), power, wrong)
    Console().print(table)


def print_designs(found: Designs, *, as_json: bool) -> None:
    """Print cost and power of every design that was tried, and what follows from them; or one JSON document."""
    record: dict[str, Any] = found.to_json()
    if as_json:
        print(json.dumps(record, ensure_ascii=False, allow_nan=False))
        return
    hours = ["GPU h"] if found.lab.throughput is not None else []
    design = "sizes (1e9): steps x seeds, evaluations"
    readings = Column("by reading", overflow="fold")
    names: list[Column | str] = [design, "FLOP", *hours, "power", readings, "refuted if true", "supported if rival"]
    title = f"{found.study.claim.id}: share ± Monte Carlo error (experiments)"
    table = Table(*names, title=title, caption=found.assumed(), show_lines=True)
    for tally in found.tallies:
        table.add_row(*_design_row(found, tally), style="bold" if tally is found.chosen else "")
    Console().print(table)
    for line in record["sentences"]:
        print(line)


def _design_row(found: Designs, tally: Tally) -> list[str]:
    """Return the cells of one design."""
    hours = found.gpu_hours(tally.flops)
    wrong = tally.wrong(found.others())
    return [
        tally.design.brief(),
        f"{tally.flops:.2g}",
        *([] if hours is None else [f"{hours:.3g}"]),
        tally.supported(found.law).words(),
        "\n".join(f"{r.id}: {tally.supported(found.law, r.id).share:.0%}" for r in found.study.claim.readings),
        tally.refuted(found.law).words(),
        "" if wrong is None else f"{wrong[0]}: {wrong[1].words()}",
    ]
