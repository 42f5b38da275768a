"""verl's file logger: lines {"step": 10, "data": {"critic/score/mean": 0.135, ...}}."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects import verl_keys
from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.readers import flat, json_lines, number

_LINE = re.compile(r'^\s*\{\s*"step"\s*:\s*-?\d+\s*,\s*"data"\s*:\s*\{', re.MULTILINE)


class VerlJsonl:
    """The file logger."""

    NAME: ClassVar[str] = "verl_jsonl"
    TITLE: ClassVar[str] = "metrics file (JSON lines) of verl's file logger"
    NEEDS: ClassVar[str] = 'lines {"step": 1, "data": {...}}'
    KEYS: ClassVar[tuple[Key, ...]] = verl_keys.KEYS

    def sniff(self, head: Head) -> float:
        """Return 0.95 with such a line."""
        return 0.95 if _LINE.search(head.text) else 0.0

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Yield one record a line."""
        for at, row in json_lines(path, tell, warn):
            data = row.get("data")
            if not isinstance(data, dict):
                warn(f"{path.name}, line {at} has no 'data' beside its step; it is left out.")
                continue
            yield Record(number(row.get("step")), flat(data), at)


DIALECT = VerlJsonl()
