"""TensorBoard: event files, a folder of them (one a start of the run), or the CSV that its page gives of one tag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.errors import InputError
from rlaws.logs.dialects.base import UNNAMED, Head, Key, Record, Tell, Value
from rlaws.logs.dialects.rows import Warn
from rlaws.logs.readers import HEAD_BYTES, number, rows
from rlaws.logs.tfrecords import Event, events, framed

_CSV = ("wall time", "step", "value")
_WALL = "wall_time"


class Tensorboard:
    """Scalars by tag; the tags are the keys of the trainer that wrote them.

    After a resume a folder has a further event file; the files are read in the order in which they were begun.
    """

    NAME: ClassVar[str] = "tensorboard"
    TITLE: ClassVar[str] = "TensorBoard, event files or CSV of one tag"
    NEEDS: ClassVar[str] = "framed events, or the header 'Wall time,Step,Value'"
    KEYS: ClassVar[tuple[Key, ...]] = (Key(_WALL, "wall_s", note="seconds since 1970"),)
    BORROWS: ClassVar[bool] = True

    def sniff(self, head: Head) -> float:
        """Return 0.97 for event files and the CSV, 0.95 for a folder of event files, 0.6 where it has others too."""
        if head.members:
            here = [name for name in head.members if "/" not in name]
            mine = _event_files(head.path)
            return 0.0 if not mine else 0.95 if len(mine) == len(here) else 0.6
        if framed(head.raw):
            return 0.97
        first = head.text.split("\n", 1)[0]
        return 0.97 if _cells(first.strip("\ufeff\r").split(",")) == _CSV else 0.0

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record for every stretch of events of one step.

        Raises:
            InputError: If a folder has no event file.
        """
        if path.is_dir():
            yield from self._folder(path, tell, warn)
        elif framed(_beginning(path)):
            yield from _grouped(events(path, tell, warn))
        else:
            yield from self._table(path, tell, warn)

    def _folder(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        if not (files := _event_files(path)):
            raise InputError(f"{path} has no event file of TensorBoard; name the folder that holds them")
        for file in files:
            yield from _grouped(events(file, tell, warn))
        for folder in sorted(found for found in path.rglob("*") if found.is_dir()):
            name = folder.relative_to(path).as_posix()
            for file in _event_files(folder):
                yield from _grouped(events(file, tell, warn), name)

    def _table(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        source = rows(path, tell, warn)
        header = next(source, (0, []))[1]
        if _cells(header) != _CSV:
            raise InputError(f"{path} is no event file and its header is not 'Wall time,Step,Value'.")
        for place, cells in source:
            if len(cells) == len(_CSV):
                yield Record(number(cells[1]), {_WALL: _plain(cells[0]), UNNAMED: _plain(cells[2])}, place)
            else:
                warn(f"{path.name}, line {place} has {len(cells)} cells and not 3; it is left out.")


def _event_files(folder: Path) -> list[Path]:
    """Return the event files that lie directly in a folder, by the time of their first event, then by name."""
    found = [file for file in folder.glob("*tfevents*") if file.is_file() and framed(_beginning(file))]
    return sorted(found, key=lambda file: (_begun(file), file.name))


def _begun(file: Path) -> float:
    return next((event.wall_time for event in events(file, lambda _: None, lambda _: None)), 0.0)


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(HEAD_BYTES)


def _grouped(source: Iterator[Event], run: str = "") -> Iterator[Record]:
    """Yield a record for consecutive events of one step; a tag that comes again begins a new one."""
    held: dict[str, Value] = {}
    step, first = 0, 0
    for place, event in enumerate(source, start=1):
        if not event.scalars:
            continue
        if held and (event.step != step or any(tag in held for tag, _ in event.scalars)):
            yield Record(float(step), held, first, run)
            held = {}
        if not held:
            step, first, held = event.step, place, {_WALL: event.wall_time}
        held.update(event.scalars)
    if held:
        yield Record(float(step), held, first, run)


def _cells(cells: list[str]) -> tuple[str, ...]:
    return tuple(cell.strip().strip('"').lower() for cell in cells)


def _plain(cell: str) -> Value:
    value = number(cell)
    return cell if value is None else value


DIALECT = Tensorboard()
