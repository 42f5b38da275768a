"""What several dialects share: rows of flat JSON, console lines with a dict in them, and how sure a set of keys makes.

A dialect is recognised by keys that only its trainer writes (its *signature*), never by the name of a file. How sure
it is grows with the share of the keys that its table understands, so that of two dialects with a signature in the same
file the one that explains more wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell, Value
from rlaws.logs.readers import Cut, flat, json_lines, lines, literal, number, parsed

Warn = Callable[[str], None]

_OPENED = re.compile(r"\{'[\w/]+': ")
HEAD_ROWS = 400  # rows of the beginning of a file that decide whose it is


def values(row: Mapping[str, object], skip: Iterable[str] = ()) -> dict[str, Value]:
    """Return the numbers and texts of a row, nested keys joined by "/"; quoted numbers are numbers, None is left out.

    Args:
        row: Key -> value as logged.
        skip: Keys that are no values (the step, for one).
    """
    skipped = set(skip)
    kept = flat({key: value for key, value in row.items() if key not in skipped})
    return {key: _number_or_text(value) for key, value in kept.items()}


def _number_or_text(value: Value) -> Value:
    as_number = number(value)
    return value if as_number is None else as_number


def understood(keys: Iterable[str], table: Sequence[Key]) -> float:
    """Return the share of the keys that a table understands, 0 to 1; 0 for no keys."""
    wanted = list(keys)
    return sum(any(key.match(name) for key in table) for name in wanted) / len(wanted) if wanted else 0.0


def sureness(keys: Iterable[str], table: Sequence[Key], signature: str) -> float:
    """Return how sure a set of keys makes: 0 without a key of the signature, else 0.9 to 0.98 by the share understood.

    Where fewer than a third of the keys are understood it is 0.4: the file resembles the dialect and is not taken.

    Args:
        keys: The keys of the beginning of the file.
        table: Meanings of the dialect.
        signature: Regular expression of whole keys that no other trainer writes.
    """
    wanted = set(keys)
    if not any(re.fullmatch(signature, key) for key in wanted):
        return 0.0
    share = understood(wanted, table)
    return 0.9 + 0.08 * share if share >= 1 / 3 else 0.4


def head_json(head: Head) -> list[dict[str, object]]:
    """Return the rows of a file of JSON lines that its beginning shows; empty where it is no such file.

    The last line of the beginning may be cut; one other line in five may be damaged.
    """
    texts = [line for line in head.text.splitlines() if line.strip()][:HEAD_ROWS]
    rows = [row for row in map(_json_row, texts) if row is not None]
    return rows if rows and len(rows) >= 0.8 * (len(texts) - 1) else []


def _json_row(text: str) -> dict[str, object] | None:
    """Return a line of JSON as a dict, or None."""
    row = parsed(text) if text.lstrip().startswith("{") else None
    return row if isinstance(row, dict) else None


class JsonRows:
    """Files of JSON lines, a flat row a record, with the trainer's own keys.

    Class attributes beside those of a dialect:
        SIGNATURE: Regular expression of whole keys that only this trainer writes.
        STEPS: Keys that carry the step, the first present one counts.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    KEYS: ClassVar[tuple[Key, ...]]
    SIGNATURE: ClassVar[str]
    STEPS: ClassVar[tuple[str, ...]] = ("step",)

    def sniff(self, head: Head) -> float:
        """Return how sure the keys of the rows make; see ``sureness``."""
        return self.sure({key for row in head_json(head) for key in flat(row)})

    def sure(self, keys: Iterable[str]) -> float:
        """Return how sure a set of keys makes."""
        return sureness(keys, self.KEYS, self.SIGNATURE)

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a line."""
        for place, row in json_lines(path, tell, warn):
            yield Record(self.step(row), values(row, skip=("step",)), place)

    def step(self, row: Mapping[str, object]) -> float | None:
        """Return the step a row names, or None."""
        named = (number(row[key]) for key in self.STEPS if key in row)
        return next((step for step in named if step is not None), None)


class ConsoleRows:
    """Console text in which some lines hold a dict of metrics.

    Class attributes beside those of a dialect:
        ROW: Finds such a line; group ``dict`` is the dict, group ``step`` (where there is one) its step.
        SIGNATURE: Regular expression of whole keys that only this trainer writes.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    KEYS: ClassVar[tuple[Key, ...]]
    ROW: ClassVar[re.Pattern[str]]
    SIGNATURE: ClassVar[str]

    def sniff(self, head: Head) -> float:
        """Return how sure the keys of the dicts make; see ``sureness``."""
        return self.sure(self.head_keys(head))

    def head_keys(self, head: Head) -> set[str]:
        """Return the keys of the dicts that the beginning of the file shows."""
        found = (self.ROW.search(line) for line in re.split(r"[\r\n]+", head.text))
        rows = (literal(match["dict"]) for match in found if match)
        return {key for row in rows if row for key in row}

    def sure(self, keys: Iterable[str]) -> float:
        """Return how sure a set of keys makes."""
        return sureness(keys, self.KEYS, self.SIGNATURE)

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a line with a dict; a dict that is cut is told to ``warn``."""
        for place, line in lines(path, tell, warn):
            match = self.ROW.search(line)
            row = literal(match["dict"]) if match else None
            if row is None and (match or (isinstance(line, Cut) and _OPENED.search(line))):
                warn(f"{path.name}, line {place} holds a dict that is cut or damaged; it is left out.")
            elif match and row and self.mine(row):
                yield Record(self.step(match, row), values(row), place)

    def mine(self, row: Mapping[str, object]) -> bool:
        """Return whether a printed dict is one of metrics: a key of it is understood."""
        return any(key.match(name) for name in row for key in self.KEYS)

    def step(self, match: re.Match[str], row: Mapping[str, object]) -> float | None:
        """Return the step of a line, or None where the line names none."""
        named = match.groupdict().get("step")
        return float(named) if named is not None else None
