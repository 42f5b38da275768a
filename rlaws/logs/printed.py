"""Numbers printed in papers and public reports, typed in with a citation in every row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from rlaws.errors import InputError, suggest
from rlaws.logs.tables import Column, Layout, Table, read

FOLDER = Path(__file__).parent / "printed"

_NAME = Column("text", "name")
_SIZE = Column("number", "1e9 parameters", low=0, above=True)
_SHARE = Column("number", "1", low=0, high=1)
_SPREAD = Column("number", "1", low=0, above=True, optional=True)
_CITE = {"cite": Column("text", "name"), "place": Column("text", "name")}

LAYOUTS: dict[str, Layout] = {
    "qwen25_converged": Layout(
        columns={
            "table": _NAME,
            "family": _NAME,
            "model_B": _SIZE,
            "pass_at_1": _SHARE,
            "stderr": _SPREAD,
            "runs": Column("count", "runs", low=1),
            "spread": _NAME,
            **_CITE,
        },
        key=("table", "family", "model_B"),
        file="qwen25_converged.csv",
    ),
    "policy_gain": Layout(
        columns={
            "task": _NAME,
            "model": _NAME,
            "model_B": _SIZE,
            "before": Column("number", "1", low=0, high=1, optional=True),
            "after": Column("number", "1", low=0, high=1, optional=True),
            "gain": Column("number", "1", low=-1, high=1),
            "questions": Column("number", "questions", low=1, optional=True),
            "rounding": Column("number", "1", low=0, above=True),
            "runs": Column("count", "runs", low=1),
            **_CITE,
        },
        key=("task", "model"),
        file="policy_gain.csv",
    ),
    "pythia_math_coverage": Layout(
        columns={
            "model": _NAME,
            "model_B": _SIZE,
            "k": Column("count", "samples", low=1),
            "pass_at_k": _SHARE,
            **_CITE,
        },
        key=("model", "k"),
        file="pythia_math_coverage.csv",
    ),
}


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """A table of printed numbers, in place of a policy.

    Attributes:
        name: qwen25_converged, policy_gain or pythia_math_coverage.
        only: Keep the rows whose first key column (table, task or model) has this value; "" for all.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"name": "name", "only": "name"}

    name: str
    only: str = ""

    def __post_init__(self) -> None:
        if self.name not in LAYOUTS:
            raise InputError(f"name = '{self.name}' is not known.{suggest(self.name, LAYOUTS)}")

    def sources(self) -> list[Path]:
        """Return the file that the numbers are typed in."""
        return [FOLDER / LAYOUTS[self.name].file]

    def table(self) -> Table:
        """Return the columns, checked and typed.

        Raises:
            InputError: As ``tables.read``, or if no row has the value ``only``.
        """
        layout = LAYOUTS[self.name]
        columns = read(self.sources()[0], layout)
        if not self.only:
            return columns
        first = columns[layout.key[0]]
        keep = np.asarray(first == self.only)
        if not keep.any():
            raise InputError(f"No row of '{self.name}' has {layout.key[0]} = '{self.only}'.{suggest(self.only, first)}")
        return {name: values[keep] for name, values in columns.items()}

    def provenance(self) -> dict[str, str]:
        """Return what the numbers are and where they were printed."""
        columns = self.table()
        cites = sorted({f"{c}, {p}" for c, p in zip(columns["cite"], columns["place"], strict=True)})
        return {"table": self.name, "origin": "; ".join(cites)}
