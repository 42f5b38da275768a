"""What a logged key means: the user's mapping first, then the dialect's keys, then another dialect's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlaws.errors import InputError
from rlaws.logs.canonical import FIELDS, column_id
from rlaws.logs.dialects import dialect, dialects
from rlaws.logs.dialects.base import UNNAMED, Dialect, Key
from rlaws.logs.mapping import Mapping_

UNDATED = ("wall_s", "epoch", "segment")  # fields that rows of several kinds share; their steps tell no resume
LABEL_MARKS = re.compile(r"[\[\],=]")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one key means.

    Attributes:
        understood: Whether it is known what the key is.
        field: Field of the schema, or "".
        labels: Labels of the column.
        factor: Logged value times this is in the field's unit.
        note: What it is, or what to know of it.
        rank: Place of its pattern; of two keys of one column the lower one is preferred.
    """

    understood: bool
    field: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    factor: float = 1.0
    note: str = ""
    rank: int = 0

    @property
    def column(self) -> str:
        """Name of the column, or ""."""
        return column_id(self.field, self.labels) if self.field else ""

    def agrees(self, other: Meaning) -> bool:
        """Return whether two readings put the key into the same column with the same factor."""
        return (self.column, self.factor, self.understood) == (other.column, other.factor, other.understood)


class Meanings:
    """The meanings of the keys of one source.

    Attributes:
        borrows: Whether keys are looked up in other dialects, once all are known.
    """

    def __init__(self, source: Dialect, wanted: Mapping_) -> None:
        """Start for a dialect, with the user's mapping."""
        self.own = source.KEYS
        self.wanted = wanted
        self.borrows = bool(getattr(source, "BORROWS", False))
        self.lent: tuple[str, ...] = (wanted.keys,) if wanted.keys else ()
        self.known: dict[str, Meaning] = {}

    def __call__(self, key: str) -> Meaning:
        """Return what a key means, as far as the mapping and the dialect's own keys say."""
        if key not in self.known:
            self.known[key] = self._own(key)
        return self.known[key]

    def borrow(self, keys: Iterable[str]) -> None:
        """Look the keys that are not understood up in the dialect that knows most of them.

        Where several know equally many, a key is understood only if they agree on it.
        """
        open_keys = [key for key in keys if not self(key).understood]
        if not self.borrows and not self.wanted.keys:
            return
        self.lent = self.lent or lenders(open_keys)
        for key in open_keys:
            self.known[key] = _agreed(key, self.lent)

    def _own(self, key: str) -> Meaning:
        if key in self.wanted.columns:
            return reading(key, (self.wanted.columns[key],))
        if key == UNNAMED and self.wanted.metric is not None:
            metric = self.wanted.metric
            return Meaning(True, metric.field, metric.labels, metric.factor, metric.note or "named by the user")
        return reading(key, self.own)


def reading(key: str, keys: Sequence[Key]) -> Meaning:
    """Return the meaning of a key by the first pattern that matches the whole of it.

    Raises:
        InputError: If the pattern names a field that the schema lacks.
    """
    for rank, known in enumerate(keys):
        match = known.match(key)
        if match is None:
            continue
        if known.field and known.field not in FIELDS:
            raise InputError(f"The pattern {known.pattern} names the field '{known.field}', which the schema lacks.")
        labels = {**known.labels, **{name: text for name, text in match.groupdict().items() if text}}
        clean = {name: LABEL_MARKS.sub("_", text) for name, text in labels.items()}
        return Meaning(True, known.field, clean, known.factor, known.note, rank)
    return Meaning(False, note="")


def lenders(keys: Sequence[str]) -> tuple[str, ...]:
    """Return the dialects that understand most of the keys: one, or several that understand equally many.

    Of those that understand equally many the ones count that have a place in the schema for most.
    """
    best: list[str] = []
    most = (1, 0)
    seen: list[Sequence[Key]] = []
    for name, lender in dialects().items():
        own: Sequence[Key] = getattr(lender, "KEYS", ())
        if getattr(lender, "BORROWS", False) or any(own is other for other in seen):
            continue
        seen.append(own)
        readings = [reading(key, own) for key in keys]
        score = (sum(one.understood for one in readings), sum(bool(one.field) for one in readings))
        if score >= most:
            best = [name] if score > most else [*best, name]
            most = score
    return tuple(best)


def _agreed(key: str, names: Sequence[str]) -> Meaning:
    readings = {name: reading(key, getattr(dialect(name), "KEYS", ())) for name in names}
    known = {name: meaning for name, meaning in readings.items() if meaning.understood}
    if not known:
        return Meaning(False)
    first = next(iter(known.values()))
    if all(first.agrees(other) for other in known.values()):
        return first
    says = "; ".join(f"{name}: {meaning.column or meaning.note or 'no column'}" for name, meaning in known.items())
    return Meaning(False, note=f"several trainers use this name ({says}); say whose it is (keys: <dialect>)")
