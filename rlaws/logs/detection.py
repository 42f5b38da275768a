"""Which dialect a file or folder is in, found from its content; a name decides nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
