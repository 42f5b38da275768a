"""Trained models and runs on disk, named by what determines them: trained once, read by every study.

The name of an entry is a hash of its settings, of the source behind the function that makes it, and of torch's version;
training is deterministic (one torch thread), so an entry read back and one made anew hold the same bits. Entries are
arrays sealed with a SHA-256; nothing is unpickled, and one that does not fit its seal is made anew. Of several
processes that want one entry the first makes it and the others wait; a lock left by a killed one is recognised.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import io
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlaws.errors import InputError, RlawsError
from rlaws.lock import LockedError, holder, locked
from rlaws.store import digest, write_atomic

Arrays = dict[str, NDArray[Any]]

VARIABLE = "RLAWS_CACHE"
OWN = ("rlaws", "toymodels")
SEAL = 64
PATIENCE_S = 0.1


def root() -> Path:
    """Return the folder of all entries: $RLAWS_CACHE, else ~/.cache/rlaws."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "rlaws") / "toymodels"


def cached(kind: str, settings: Mapping[str, Any], make: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
    """Return the arrays that ``make`` gives, from the disk if they lie there.

    Args:
        kind: What they are, a word.
        settings: All that determines them beside the code; JSON-able.
        make: Makes them; a module-level function, or a ``functools.partial`` of one, whose module and what it imports
            of this project are the code that counts. Torch runs on one thread meanwhile.

    Raises:
        InputError: If the folder cannot be written, or another machine's process holds the entry.
    """
    name = f"{kind}-{digest(kind, dict(settings), source(_module(make)), torch.__version__)}"
    place = root() / name
    while True:
        found = _read(place)
        if found is not None:
            return found
        try:
            _writable(place)
            with locked(place):
                if _read(place) is None:
                    _write(place, one_thread(make))
        except LockedError:
            _refuse_if_unknown(place)
            time.sleep(PATIENCE_S)


def one_thread(make: Callable[[], Mapping[str, NDArray[Any]]]) -> Mapping[str, NDArray[Any]]:
    """Run a function with one torch thread: the order of a sum, and with it the last bit, depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return make()
    finally:
        torch.set_num_threads(before)


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
