"""Any OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, transformers serve, a hosted model.

Where the model's tokenizer is at hand (``models`` names a directory, or a hub model in the hub's cache) prompts are
rendered here and sent as tokens, so that they are those of every other engine, an answer can be continued and scored.
Without it the endpoint renders the question, and what needs more is refused.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from llm_bridge import models
from llm_bridge.backends.base import Completion, Request, Sampling, Scored
from llm_bridge.backends.client import Answer, Choice, Client, Refused
from llm_bridge.backends.hf import cut
from llm_bridge.backends.trust import QUESTION, TOKENS, Trust, examine
from llm_bridge.models import PLAIN_END, Loaded, versions
from rlaws.errors import InputError

if TYPE_CHECKING:
    from llm_bridge.settings import ModelSettings

Item = TypeVar("Item")
Result = TypeVar("Result")


class ServerWarning(UserWarning):
    """An endpoint does not do something that was asked, and something else is done instead."""


class Server:
    """A model behind an endpoint; the endpoint is examined before the first request (``trust``)."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self.client = Client(settings)
        self._lengths: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Server({self.client.address}, {self.settings.model})"

    # ------------------------------------------------------------------------------------------ what it can be asked
    @cached_property
    def served(self) -> Mapping[str, Any]:
        """What the endpoint calls its model."""
        if self.settings.served:
            return {"id": self.settings.served}
        try:
            found = self.client.models()
        except InputError as error:
            raise InputError(f"{error} If it only lists no models, name the one: policy.served=<name>.") from error
        if len(found) != 1:
            names = ", ".join(m["id"] for m in found[:20]) or "none"
            raise InputError(f"{self.client.address} serves {names}. Choose one with policy.served=<name>.")
        return found[0]

    @cached_property
    def words(self) -> Loaded | None:
        """The tokenizer of the model, where it is at hand."""
        folder = _at_hand(self.settings)
        return None if folder is None else models.words(folder)

    @cached_property
    def route(self) -> str:
        """How a question is sent: "tokens", "chat" (the endpoint's template) or "plain"."""
        if self.words is not None and self._takes_tokens(self.words):
            return "tokens"
        if self.settings.template == "plain":
            return "plain"
        try:
            self.client.chat(QUESTION, self._options(1, Sampling(0.0, 1), 1, False))
        except Refused as error:
            if self.settings.template == "chat":
                raise
            warnings.warn(f"{error} Questions are put plainly.", ServerWarning, stacklevel=2)
            return "plain"
        return "chat"

    def _takes_tokens(self, words: Loaded) -> bool:
        """Return whether the endpoint continues tokens, and counts them as they are."""
        ids = words.prompt(QUESTION, self.settings.template)
        try:
            answer = self.client.complete(ids, self._options(1, Sampling(0.0, 1), 1, False))
        except Refused:
            return False
        return answer.prompt_tokens in (None, len(ids))

    @cached_property
    def trust(self) -> Trust:
        """What the endpoint honours."""

        def ask(n: int, temperature: float, seed: int, stop: tuple[str, ...] = (), logprobs: bool = True) -> Answer:
            return self._send(QUESTION, "", self._options(n, Sampling(temperature, TOKENS, 1.0, stop), seed, logprobs))

        trust = examine(ask)
        notes = list(trust.notes)
        if self.words is not None and self.route != "tokens":
            notes.append("prompts cannot be sent as tokens: answers are not continued and not scored")
        for note in notes:
            warnings.warn(f"{self.client.address}: {note}.", ServerWarning, stacklevel=2)
        return Trust(trust.many, trust.logprobs, trust.revision, tuple(notes))

    def identity(self) -> Mapping[str, Any]:
        """Return what determines its numbers, as far as an endpoint tells."""
        return {
            **models.names(self.settings),
            "revision": self.trust.revision,
            "engine": "server",
            "version": versions("openai"),
            "endpoint": self.client.address,
            "served": dict(self.served),
            "dtype": "the endpoint's",
            "device": "the endpoint's",
            "template": self.settings.template if self.route == "tokens" else self.route,
            "notes": list(self.trust.notes),
        }

    # ---------------------------------------------------------------------------------------------------- generating
    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """Return the completions of every request, at most ``concurrency`` at a time."""
        for request in requests:
            self._refuse_prefix(request.prefix)
        jobs = [job for i, r in enumerate(requests) for job in self._jobs(i, r, sampling)]
        found: list[list[Completion]] = [[] for _ in requests]
        for (i, _, _), got in zip(
            jobs, self._at_once(lambda job: self._job(requests, job, sampling), jobs), strict=True
        ):
            found[i] += got
        if sampling.temperature == 0:
            return [got * r.n for got, r in zip(found, requests, strict=True)]
        return found

    def _jobs(self, index: int, request: Request, sampling: Sampling) -> list[tuple[int, int, int]]:
        """Return (request, first sample, samples) of the calls that a request takes."""
        if sampling.temperature == 0:
            return [(index, request.first, 1)]
        if self.trust.many:
            return [(index, request.first, request.n)]
        return [(index, k, 1) for k in range(request.first, request.first + request.n)]

    def _job(self, requests: Sequence[Request], job: tuple[int, int, int], sampling: Sampling) -> list[Completion]:
        index, first, n = job
        request = requests[index]
        options = self._options(n, sampling, _seed(request.seed, first), self.trust.logprobs)
        answer = self._send(request.question, request.prefix, options)
        if len(answer.choices) != n:
            raise InputError(
                f"{self.client.address} gave {len(answer.choices)} choices where {n} were asked for, though it had "
                "honoured n before. Is it several servers behind one address? Nothing of this request was kept."
            )
        return [self._completion(c, answer, sampling.stop) for c in answer.choices]

    def _completion(self, choice: Choice, answer: Answer, stop: tuple[str, ...]) -> Completion:
        """Read a choice; tokens after a stop string, from a server that goes on, do not count."""
        text = cut(choice.text, stop)
        finished = choice.finish == "stop" or text != choice.text
        if choice.logprobs is not None and choice.pieces is not None and self.trust.logprobs:
            used = _until(choice.pieces, stop)
            return Completion(text, used, math.fsum(choice.logprobs[:used]), finished)
        tokens = answer.completion_tokens
        if tokens is None:
            tokens = len(self.words.answer(text)[0]) + int(finished) if self.words else len(text.split())
        return Completion(text, tokens, None, finished)

    def _send(self, question: str, prefix: str, options: Mapping[str, Any]) -> Answer:
        if self.route == "chat":
            flags = {"logprobs": True, "top_logprobs": 1} if "logprobs" in options else {}
            return self.client.chat(question, {**options, **flags})
        return self.client.complete(self._prompt(question, prefix), options)

    def _prompt(self, question: str, prefix: str) -> str | list[int]:
        if self.route == "tokens" and self.words is not None:
            return self.words.prompt(question, self.settings.template) + self.words.answer(prefix)[0]
        return question + PLAIN_END + prefix

    def _options(self, n: int, sampling: Sampling, seed: int, logprobs: bool) -> dict[str, Any]:
        options: dict[str, Any] = {"model": self.served["id"], "max_tokens": sampling.max_tokens, "seed": seed}
        options["temperature"] = sampling.temperature
        if n > 1:
            options["n"] = n
        if sampling.top_p < 1:
            options["top_p"] = sampling.top_p
        if sampling.stop:
            options["stop"] = list(sampling.stop)
        if logprobs:
            options["logprobs"] = 1
        return options

    def _refuse_prefix(self, prefix: str) -> None:
        if prefix and self.route == "chat":
            raise InputError(
                f"{self.client.address} cannot continue an answer through its chat endpoint. Name the directory of the "
                "model's tokenizer, policy.models=[directory], so that prompts can be rendered here; or ask plainly "
                "with policy.template=plain."
            )

    def _at_once(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Do the work in ``concurrency`` threads; the first failure ends it."""
        self.trust  # noqa: B018 - examined before the threads begin, by one of them only
        pool = ThreadPoolExecutor(self.settings.concurrency)
        try:
            return list(pool.map(work, items))
        finally:
            pool.shutdown(cancel_futures=True)

    # ------------------------------------------------------------------------------------------------------- scoring
    def score(self, texts: Sequence[tuple[str, str]]) -> list[Scored]:
        """Return log-probabilities of answers, where the endpoint echoes a prompt with them; no entropies."""
        if not self.trust.logprobs:
            raise InputError(f"{self.client.address} gives no log-probabilities. Score with backend=hf.")
        if texts:
            self._refuse_prefix(texts[0][1])
        return self._at_once(lambda pair: self._scored(*pair), texts)

    def _scored(self, question: str, answer: str) -> Scored:
        options = self._options(1, Sampling(0.0, 1), 1, True) | {"echo": True}
        (choice, *_) = self.client.complete(self._prompt(question, answer), options).choices
        if self.route == "tokens" and self.words is not None:
            start, (ids, pieces) = len(self.words.prompt(question, self.settings.template)), self.words.answer(answer)
            numbers = (choice.logprobs or ())[start : start + len(ids)]
        else:
            pieces, numbers = _between(choice, question + PLAIN_END, answer)
        if "".join(pieces) != answer or len(numbers) != len(pieces) or not np.isfinite(numbers).all():
            raise InputError(
                f"{self.client.address} does not give the log-probabilities of a given text (echo), or cuts its tokens "
                "across the end of the question. Score with backend=hf."
            )
        return Scored(tuple(pieces), np.array(numbers, float), None)

    def length(self, question: str, answer: str = "") -> int:
        """Return the tokens of a rendered question with the beginning of an answer; asked of the endpoint if need be.

        Raises:
            InputError: If neither the tokenizer is at hand nor the endpoint counts.
        """
        if self.words is not None:
            return len(self.words.prompt(question, self.settings.template)) + len(self.words.answer(answer)[0])
        self._refuse_prefix(answer)
        key = question + PLAIN_END + answer
        if key not in self._lengths:
            tokens = self._send(question, answer, self._options(1, Sampling(0.0, 1), 1, False)).prompt_tokens
            if tokens is None:
                raise InputError(f"{self.client.address} does not count tokens; name the tokenizer's directory.")
            self._lengths[key] = tokens
        return self._lengths[key]


def _at_hand(settings: ModelSettings) -> Path | None:
    """Return the directory of the model's tokenizer, where one is on this machine."""
    if settings.model.startswith(models.LADDER):
        return models.resolve(settings)
    folder = Path(settings.model).expanduser()
    if not folder.is_dir():
        folder = models.in_hub_cache(settings)
    return folder if (folder / "tokenizer.json").is_file() else None


def _seed(seed: int, first: int) -> int:
    """Return a seed that endpoints take, for the samples of a request from number ``first`` on."""
    return int(hashlib.sha256(f"{seed}/{first}".encode()).hexdigest()[:8], 16) % 2**31


def _until(pieces: Sequence[str], stop: tuple[str, ...]) -> int:
    """Return how many tokens there are up to the first stop string, its own included."""
    text = ""
    for i, piece in enumerate(pieces):
        text += piece
        if any(s in text for s in stop):
            return i + 1
    return len(pieces)


def _between(choice: Choice, before: str, answer: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return text and log-probability of the tokens of an answer in an echoed text."""
    starts = choice.offsets or ()
    whole, end = before + answer, len(before) + len(answer)
    own = [i for i, at in enumerate(starts) if len(before) <= at < end]
    ends = [*starts[1:], end]
    pieces = tuple(whole[starts[i] : min(ends[i], end)] for i in own)
    return pieces, tuple((choice.logprobs or ())[i] for i in own)
