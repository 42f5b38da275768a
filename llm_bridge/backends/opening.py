"""From settings to the engine, one of each kind in a process."""

from __future__ import annotations

import functools
from dataclasses import fields
from typing import TYPE_CHECKING

from llm_bridge.backends.base import Backend

if TYPE_CHECKING:
    from llm_bridge.settings import ModelSettings


def opened(settings: ModelSettings) -> Backend:
    """Return the engine that the settings name; nothing is loaded before it is asked for tokens."""
    from llm_bridge.settings import ModelSettings

    return _opened(ModelSettings(**{f.name: getattr(settings, f.name) for f in fields(ModelSettings)}))


@functools.lru_cache(maxsize=64)
def _opened(settings: ModelSettings) -> Backend:
    from llm_bridge.backends.hf import Transformers

    return Transformers(settings)
