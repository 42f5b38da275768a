"""Trained models and runs on disk (``rlaws.cache``), made on one torch thread so that their bits repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from rlaws import cache
from rlaws.cache import Arrays

SHELF = "toymodels"


def root() -> Path:
    """Return the folder of all entries."""
    return cache.root(SHELF)


def cached(kind: str, settings: Mapping[str, Any], make: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
    """Return the arrays that ``make`` gives, from the disk if they lie there, else made on one torch thread.

    Args:
        kind: What they are, a word.
        settings: All that determines them beside the code and torch's version; JSON-able.
        make: Makes them; see ``rlaws.cache.cached``.

    Raises:
        InputError: If the folder cannot be written, or another machine's process holds the entry.
    """
    return cache.cached(SHELF, kind, settings, make, ("torch",), one_thread)


def one_thread(make: Callable[[], Mapping[str, NDArray[Any]]]) -> Mapping[str, NDArray[Any]]:
    """Run a function with one torch thread: the order of a sum, and with it the last bit, depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return make()
    finally:
        torch.set_num_threads(before)
