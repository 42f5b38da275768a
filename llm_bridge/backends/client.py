"""Talking to an OpenAI-compatible endpoint: tries again what may pass, says in a sentence what does not.

Only this module knows the endpoint's key: it comes from an environment variable, goes into the client's header, and is
masked wherever the endpoint's words are repeated.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rlaws.errors import InputError

if TYPE_CHECKING:
    from llm_bridge.settings import ModelSettings

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""Answers that may be others the next time."""
LOCKED = (401, 403)


class Refused(InputError):
    """The endpoint will not do what it was asked, however often."""


class Choice(NamedTuple):
    """One completion, as the endpoint gave it.

    Attributes:
        text: Its text.
        finish: Why it ended, "stop" or "length".
        pieces: Text of each token, or None.
        logprobs: Of each token (nan where there is none), or None.
        top: Log-probability of the likeliest first token, or None.
        offsets: Where each token begins in the text, or None.
    """

    text: str
    finish: str
    pieces: tuple[str, ...] | None
    logprobs: tuple[float, ...] | None
    top: float | None
    offsets: tuple[int, ...] | None


class Answer(NamedTuple):
    """The choices of one request, and what it says of tokens."""

    choices: tuple[Choice, ...]
    prompt_tokens: int | None
    completion_tokens: int | None


class Client:
    """An endpoint.

    Attributes:
        address: Of the endpoint, without what a URL may hold of passwords.
    """

    def __init__(self, settings: ModelSettings) -> None:
        try:
            import openai
        except ImportError as error:
            raise InputError("backend = server needs: pip install rlaws[llm] (openai is missing).") from error
        self.address = re.sub(r"//[^/@]*@|[?#].*", lambda m: "//" if m[0].startswith("//") else "", settings.endpoint)
        self._key_variable, self._tries = settings.key_variable, settings.retries + 1
        key = os.environ.get(settings.key_variable) or "none"
        self._errors = openai
        self._client = openai.OpenAI(
            base_url=settings.endpoint, api_key=key, timeout=settings.timeout, max_retries=0
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"Client({self.address})"

    def models(self) -> list[Mapping[str, Any]]:
        """Return what the endpoint serves."""
        return self._asked(self._client.models.with_raw_response.list, _listed)

    def chat(self, question: str, options: Mapping[str, Any]) -> Answer:
        """Ask a question through the endpoint's own template."""
        turn = [{"role": "user", "content": question}]
        create = self._client.chat.completions.with_raw_response.create
        return self._asked(lambda: create(messages=turn, **options), _answer)

    def complete(self, prompt: str | Sequence[int], options: Mapping[str, Any]) -> Answer:
        """Continue a text, or tokens."""
        create = self._client.completions.with_raw_response.create
        return self._asked(lambda: create(prompt=prompt, **options), _answer)

    def _asked(self, send: Callable[[], Any], read: Callable[[Any], Any]) -> Any:
        """Send a request until it is answered.

        Raises:
            Refused: If the endpoint says that the request is wrong.
            InputError: If it has failed as often as it may.
        """
        said = ""
        for turn in range(self._tries):
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**turn)
            try:
                return read(json.loads(send().text))
            except self._errors.APIStatusError as error:
                said = f"answered {error.status_code}: {self._masked(error.message)}"
                if error.status_code in LOCKED:
                    hint = f"the key is read from the environment variable {self._key_variable}"
                    raise InputError(f"The endpoint {self.address} {said} ({hint})") from None
                if error.status_code not in PASSING:
                    raise Refused(f"The endpoint {self.address} {said}") from None
                wait = max(wait, min(LONGEST_WAIT_S, _asked_wait(error.response.headers.get("retry-after"))))
            except self._errors.APITimeoutError:
                said = "did not answer in time (policy.timeout)"
            except self._errors.APIConnectionError as error:
                said = f"cannot be reached ({self._masked(str(error.__cause__ or error))})"
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                said = f"answered something that is no completion ({type(error).__name__})"
            if turn + 1 < self._tries:
                time.sleep(wait * random.uniform(0.5, 1.0))  # many clients do not come back at the same moment
        raise InputError(
            f"The endpoint {self.address} failed {self._tries} times; at last it {said}. What was sampled before is "
            "kept: the same command goes on there. More patience: policy.retries, policy.timeout; less load: "
            "policy.concurrency."
        )

    def _masked(self, text: str) -> str:
        """Return the first line of what an endpoint says, without the key, which some repeat."""
        key = os.environ.get(self._key_variable) or ""
        line = (text.strip().splitlines() or [""])[0][:300]
        return line.replace(key, "***") if key else line


def _asked_wait(header: str | None) -> float:
    """Return the seconds that an endpoint asks to wait."""
    try:
        return float(header or 0)
    except ValueError:
        return 0.0  # a date: the own rule is as good


def _listed(body: Any) -> list[Mapping[str, Any]]:
    return [{"id": str(m["id"]), **{k: str(m[k]) for k in ("owned_by", "root") if m.get(k)}} for m in body["data"]]


def _answer(body: Any) -> Answer:
    """Read an answer of either endpoint."""
    usage = body.get("usage") or {}
    choices = tuple(_choice(c) for c in body["choices"])
    if not choices:
        raise ValueError("no choices")
    return Answer(choices, usage.get("prompt_tokens"), usage.get("completion_tokens"))


def _choice(body: Mapping[str, Any]) -> Choice:
    text = body["message"]["content"] if "message" in body else body["text"]
    given = body.get("logprobs") or {}
    pieces = logprobs = top = offsets = None
    if given.get("content"):  # of the chat endpoint
        pieces = tuple(str(t["token"]) for t in given["content"])
        logprobs = tuple(_number(t["logprob"]) for t in given["content"])
        tops = given["content"][0].get("top_logprobs")
        top = max(float(t["logprob"]) for t in tops) if tops else None
    elif given.get("token_logprobs"):  # of the completions endpoint
        pieces = tuple(str(t) for t in given["tokens"])
        logprobs = tuple(_number(x) for x in given["token_logprobs"])
        tops = (given.get("top_logprobs") or [None])[0]
        top = max(float(x) for x in tops.values()) if tops else None
        offsets = tuple(int(x) for x in given["text_offset"]) if given.get("text_offset") else None
    return Choice(str(text or ""), str(body.get("finish_reason") or "length"), pieces, logprobs, top, offsets)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
