"""A W&B chart's export whose header was cleaned: "Step", then a column a run; the metric is not named in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.canonical import FIELDS
from rlaws.logs.dialects.base import UNNAMED, Head, Key, Record, Tell
from rlaws.logs.meanings import lenders
from rlaws.logs.readers import first_row, number, table


class WandbRuns:
    """The cleaned CSV of a chart."""

    NAME: ClassVar[str] = "wandb_runs"
    TITLE: ClassVar[str] = "W&B chart with a column a run and no metric in the header"
    NEEDS: ClassVar[str] = "'Step' as first column and behind it columns that are runs, of one metric"
    KEYS: ClassVar[tuple[Key, ...]] = ()

    def sniff(self, head: Head) -> float:
        """Return 0.6 where the first column is "Step" as W&B writes it and no other name is that of a metric."""
        header = list(first_row(head.text))
        if not header or header[0] != "Step" or any(" - " in name or name.startswith("_") for name in header):
            return 0.0
        if any(name.lower() in ("value", "wall time") for name in header):
            return 0.0
        return 0.0 if any(name in FIELDS for name in header[1:]) or lenders(header[1:]) else 0.6

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Yield a record a row and run that has a value there."""
        warn("A W&B chart exports sampled points, not the whole history; export the history if points matter.")
        for at, cells in table(path, tell, warn):
            step = number(cells.pop("Step", ""))
            for run, cell in cells.items():
                value = number(cell)
                yield Record(step, {UNNAMED: cell if value is None else value}, at, run)


DIALECT = WandbRuns()
