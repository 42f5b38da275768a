"""Trained models and runs on disk, named by what determines them: trained once, read by every study.

The name of an entry is a hash of its settings, of the source behind the function that makes it, and of the versions of
the libraries that did the work. Entries are arrays sealed with a SHA-256, or folders with a list of their files'
hashes; nothing is unpickled, and one that does not fit its seal is made anew. Of several processes that want one entry
the first makes it and the others wait; a lock left by a killed one is recognised.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, RlawsError
from rlaws.lock import LockedError, holder, locked
from rlaws.store import digest, write_atomic

Arrays = dict[str, NDArray[Any]]
Entry = TypeVar("Entry")

VARIABLE = "RLAWS_CACHE"
OWN = ("rlaws", "sim", "toymodels", "llm_bridge")
SEAL = 64
SEALS = "sealed.txt"
PATIENCE_S = 0.1


def root(shelf: str) -> Path:
    """Return the folder of a shelf's entries, in $RLAWS_CACHE, else in ~/.cache/rlaws."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "rlaws") / shelf


def cached(
    shelf: str,
    kind: str,
    settings: Mapping[str, Any],
    make: Callable[[], Mapping[str, NDArray[Any]]],
    libraries: Sequence[str] = (),
    within: Callable[[Callable[[], Mapping[str, NDArray[Any]]]], Mapping[str, NDArray[Any]]] = lambda make: make(),
) -> Arrays:
    """Return the arrays that ``make`` gives, from the disk if they lie there.

    Args:
        shelf: Folder of the cache, the package's name.
        kind: What they are, a word.
        settings: All that determines them beside the code; JSON-able.
        make: Makes them; a module-level function, or a ``functools.partial`` of one, whose module and what it imports
            of this project are the code that counts.
        libraries: Distributions whose version counts too.
        within: Calls ``make`` under what its bits need, one thread for example.

    Raises:
        InputError: If the folder cannot be written, or another machine's process holds the entry.
    """
    place = root(shelf) / _name(kind, settings, make, libraries)
    return _found_or_made(place, lambda: _read(place), lambda: _write(place, within(make)))


def cached_folder(
    shelf: str, kind: str, settings: Mapping[str, Any], make: Callable[[Path], None], libraries: Sequence[str] = ()
) -> Path:
    """Return the folder that ``make`` fills, from the disk if it lies there whole; like ``cached`` else.

    Args:
        shelf: Folder of the cache, the package's name.
        kind: What it is, a word.
        settings: All that determines it beside the code; JSON-able.
        make: Fills an empty folder with files.
        libraries: Distributions whose version counts too.

    Raises:
        InputError: If the folder cannot be written, or another machine's process holds the entry.
    """
    place = root(shelf) / _name(kind, settings, make, libraries)
    return _found_or_made(place, lambda: _sealed(place / "files"), lambda: _fill(place / "files", make))


def _name(kind: str, settings: Mapping[str, Any], make: Callable[..., Any], libraries: Sequence[str]) -> str:
    versions = [_version(name) for name in libraries]
    return f"{kind}-{digest(kind, dict(settings), source(_module(make)), *versions)}"


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def _found_or_made(place: Path, find: Callable[[], Entry | None], make: Callable[[], None]) -> Entry:
    while True:
        found = find()
        if found is not None:
            return found
        try:
            _writable(place)
            with locked(place):
                if find() is None:
                    make()
        except LockedError:
            _refuse_if_unknown(place)
            time.sleep(PATIENCE_S)


def _module(make: Callable[..., Any]) -> str:
    return str((make.func if isinstance(make, functools.partial) else make).__module__)


def _writable(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Trained models are kept in {place.parent}, which cannot be written: {error.strerror}. "
            f"Choose another folder with the environment variable {VARIABLE}."
        ) from error


def _refuse_if_unknown(place: Path) -> None:
    """Refuse to wait for a process that nobody here can see end."""
    other = holder(place)
    if other is not None and other.alive() is None:
        raise InputError(
            f"{place} is being made by process {other.pid} on {other.host}, which cannot be looked up from here. "
            f"If it is gone, delete that folder; or choose another with the environment variable {VARIABLE}."
        )


# ------------------------------------------------------------------------------------------------------------ files
def _read(place: Path) -> Arrays | None:
    """Return an entry; None if there is none, or a damaged one."""
    try:
        data = (place / "arrays.npz").read_bytes()
    except OSError:
        return None
    body, seal = data[:-SEAL], data[-SEAL:]
    if hashlib.sha256(body).hexdigest().encode() != seal:
        return None
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, zipfile.BadZipFile):
        return None


def _write(place: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(arrays):
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.asarray(arrays[name], order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), entry.getvalue())
    body = buffer.getvalue()
    try:
        write_atomic(place / "arrays.npz", body + hashlib.sha256(body).hexdigest().encode())
    except RlawsError as error:
        raise InputError(f"{error} (the folder is set by the environment variable {VARIABLE})") from error


def _hashes(folder: Path) -> str:
    """Return a line for every file below a folder: its SHA-256 and its path."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files)


def _sealed(folder: Path) -> Path | None:
    """Return a folder whose files are those that were written; None if there is none, or a damaged one."""
    try:
        seal = (folder.parent / SEALS).read_text(encoding="utf-8")
        return folder if seal and seal == _hashes(folder) else None
    except OSError:
        return None


def _fill(folder: Path, make: Callable[[Path], None]) -> None:
    """Fill a folder beside its place, then put it there; a leftover of a killed process is removed."""
    fresh = folder.with_name("being-made")
    for old in (folder, fresh):
        shutil.rmtree(old, ignore_errors=True)
    fresh.mkdir()
    make(fresh)
    try:
        fresh.rename(folder)
        write_atomic(folder.parent / SEALS, _hashes(folder))
    except (OSError, RlawsError) as error:
        raise InputError(f"{error} (the folder is set by the environment variable {VARIABLE})") from error


# ----------------------------------------------------------------------------------------------------------- source
@functools.cache
def source(module: str) -> str:
    """Return the hash of a module's source and of all modules of this project that it imports, directly or not."""
    todo, seen = [module], dict[str, bytes]()
    while todo:
        name = todo.pop()
        if name not in seen:
            content = _file(name).read_bytes()
            seen[name] = content
            todo += _imports(content)
    parts = [name.encode() + b"\0" + seen[name] for name in sorted(seen)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _file(module: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise InputError(f"There is no module '{module}' whose source could be hashed.")
    return Path(found.origin)


def _imports(content: bytes) -> list[str]:
    """Return the modules of this project that a source names in its imports."""
    nodes = list(ast.walk(ast.parse(content)))
    names = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    names |= {f"{n.module}.{a.name}" for n in nodes if isinstance(n, ast.ImportFrom) and n.module for a in n.names}
    names |= {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    ours = [n for n in names if n.split(".")[0] in OWN]
    return [n for n in ours if _is_module(n)]


@functools.cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
