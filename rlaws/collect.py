"""From the stored cells of a study to one table, quickly and in bounded memory: 10^5 cells are an ordinary sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import CellError, InputError
from rlaws.measurement import Measurement
from rlaws.store import RunFolder, StoredCell, canonical, digest, open_cell, to_measurement
from rlaws.study import Cell, Study

BLOCK = 1024
"""Cells whose columns are joined at once, so that small arrays do not pile up."""

Columns = dict[str, NDArray[Any]]


def collect(
    study: Study, cells: Sequence[Cell], keys: Sequence[str], folder: RunFolder
) -> tuple[Measurement | None, list[str]]:
    """Return the stored rows of all cells in grid order with the grid as regime, or the keys of damaged cells.

    Raises:
        CellError: If a cell is missing: the verdict would rest on fewer rows than the study says.
        InputError: If the cells differ in columns.
    """
    stored, _ = folder.listing()
    absent = sum(k not in stored for k in keys)
    if absent:
        raise CellError(f"{absent} of {len(keys)} cells of {study.id} are missing; run the study again.")
    gathered = _Gathered(study)
    damaged: list[str] = []
    for cell, key in zip(cells, keys, strict=True):
        try:
            found = open_cell(folder.cell(key))
        except InputError:
            damaged.append(key)
            continue
        if not _is(cell, found.meta.get("cell")):  # whole, but another cell's
            damaged.append(key)
        elif not damaged:
            gathered.add(cell, found)
    return (None, damaged) if damaged else (gathered.table(folder), damaged)


def _is(cell: Cell, said: Any) -> bool:
    """Tell whether a stored cell says that it is this one (as JSON says it: NaN is NaN, a tuple is a list)."""
    own = cell.identity()
    return bool(said == own) or canonical(said) == canonical(own)


class _Gathered:
    """Columns of the cells so far."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.first: StoredCell | None = None
        self.parts: list[Columns] = []
        self.blocks: list[Columns] = []
        self.cost: Counter[str] = Counter()

    def add(self, cell: Cell, stored: StoredCell) -> None:
        """Take the rows of one cell: its labels made distinct, its grid values as regime columns."""
        if self.first is None:
            self.first = stored
        self.parts.append(_columns(self.study, cell, stored))
        for name, value in stored.meta["provenance"].get("cost", {}).items():
            if isinstance(value, int | float):
                self.cost[name] += value  # type: ignore[assignment]
        if len(self.parts) == BLOCK:
            self.blocks.append(_stack(self.parts))
            self.parts = []

    def table(self, folder: RunFolder) -> Measurement:
        """Return the whole table.

        Raises:
            InputError: If there is no cell.
        """
        if self.first is None:
            raise InputError("There is no finished cell to analyse; run the study first.")
        columns = _stack([*self.blocks, *([_stack(self.parts)] if self.parts else [])])
        meta = dict(self.first.meta)
        plain, _ = _split(self.study, meta["x"], {name: None for name in self.study.grid})
        own = meta["regime"]
        meta["regime"] = [*own, *(k for k in plain if k not in own)]
        units = self.study.units()
        meta["units"] = {**meta["units"], **{k: u for k, u in units.items() if k not in meta["units"]}}
        if self.cost:
            meta["provenance"] = {**meta["provenance"], "cost": dict(self.cost)}
        return to_measurement(StoredCell(meta, columns), folder.path)


def _split(study: Study, x: Iterable[str], point: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a grid point into regime values (lists of values as one word) and pooled values."""
    x = tuple(x)
    plain, pooled = {}, {}
    for name, value in point.items():
        if name in study.pool or name in x:
            pooled[name] = value
        else:
            joined = isinstance(value, Sequence) and not isinstance(value, str)
            plain[name] = "/".join(map(str, value)) if joined else value
    return plain, pooled


def _columns(study: Study, cell: Cell, stored: StoredCell) -> Columns:
    """Return a cell's columns with regime and labels.

    Pooled keys become no column: their clusters are told apart by label, and the probe has the value as x.
    """
    plain, pooled = _split(study, stored.meta["x"], cell.point)
    prefix = f"{digest(pooled)}:" if pooled else ""
    if study.replicates > 1:
        prefix = f"r{cell.replicate}:{prefix}"
    columns = dict(stored.columns)
    if prefix:
        columns["cluster"] = np.array([f"{prefix}{c}" for c in columns["cluster"].tolist()])
    rows = len(columns["cluster"])
    return columns | {k: np.full(rows, v) for k, v in plain.items() if k not in columns}


def _stack(parts: Sequence[Columns]) -> Columns:
    """Join the columns of several cells.

    Raises:
        InputError: If they differ in columns.
    """
    names = parts[0].keys()
    odd = next((p.keys() ^ names for p in parts if p.keys() != names), None)
    if odd:
        raise InputError(f"Cells differ in columns: {sorted(odd)}.")
    return {name: np.concatenate([p[name] for p in parts]) for name in names}
