"""Which dialect a file or folder is in, found from its content; a name decides nothing."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlaws.errors import InputError
from rlaws.logs.dialects import dialect, dialects
from rlaws.logs.dialects.base import Anyhow, Head
from rlaws.logs.readers import HEAD_BYTES, head, text_of

SURE = 0.5  # from here on a dialect takes the file
CERTAIN = 0.8  # from here on it is taken for what it is rather than for a plain table or lines
FILES = 10_000  # files of a folder that are looked into
WINDOWS = (1.0, 0.5, 0.25, 0.75)  # where else to look, as shares of the file, if its beginning shows nothing
MAP_HELP = "or say what its columns are in a mapping file (step: <column>, columns: <your column>: <field>)"


def located(path: Path, method: str, name: str | None = None) -> list[tuple[Path, Anyhow]]:
    """Return the files of a path, or the folder as one, with their dialects.

    A folder is taken as one where a dialect knows it as one (its files belong to one log); else every file below it is
    looked into, and those that no dialect knows are passed over.

    Args:
        path: File or folder.
        method: What the dialect must be able to do: "records" or "counts".
        name: Dialect to use for all, or None to detect it.

    Raises:
        InputError: If it is not there, unknown dialect, nothing in it is known, or two dialects are equally sure.
    """
    if name is not None:
        return [(path, _able(dialect(name), method))] if path.exists() else [(path, detect(path, method))]
    if not path.is_dir():
        return [(path, detect(path, method))]
    as_one = _best(head(path), method)
    if as_one is not None:
        return [(path, as_one)]
    found = [pair for pair in _below(path, method) if pair is not None]
    if not found:
        raise InputError(f"No file below {path} is in a dialect that is known ({_names(method)}). {_hint(method)}")
    return found


@dataclass(frozen=True, slots=True)
class Parts:
    """Paths by what they hold.

    Attributes:
        records: Training logs.
        counts: Answers per problem.
        beside: Those of ``counts`` that were found in a folder which holds training logs too.
    """

    records: tuple[Path, ...] = ()
    counts: tuple[Path, ...] = ()
    beside: tuple[Path, ...] = ()


def parted(paths: Sequence[Path], name: str | None = None) -> Parts:
    """Return which paths are training logs and which hold answers per problem; a folder with both is taken apart.

    Args:
        paths: Files and folders.
        name: Dialect of all of them, or None to detect it.

    Raises:
        InputError: As ``located``, where a path is neither.
    """
    records: list[Path] = []
    counts: list[Path] = []
    beside: list[Path] = []
    for path in paths:
        logs, answers = _remembered(path, name)
        records += logs
        counts += answers
        beside += answers if logs else []
    return Parts(*(tuple(dict.fromkeys(found)) for found in (records, counts, beside)))


Stamp = tuple[tuple[str, int, int], ...]
_SORTED: dict[tuple[Path, str | None, Stamp], tuple[list[Path], list[Path]]] = {}


def _remembered(path: Path, name: str | None) -> tuple[list[Path], list[Path]]:
    """Return ``_parted``, worked out once in a process for the same files: looking into them is what takes time."""
    stamp = _stamp(path)
    if stamp is None:
        return _parted(path, name)
    key = (path, name, stamp)
    if key not in _SORTED:
        if len(_SORTED) > 100:
            _SORTED.clear()
        _SORTED[key] = _parted(path, name)
    return _SORTED[key]


def _stamp(path: Path) -> Stamp | None:
    """Return size and time of every file of a path; None where they are too many or not readable."""
    found = list(itertools.islice(path.rglob("*"), 2 * FILES)) if path.is_dir() else [path]
    try:
        stats = [(str(p), p.stat()) for p in sorted(found)]
    except OSError:
        return None
    return None if len(found) >= 2 * FILES else tuple((p, s.st_size, s.st_mtime_ns) for p, s in stats)


def _parted(path: Path, name: str | None) -> tuple[list[Path], list[Path]]:
    """Return the parts of one path; the path itself where all that is known in it is of one kind."""
    if name is not None:
        return ([path], []) if hasattr(dialect(name), "records") else ([], [path])
    found: dict[str, list[tuple[Path, Anyhow]]] = {}
    refused: dict[str, InputError] = {}
    for method in ("records", "counts"):
        try:
            found[method] = located(path, method)
        except InputError as error:
            refused[method] = error
    if len(refused) == 2:
        raise refused["records"]
    records, counts = found.get("records", []), found.get("counts", [])
    sure = [(q, one) for q, one in counts if not any(_beats(r, (q, one)) for r in records)]
    logs = [p for p, one in records if not any(_beats(c, (p, one)) for c in sure)]
    kept = [q for q, _ in sure if not any(q == p or q in p.parents for p in logs)]
    if not kept:
        return [path], []
    return (logs, kept) if logs else ([], [path])


def _beats(one: tuple[Path, Anyhow], other: tuple[Path, Anyhow]) -> bool:
    """Whether a part is, or is the folder of, another of the other kind, and is surely what it was taken for.

    The folder of a training run keeps the answers that lie below it: they are a part of their own.
    """
    (path, mine), (place, its) = one, other
    if path != place and (hasattr(mine, "records") or path not in place.parents):
        return False
    return _score(path, mine) > max(CERTAIN, _score(place, its))


def _score(path: Path, one: Anyhow) -> float:
    return max(SURE, float(one.sniff(head(path))))


def detect(path: Path, method: str) -> Anyhow:
    """Return the dialect of a file.

    Raises:
        InputError: If none takes it, or two are equally sure; the nearest are named with what each misses.
    """
    beginning = head(path)
    if not beginning.raw and not beginning.members:
        raise InputError(f"{path} is empty (0 bytes): the run wrote nothing into it, or the copy failed.")
    found = _best(beginning, method) or _elsewhere(beginning, method)
    if found is None or _surer(beginning, _other(method), max(CERTAIN, found.sniff(beginning))) is not None:
        raise InputError(_refusal(beginning, method))
    return found


def _able(found: Anyhow, method: str) -> Anyhow:
    if hasattr(found, method):
        return found
    what = "training logs" if method == "records" else "answers per problem"
    raise InputError(f"The dialect '{found.NAME}' ({found.TITLE}) holds no {what}. Possible: {_names(method)}.")


def _names(method: str) -> str:
    return ", ".join(name for name, one in dialects().items() if hasattr(one, method))


def _scores(beginning: Head, method: str) -> list[tuple[float, Anyhow]]:
    scored = [(float(one.sniff(beginning)), one) for one in dialects().values() if hasattr(one, method)]
    return sorted((pair for pair in scored if pair[0] > 0.0), key=lambda pair: -pair[0])


def _best(beginning: Head, method: str) -> Anyhow | None:
    """Return the surest dialect.

    Raises:
        InputError: If two are equally sure.
    """
    scored = [pair for pair in _scores(beginning, method) if pair[0] >= SURE]
    if not scored:
        return None
    tied = sorted(one.NAME for score, one in scored if score == scored[0][0])
    if len(tied) > 1:
        raise InputError(f"{beginning.path} could be {' or '.join(tied)}; say which with dialect={tied[0]}.")
    return scored[0][1]


def _other(method: str) -> str:
    return "counts" if method == "records" else "records"


def _surer(beginning: Head, method: str, than: float) -> Anyhow | None:
    """Return the dialect of a kind that is surer than a number, or None."""
    scored = _scores(beginning, method)
    return scored[0][1] if scored and scored[0][0] > than else None


def _elsewhere(beginning: Head, method: str) -> Anyhow | None:
    """Look into the end and the middle of a text file: a long preamble may fill its beginning."""
    size = beginning.path.stat().st_size
    if not beginning.text or size <= HEAD_BYTES:
        return None
    for share in WINDOWS:
        with beginning.path.open("rb") as file:
            file.seek(int(share * (size - HEAD_BYTES)))
            raw = file.read(HEAD_BYTES).partition(b"\n")[2]
        found = _best(Head(beginning.path, text_of(raw), raw), method)
        if found is not None:
            return found
    return None


def _below(folder: Path, method: str) -> Iterator[tuple[Path, Anyhow] | None]:
    """Yield the parts of a folder that are known; a subfolder that is known as one is one part."""
    looked = 0
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        as_one = _quietly(Path(place), method) if Path(place) != folder else None
        if as_one is not None:
            below.clear()
            yield as_one
            continue
        for name in sorted(name for name in files if not name.startswith(".")):
            looked += 1
            if looked > FILES:
                raise InputError(f"{folder} holds more than {FILES} files; give the folder of one run.")
            yield _quietly(Path(place) / name, method)


def _quietly(path: Path, method: str) -> tuple[Path, Anyhow] | None:
    """Return a path with its dialect, or None where no dialect takes it; a tie is still refused."""
    if path.is_dir() or (path.is_file() and path.stat().st_size > 0):
        beginning = head(path)
        found = _best(beginning, method) or (None if path.is_dir() else _elsewhere(beginning, method))
        return None if found is None else (path, found)
    return None


def _refusal(beginning: Head, method: str) -> str:
    elsewhere = _surer(beginning, _other(method), SURE)
    if elsewhere is not None:
        what = "answers per problem" if method == "records" else "a training log"
        return f"{beginning.path} is {elsewhere.TITLE}: {what}, which is imported as such and not as this."
    near = _scores(beginning, method)[:3]
    if near:
        needs = "; ".join(f"{one.NAME} ({one.TITLE}) needs {getattr(one, 'NEEDS', 'more of it')}" for _, one in near)
        return f"{beginning.path} is in no dialect that is known. Nearest: {needs}. {_hint(method)}"
    return f"{beginning.path} is in no dialect that is known ({_names(method)}). {_hint(method)}"


def _hint(method: str) -> str:
    return f"Name one with dialect=, {MAP_HELP}." if method == "records" else "Name one with dialect=."
