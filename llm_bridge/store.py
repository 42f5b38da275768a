"""What engines gave, kept before it is graded: a crash, a better grader or a new probe costs no sampling.

One folder for each identity of an engine, in it ``identity.json`` and segments of JSON lines, one for each process that
wrote. Lines are only ever appended, each by one write, so a killed writer loses at most its last line, writers do not
disturb one another, and a reader sees what the others have added. What is kept: samples (by question, prefix, sampling
settings and seed, numbered, so that a request can be extended), scores of given answers, and counts of tokens.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import threading
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from llm_bridge.backends.base import Backend, Completion, Request, Sampling, Scored
from rlaws.cache import root
from rlaws.errors import InputError, RlawsError
from rlaws.store import canonical, digest, write_json

IDENTITY = "identity.json"
NOTES = "notes"
"""What of an identity is told and does not tell engines apart."""
ROWS = 2048
"""Samples that are drawn between one writing and the next."""
Pair = tuple[str, str]
Line = Mapping[str, Any]


class StoreWarning(UserWarning):
    """Something that was kept could not be read, and will be sampled again."""


def samples_folder() -> Path:
    """Return where this machine keeps samples."""
    return root("llm_bridge") / "samples"


class Store:
    """The samples of one engine with one model: an index in memory of lines on the disk.

    Attributes:
        folder: Of its segments.
        identity: What the engine said of itself.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.identity = folder, identity
        self._samples: dict[str, dict[int, Completion]] = {}
        self._scores: dict[Pair, Scored] = {}
        self._lengths: dict[Pair, int] = {}
        self._read: dict[str, int] = {}
        self._segment: tuple[int, Path] | None = None
        self._lock = threading.RLock()

    @staticmethod
    def of(identity: Mapping[str, Any]) -> Store:
        """Return the store of an engine on this machine, made if need be; one in a process."""
        folder = samples_folder() / digest({k: v for k, v in identity.items() if k != NOTES})
        try:
            if not (folder / IDENTITY).is_file():
                write_json(folder / IDENTITY, dict(identity))
        except RlawsError as error:
            raise InputError(f"{error} (RLAWS_CACHE names the folder; policy.store=false keeps nothing)") from error
        return open_store(folder)

    # ------------------------------------------------------------------------------------------------------ reading
    def refresh(self) -> None:
        """Read what was added since the last time, by this process or another."""
        with self._lock:
            for path in sorted(self.folder.glob("*.jsonl")):
                self._read_segment(path)

    def _read_segment(self, path: Path) -> None:
        """Read the whole lines of a segment; one without an end is left for later, in case its writer is at it."""
        first, at = path.name not in self._read, self._read.get(path.name, 0)
        if path.stat().st_size <= at:
            return
        with path.open("rb") as file:
            file.seek(at)
            body, _, rest = file.read().rpartition(b"\n")
        for line in body.split(b"\n"):
            if line and not self._take(line):
                self._tell(path, "A damaged line")
        if first and rest:
            self._tell(path, "The last line, cut off when its writer was killed,")
        self._read[path.name] = at + (len(body) + 1 if body else 0)

    def _tell(self, path: Path, what: str) -> None:
        warnings.warn(f"{what} of {path} is left out; what it held is sampled again.", StoreWarning, stacklevel=2)

    def _take(self, line: bytes) -> bool:
        """Put a line into the index; return whether it could be read."""
        try:
            self._index(json.loads(line))
        except (ValueError, KeyError, TypeError):
            return False
        return True

    def _index(self, line: Line) -> None:
        if line["kind"] == "samples":
            key = _key(line["question"], line["prefix"], line["seed"], Sampling(**line["sampling"]))
            kept = self._samples.setdefault(key, {})
            for number, values in enumerate(line["got"], line["first"]):
                kept.setdefault(number, Completion(*values))
        elif line["kind"] == "score":
            entropies = None if line["entropies"] is None else np.array(line["entropies"], dtype=float)
            self._scores[line["question"], line["answer"]] = Scored(
                tuple(line["pieces"]), np.array(line["logprobs"], float), entropies
            )
        else:
            self._lengths[line["question"], line["answer"]] = int(line["tokens"])

    def samples(self, request: Request, sampling: Sampling) -> dict[int, Completion]:
        """Return those samples of a request that are kept, by number."""
        kept = self._samples.get(_key(request.question, request.prefix, request.seed, sampling), {})
        return {k: kept[k] for k in range(request.first, request.first + request.n) if k in kept}

    def score(self, question: str, answer: str) -> Scored | None:
        """Return the score of an answer if it is kept."""
        return self._scores.get((question, answer))

    def length(self, question: str, answer: str) -> int | None:
        """Return the tokens of a question and the beginning of an answer if they were counted."""
        return self._lengths.get((question, answer))

    def known(self, question: str) -> list[Line]:
        """Return what was asked of a question, for an error's sake: prefix, seed, sampling and numbers."""
        lines = (json.loads(x) for p in sorted(self.folder.glob("*.jsonl")) for x in p.read_bytes().split(b"\n")[:-1])
        return [x for x in lines if x.get("kind") == "samples" and x.get("question") == question]

    # ------------------------------------------------------------------------------------------------------ writing
    def add_samples(self, request: Request, sampling: Sampling, got: Sequence[Completion]) -> None:
        """Keep samples request.first, request.first + 1, ... of a request."""
        self._write(
            {
                "kind": "samples",
                "question": request.question,
                "prefix": request.prefix,
                "seed": request.seed,
                "sampling": asdict(sampling),
                "first": request.first,
                "got": [[getattr(c, f.name) for f in fields(Completion)] for c in got],
            }
        )

    def add_score(self, question: str, answer: str, got: Scored) -> None:
        """Keep the score of an answer."""
        numbers = {
            "logprobs": got.logprobs.tolist(),
            "entropies": None if got.entropies is None else got.entropies.tolist(),
        }
        asked = {"kind": "score", "question": question, "answer": answer}
        self._write(asked | {"pieces": list(got.pieces)} | numbers)

    def add_length(self, question: str, answer: str, tokens: int) -> None:
        """Keep a count of tokens."""
        self._write({"kind": "length", "question": question, "answer": answer, "tokens": tokens})

    def _write(self, line: Line) -> None:
        """Append a line with one write, and index it as it will be read."""
        data = (json.dumps(line) + "\n").encode()
        with self._lock:
            path = self._own_segment()
            try:
                handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                try:
                    written = os.write(handle, data)
                finally:
                    os.close(handle)
            except OSError as error:
                raise InputError(f"Cannot write {path}: {error.strerror}. RLAWS_CACHE names the folder.") from error
            if written < len(data):
                raise InputError(f"Cannot write {path}: the disk is full. RLAWS_CACHE names the folder.")
            self._index(line)
            self._read[path.name] = self._read.get(path.name, 0) + written

    def _own_segment(self) -> Path:
        """Return this process's segment; a forked child has another."""
        if self._segment is None or self._segment[0] != os.getpid():
            self._segment = (os.getpid(), self.folder / f"{time.time_ns():x}-{os.getpid()}-{os.urandom(3).hex()}.jsonl")
        return self._segment[1]


@functools.lru_cache(maxsize=256)
def open_store(folder: Path) -> Store:
    """Return the store in a folder.

    Raises:
        InputError: If there is none.
    """
    try:
        identity = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder}' holds no recorded samples: its {IDENTITY} cannot be read.") from error
    store = Store(folder, identity)
    store.refresh()
    return store


def _key(question: str, prefix: str, seed: int, sampling: Sampling) -> str:
    """Return a hash of what samples depend on beside their number; a whole question as a key would fill the memory."""
    drawn = [float(sampling.temperature), sampling.max_tokens, float(sampling.top_p), sorted(sampling.stop)]
    return hashlib.sha256(canonical([question, prefix, seed, drawn]).encode()).hexdigest()[:24]


class Stored:
    """An engine that is asked only for what is not kept yet."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def store(self) -> Store:
        """The store of the engine as it is now; weights that were overwritten are another model."""
        return Store.of(self.backend.identity())

    def identity(self) -> Mapping[str, Any]:
        """Return the engine's identity."""
        return self.backend.identity()

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """Return completions, those that are kept and the others drawn now, kept as soon as they are there."""
        store = self.store
        missing = _missing(store, requests, sampling)
        if missing:
            store.refresh()  # another process may have drawn them in the meantime
            missing = _missing(store, requests, sampling)
        for part in _portions(missing):
            for request, got in zip(part, self.backend.generate(part, sampling), strict=True):
                store.add_samples(request, sampling, got)
        return [list(store.samples(r, sampling).values()) for r in requests]

    def score(self, texts: Sequence[tuple[str, str]]) -> list[Scored]:
        """Return log-probabilities, those that are kept and the others computed now."""
        store = self.store
        missing = list(dict.fromkeys(pair for pair in texts if store.score(*pair) is None))
        for pair, got in zip(missing, self.backend.score(missing) if missing else (), strict=True):
            store.add_score(*pair, got)
        return [_there(store.score(*pair)) for pair in texts]

    def length(self, question: str, answer: str = "") -> int:
        """Return the tokens of a rendered question with the beginning of an answer."""
        store = self.store
        if store.length(question, answer) is None:
            store.add_length(question, answer, self.backend.length(question, answer))
        return _there(store.length(question, answer))


def _there(value: Any) -> Any:
    assert value is not None
    return value


def _missing(store: Store, requests: Iterable[Request], sampling: Sampling) -> list[Request]:
    """Return requests for what is not kept: of each, the runs of numbers that are missing, and nothing twice."""
    wanted: dict[tuple[str, str, int], set[int]] = {}
    for r in requests:
        numbers = set(range(r.first, r.first + r.n)) - set(store.samples(r, sampling))
        if numbers:
            wanted.setdefault((r.question, r.prefix, r.seed), set()).update(numbers)
    return [
        Request(question, n, seed, prefix, first)
        for (question, prefix, seed), numbers in wanted.items()
        for first, n in _runs(sorted(numbers))
    ]


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return (first, length) of the runs of consecutive numbers."""
    starts = [i for i, x in enumerate(numbers) if i == 0 or x != numbers[i - 1] + 1]
    return [(numbers[a], b - a) for a, b in zip(starts, [*starts[1:], len(numbers)], strict=True)]


def _portions(requests: Sequence[Request]) -> list[list[Request]]:
    """Return the requests in portions of about ROWS samples, so that a crash loses little."""
    portions: list[list[Request]] = [[]]
    rows = 0
    for request in requests:
        if rows >= ROWS:
            portions.append([])
            rows = 0
        portions[-1].append(request)
        rows += request.n
    return [p for p in portions if p]
