"""What an endpoint does with what it is asked, found out before anything is measured with it.

Servers ignore settings without an error: one choice where four were asked for, the greedy answer at any temperature,
no log-probabilities, a stop string that stays in the text. A pass@k from such a server would be a pass@1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from llm_bridge.backends.client import Answer, Choice, Refused
from rlaws.errors import InputError
from rlaws.store import digest

QUESTION = "Write down a random number between 10000 and 99999, and then a random word."
TOKENS, SAMPLES = 16, 8
HOT = 2.0
"""A temperature at which hardly any model writes the same 16 tokens eight times."""
SURE = -0.05
"""Above this log-probability of the whole answer at temperature 1, equal samples prove nothing."""
NEAR = 0.02


class Ask(Protocol):
    """One request about ``QUESTION``."""

    def __call__(
        self, n: int, temperature: float, seed: int, stop: tuple[str, ...] = (), logprobs: bool = True
    ) -> Answer:
        """Return the answer, of at most ``TOKENS`` tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Trust:
    """What an endpoint can be asked for.

    Attributes:
        many: Whether several samples may be asked for in one request.
        logprobs: Whether it gives the model's log-probabilities at temperature 1.
        revision: Hash of its greedy answer, which tells when other weights are served; "" where that varies.
        notes: What it does not do, and what is done instead.
    """

    many: bool
    logprobs: bool
    revision: str
    notes: tuple[str, ...]


def examine(ask: Ask) -> Trust:
    """Ask an endpoint about a dozen times and return what can be relied on.

    Raises:
        InputError: If it ignores the temperature, or gives the same samples to every seed.
    """
    notes: list[str] = []
    logprobs = _takes_logprobs(ask)
    greedy, again = (ask(1, 0.0, seed, logprobs=logprobs).choices[0] for seed in (1, 2))
    if greedy.text != again.text:
        notes.append("greedy answers vary: temperature 0 is not reproducible")
    hot, many = _hot(ask, logprobs, notes)
    _seeds(ask, hot, many, notes)
    logprobs = logprobs and _raw_logprobs(ask, hot, notes)
    if not logprobs and not any("log-prob" in n for n in notes):
        notes.append("no log-probabilities: what needs them is refused, and each sample is a request of its own")
    _stop(ask, greedy, notes)
    return Trust(many and logprobs, logprobs, digest(greedy.text) if greedy.text == again.text else "", tuple(notes))


def _takes_logprobs(ask: Ask) -> bool:
    try:
        return ask(1, 0.0, 1).choices[0].logprobs is not None
    except Refused:
        return False


def _hot(ask: Ask, logprobs: bool, notes: list[str]) -> tuple[list[Choice], bool]:
    """Return hot samples, and whether they can be had in one request."""
    try:
        together = list(ask(SAMPLES, HOT, 1, logprobs=logprobs).choices)
    except Refused:
        together = []
    if len(together) == SAMPLES and _differ(together):
        return together, True
    apart = [ask(1, HOT, seed, logprobs=logprobs).choices[0] for seed in range(1, SAMPLES + 1)]
    if _differ(apart):
        notes.append(
            f"n is not honoured ({SAMPLES} samples were asked for, {len({c.text for c in together})} different came): "
            "each sample is a request of its own"
        )
        return apart, False
    if apart[0].logprobs is not None and math.fsum(apart[0].logprobs) > SURE:
        notes.append("whether the temperature is honoured cannot be told: the model is sure of its answer")
        return apart, len(together) == SAMPLES
    raise InputError(
        f"The endpoint ignores the temperature: {SAMPLES} samples at temperature {HOT} are the same. (transformers "
        "serve does so unless do_sample is true in the model's generation_config.json.) Every sample would be the "
        "greedy one; nothing was measured."
    )


def _differ(choices: list[Choice]) -> bool:
    return len({c.text for c in choices}) > 1


def _seeds(ask: Ask, hot: list[Choice], many: bool, notes: list[str]) -> None:
    """Note whether a seed brings back its samples; refuse a server that has the same ones for every seed."""
    n = SAMPLES if many else 1
    mine = [c.text for c in hot[:n]]
    same, other = ([c.text for c in ask(n, HOT, seed, logprobs=False).choices[:n]] for seed in (1, 2))
    if many and other == mine and _differ(hot):
        raise InputError("The endpoint gives the same samples to every seed; more samples would be copies.")
    if same != mine:
        notes.append("the seed is not honoured: samples are not reproducible, but kept ones are read again")


def _raw_logprobs(ask: Ask, hot: list[Choice], notes: list[str]) -> bool:
    """Return whether log-probabilities are those at temperature 1, whatever the temperature of sampling."""
    warm = ask(1, 1.0, 1).choices[0]
    known = [c.top for c in (warm, hot[0])]
    if None in known:
        notes.append("that log-probabilities are those at temperature 1 could not be checked")
        return True
    if abs(float(known[0] or 0) - float(known[1] or 0)) <= NEAR:
        return True
    notes.append("log-probabilities change with the temperature of sampling: they are not used")
    return False


def _stop(ask: Ask, greedy: Choice, notes: list[str]) -> None:
    """Note what becomes of a stop string; it is cut off here in any case."""
    letters = [c for c in greedy.text[1:] if not c.isspace() and c != "\N{REPLACEMENT CHARACTER}"]
    if not letters:
        return
    stop = letters[len(letters) // 2]
    text = ask(1, 0.0, 1, stop=(stop,), logprobs=False).choices[0].text
    if stop in text:
        notes.append(
            "a stop string stays in the text: it is cut off here"
            if len(text) < len(greedy.text)
            else "stop strings are ignored: what comes after is cut off here, but it takes its time"
        )
