"""Writing of small logs, and the folder of public data."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file (text as UTF-8, or bytes) and returns its path."""

    def written(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


@pytest.fixture
def data() -> Path:
    folder = os.environ.get("RLAWS_DATA")
    if not folder:
        pytest.skip("RLAWS_DATA does not name the folder of public data")
    return Path(folder)


def spread(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write a sample; return its only file, or the folder of several."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / next(iter(files)) if len(files) == 1 else folder
