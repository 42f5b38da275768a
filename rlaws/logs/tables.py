"""Strict reading of tables of measurements: names, types and ranges are checked, and a refusal names file, row and key.

A *layout* says which columns a table has, which of them identify a row, and where a public copy of it was published.
Rows are counted as an editor shows them: the header is line 1.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, MissingDataError, suggest

Table = Mapping[str, NDArray[Any]]
KINDS = ("text", "number", "count")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        kind: "text", "number" (a finite float) or "count" (a whole number).
        unit: Unit of the values; "1" for a pure number, "name" for text.
        low: Least value allowed.
        high: Largest value allowed.
        above: True where ``low`` itself is not allowed.
        optional: True where a cell may be blank; it is then NaN, or "" for text.
    """

    kind: str
    unit: str
    low: float = -inf
    high: float = inf
    above: bool = False
    optional: bool = False

    def range(self) -> str:
        """Return the allowed range in words."""
        if self.low == -inf and self.high == inf:
            return "any finite number"
        if self.high == inf:
            return f"{'more than' if self.above else 'at least'} {self.low:g}"
        return f"{'above' if self.above else 'at least'} {self.low:g} and at most {self.high:g}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a public table was published.

    Attributes:
        paper: Public name of the paper.
        repository: owner/name of the public repository.
        commit: Commit that was read.
        place: File or figure in that repository the table was made from.
        licence: Licence of the data, or "none stated".
    """

    paper: str
    repository: str
    commit: str
    place: str
    licence: str

    def sentence(self) -> str:
        """Return the origin in one sentence."""
        return (
            f"It is published with {self.paper} in the public repository github.com/{self.repository} at commit "
            f"{self.commit} ({self.place}); licence: {self.licence}."
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table.

    Attributes:
        columns: Name -> column, in the order of the file.
        key: Columns that identify a row; no two rows share them.
        file: Where the public copy lies under the data folder.
        origin: Where it was published, or None for a table of the user's own.
    """

    columns: Mapping[str, Column]
    key: tuple[str, ...]
    file: str = ""
    origin: Origin | None = None

    def units(self) -> dict[str, str]:
        """Return the unit of every column."""
        return {name: column.unit for name, column in self.columns.items()}


@dataclass(frozen=True, slots=True)
class Where:
    """A row of a file, for messages."""

    file: str
    line: int
    key: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        key = ", ".join(f"{k} = {v}" for k, v in self.key.items())
        return f"{self.file}, row {self.line}{f' ({key})' if key else ''}"


def locate(data_dir: str, file: str, layout: Layout) -> Path:
    """Return the path of a table under the data folder.

    Args:
        data_dir: The data folder, setting ``data_dir`` (environment variable RLAWS_DATA); "~" is expanded.
        file: Path of the table inside it, or an absolute path.
        layout: The table's layout, whose origin tells where a public copy is published.

    Raises:
        MissingDataError: If there is no such file; the sentence says what it is, where it is published and where to
            put it.
    """
    path = Path(data_dir).expanduser() / file
    if path.exists():
        return path
    origin = layout.origin.sentence() if layout.origin else "It is not a table that is published."
    raise MissingDataError(
        f"The table '{file}' with the columns {', '.join(layout.columns)} is not at {path}. {origin} "
        f"Put it there, or point data_dir (now '{data_dir}'; environment variable RLAWS_DATA) to the folder that holds "
        "it; docs/data.md describes the file."
    )


def read(path: Path, layout: Layout) -> dict[str, NDArray[Any]]:
    """Read a comma-separated table and check every cell.

    Args:
        path: The file, UTF-8, first line the column names.
        layout: What it must hold.

    Returns:
        Column name -> array [rows] of str, float64 or int64.

    Raises:
        InputError: Unreadable file, unknown, missing or repeated column, fewer than two rows, a row with too few or too
            many cells, a cell that is blank, of the wrong type or out of range, two rows with one key.
    """
    return parse(_text(path), layout, str(path))


def parse(text: str, layout: Layout, name: str) -> dict[str, NDArray[Any]]:
    """Read a table from its text; see ``read``."""
    try:
        lines = [(i, row) for i, row in enumerate(csv.reader(io.StringIO(text), strict=True), start=1) if row]
    except csv.Error as error:
        raise InputError(f"{name} is not a comma-separated table: {error}. Is the file cut off?") from error
    if not lines:
        raise InputError(f"{name} is empty; its first line must be {','.join(layout.columns)}.")
    _check_header(lines[0][1], layout, name)
    _check_shape(lines, layout, name)
    header = [cell.strip() for cell in lines[0][1]]
    wheres, rows = _rows(lines[1:], header, layout, name)
    _check_unique(wheres)
    return {column: _column(rows, wheres, column, spec) for column, spec in layout.columns.items()}


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a text file (byte {error.start} is not UTF-8); give a comma-separated table, unpacked."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check what it is and its permissions.") from error


def _check_header(header: Sequence[str], layout: Layout, name: str) -> None:
    names = [cell.strip() for cell in header]
    if "\0" in "".join(names):
        raise InputError(f"{name} is not a text file (it holds zero bytes); give a comma-separated table, unpacked.")
    for column in names:
        if column not in layout.columns:
            raise InputError(f"{name}, row 1: column '{column}' is not known.{suggest(column, layout.columns)}")
        if names.count(column) > 1:
            raise InputError(f"{name}, row 1: column '{column}' stands there {names.count(column)} times; keep one.")
    missing = [column for column in layout.columns if column not in names]
    if missing:
        wanted = ", ".join(layout.columns)
        raise InputError(f"{name}, row 1: column '{missing[0]}' is missing; the columns are {wanted}.")


def _check_shape(lines: Sequence[tuple[int, Sequence[str]]], layout: Layout, name: str) -> None:
    width = len(layout.columns)
    for line, cells in lines[1:]:
        if len(cells) != width:
            cut = " The file may be cut off there." if line == lines[-1][0] and len(cells) < width else ""
            raise InputError(f"{name}, row {line}: {len(cells)} cells, but there are {width} columns.{cut}")
    if len(lines) < 3:
        count = "no rows" if len(lines) == 1 else "one row"
        raise InputError(f"{name} has {count} below its header; a table needs at least two to compare anything.")


def _rows(
    lines: Sequence[tuple[int, Sequence[str]]], header: Sequence[str], layout: Layout, name: str
) -> tuple[list[Where], list[dict[str, str]]]:
    rows = [dict(zip(header, (c.strip() for c in cells), strict=True)) for _, cells in lines]
    wheres = [Where(name, line, {k: row[k] for k in layout.key}) for (line, _), row in zip(lines, rows, strict=True)]
    return wheres, rows


def _check_unique(wheres: Sequence[Where]) -> None:
    seen: dict[tuple[str, ...], Where] = {}
    for where in wheres:
        key = tuple(where.key.values())
        if key in seen and key:
            raise InputError(f"{where} is there already in row {seen[key].line}; remove one of them.")
        seen[key] = where


def _column(rows: Sequence[Mapping[str, str]], wheres: Sequence[Where], name: str, spec: Column) -> NDArray[Any]:
    cells = [row[name] for row in rows]
    if spec.kind == "text":
        for cell, where in zip(cells, wheres, strict=True):
            if not cell and not spec.optional:
                raise InputError(f"{where}: column '{name}' is blank; it must hold a name.")
        return np.array(cells, dtype=str)
    values = [_number(cell, spec, name, where) for cell, where in zip(cells, wheres, strict=True)]
    return np.array(values, dtype=np.int64 if spec.kind == "count" else np.float64)


def _number(cell: str, spec: Column, name: str, where: Where) -> float:
    if not cell:
        if spec.optional:
            return np.nan
        raise InputError(f"{where}: column '{name}' is blank; it must hold {spec.range()}.")
    try:
        value = float(cell)
    except ValueError as error:
        raise InputError(f"{where}: column '{name}' holds '{cell}', not a number.") from error
    if not np.isfinite(value):
        raise InputError(f"{where}: column '{name}' holds '{cell}', not a finite number; remove the row or mend it.")
    if spec.kind == "count" and value != round(value):
        raise InputError(f"{where}: column '{name}' holds {cell}, not a whole number.")
    if value < spec.low or value > spec.high or (spec.above and value == spec.low):
        raise InputError(f"{where}: column '{name}' holds {cell}; it must be {spec.range()}.")
    return value
