"""The folder of a fit: ``<out>/<hash>``, plain files, written whole or not at all.

``fit.json`` holds every number and no clock, so the same logs, settings and code give the same bytes; it is written
last, and where it lies the fit is done and nothing is computed again. ``manifest.json`` holds the command, the versions
and the clock, ``mapping.yaml`` the user's mapping as it was given, ``verdicts/`` the run folders of the claims.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlaws.errors import InputError
from rlaws.fits.asking import Asked
from rlaws.logs.recipes import expand, files_of
from rlaws.store import canonical, digest, write_atomic, write_json
from rlaws.study import source_hash

SCHEMA = 2
FIT, MANIFEST, MAPPING, VERDICTS = "fit.json", "manifest.json", "mapping.yaml", "verdicts"
PACKAGES = ("rlaws", "numpy", "scipy")
FOUND_BY_LOOKING = ("logs/dialects", "laws")  # modules that no import statement names


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read.

    Attributes:
        name: As the user gave it.
        bytes: Its size.
        sha256: Hash of its content.
    """

    name: str
    bytes: int
    sha256: str


def sources(asked: Asked) -> list[Source]:
    """Return every file that the fit reads, with its hash.

    Raises:
        InputError: If one cannot be read.
    """
    found = files_of(expand(asked.logs.paths), asked.logs.dialect)
    return [_source(p) for p in [*found, *([Path(asked.logs.mapping)] if asked.logs.mapping else [])]]


def _source(path: Path) -> Source:
    h = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                h.update(block)
        return Source(str(path), path.stat().st_size, h.hexdigest())
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}. Check its permissions.") from error


def code_hash() -> str:
    """Return the hash of the code that the numbers depend on."""
    root = Path(__file__).resolve().parents[1]
    h = hashlib.sha256(source_hash(("rlaws.fits.making.make", "rlaws.fits.judging.owned")).encode())
    for part in FOUND_BY_LOOKING:
        for path in sorted((root / part).glob("*.py")):
            h.update(path.name.encode() + path.read_bytes())
    return h.hexdigest()[:12]


def name_of(asked: Asked, files: Sequence[Source], code: str, stamp: str) -> str:
    """Return the hash of what decides the numbers: settings, content of the files, the claims' studies and the code.

    Args:
        asked: The settings.
        files: The files that are read.
        code: ``code_hash()``.
        stamp: Hash of the configuration of the claims that may be judged.
    """
    said = json.loads(canonical(asked.to_json()))
    return digest(said, [(f.name, f.sha256) for f in files], code, stamp)


def stored(folder: Path) -> dict[str, Any] | None:
    """Return the result in a folder, or None if there is none that is whole."""
    try:
        found = json.loads((folder / FIT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA else None


def save(folder: Path, result: Mapping[str, Any], command: str, mapping: str, seconds: float) -> None:
    """Write a fit; fit.json is the last file.

    Raises:
        RlawsError: If the disk refuses; nothing half-written remains.
    """
    if mapping:
        write_atomic(folder / MAPPING, mapping)
    manifest = {
        "command": command,
        "hash": folder.name,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds)),
        "wall_s": round(seconds, 3),
    }
    write_json(folder / MANIFEST, manifest)
    write_json(folder / FIT, result)


def fit_folders(fits: Path) -> list[Path]:
    """Return the folders of finished fits under ``fits``, by name; none where there is no such folder."""
    return sorted(path.parent for path in fits.glob(f"*/{FIT}"))
