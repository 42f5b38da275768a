"""verl's console: lines "step:10 - critic/score/mean:0.135 - ...", between whatever else a Ray job prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects import verl_keys
from rlaws.logs.dialects.base import Head, Key, Record, Tell, Value
from rlaws.logs.readers import Cut, lines, number, shown

_LINE = re.compile(r"(?<![\w/:])step:(\d+) - (?=[^\s:]+/\S*:)")
_ROUNDED = re.compile(r"-?\d+\.\d{3}")
_SCORES = re.compile(r"(?:Initial|Final) validation metrics: ")
_SIGNS = ("actor_rollout_ref", "ppo_mini_batch_size")  # verl prints its configuration first


class Verl:
    """The console log."""

    NAME: ClassVar[str] = "verl"
    TITLE: ClassVar[str] = "console log of verl or a fork of it"
    NEEDS: ClassVar[str] = "lines 'step:1 - critic/score/mean:0.1 - ...'"
    KEYS: ClassVar[tuple[Key, ...]] = verl_keys.KEYS

    def sniff(self, head: Head) -> float:
        """Return 0.95 with a line of metrics, 0.6 with verl's configuration, which is printed before the first step."""
        if _LINE.search(head.text):
            return 0.95
        return 0.6 if all(sign in head.text for sign in _SIGNS) else 0.0

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Yield one record a line of metrics; other lines are passed over."""
        whole = False  # whether any number stands with more than three decimals
        steps = 0
        for at, text in lines(path, tell, warn):
            found = _LINE.search(text) if "step:" in text else None
            if found is None:
                if _SCORES.search(text):
                    warn(f"{path.name}, line {at}: scores without a step ('{shown(text, 90)}') are in no column.")
                continue
            pairs = text[found.end() :].split(" - ")
            if isinstance(text, Cut):
                warn(f"{path.name}, line {at}: the last line is cut off at '{shown(pairs.pop())}', which is left out.")
            whole = whole or not all(_ROUNDED.fullmatch(pair.rpartition(":")[2]) for pair in pairs)
            steps += 1
            yield Record(float(found[1]), _values(pairs), at)
        if steps and not whole:
            warn("All numbers are printed with three decimals: small ones (KL, clipping, rates) are coarse or 0.")


def _values(pairs: list[str]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for pair in pairs:
        key, _, text = pair.rpartition(":")
        value = number(text)
        if key == "actor/lr" and _ROUNDED.fullmatch(text) and value is not None and value < 0.1:
            key = "actor/lr (3 decimals)"
        values[key or pair] = text if value is None else value
    return values


DIALECT = Verl()
