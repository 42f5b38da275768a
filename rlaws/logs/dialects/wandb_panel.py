"""Export of a chart of W&B: a column of steps, then three columns a run, "<run> - <metric>" with __MIN and __MAX."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.errors import InputError
from rlaws.logs import readers
from rlaws.logs.dialects.base import Head, Key, Record, Tell, Value
from rlaws.logs.readers import first_row, header_of, number, table

_EXTREMA = re.compile(r".*__(?:MIN|MAX)")
_GROUP = re.compile(r"[\w.]+: .+")


class WandbPanel:
    """The CSV of a chart."""

    NAME: ClassVar[str] = "wandb_panel"
    TITLE: ClassVar[str] = "CSV export of a W&B chart"
    NEEDS: ClassVar[str] = "columns named '<run> - <metric>' behind the first"
    BORROWS: ClassVar[bool] = True
    KEYS: ClassVar[tuple[Key, ...]] = (
        Key(r".+__(?:MIN|MAX)", note="extremum of a group's runs, or of the steps that the export put into one point"),
        Key(r"Relative Time \((?:Wall|Process)\)", "wall_s", note="time since the start of the run"),
    )

    def sniff(self, head: Head) -> float:
        """Return 0.95 where every column but the first is "<run> - <metric>", with or without extrema."""
        header = list(first_row(head.text))
        if not header or " - " in header[0]:
            return 0.0
        named = sum(" - " in name for name in header[1:])
        return 0.95 if named == len(header) - 1 else 0.3 * named / len(header)

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Yield a record a row and run that has a value there.

        Raises:
            InputError: If a column is no "<run> - <metric>".
        """
        places: dict[str, tuple[str, str]] = {}
        first = (header_of(readers.head(path).text) or [""])[0]
        warn("A W&B chart exports sampled points, not the whole history; export the history if points matter.")
        for at, cells in table(path, tell, warn):
            runs: dict[str, dict[str, Value]] = {}
            for name, cell in cells.items():
                if name != first:
                    run, metric = places.get(name) or _place(places, name, warn, path)
                    value = number(cell)
                    runs.setdefault(run, {})[metric] = cell if value is None else value
            step = number(cells.get(first, ""))
            for run, values in runs.items():
                timed = {first: step} if first.startswith("Relative Time") and step is not None else {}
                yield Record(None if first.startswith("Relative Time") else step, {**timed, **values}, at, run)


def _place(places: dict[str, tuple[str, str]], name: str, warn: Callable[[str], None], path: Path) -> tuple[str, str]:
    """Return run and metric of a column; the last " - " separates them, for run names hold it more often."""
    run, separator, metric = name.rpartition(" - ")
    if not separator:
        raise InputError(f"{path}: column '{name}' is not '<run> - <metric>', as a chart's export of W&B writes it.")
    if _GROUP.fullmatch(run) and not _EXTREMA.fullmatch(metric):
        warn(f"'{run}' is a group: its column is the mean over the group's runs, __MIN and __MAX their range.")
    places[name] = (run, metric)
    return run, metric


DIALECT = WandbPanel()
