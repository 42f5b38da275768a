"""Import of training logs: files and folders in, runs with canonical columns out, nothing dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.logs.canonical import FIELDS
from rlaws.logs.detection import MAP_HELP, located
from rlaws.logs.dialects.base import UNNAMED, Dialect, Record, Tell, Value
from rlaws.logs.mapping import Mapping_, check_used, load
from rlaws.logs.meanings import UNDATED, Meaning, Meanings
from rlaws.logs.readers import number
from rlaws.logs.runs import LOGGED, Column, KeyReport, Run
from rlaws.logs.stitching import Cells, Rows, Stitched, duplicates, place, stitch

T = TypeVar("T")
RUN_LIMIT = 2_000  # runs in one file
TOLERANCE = 1e-3  # relative difference of two keys of one column that rounding explains
WARNINGS = 20  # sentences kept of one source, so that a file of rubbish does not fill the memory


class Warnings:
    """Sentences told while a source is read: each once, the first of many, and how many more there were."""

    def __init__(self) -> None:
        """Start with none."""
        self.sentences: dict[str, None] = {}
        self.more = 0

    def __call__(self, sentence: str) -> None:
        """Take a sentence."""
        if sentence in self.sentences:
            return
        if len(self.sentences) < WARNINGS:
            self.sentences[sentence] = None
        else:
            self.more += 1

    def all(self) -> tuple[str, ...]:
        """Return the sentences."""
        return (*self.sentences, *([f"And {self.more} more messages of this kind."] if self.more else []))


def import_runs(
    paths: Sequence[str | Path],
    *,
    dialect: str | None = None,
    mapping: str | Path | Mapping[str, Any] | None = None,
    metric: str | None = None,
    join: bool = False,
    tell: Tell | None = None,
    failed: Callable[[str], None] | None = None,
) -> list[Run]:
    """Import training logs.

    Args:
        paths: Files or folders; a folder is walked.
        dialect: Name of the dialect of all of them, or None to find it from the content of each.
        mapping: Mapping file, or what it would hold; see ``rlaws.logs.mapping``.
        metric: Column that a file shows which does not name its metric, such as "eval[set=gsm8k,metric=mean]".
        join: True where the paths are one run in several files, in their order (rotated or resumed logs).
        tell: Told the number of bytes read since the last call.
        failed: Told why a log cannot be imported, which is then left out, as one crashed run of a sweep; None lets the
            first such log stop the import.

    Returns:
        The runs in the order of the paths, and within a file in the order in which they begin.

    Raises:
        InputError: Nothing to read, unknown or ambiguous dialect, a bad mapping, or a file in which nothing is
            understood; the sentence says what is possible.
    """
    wanted = load(mapping, metric)
    found = [pair for path in paths for pair in located(Path(path), "records", dialect)]
    if not found:
        raise InputError("There is nothing to import; give files or folders of training logs.")
    names = sorted({one.NAME for _, one in found})
    if join and len(names) > 1:
        raise InputError(f"Files of one run must be in one dialect; these are {', '.join(names)}. Leave out join.")
    groups = [found] if join else [[pair] for pair in found]
    told = tell or (lambda _: None)
    sources = [source for group in groups for source in _kept(partial(_read, group, wanted, told), failed)]
    check_used(wanted, [key for source in sources for key in (*source.keys(), *source.taken)], str(found[0][0]))
    return [run for source in sources for runs in _kept(partial(_runs, source), failed) for run in runs]


@dataclass(frozen=True, slots=True)
class _Source:
    """What was read of the files of one log.

    Attributes:
        dialect: Their dialect.
        paths: The files.
        meanings: Meanings of their keys.
        warnings: What was told while they were read.
        rows: Name of a run inside -> its rows.
        taken: Columns that the mapping took for step and run.
    """

    dialect: Dialect
    paths: tuple[Path, ...]
    meanings: Meanings
    warnings: Warnings
    rows: dict[str, Rows]
    taken: set[str]

    def keys(self) -> tuple[str, ...]:
        """Return the keys of all runs."""
        return tuple(dict.fromkeys(key for rows in self.rows.values() for key in rows.cells))


def _kept(make: Callable[[], T], failed: Callable[[str], None] | None) -> list[T]:
    """Return what was made, or nothing where it cannot be and somebody is told why."""
    try:
        return [make()]
    except InputError as error:
        if failed is None:
            raise
        failed(str(error))
        return []


def _read(group: Sequence[tuple[Path, Any]], wanted: Mapping_, tell: Tell) -> _Source:
    """Read the files of one log, which are in one dialect.

    Raises:
        InputError: If there is no record in them.
    """
    dialect: Dialect = group[0][1]
    source = _Source(dialect, tuple(path for path, _ in group), Meanings(dialect, wanted), Warnings(), {}, set())
    for path in source.paths:
        for record in _mapped(dialect.records(path, tell, source.warnings), wanted, source.taken):
            _rows_of(source, record.run, path).add(record, path.name)
    if not source.rows:
        told = " ".join(source.warnings.all())
        raise InputError(f"{source.paths[0]}: no record of {dialect.TITLE} in it. {told} Name its dialect, {MAP_HELP}.")
    return source


def _mapped(records: Iterator[Record], wanted: Mapping_, taken: set[str]) -> Iterator[Record]:
    """Yield the records with step and run taken from the columns that the mapping names."""
    if not wanted.step and not wanted.run:
        yield from records
        return
    for record in records:
        values = dict(record.values)
        taken.update(name for name in (wanted.step, wanted.run) if name in values)
        step = number(values.pop(wanted.step, "")) if wanted.step else record.step
        run = _text(values.pop(wanted.run, "")) if wanted.run else record.run
        yield Record(step, values, record.place, run)


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else value


def _rows_of(source: _Source, name: str, path: Path) -> Rows:
    if name not in source.rows:
        if len(source.rows) >= RUN_LIMIT:
            raise InputError(f"{path} holds more than {RUN_LIMIT} runs; is the column that tells runs apart right?")
        source.rows[name] = Rows(_opener(source.meanings))
    return source.rows[name]


def _opener(meanings: Meanings) -> Callable[[str], Cells]:
    """Return what opens the cells of a key: values are kept only where a column may come of them."""

    def opened(key: str) -> Cells:
        meaning = meanings(key)
        stored = bool(meaning.field) or (not meaning.understood and bool(meanings.borrows or meanings.lent))
        dated = not meaning.understood or (bool(meaning.field) and meaning.field not in UNDATED)
        return Cells(stored, dated, meaning.column)

    return opened


def _runs(source: _Source) -> list[Run]:
    source.meanings.borrow(source.keys())
    return [_run(name, rows, source) for name, rows in source.rows.items()]


def _run(name: str, rows: Rows, source: _Source) -> Run:
    stitched = stitch(rows)
    meanings, path = source.meanings, source.paths[0]
    _check_named(stitched, rows, meanings, path)
    told: list[str] = []
    columns = _columns(rows, stitched, meanings, told)
    if all(column.field in UNDATED for column in columns.values()):  # a clock alone says nothing of the run
        raise InputError(_nothing(path, source, rows))
    title = path.name if path.is_dir() else path.stem
    return Run(
        name=f"{title}: {name}" if name else title,
        dialect=source.dialect.NAME,
        sources=tuple(str(path) for path in source.paths),
        step=stitched.step,
        columns=columns,
        keys=tuple(_report(key, cells, stitched, meanings(key)) for key, cells in rows.cells.items()),
        segments=stitched.segments,
        duplicates=duplicates(rows.cells, stitched),
        gaps=stitched.gaps,
        warnings=(*source.warnings.all(), *stitched.warnings, *told),
        settings={"keys": " ".join(meanings.lent) or source.dialect.NAME, **meanings.wanted.settings()},
    )


def _check_named(stitched: Stitched, rows: Rows, meanings: Meanings, path: Path) -> None:
    """Refuse a table whose step, or whose only metric, has no name.

    Raises:
        InputError: If so.
    """
    if stitched.counted and meanings.borrows:
        raise InputError(
            f"{path}: no column names the training step among {_some(rows)}. Say which it is in a mapping file "
            "(step: <column>)."
        )
    if UNNAMED in rows.cells and not meanings(UNNAMED).understood:
        raise InputError(
            f"{path} has a column a run and does not name the metric it shows. Say what it is: "
            "metric='eval[set=gsm8k,metric=mean]', or the same in a mapping file (metric: ...)."
        )


def _columns(rows: Rows, stitched: Stitched, meanings: Meanings, told: list[str]) -> dict[str, Column]:
    """Return the columns of a run, in the order of the schema; what must be known of them goes to ``told``."""
    filled: dict[str, list[tuple[Meaning, str]]] = {}
    for key in rows.cells:
        meaning = meanings(key)
        if meaning.field:
            filled.setdefault(meaning.column, []).append((meaning, key))
    order = {name: i for i, name in enumerate(FIELDS)}
    columns = {}
    for name, sources in sorted(filled.items(), key=lambda item: (order[item[1][0][0].field], item[0])):
        sources.sort(key=lambda pair: pair[0].rank)
        column = _column(name, sources, rows, stitched, told)
        if column.present.any():
            columns[name] = column
            _check(name, column, stitched, told)
    if columns and len(stitched.segments) > 1:
        everywhere = np.ones(stitched.step.size, dtype=bool)
        columns["segment"] = Column("segment", {}, "1", stitched.segment, everywhere, LOGGED, ())
    return columns


def _column(
    name: str, sources: Sequence[tuple[Meaning, str]], rows: Rows, stitched: Stitched, told: list[str]
) -> Column:
    """Fill a column from its keys: the preferred one where it is present, another where that one is missing."""
    first = sources[0][0]
    values = np.full(stitched.step.size, np.nan)
    present = np.zeros(stitched.step.size, dtype=bool)
    used: list[str] = []
    for meaning, key in sources:
        its, there = place(rows.cells[key], stitched)
        its *= meaning.factor
        _compare(name, key, used, values, its, present & there, told)
        new = there & ~present
        values[new] = its[new]
        present |= new
        used += [key] if new.any() else []
    return Column(first.field, dict(first.labels), FIELDS[first.field].unit, values, present, LOGGED, tuple(used))


def _compare(
    name: str,
    key: str,
    used: Sequence[str],
    values: NDArray[np.float64],
    its: NDArray[np.float64],
    both: NDArray[np.bool_],
    told: list[str],
) -> None:
    """Tell where two keys of one column disagree."""
    apart = both & np.isfinite(values) & np.isfinite(its)
    apart &= np.abs(values - its) > TOLERANCE * np.maximum(np.abs(values), np.abs(its))
    if apart.any():
        told.append(
            f"{key} and {used[0]} both say {name} and differ at {int(apart.sum())} steps; {used[0]} counts. Are they "
            "the same quantity?"
        )


def _check(name: str, column: Column, stitched: Stitched, told: list[str]) -> None:
    """Tell values that cannot be, and totals that fall."""
    spec = FIELDS[column.field]
    finite = column.finite()
    outside = finite & ((column.values < spec.low) | (column.values > spec.high))
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        first = f"{column.values[at]:g} at step {stitched.step[at]:g}"
        told.append(
            f"{name} has {int(outside.sum())} values outside {spec.low:g} to {spec.high:g} (first: {first}); are they "
            f"in the unit '{spec.unit}'?"
        )
    if spec.kind == "cumulative":
        at_steps = stitched.step[finite]
        falls = np.flatnonzero(np.diff(column.values[finite]) < 0)
        if falls.size:
            told.append(f"{name} is a total and yet falls at step {at_steps[falls[0] + 1]:g}: did it restart there?")


def _report(key: str, cells: Cells, stitched: Stitched, meaning: Meaning) -> KeyReport:
    _, there = place(cells, stitched)
    steps = int(there.sum())
    return KeyReport(
        key=key,
        column=meaning.column,
        understood=meaning.understood,
        note=meaning.note,
        factor=meaning.factor,
        steps=steps,
        coverage=steps / stitched.step.size if stitched.step.size else 0.0,
        nonfinite=cells.strange(),
        texts=cells.texts,
        example=cells.example,
    )


def _nothing(path: Path, source: _Source, rows: Rows) -> str:
    notes = (meaning.note for meaning in map(source.meanings, rows.cells) if meaning.note and not meaning.understood)
    note = next(notes, "")
    return (
        f"{path} was read as {source.dialect.NAME} ({source.dialect.TITLE}), but nothing in it has a place in the "
        f"schema: {_some(rows)}{f' ({note})' if note else ''}. Name another dialect, {MAP_HELP}."
    )


def _some(rows: Rows) -> str:
    keys = [f"'{key[:60]}'" for key in rows.cells]
    return ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
