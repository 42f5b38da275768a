"""The history of a W&B run as CSV: _step, _runtime, _timestamp and a column a metric, blank where not logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.readers import STEP, header_of, number, stepped, table

_OWN = ("_step", "_runtime", "_timestamp")


class WandbHistory:
    """The CSV that ``run.history()`` or ``run.scan_history()`` gives."""

    NAME: ClassVar[str] = "wandb_history"
    TITLE: ClassVar[str] = "CSV of a W&B run's history"
    NEEDS: ClassVar[str] = "the columns _step and _runtime or _timestamp"
    BORROWS: ClassVar[bool] = True
    KEYS: ClassVar[tuple[Key, ...]] = (
        Key("_timestamp", "wall_s"),
        Key("_runtime", "wall_s"),
        Key(STEP, note="the training step"),
        Key("_step", note="counts calls of W&B's log function; no training step"),
        Key(r"_wandb.*|\(column \d+\)|system[/.].*", note="W&B's own"),
    )

    def sniff(self, head: Head) -> float:
        """Return 0.95 with W&B's own columns."""
        header = header_of(head.text)
        return 0.95 if "_step" in header and ("_runtime" in header or "_timestamp" in header) else 0.0

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Yield a record a row; its step is a *global_step if there is one, W&B's _step only where nothing else is."""
        step = ""
        for at, cells, step in stepped(table(path, tell, warn), otherwise="_step"):
            yield Record(number(cells.get(step, "")), cells, at)
        if step == "_step":
            warn("There is no training step beside W&B's _step, which counts calls of its log function; it is used.")


DIALECT = WandbHistory()
