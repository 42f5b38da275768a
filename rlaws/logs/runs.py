"""What an import returns: runs with columns of the canonical schema, and what the importer has to say about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest

LOGGED, DERIVED, ASSUMED = "logged", "derived", "assumed"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a run.

    Attributes:
        field: Field of the schema (``canonical.FIELDS``).
        labels: Labels that tell it from other columns of the field.
        unit: Unit of the values.
        values: [S] one value a step; NaN where none is present, and where NaN was logged.
        present: [S] True where the log has a value: a logged NaN is present, a missing value is not.
        origin: "logged", "derived" from logged columns, or "assumed": it rests on a number that no log holds.
        keys: Keys of the log that it came from, the preferred one first; for a derived column the columns.
    """

    field: str
    labels: Mapping[str, str]
    unit: str
    values: NDArray[np.float64]
    present: NDArray[np.bool_]
    origin: str
    keys: tuple[str, ...]

    def finite(self) -> NDArray[np.bool_]:
        """Return [S] where there is a finite value."""
        return self.present & np.isfinite(self.values)


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What became of one key of the log.

    Attributes:
        key: As logged.
        column: Name of the column it fills, or "".
        understood: True where the dialect or the user's mapping says what it is.
        note: What it is or what to know of it, beyond the field's meaning.
        factor: The logged values times this are in the column.
        steps: Steps that have a value of it.
        coverage: The same as a share of the run's steps.
        nonfinite: NaN and infinite values logged.
        texts: Values that are no numbers; they are in no column.
        example: The first of those, shortened.
    """

    key: str
    column: str
    understood: bool
    note: str
    factor: float
    steps: int
    coverage: float
    nonfinite: int
    texts: int
    example: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the run between two interruptions: within it no key's step goes back.

    Attributes:
        first: Its first step.
        last: Its last step that counts.
        place: Where it begins: file and line, entry or row.
        kept: Steps of it that count.
        replaced: Steps of it that a later segment ran again, which are dropped.
    """

    first: float
    last: float
    place: str
    kept: int
    replaced: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A step that was logged more than once within a segment.

    Attributes:
        step: The step.
        same: Keys that were logged again with the same value.
        differing: Keys that were logged again with another value; the last one counts.
    """

    step: float
    same: int
    differing: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Steps that are not in the log though their neighbours' spacing says they were run.

    Attributes:
        after: The last step before it.
        before: The first step behind it.
    """

    after: float
    before: float


@dataclass(frozen=True, slots=True)
class Run:
    """An imported run.

    Attributes:
        name: Its name: the file's or folder's, with the run's own where a file holds several.
        dialect: Name of the dialect it was read in.
        sources: Files or folders it was read from.
        step: [S] the trainer's steps, rising.
        columns: Name of a column (``canonical.column_id``) -> column, each [S].
        keys: What became of every key of the log.
        segments: Its stretches between resumes, in order.
        duplicates: Steps logged more than once.
        gaps: Steps that are missing.
        warnings: What else a reader must know, in sentences.
        settings: How it was imported: whose keys, the mapping's text and hash.
    """

    name: str
    dialect: str
    sources: tuple[str, ...]
    step: NDArray[np.float64]
    columns: Mapping[str, Column]
    keys: tuple[KeyReport, ...]
    segments: tuple[Segment, ...]
    duplicates: tuple[Duplicate, ...] = ()
    gaps: tuple[Gap, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> Column:
        """Return a column.

        Raises:
            InputError: If the run has none of that name.
        """
        if name not in self.columns:
            raise InputError(f"The run '{self.name}' has no column '{name}'.{suggest(name, self.columns)}")
        return self.columns[name]

    def unknown(self) -> tuple[str, ...]:
        """Return the keys that are not understood."""
        return tuple(report.key for report in self.keys if not report.understood)


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each problem was answered right, as imported.

    Attributes:
        name: Name of the file or folder.
        dialect: Name of the dialect it was read in.
        sources: Files or folders it was read from.
        model: [P] name of the model, "" where the file names none.
        problem: [P] name of the problem.
        step: [P] the trainer's step, NaN where the file names none.
        n: [P] samples.
        c: [P] right ones among them.
        warnings: What a reader must know, in sentences.
        settings: How it was imported.
    """

    name: str
    dialect: str
    sources: tuple[str, ...]
    model: NDArray[np.str_]
    problem: NDArray[np.str_]
    step: NDArray[np.float64]
    n: NDArray[np.int64]
    c: NDArray[np.int64]
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
