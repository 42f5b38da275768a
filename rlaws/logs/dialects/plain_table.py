"""Any table in CSV or TSV with a column of steps: names of the schema, of a trainer, or told in a mapping file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.canonical import FIELDS, LABELS
from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.readers import STEP, first_row, number, stepped, table

_LABELS = ",".join(rf"(?:{label}=(?P<{label}>[^\],=]+))?" for label in LABELS).replace(",(", ",?(")
SCHEMA = (
    Key(STEP, note="the training step"),
    *(Key(name, name) for name, field in FIELDS.items() if not field.labels and name != "segment"),
    Key(rf"eval\[{_LABELS}\]", "eval"),
    Key(r"pass_k\[k=(?P<k>\d+)\]", "pass_k"),
)


class PlainTable:
    """A table of one's own."""

    NAME: ClassVar[str] = "table"
    TITLE: ClassVar[str] = "table in CSV or TSV"
    NEEDS: ClassVar[str] = "a header, rows of numbers, and a column of steps"
    BORROWS: ClassVar[bool] = True
    KEYS: ClassVar[tuple[Key, ...]] = SCHEMA

    def sniff(self, head: Head) -> float:
        """Return 0.5 for a header with a row of at least one number below it."""
        return 0.5 if first_row(head.text) else 0.0

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Yield a record a row, its step from the column that is named as one."""
        for at, cells, step in stepped(table(path, tell, warn)):
            yield Record(number(cells.get(step, "")), cells, at)


DIALECT = PlainTable()
