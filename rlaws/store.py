"""Run folders: plain files, written atomically; the state of a study is what lies in its folder.

``kill -9`` at any moment loses at most the cells in flight: every file is written under a temporary name and renamed.
The bytes of a cell depend on its numbers only (no clock), so an interrupted run ends with the same files. A cell ends
with the SHA-256 of all its other bytes: what a power cut, a disk or a hand has changed is found when it is read, and
measured again. Therefore cells are not synced one by one; the files that state results are.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, RlawsError
from rlaws.measurement import Measurement


def write_atomic(path: Path, content: bytes | str, *, sync: bool = True) -> None:
    """Write a file so that it is either whole or absent.

    Args:
        path: Where; a link that lies there is replaced, never followed.
        content: What.
        sync: Wait until the disk has it. Without, a power cut (not a crash of the program) may lose it.

    Raises:
        RlawsError: If the disk refuses (full, read-only); nothing half-written remains.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise RlawsError(
            f"Cannot write {path}: {error.strerror}. Free some space or choose another folder with out=…; "
            "the same command then goes on where it stopped."
        ) from error


def write_json(path: Path, value: Any, *, sync: bool = True) -> None:
    """Write JSON with sorted keys, atomically."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, text, sync=sync)


def canonical(value: Any) -> str:
    """Return the one JSON text of a value that hashes rest on: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def digest(*parts: Any) -> str:
    """Return a short hash of JSON-able values."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()[:12]


# ---------------------------------------------------------------------------------------------------- one cell
SEAL = 64
"""Bytes of the checksum: the archive's comment, which ends the file, is the SHA-256 of all bytes before it."""


@dataclass(frozen=True, slots=True)
class StoredCell:
    """What a cell file holds, checked against its checksum but not yet against what a measurement must be.

    Attributes:
        meta: Units, x, statistic and the rest; under "cell" which cell it is.
        columns: Name -> array [rows], read-only.
    """

    meta: Mapping[str, Any]
    columns: Mapping[str, NDArray[Any]]


def pack(m: Measurement, cell: Mapping[str, Any] | None = None) -> bytes:
    """Return a measurement as npz bytes that depend on its content only.

    Args:
        m: The measurement.
        cell: ``Cell.identity``, stored beside the numbers.
    """
    meta = {
        "units": dict(m.units),
        "x": list(m.x),
        "statistic": m.statistic,
        "response": m.response,
        "response_unit": m.response_unit,
        "resample": m.resample,
        "regime": list(m.regime),
        "provenance": m.provenance,
        "cell": dict(cell or {}),
    }
    arrays = {f"column.{k}": np.asarray(v) for k, v in m.columns.items()}
    arrays["meta"] = np.array(json.dumps(meta, sort_keys=True, ensure_ascii=False))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            value = arrays[name]
            if value.dtype == object:
                value = value.astype(str)
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.asarray(value, order="C"), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, entry.getvalue())
        archive.comment = b"0" * SEAL
    body = buffer.getvalue()[:-SEAL]
    return body + hashlib.sha256(body).hexdigest().encode()


def open_cell(path: Path) -> StoredCell:
    """Read a cell and check its checksum; nothing is ever unpickled, nothing is written.

    Raises:
        InputError: If the file is truncated, changed, or no cell at all.
    """
    try:
        arrays = dict(_members(_sealed(path.read_bytes())))
        meta = json.loads(str(arrays.pop("meta")[()]))
        columns = {k.removeprefix("column."): v for k, v in arrays.items()}
        return StoredCell(meta, columns)
    except (OSError, ValueError, KeyError, struct.error, zlib.error, SyntaxError) as error:
        raise InputError(f"{path} is not a readable cell ({error}); delete it and run again.") from error


def _sealed(data: bytes) -> bytes:
    """Return the bytes if their checksum fits."""
    if hashlib.sha256(data[:-SEAL]).hexdigest().encode() != data[-SEAL:]:
        raise ValueError("its checksum does not fit")
    return data


def _members(data: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield name and array of each member of an npz whose bytes are known to be ours (10 times as fast as numpy).

    The format is the ZIP specification's local file header (APPNOTE.TXT 4.3.7), with sizes in it, and numpy's npy 1.0.
    """
    at = 0
    while data[at : at + 4] == b"PK\x03\x04":
        method, packed, size, name, extra = struct.unpack_from("<8xH8xIIHH", data, at)
        start = at + 30 + name + extra
        content = data[start : start + packed]
        if method == zipfile.ZIP_DEFLATED:
            content = zlib.decompress(content, -15, size)
        if len(content) != size or content[:8] != b"\x93NUMPY\x01\x00":
            raise ValueError("a member is not an array")
        (length,) = struct.unpack_from("<H", content, 8)
        shape, dtype = _header(content[8 : 10 + length])
        array = np.frombuffer(content, dtype, offset=10 + length).reshape(shape)
        yield data[at + 30 : at + 30 + name].decode().removesuffix(".npy"), array
        at = start + packed


@functools.lru_cache(maxsize=4096)
def _header(text: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an npy header; types that hold Python objects are refused."""
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(text))
    if dtype.hasobject or fortran:
        raise ValueError("an array holds Python objects or is not in C order")
    return shape, dtype


def unpack(path: Path) -> Measurement:
    """Read a measurement back; nothing is ever unpickled.

    Raises:
        InputError: If the file is truncated or not a measurement.
    """
    return to_measurement(open_cell(path), path)


def to_measurement(stored: StoredCell, where: Path) -> Measurement:
    """Return the measurement that a stored cell, or a stack of them, holds.

    Raises:
        InputError: If an entry is missing or a column breaks the rules of a measurement.
    """
    meta = stored.meta
    try:
        return Measurement(
            columns=stored.columns,
            units=meta["units"],
            x=tuple(meta["x"]),
            statistic=meta["statistic"],
            response=meta["response"],
            response_unit=meta["response_unit"],
            resample=meta["resample"],
            regime=tuple(meta["regime"]),
            provenance=meta["provenance"],
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{where} is not a readable cell (no {error}); delete it and run again.") from error


# ---------------------------------------------------------------------------------------------------- the folder
@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one study at one content hash."""

    path: Path

    @staticmethod
    def under(out: Path, study: str, name: str) -> RunFolder:
        """Return the folder ``out/<study>/<name>``, from which nothing that is written can escape.

        Raises:
            InputError: If a name would lead elsewhere, or a link lies where a folder should (an imported run folder
                can hold one).
        """
        words = (*study.split("/"), name)
        for word in words:
            if not re.fullmatch(r"[\w.+=-]+", word) or word.strip(".") == "":
                raise InputError(f"'{word}' cannot be part of a run folder's name; use letters, digits, _ . + = -.")
        made = RunFolder(out.joinpath(*words))
        for path in (*[out.joinpath(*words[: i + 1]) for i in range(len(words))], made.path / "cells"):
            if path.is_symlink():
                raise InputError(f"{path} is a link to {os.readlink(path)}; a run folder holds no links. Remove it.")
        return made

    def cell(self, key: str) -> Path:
        """Where a finished cell lies."""
        return self.path / "cells" / f"{key}.npz"

    def error(self, key: str) -> Path:
        """Where the record of a failed cell lies."""
        return self.path / "cells" / f"{key}.error.json"

    def done(self, key: str) -> bool:
        """Whether a cell is finished and readable."""
        try:
            open_cell(self.cell(key))
        except InputError:
            return False
        return True

    def listing(self) -> tuple[set[str], set[str]]:
        """Return the keys of finished and of failed cells by one look into the folder; links and pipes are neither."""
        done: set[str] = set()
        failed: set[str] = set()
        try:
            with os.scandir(self.path / "cells") as entries:
                for entry in entries:
                    key, _, kind = entry.name.partition(".")
                    if kind in ("npz", "error.json") and entry.is_file(follow_symlinks=False):
                        (done if kind == "npz" else failed).add(key)
        except FileNotFoundError:
            return set(), set()
        return done, failed - done

    def sweep(self) -> None:
        """Remove what a killed driver left half-written."""
        for folder in (self.path, self.path / "cells"):
            for path in folder.glob(".tmp-*"):
                path.unlink(missing_ok=True)

    def discard(self, key: str) -> None:
        """Forget a cell that cannot be read."""
        self.cell(key).unlink(missing_ok=True)

    def save_cell(self, key: str, content: bytes) -> None:
        """Store a finished cell and forget an earlier failure."""
        write_atomic(self.cell(key), content, sync=False)
        self.error(key).unlink(missing_ok=True)

    def save_error(self, key: str, record: Mapping[str, Any]) -> None:
        """Store why a cell failed."""
        write_json(self.error(key), dict(record), sync=False)

    def save(self, name: str, value: Any) -> None:
        """Store a JSON file of the run, for example verdict.json."""
        write_json(self.path / name, value)
