"""Run folders: plain files, written atomically; the state of a study is what lies in its folder.

``kill -9`` at any moment loses at most the cells in flight: every file is written under a temporary name, synced and
renamed. The bytes of a cell depend on its numbers only (no clock), so an interrupted run ends with the same files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlaws.errors import InputError, RlawsError
from rlaws.measurement import Measurement


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that it is either whole or absent.

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


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, atomically."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def digest(*parts: Any) -> str:
    """Return a short hash of JSON-able values."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def pack(m: Measurement) -> bytes:
    """Return a measurement as npz bytes that depend on its content only."""
    meta = {
        "units": dict(m.units),
        "x": list(m.x),
        "statistic": m.statistic,
        "response": m.response,
        "response_unit": m.response_unit,
        "resample": m.resample,
        "regime": list(m.regime),
        "provenance": m.provenance,
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
    return buffer.getvalue()


def unpack(path: Path) -> Measurement:
    """Read a measurement back; nothing is ever unpickled.

    Raises:
        InputError: If the file is truncated or not a measurement.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored["meta"][()]))
            columns = {k.removeprefix("column."): stored[k] for k in stored.files if k.startswith("column.")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a readable cell ({error}); delete it and run again.") from error
    return Measurement(
        columns=columns,
        units=meta["units"],
        x=tuple(meta["x"]),
        statistic=meta["statistic"],
        response=meta["response"],
        response_unit=meta["response_unit"],
        resample=meta["resample"],
        regime=tuple(meta["regime"]),
        provenance=meta["provenance"],
    )


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one study at one content hash."""

    path: Path

    def cell(self, key: str) -> Path:
        """Where a finished cell lies."""
        return self.path / "cells" / f"{key}.npz"

    def error(self, key: str) -> Path:
        """Where the record of a failed cell lies."""
        return self.path / "cells" / f"{key}.error.json"

    def done(self, key: str) -> bool:
        """Whether a cell is finished and readable."""
        path = self.cell(key)
        return path.exists() and zipfile.is_zipfile(path)

    def save_cell(self, key: str, content: bytes) -> None:
        """Store a finished cell and forget an earlier failure."""
        write_atomic(self.cell(key), content)
        self.error(key).unlink(missing_ok=True)

    def save_error(self, key: str, record: Mapping[str, Any]) -> None:
        """Store why a cell failed."""
        write_json(self.error(key), dict(record))

    def save(self, name: str, value: Any) -> None:
        """Store a JSON file of the run, for example verdict.json."""
        write_json(self.path / name, value)
