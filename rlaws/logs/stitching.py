"""Records of one run into rows of steps: entries of one step are merged, resumed runs stitched, nothing averaged.

A resume is seen by its step: where a record's step lies below the last step of one of its own keys (or of another name
of the same column), the trainer went back to a checkpoint and a new segment begins. From its first step on the new
segment counts; what an earlier segment logged there belongs to an abandoned branch and is dropped, and listed. Within a
segment the last value of a key at a step counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.logs.dialects.base import Record, Value
from rlaws.logs.readers import number, shown
from rlaws.logs.runs import Duplicate, Gap, Segment

KEY_LIMIT = 20_000  # distinct keys; more is no log of metrics, and would not be held in bounded memory
SHUFFLED = 2  # so many steps back without any step twice: rows out of order rather than resumes
RESTARTS = 0.2  # so large a share of rows that go back to steps already there: several runs in one


class Cells:
    """The values of one key, in the order of the file.

    Attributes:
        rows: Row of each value.
        values: The values, or empty where only their presence is of interest.
        stored: Whether values are kept.
        column: Name of the column that they fill, or ""; keys of one column tell a resume together.
        dated: Whether the key's steps tell a resume (a time stamp's do not: writers of several kinds of rows share it).
        nonfinite: NaN and infinite values seen, where values are not kept.
        texts: Values seen that are no numbers.
        example: The first of those.
    """

    __slots__ = ("column", "dated", "example", "nonfinite", "rows", "stored", "texts", "values")

    def __init__(self, stored: bool, dated: bool, column: str = "") -> None:
        self.rows = array("I")
        self.values = array("d")
        self.stored = stored
        self.dated = dated
        self.column = column
        self.nonfinite = 0
        self.texts = 0
        self.example = ""

    def add(self, row: int, logged: Value) -> None:
        """Take a value as it was logged."""
        value = logged if type(logged) is float else number(logged)
        if value is None:
            self.texts += 1
            self.example = self.example or shown(str(logged))
            return
        self.rows.append(row)
        if self.stored:
            self.values.append(value)
        elif value - value != 0.0:
            self.nonfinite += 1

    def strange(self) -> int:
        """Return the NaN and infinite values seen."""
        return int((~np.isfinite(np.frombuffer(self.values))).sum()) if self.values else self.nonfinite


class Rows:
    """The records of one run while they are read: 20 bytes a record and 12 a value."""

    def __init__(self, open_cells: Callable[[str], Cells]) -> None:
        """Start with no record.

        Args:
            open_cells: Returns the cells for a key seen for the first time.
        """
        self.open_cells = open_cells
        self.cells: dict[str, Cells] = {}
        self.of_column: dict[str, list[Cells]] = {}
        self.steps = array("d")
        self.segments = array("I")
        self.starts: list[tuple[int, str]] = []  # row and place where a segment begins
        self.stepless = 0
        self.first_stepless = ""
        self.highest = -np.inf

    def add(self, record: Record, file: str) -> None:
        """Take the next record of the run.

        Raises:
            InputError: If there are more keys than any log of metrics has.
        """
        row = len(self.steps)
        step = self._step(record, file)
        if not self.starts or (step < self.highest and self._goes_back(record, step)):
            self.starts.append((row, f"{file}, {record.place}"))
            self.highest = step if step == step else -np.inf
        self.steps.append(step)
        self.segments.append(len(self.starts) - 1)
        if step > self.highest:
            self.highest = step
        known = self.cells.get
        for key, value in record.values.items():
            cells = known(key) or self._open(key)
            if type(value) is float and cells.stored:  # the common case, without a call
                cells.rows.append(row)
                cells.values.append(value)
            else:
                cells.add(row, value)

    def _step(self, record: Record, file: str) -> float:
        if record.step is not None and isfinite(record.step):
            return record.step
        self.stepless += 1
        self.first_stepless = self.first_stepless or f"{file}, {record.place}"
        return nan

    def _goes_back(self, record: Record, step: float) -> bool:
        start = self.starts[-1][0]
        for key in record.values:
            cells = self.cells.get(key) or self._open(key)
            for other in self.of_column.get(cells.column, (cells,)):
                if other.dated and other.rows and other.rows[-1] >= start and self.steps[other.rows[-1]] > step:
                    return True
        return False

    def _open(self, key: str) -> Cells:
        if len(self.cells) >= KEY_LIMIT:
            raise InputError(
                f"{self.starts[-1][1]}: more than {KEY_LIMIT} different keys; this is not a log of metrics in this "
                "dialect. Name the right one with dialect=."
            )
        cells = self.open_cells(key)
        self.cells[key] = cells
        if cells.column:
            self.of_column.setdefault(cells.column, []).append(cells)
        return cells


@dataclass(frozen=True, slots=True)
class Stitched:
    """The rows of a run after stitching.

    Attributes:
        step: [S] steps, rising.
        segment: [S] segment that each step is of, from 1.
        index: [R] step index of each row, -1 where the row is dropped.
        segments: The segments.
        gaps: Missing steps.
        warnings: What happened, in sentences.
        counted: True where no record named a step and entries were counted.
    """

    step: NDArray[np.float64]
    segment: NDArray[np.float64]
    index: NDArray[np.int64]
    segments: tuple[Segment, ...]
    gaps: tuple[Gap, ...]
    warnings: tuple[str, ...]
    counted: bool


def stitch(rows: Rows) -> Stitched:
    """Merge the entries of each step and join the segments.

    Raises:
        InputError: If there is no record, or steps begin again so often that the file must hold several runs.
    """
    if not rows.steps:
        raise InputError("There is no record in it; is the file cut, or the dialect another?")
    steps, warnings, counted = _named(rows)
    segments = np.frombuffer(rows.segments, dtype=np.uint32).astype(np.int64)
    named = np.isfinite(steps)
    if counted or _shuffled(steps[named], segments[named], warnings):
        segments = np.zeros_like(segments)
    keep = named & ~_abandoned(steps, segments, named)
    step, index = _numbered(steps, keep)
    of_step = np.zeros(step.size)
    of_step[index[keep]] = segments[keep] + 1
    parts = _segments(rows, steps, segments, named, of_step, step)
    return Stitched(step, of_step, index, parts, _gaps(step), (*warnings, *_told(parts)), counted)


def place(cells: Cells, stitched: Stitched) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return [S] values of a key (NaN where it has none) and where it has one; the last value of a step counts."""
    values = np.full(stitched.step.size, nan)
    present = np.zeros(stitched.step.size, dtype=bool)
    at = stitched.index[np.frombuffer(cells.rows, dtype=np.uint32)] if cells.rows else np.zeros(0, dtype=np.int64)
    kept = at >= 0
    present[at[kept]] = True
    if cells.stored and cells.rows:
        values[at[kept]] = np.frombuffer(cells.values)[kept]
    return values, present


def duplicates(cells: Mapping[str, Cells], stitched: Stitched) -> tuple[Duplicate, ...]:
    """Return the steps at which keys were logged more than once, with how many keys repeated or changed their value."""
    same = np.zeros(stitched.step.size, dtype=np.int64)
    differing = np.zeros(stitched.step.size, dtype=np.int64)
    for key in cells.values():
        if key.dated and len(key.rows) > 1:
            _count_repeats(key, stitched, same, differing)
    hit = np.flatnonzero(same + differing)
    return tuple(Duplicate(float(stitched.step[i]), int(same[i]), int(differing[i])) for i in hit)


def _count_repeats(key: Cells, stitched: Stitched, same: NDArray[np.int64], differing: NDArray[np.int64]) -> None:
    """Add one to the steps at which a key repeats its value, or changes it."""
    at = stitched.index[np.frombuffer(key.rows, dtype=np.uint32)]
    repeated = np.bincount(at[at >= 0], minlength=stitched.step.size) > 1
    if not repeated.any():
        return
    changed = np.zeros_like(repeated)
    if key.stored:
        last, _ = place(key, stitched)
        values = np.frombuffer(key.values)
        equal = (values == last[at]) | (np.isnan(values) & np.isnan(last[at]))
        changed[at[(at >= 0) & ~equal]] = True
    same += repeated & ~changed
    differing += changed


def _named(rows: Rows) -> tuple[NDArray[np.float64], list[str], bool]:
    """Return the steps, counted from 1 where no record names one."""
    steps = np.frombuffer(rows.steps).copy()
    if rows.stepless == steps.size:
        text = "No record names its step: entries are counted 1, 2, ... instead, so a resume cannot be seen."
        return np.arange(1.0, steps.size + 1), [text], True
    if rows.stepless:
        text = f"{rows.stepless} of {steps.size} records name no step (first: {rows.first_stepless}) and are left out."
        return steps, [text], False
    return steps, [], False


def _shuffled(steps: NDArray[np.float64], segments: NDArray[np.int64], warnings: list[str]) -> bool:
    """Return whether rows are merely out of order: steps go back again and again and yet no row's step is there twice.

    Raises:
        InputError: If steps begin again so often that there must be several runs.
    """
    back = int(np.unique(segments).size) - 1
    if back == 0:
        return False
    if back >= SHUFFLED and np.unique(steps).size == steps.size:
        warnings.append(f"The steps go back {back} times and none is there twice: the rows were out of order; sorted.")
        return True
    if back > max(3, RESTARTS * steps.size) or _same_steps(steps, segments):
        raise InputError(
            f"The steps begin again {back} times in {steps.size} records: it seems to hold several runs. Name the "
            "column that tells them apart in a mapping file (run: <column>), or split it."
        )
    return False


def _same_steps(steps: NDArray[np.float64], segments: NDArray[np.int64]) -> bool:
    """Return whether all segments have the very same steps, as runs that were put one behind the other have."""
    parts = [np.unique(steps[segments == i]) for i in np.unique(segments)]
    return all(np.array_equal(parts[0], part) for part in parts[1:])


def _abandoned(steps: NDArray[np.float64], segments: NDArray[np.int64], named: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return [R] the rows at or behind the first step of a later segment."""
    dropped = np.zeros(steps.size, dtype=bool)
    limit = np.inf
    for segment in np.unique(segments)[::-1]:
        mine = (segments == segment) & named
        dropped |= mine & (steps >= limit)
        if mine.any():
            limit = min(limit, float(steps[mine][0]))
    return dropped


def _numbered(steps: NDArray[np.float64], keep: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    step, inverse = np.unique(steps[keep], return_inverse=True)
    index = np.full(steps.size, -1, dtype=np.int64)
    index[keep] = inverse
    return step, index


def _segments(
    rows: Rows,
    steps: NDArray[np.float64],
    segments: NDArray[np.int64],
    named: NDArray[np.bool_],
    of_step: NDArray[np.float64],
    step: NDArray[np.float64],
) -> tuple[Segment, ...]:
    out = []
    for i in np.unique(segments):
        ran = np.unique(steps[(segments == i) & named])
        kept = step[of_step == i + 1]
        if not ran.size:
            continue
        replaced = tuple(ran[~np.isin(ran, kept)].tolist())
        last = float(kept[-1]) if kept.size else float(ran[0])
        out.append(Segment(float(ran[0]), last, rows.starts[i][1], int(kept.size), replaced))
    return tuple(out)


def _told(parts: Sequence[Segment]) -> list[str]:
    out = []
    for i, part in enumerate(parts[1:], start=2):
        out.append(f"Segment {i} begins at step {part.first:g} ({part.place}): the run was resumed there.")
    for i, part in enumerate(parts, start=1):
        if part.replaced and not part.kept:
            out.append(
                f"Segment {i} is replaced as a whole by a later one that begins at or before its first step; if they "
                "are different runs, name the column that tells them apart (run: <column>) or split the file."
            )
        elif part.replaced:
            out.append(f"Segment {i}: {_spans(part.replaced)} were run again later; the later values count.")
    return out


def _spans(steps: Sequence[float]) -> str:
    return f"step {steps[0]:g}" if len(steps) == 1 else f"{len(steps)} steps from {steps[0]:g} to {steps[-1]:g}"


def _gaps(step: NDArray[np.float64]) -> tuple[Gap, ...]:
    """Return where the spacing exceeds the usual one, where there is a usual one (half of all spacings at least)."""
    if step.size < 3:
        return ()
    spacing = np.diff(step)
    sizes, number_of = np.unique(spacing, return_counts=True)
    usual = sizes[np.argmax(number_of)]
    if number_of.max() * 2 < spacing.size:
        return ()
    return tuple(Gap(float(step[i]), float(step[i + 1])) for i in np.flatnonzero(spacing > 1.5 * usual))
