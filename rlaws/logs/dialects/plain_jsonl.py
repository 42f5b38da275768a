"""Any file of flat JSON objects, one a line, with a key of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.plain_table import SCHEMA
from rlaws.logs.readers import flat, json_lines, number, parsed, stepped


class PlainJsonl:
    """JSON lines of one's own."""

    NAME: ClassVar[str] = "jsonl"
    TITLE: ClassVar[str] = "JSON lines"
    NEEDS: ClassVar[str] = "a JSON object with numbers on its first line"
    BORROWS: ClassVar[bool] = True
    KEYS: ClassVar[tuple[Key, ...]] = SCHEMA

    def sniff(self, head: Head) -> float:
        """Return 0.5 where one of the first lines is an object with a number."""
        for line in head.text.splitlines()[:20]:
            row = parsed(line)
            if isinstance(row, dict) and any(number(value) is not None for value in flat(row).values()):
                return 0.5
        return 0.0

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Yield a record a line, its step from the key that is named as one."""
        rows = ((at, flat(row)) for at, row in json_lines(path, tell, warn))
        for at, values, step in stepped(rows):
            yield Record(number(values.get(step)), values, at)


DIALECT = PlainJsonl()
