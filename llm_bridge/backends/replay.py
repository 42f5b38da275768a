"""Recorded samples in place of an engine: no model and no GPU, the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_bridge import models
from llm_bridge.backends.base import Completion, Request, Sampling, Scored
from llm_bridge.store import IDENTITY, Store, open_store, samples_folder
from rlaws.errors import InputError

if TYPE_CHECKING:
    from llm_bridge.settings import ModelSettings


class Replay:
    """What an engine gave to the same requests before."""

    def __init__(self, settings: ModelSettings) -> None:
        self.store = _find(settings)

    def identity(self) -> Mapping[str, Any]:
        """Return the identity of the engine that was recorded, and that this is a recording."""
        return {**self.store.identity, "replayed": True}

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """Return recorded completions.

        Raises:
            InputError: If some are missing; it says which, and what of them is there.
        """
        self.store.refresh()
        found = [self.store.samples(r, sampling) for r in requests]
        short = [(r, len(kept)) for r, kept in zip(requests, found, strict=True) if len(kept) < r.n]
        if short:
            raise InputError(self._what_is_missing(short, len(requests), sampling))
        return [list(kept.values()) for kept in found]

    def _what_is_missing(self, short: Sequence[tuple[Request, int]], asked: int, sampling: Sampling) -> str:
        request, there = short[0]
        head = (
            f"{self.store.folder} lacks samples of {len(short)} of {asked} requests; of '{request.question[:60]}…' it "
            f"has {there} of {request.n} (seed {request.seed}, {_told(sampling)})."
        )
        known = self.store.known(request.question)
        if not known:
            return f"{head} That question was never asked. Record it with another engine first (backend=hf)."
        others = {f"seed {x['seed']}, {_told(Sampling(**x['sampling'] | {'stop': ()}))}" for x in known}
        return f"{head} Of that question it has: {'; '.join(sorted(others)[:4])}. Record the rest with backend=hf."

    def score(self, texts: Sequence[tuple[str, str]]) -> list[Scored]:
        """Return recorded scores.

        Raises:
            InputError: If one is missing.
        """
        found = [self.store.score(*pair) for pair in texts]
        lacking = [pair for pair, kept in zip(texts, found, strict=True) if kept is None]
        if lacking:
            raise InputError(
                f"{self.store.folder} lacks scores of {len(lacking)} of {len(texts)} answers, the first to "
                f"'{lacking[0][0][:60]}…'. Record them with another engine first (backend=hf)."
            )
        return [kept for kept in found if kept is not None]

    def length(self, question: str, answer: str = "") -> int:
        """Return a recorded count of tokens.

        Raises:
            InputError: If it is missing.
        """
        kept = self.store.length(question, answer)
        if kept is None:
            raise InputError(
                f"{self.store.folder} does not say how many tokens '{question[:60]}…' has. "
                "Record it with another engine first (backend=hf)."
            )
        return kept


def _told(sampling: Sampling) -> str:
    given = asdict(sampling)
    return ", ".join(f"{name} {given[name]}" for name in ("temperature", "max_tokens", "top_p"))


def _find(settings: ModelSettings) -> Store:
    """Return the recording of the model that the settings name.

    Raises:
        InputError: If there is none, or more than one.
    """
    folder = Path(settings.recorded).expanduser() if settings.recorded else samples_folder()
    if (folder / IDENTITY).is_file():
        return open_store(folder)
    stores = [open_store(p.parent) for p in sorted(folder.glob(f"*/{IDENTITY}"))]
    wanted = models.names(settings)
    found = [s for s in stores if all(s.identity.get(n) == v for n, v in wanted.items())]
    if len(found) == 1:
        return found[0]
    asked = ", ".join(f"{n} {v}" for n, v in wanted.items() if v != "")
    if not found:
        there = sorted({f"{s.identity.get('model')}, base_seed {s.identity.get('base_seed')}" for s in stores})
        raise InputError(f"No samples of {asked} are recorded in {folder}. There are: {'; '.join(there) or 'none'}.")
    differ = sorted({k for s in found for k in s.identity if len({str(t.identity.get(k)) for t in found}) > 1})
    raise InputError(
        f"There are {len(found)} recordings of {asked}, which differ in {', '.join(differ)}. Name one with "
        f"policy.recorded={found[0].folder}, or: {', '.join(s.folder.name for s in found[1:])}."
    )
