"""What ``rlaws fit`` shows on the terminal: a bar while it reads and fits, the import table, and the findings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from rlaws.fits.answers import notes
from rlaws.fits.making import Silent, Told
from rlaws.logs.explain import explain, printable, table
from rlaws.logs.imported_counts import Table
from rlaws.logs.runs import Run
from rlaws.sentences import english

STYLES = {"supported": "green", "refuted": "red", "conditional": "yellow", "undecided": "cyan", "invalid": "magenta"}


@contextmanager
def bars(size: int, *, quiet: bool) -> Iterator[Told]:
    """Show bytes read of all, then steps done of all, on standard error; silent if ``quiet``.

    Args:
        size: Bytes of all logs.
        quiet: Whether nothing is shown.
    """
    if quiet:
        yield Silent()
        return
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with (
        Progress(TextColumn("{task.description}"), BarColumn(20), DownloadColumn(), console=console) as reading,
        Progress(
            TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        ) as fitting,
    ):
        yield _Bars(reading, reading.add_task("reading", total=size), fitting)


class _Bars:
    """Two bars, one after the other."""

    def __init__(self, reading: Any, task: Any, fitting: Any) -> None:
        self.reading, self.task, self.fitting = reading, task, fitting
        self.steps: Any = None

    def read(self, count: int) -> None:
        """See ``Told``."""
        self.reading.update(self.task, advance=count)

    def total(self, count: int) -> None:
        """See ``Told``."""
        self.steps = self.fitting.add_task("fitting", total=count)

    def at(self, what: str, done: int = 0) -> None:
        """See ``Told``."""
        self.fitting.update(self.steps, advance=done, description=printable(what)[:50])


def print_explained(
    runs: Sequence[Run], tables: Sequence[Table] = (), left_out: Sequence[str] = (), *, as_json: bool
) -> None:
    """Print what was read: of every run its keys and what was not understood; of answers models, problems and steps.

    Args:
        runs: Training logs.
        tables: Models of answers per problem.
        left_out: Why answers beside training logs were left out.
        as_json: Whether one JSON document is printed.
    """
    if as_json:
        body = [{"name": r.name, "dialect": r.dialect, "sources": list(r.sources), "unknown": list(r.unknown()),
                 "warnings": list(r.warnings), "keys": [_row(k) for k in explain(r)]} for r in runs]  # fmt: skip
        rows = [{**_counts_row(t), "sources": list(t.sources), "warnings": list(t.warnings)} for t in tables]
        every = {"runs": body, "counts": rows, "counts_left_out": list(left_out)}
        print(json.dumps(every, ensure_ascii=False, allow_nan=False))
        return
    for run in runs:
        print(f"{printable(run.name)}: {run.dialect}, {run.step.size} steps, {printable(', '.join(run.sources))}")
        print(table(run))
        unknown = run.unknown()
        if unknown:
            names = printable(", ".join(unknown))
            print(f"Not understood ({len(unknown)}): {names}. A mapping file can say what they are.")
        print()

    for counts in tables:
        row = _counts_row(counts)
        print(f"{printable(counts.name)}: {counts.dialect}, {printable(', '.join(counts.sources))}")
        print("  ".join(f"{name} {value}" for name, value in row.items() if name not in ("model", "dialect")))
        for note in (*notes(counts), *counts.warnings):
            print(printable(note))
        print()
    for reason in left_out:
        print(f"Answers left out: {printable(reason)}")


def _counts_row(counts: Table) -> dict[str, Any]:
    """Return model, problems, answers and steps of a table in a line."""
    n, steps = counts.n, counts.steps
    return {
        "model": counts.name, "dialect": counts.dialect, "problems": n.size,
        "answers": int(n[0]) if n.min() == n.max() else f"{n.min()}-{n.max()}", "right": int(counts.c.sum()),
        "steps": "-" if not steps else f"{len(steps)} ({steps[0]:g} to {steps[-1]:g})",
    }  # fmt: skip


def _row(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def print_fit(folder: Path, result: Mapping[str, Any], written: Mapping[str, Path], *, as_json: bool) -> None:
    """Print where the forecasts stand, what was judged and what could not be; or one JSON document."""
    if as_json:
        files = {k: str(v) for k, v in written.items()}
        print(json.dumps({"folder": str(folder), "fit": result, "report": files}, ensure_ascii=False, allow_nan=False))
        return
    console = Console()
    axis = result["axis"]
    if axis:
        console.print(f"x: {axis['name']} ({axis['origin']}). {axis['rule']['en']}", highlight=False, soft_wrap=True)
    for f in result["forecasts"]:
        console.print(_line(f), markup=False, highlight=False, soft_wrap=True)
        for sentence in sentences(f):
            console.print(f"{f['recipe']}: {sentence}", markup=False, highlight=False, soft_wrap=True)
    for line in [line for counts in result["counts"] for line in _counted(counts)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in _verdicts(result):
        console.print(line, highlight=False, soft_wrap=True)
    for reason, names in _refusals(result["not_judged"]).items():
        console.print(f"not judged: {', '.join(names)}: {reason}", markup=False, highlight=False, soft_wrap=True)
    others = [p["column"] for p in result["responses"]["possible"] if p["column"] not in result["responses"]["chosen"]]
    if others:
        text = f"Other responses (response=…): {', '.join(others)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    print(f"fit: {folder}")
    for kind, path in written.items():
        print(f"{kind}: {path}")


def _counted(counts: Mapping[str, Any]) -> list[str]:
    """Return pass@1 and the largest pass@k of a model, and what to know of them."""
    shares = [_share(counts, i) for i in dict.fromkeys((0, len(counts["k"]) - 1))]
    return [f"{counts['name']}: {', '.join(shares)} ({counts['problems']} problems)", *map(english, counts["notes"])]


def _share(counts: Mapping[str, Any], i: int) -> str:
    low, high = counts["low"][i], counts["high"][i]
    band = "" if low is None else f" [{low:.4g}, {high:.4g}]"
    return f"pass@{counts['k'][i]} {counts['pass'][i]:.4g}{band}"


def _refusals(refused: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return what cannot be judged, by reason: claims, with their reading where one alone is meant."""
    found: dict[str, dict[str, None]] = {}
    for r in refused:
        found.setdefault(english(r["reason"]), {})[" ".join(filter(None, (r["claim"], r["reading"])))] = None
    return {reason: list(names) for reason, names in found.items()}


def sentences(f: Mapping[str, Any]) -> list[str]:
    """Return what one forecast says in words: refusal, bends, diagnoses, target, advice."""
    refusal = english(f["refusal"]) if f.get("refusal") else ""
    found = [refusal] if refusal else []
    found += [s for s in (english(b["sentence"]) for b in f["bends"]) if s not in refusal]
    found += [f"{d['name']}: {english(d['evidence'])}" for d in f["diagnoses"]]
    for part in ("target", "advice"):
        if f.get(part):
            found.append(english(f[part].get("sentence") or f[part]["refusal"]))
    return found


def _line(f: Mapping[str, Any]) -> str:
    """Return where a response stands and where it is forecast to be."""
    name, runs = f"{f['recipe']}: {f['response']}", f["runs"]
    last = f" is {runs[0]['y'][-1]:.4g} at {f['x']['name']} {runs[0]['x'][-1]:.4g}" if len(runs) == 1 else ""
    bands = f.get("bands")
    if not bands:
        return f"{name}{last}; no forecast."
    y, low, high, new_low, new_high = (bands[k][-1] for k in ("y", "low", "high", "new_low", "new_high"))
    points = "its next points" if len(runs) == 1 else f"one new run (of {len(runs)})"
    return (
        f"{name}{last}; at {bands['x'][-1]:.4g} forecast {y:.4g}, {f['level']:.0%} of the mean {low:.4g} to "
        f"{high:.4g}, of {points} {new_low:.4g} to {new_high:.4g}"
    )


def _verdicts(result: Mapping[str, Any]) -> list[str]:
    """Return one line for each reading that was judged, in rich's markup."""
    lines = []
    for v in result["verdicts"]:
        for r in v["readings"]:
            margin = "" if r["margin"] is None else f", margin {r['margin']:+.2f}"
            lines.append(f"{v['claim']} ({v['study']}) {r['id']}: [{STYLES[r['outcome']]}]{r['outcome']}[/]{margin}")
    return lines
