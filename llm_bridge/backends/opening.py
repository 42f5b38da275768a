"""From settings to the engine, one of each kind in a process."""

from __future__ import annotations

import functools
from dataclasses import fields
from typing import TYPE_CHECKING

from llm_bridge.backends.base import Backend
from llm_bridge.store import Stored

if TYPE_CHECKING:
    from llm_bridge.settings import ModelSettings


def opened(settings: ModelSettings) -> Backend:
    """Return the engine that the settings name; nothing is loaded before it is asked for tokens."""
    from llm_bridge.settings import ModelSettings

    return _opened(ModelSettings(**{f.name: getattr(settings, f.name) for f in fields(ModelSettings)}))


@functools.lru_cache(maxsize=64)
def _opened(settings: ModelSettings) -> Backend:
    engine = _engine(settings)
    return Stored(engine) if settings.store and settings.backend != "replay" else engine


def _engine(settings: ModelSettings) -> Backend:
    if settings.backend == "vllm":
        from llm_bridge.backends.vllm import VLLM

        return VLLM(settings)
    if settings.backend == "server":
        from llm_bridge.backends.server import Server

        return Server(settings)
    if settings.backend == "replay":
        from llm_bridge.backends.replay import Replay

        return Replay(settings)
    from llm_bridge.backends.hf import Transformers

    return Transformers(settings)
