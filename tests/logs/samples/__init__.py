"""Small logs of every dialect, for tests that go over all of them.

A module here has ``samples() -> dict[str, dict[str, bytes]]``: "<dialect>" or "<dialect>/<variant>" -> files by their
relative paths. A sample of one file is imported as that file, one of several as their folder.
"""

from __future__ import annotations

import importlib
import pkgutil


def all_samples() -> dict[str, dict[str, bytes]]:
    """Return every sample by name."""
    found: dict[str, dict[str, bytes]] = {}
    for module in pkgutil.iter_modules(__path__):
        found |= importlib.import_module(f"{__name__}.{module.name}").samples()
    return dict(sorted(found.items()))
