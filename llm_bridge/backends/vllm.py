"""vLLM's offline engine: the prompts and words of the other engines, its own speed.

Every sample is a request with a seed of its own, so that its stream does not depend on what else runs; vLLM reads a
prompt that they share once (prefix caching). Prompts are sent, and answers read, as tokens.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_bridge import models
from llm_bridge.backends.base import Completion, Request, Sampling, Scored
from llm_bridge.backends.hf import cut, numbers, prompt_of, refuse_if_long, room, texts_of
from llm_bridge.models import Loaded, versions
from rlaws.errors import InputError

if TYPE_CHECKING:
    from llm_bridge.settings import ModelSettings

_running: dict[tuple[Any, ...], Any] = {}


class VLLM:
    """A directory's model on the GPUs of this node; it is started when tokens are wanted."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        _library()

    @cached_property
    def folder(self) -> Path:
        """Directory of the model."""
        return models.resolve(self.settings)

    @cached_property
    def words(self) -> Loaded:
        """What the model reads, without its weights."""
        return models.words(self.folder, models.revision(self.folder, self.settings.adapter))

    @property
    def engine(self) -> Any:
        """The engine; it holds its share of the GPUs, so the one that ran before is stopped."""
        s = self.settings
        key = (self.words.revision, s.dtype, s.tensor_parallel, s.memory)
        if key not in _running:
            _running.clear()
            gc.collect()
            _running[key] = _started(self.folder, s)
        return _running[key]

    def identity(self) -> Mapping[str, Any]:
        """Return what determines its numbers."""
        s = self.settings
        return {
            **models.names(s),
            "revision": models.revision(self.folder, s.adapter),
            "engine": "vllm",
            "version": versions("vllm", "torch"),
            "dtype": s.dtype,
            "device": f"cuda x {s.tensor_parallel}",
            "template": s.template,
        }

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """Return the completions of every request; vLLM makes the batches."""
        prompts = [prompt_of(self.words, r, self.settings.template) for r in requests]
        rows = [(i, k) for i, r in enumerate(requests) for k in numbers(r, sampling)]
        asked = [
            sampling_params(sampling, requests[i].seed, k, room(self.words, len(prompts[i]))) for i, k in rows
        ]  # fmt: skip
        outputs = self._run([prompts[i] for i, _ in rows], asked)
        found: list[list[Completion]] = [[] for _ in requests]
        for (i, _), output in zip(rows, outputs, strict=True):
            found[i].append(completion(self.words, prompts[i], output, sampling.stop))
        return found if sampling.temperature else [got * r.n for got, r in zip(found, requests, strict=True)]

    def _run(self, prompts: Sequence[list[int]], asked: Sequence[Any]) -> list[Any]:
        """Run requests and return vLLM's outputs, in order."""
        adapter = _lora(self.settings.adapter) if self.settings.adapter else None
        tokens = [{"prompt_token_ids": list(ids)} for ids in prompts]
        return list(self.engine.generate(tokens, list(asked), use_tqdm=False, lora_request=adapter))

    def score(self, texts: Sequence[tuple[str, str]]) -> list[Scored]:
        """Return log-probabilities of answers as the prompt's own; vLLM gives no entropies."""
        pairs = [(self.words.prompt(q, self.settings.template), *self.words.answer(a)) for q, a in texts]
        for (prompt, ids, _), (question, _) in zip(pairs, texts, strict=True):
            refuse_if_long(len(prompt) + len(ids) + 1, self.words, question)  # vLLM writes one token behind them
        one = _library().SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        outputs = self._run([prompt + ids for prompt, ids, _ in pairs], [one] * len(pairs))
        return [scored(len(p), ids, pieces, out) for (p, ids, pieces), out in zip(pairs, outputs, strict=True)]

    def length(self, question: str, answer: str = "") -> int:
        """Return the tokens of a rendered question with the beginning of an answer."""
        return len(self.words.prompt(question, self.settings.template)) + len(self.words.answer(answer)[0])


def _library() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise InputError(
            "backend = vllm needs an NVIDIA or AMD GPU and: pip install rlaws[vllm]. Without one, use backend=hf, or "
            "backend=server for a vLLM that runs elsewhere."
        ) from error
    return vllm


def _started(folder: Path, settings: ModelSettings) -> Any:
    more: dict[str, Any] = {}
    if settings.adapter:
        rank = json.loads((models.adapter_of(settings.adapter) / "adapter_config.json").read_text(encoding="utf-8"))[
            "r"
        ]
        more = {"enable_lora": True, "max_lora_rank": max(8, rank)}
    try:
        return _library().LLM(
            model=str(folder),
            dtype=settings.dtype,
            tensor_parallel_size=settings.tensor_parallel,
            gpu_memory_utilization=settings.memory,
            logprobs_mode="raw_logprobs",  # at temperature 1, whatever the temperature of sampling
            seed=0,
            **more,
        )
    except (RuntimeError, ValueError, OSError, AssertionError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"vLLM could not start '{folder}': {line}. If memory is short: more GPUs with policy.tensor_parallel, or "
            "another policy.memory (the share of a GPU that it may take)."
        ) from error


def _lora(adapter: str) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, str(models.adapter_of(adapter)))


def sampling_params(sampling: Sampling, seed: int, sample: int, room: int) -> Any:
    """Return vLLM's settings for one sample of a request."""
    stream = int(hashlib.sha256(f"{seed}/{sample}".encode()).hexdigest()[:15], 16)
    return _library().SamplingParams(
        n=1,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=min(sampling.max_tokens, room),
        stop=list(sampling.stop),
        seed=stream,
        logprobs=0,
    )


def completion(words: Loaded, prompt: Sequence[int], output: Any, stop: tuple[str, ...]) -> Completion:
    """Read vLLM's output of one sample."""
    (got,) = output.outputs
    (text,) = texts_of(words, [list(got.token_ids)], [prompt])
    logprob = None if got.cumulative_logprob is None else float(got.cumulative_logprob)
    return Completion(cut(text, stop), len(got.token_ids), logprob, got.finish_reason == "stop")


def scored(prompt: int, ids: Sequence[int], pieces: tuple[str, ...], output: Any) -> Scored:
    """Read the log-probabilities of the tokens behind the first ``prompt`` ones."""
    places = list(output.prompt_logprobs)[prompt:]
    return Scored(pieces, np.array([place[i].logprob for place, i in zip(places, ids, strict=True)], float), None)
