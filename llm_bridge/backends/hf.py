"""Transformers on this machine: any causal language model, on a CPU or one GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from llm_bridge import models
from llm_bridge.backends.base import Completion, Request, Sampling, Scored
from llm_bridge.models import Loaded, versions
from rlaws.errors import InputError

if TYPE_CHECKING:
    from llm_bridge.settings import ModelSettings

LOGITS = 2**26
"""Most logits that scoring holds at once; a large vocabulary makes them, and not the weights, fill the memory."""
Row = TypeVar("Row")
Result = TypeVar("Result")


class Sample(NamedTuple):
    """One row of a batch: sample ``number`` of a request."""

    request: int
    number: int


class Transformers:
    """A directory's model in this process; it is loaded when tokens are wanted."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self.batch = settings.batch
        self._enders: dict[tuple[str, tuple[str, ...]], Any] = {}

    @cached_property
    def folder(self) -> Any:
        """Directory of the model."""
        return models.resolve(self.settings)

    @property
    def loaded(self) -> Loaded:
        """The model; another one of this process may have taken its place since it was used last."""
        s = self.settings
        return models.load(self.folder, s.dtype, s.device, s.adapter)

    def identity(self) -> Mapping[str, Any]:
        """Return what determines its numbers."""
        s = self.settings
        return {
            **models.names(s),
            "revision": models.revision(self.folder, s.adapter),
            "engine": "hf",
            "version": versions("transformers", "torch"),
            "dtype": s.dtype,
            "device": models.device_of(s.device).split(":")[0],
            "template": s.template,
        }

    # -------------------------------------------------------------------------------------------------- generating
    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """Return the completions of every request; rows of like length share a batch."""
        loaded = self.loaded
        prompts = [prompt_of(loaded, r, self.settings.template) for r in requests]
        order = sorted(range(len(requests)), key=lambda i: (len(prompts[i]), prompts[i]))
        rows = [Sample(i, k) for i in order for k in numbers(requests[i], sampling)]

        def run(part: Sequence[Sample]) -> list[Completion]:
            return self._continue(loaded, part, requests, prompts, sampling)

        found = dict(zip(rows, self._in_batches(rows, self.batch, run), strict=True))
        if sampling.temperature == 0:
            return [[found[Sample(i, r.first)]] * r.n for i, r in enumerate(requests)]
        return [[found[Sample(i, k)] for k in numbers(r, sampling)] for i, r in enumerate(requests)]

    def _continue(
        self, loaded: Loaded, rows: Sequence[Sample], requests: Sequence[Request], prompts: Sequence[list[int]],
        sampling: Sampling,
    ) -> list[Completion]:  # fmt: skip
        """Return one completion for each row of a batch."""
        import torch

        from llm_bridge.backends.decoding import decode, uniforms

        several = list(dict.fromkeys(tuple(prompts[r.request]) for r in rows))
        place = {prompt: i for i, prompt in enumerate(several)}
        mine = [place[tuple(prompts[r.request])] for r in rows]
        limit = [min(sampling.max_tokens, room(loaded, len(several[i]))) for i in mine]
        stream = [uniforms(requests[r.request].seed, [r.number], max(limit)) for r in rows]
        device = loaded.device
        out = decode(
            loaded.model,
            several,
            torch.tensor(mine, device=device),
            torch.as_tensor(np.concatenate(stream), device=device),
            torch.tensor(limit, device=device),
            sampling,
            self._ended(loaded, sampling.stop),
        )
        return _completions(loaded, [several[i] for i in mine], out, sampling.stop)

    def _ended(self, loaded: Loaded, stop: tuple[str, ...]) -> Callable[[Any, Any], Any]:
        """Return the rule that tells which rows have ended: by an end token or by a stop string."""
        import torch

        ends = torch.tensor(sorted(loaded.ends), dtype=torch.long, device=loaded.device)
        key = (loaded.revision, stop)
        if stop and key not in self._enders:
            self._enders[key] = torch.tensor(_may_end(loaded.tokenizer, stop), device=loaded.device)

        def ended(tokens: Any, new: Any) -> Any:
            done = torch.isin(new, ends)
            if stop:
                maybe = (self._enders[key][new] & ~done).nonzero().flatten()
                texts = texts_of(loaded, tokens[maybe].tolist())
                done[maybe] = torch.tensor([any(s in text for s in stop) for text in texts], dtype=torch.bool).to(
                    done.device
                )
            return done

        return ended

    def _in_batches(
        self, rows: Sequence[Row], size: int, run: Callable[[Sequence[Row]], list[Result]]
    ) -> Iterator[Result]:
        """Run batch after batch; a batch for which the memory does not suffice is halved, and those after it too.

        Raises:
            InputError: If the memory does not suffice for one row.
        """
        done = 0
        while done < len(rows):
            part = rows[done : done + size]
            results = _unless_full(lambda part=part: run(part))
            if results is not None:
                yield from results
                done += len(part)
            elif len(part) == 1:
                raise InputError(
                    f"The memory of {self.loaded.device} does not suffice for one row of '{self.settings.model}' in "
                    f"{self.settings.dtype}. Use policy.dtype=bfloat16, fewer tokens, or a smaller model."
                )
            else:
                size = self.batch = len(part) // 2

    # ----------------------------------------------------------------------------------------------------- scoring
    def score(self, texts: Sequence[tuple[str, str]]) -> list[Scored]:
        """Return log-probabilities of (question, answer) pairs, the end token not included."""
        loaded = self.loaded
        pairs = []
        for question, answer in texts:
            prompt, (ids, pieces) = loaded.prompt(question, self.settings.template), loaded.answer(answer)
            refuse_if_long(len(prompt) + len(ids), loaded, question)
            pairs.append((prompt, ids, pieces))
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        longest = max((len(p) + len(a) for p, a, _ in pairs), default=1)
        size = max(1, min(self.batch, LOGITS // (longest * len(loaded.tokenizer))))
        scored = self._in_batches([pairs[i] for i in order], size, lambda part: _score(loaded, part))
        found = dict(zip(order, scored, strict=True))
        return [found[i] for i in range(len(pairs))]

    def length(self, question: str, answer: str = "") -> int:
        """Return the tokens of a rendered question with the beginning of an answer."""
        loaded = self.loaded
        return len(loaded.prompt(question, self.settings.template)) + len(loaded.answer(answer)[0])


def numbers(request: Request, sampling: Sampling) -> range:
    """Return the numbers of the samples to draw; greedy ones are all the same."""
    return range(request.first, request.first + (request.n if sampling.temperature else 1))


def prompt_of(loaded: Loaded, request: Request, template: str) -> list[int]:
    """Return the tokens of a request.

    Raises:
        InputError: If not one token fits behind them.
    """
    ids = loaded.prompt(request.question, template) + loaded.answer(request.prefix)[0]
    refuse_if_long(len(ids) + 1, loaded, request.question)
    return ids


def refuse_if_long(tokens: int, loaded: Loaded, question: str) -> None:
    """Refuse what the context does not hold."""
    if loaded.context is not None and tokens > loaded.context:
        raise InputError(
            f"A prompt needs {tokens} tokens, and the model's context holds {loaded.context}: "
            f"'{question[:60]}…'. Take shorter problems or a model with a longer context."
        )


def room(loaded: Loaded, prompt: int) -> int:
    """Return how many tokens fit behind a prompt."""
    return 2**31 if loaded.context is None else loaded.context - prompt


def _unless_full(run: Callable[[], list[Result]]) -> list[Result] | None:
    """Return what ``run`` gives, or None if memory ran out; by then all that it held is free."""
    import torch

    try:
        return run()
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "allocate memory" not in str(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _may_end(tokenizer: Any, stop: tuple[str, ...]) -> list[bool]:
    """Return for each token whether a stop string can end in it: it has its last letter, or may be a part of it."""
    last = {s[-1] for s in stop}
    if any(ord(letter) > 127 for letter in last):
        last.add("\N{REPLACEMENT CHARACTER}")
    pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return [not last.isdisjoint(piece) for piece in pieces]


def texts_of(loaded: Loaded, rows: Sequence[Sequence[int]], before: Sequence[Sequence[int]] = ()) -> list[str]:
    """Return the texts of tokens, without end tokens.

    Some tokenizers drop the first blank of a text, so the last token before each is shown too, and cut off again.
    """
    decode = loaded.tokenizer.backend_tokenizer.decode_batch
    plain = [[i for i in row if i not in loaded.ends] for row in rows]
    if not before:
        return list(decode(plain))
    shown = [list(row[-1:]) for row in before]
    both = decode([[*first, *row] for first, row in zip(shown, plain, strict=True)])
    return [text[len(first) :] for text, first in zip(both, decode(shown), strict=True)]


def _completions(loaded: Loaded, prompts: Sequence[Sequence[int]], out: Any, stop: tuple[str, ...]) -> list[Completion]:
    lengths = out.lengths.tolist()
    rows = [row[:n] for row, n in zip(out.tokens.tolist(), lengths, strict=True)]
    texts = [cut(text, stop) for text in texts_of(loaded, rows, prompts)]
    numbers = zip(texts, lengths, out.logprobs.tolist(), out.finished.tolist(), strict=True)
    return [Completion(*values) for values in numbers]


def cut(text: str, stop: tuple[str, ...]) -> str:
    """Return a text up to the first stop string in it."""
    return text[: min((at for at in map(text.find, stop) if at >= 0), default=len(text))]


def _score(loaded: Loaded, part: Sequence[tuple[list[int], list[int], tuple[str, ...]]]) -> list[Scored]:
    """Score pairs, padded at the right, where the causal mask already hides the padding."""
    import torch

    from llm_bridge.backends.decoding import keeps_logits

    longest = max(len(prompt) + len(ids) for prompt, ids, _ in part)
    first = min(len(prompt) for prompt, _, _ in part) - 1  # the logits before it are of no use
    rows = [[*prompt, *ids, *[0] * (longest - len(prompt) - len(ids))] for prompt, ids, _ in part]
    x = torch.tensor(rows, device=loaded.device)
    more = {"logits_to_keep": longest - first} if keeps_logits(type(loaded.model)) else {}
    with torch.inference_mode():
        logp = loaded.model(input_ids=x, use_cache=False, **more).logits[:, first - longest :].float().log_softmax(-1)
        entropy = -(logp.exp() * logp).sum(-1).double().cpu().numpy()
        chosen = logp[:, :-1].gather(-1, x[:, first + 1 :, None])[..., 0].double().cpu().numpy()
    found = []
    for i, (prompt, ids, pieces) in enumerate(part):
        own = slice(len(prompt) - 1 - first, len(prompt) - 1 - first + len(ids))
        found.append(Scored(pieces, chosen[i, own], entropy[i, own]))
    return found
