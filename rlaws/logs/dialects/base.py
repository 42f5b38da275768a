"""What a dialect of training logs is: one small module that knows its files by content and says what its keys mean.

A dialect turns a file into records (step, key -> value) and never guesses: what a key means stands in its ``KEYS``,
what no pattern there matches is reported as not understood. A dialect is found by being a module of this folder with an
object ``DIALECT``; nobody edits a list.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

Value = float | str
UNNAMED = "(metric)"  # the key of values whose metric the file does not name; the user must
Tell = Callable[[int], None]  # told the number of bytes read since the last call, for the progress bar


@dataclass(frozen=True, slots=True)
class Key:
    """What a logged key means.

    Attributes:
        pattern: Regular expression that must match the whole key; named groups ``set``, ``metric``, ``k``, ``n`` become
            labels of the column.
        field: Canonical field (``canonical.FIELDS``), or "" where the key is understood but has no place in the schema
            (timings, memory, extrema); ``note`` then says what it is.
        factor: The logged value times this is in the canonical unit.
        note: What a user should know: what it is, or a trap ("prints three decimals").
        labels: Labels of the column that do not stand in the key.
    """

    pattern: str
    field: str = ""
    factor: float = 1.0
    note: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def match(self, key: str) -> re.Match[str] | None:
        """Return the match of a whole key, or None."""
        return re.fullmatch(self.pattern, key)


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a file (or what lies in a folder), from which a dialect recognises its own.

    Attributes:
        path: The file or folder. Names are hints for messages, never evidence.
        text: First 64 KiB, decoded leniently, ANSI codes removed; "" for a folder or a binary file.
        raw: The same bytes as they are.
        members: Names inside a folder, relative, at most 1000; empty for a file.
    """

    path: Path
    text: str
    raw: bytes
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One logged record.

    Attributes:
        step: The trainer's own step, or None where the record names none.
        values: Key as logged -> number (NaN and infinity are kept: logged is not missing) or text.
        place: Line, entry or row, counted from 1, for messages.
        run: Run inside the file, where a file holds several; else "".
    """

    step: float | None
    values: Mapping[str, Value]
    place: int
    run: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """How often a problem was answered right.

    Attributes:
        step: The trainer's step, or None where the file names none.
        problem: Name of the problem.
        n: Samples of it.
        c: Right ones among them.
        model: Name of the model, or "".
    """

    step: float | None
    problem: str
    n: int
    c: int
    model: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One graded answer; the importer adds them up to counts.

    Attributes:
        step: The trainer's step, or None where the file names none.
        problem: Name of the problem (``readers.problem_id`` of the prompt where it has no name).
        score: What the grader gave; the importer decides what is right (0/1, -1/1, or the user's threshold).
        model: Name of the model, or "".
    """

    step: float | None
    problem: str
    score: float
    model: str = ""


class Named(Protocol):
    """What every dialect has.

    Class attributes:
        NAME: Name, as in ``dialect=...`` and reports.
        TITLE: What it is in a few words, for the table of dialects.

    Two more may be there:
        NEEDS: What its content must show, in words that finish "it needs ..."; for the message that refuses a file.
        BORROWS: True where the keys are those of whatever trainer wrote the file (a tracker, a plain table): the
            importer then looks them up in the dialect whose keys cover most of them, after the dialect's own ``KEYS``.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]

    def sniff(self, head: Head) -> float:
        """Return how sure the content is of this dialect.

        0: not mine. Below 0.5: resembles it but lacks something; not taken, but named in the refusal. 0.5 to 1: mine;
        the surest wins, a tie is refused.
        """
        ...


class CountDialect(Named, Protocol):
    """One format of answers per problem."""

    def counts(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Count | Sample]:
        """Yield counts or graded answers in the order of the file; damage as in ``Dialect.records``."""
        ...


class Dialect(Named, Protocol):
    """One format of training logs.

    Class attributes:
        KEYS: Meanings of its keys; the first pattern that matches wins.
    """

    KEYS: ClassVar[tuple[Key, ...]]

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Yield the records in the order of the file, in bounded memory.

        Damage that costs a record (a cut last line, a byte that is no UTF-8) is told to ``warn`` in one sentence with
        the line number; what cannot be read at all raises ``InputError``.
        """
        ...


Anyhow = Dialect | CountDialect
