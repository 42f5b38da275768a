"""torchtune: text of its DiskLogger and StdoutLogger, ``Step {n} | name:value name:value``, appended on resume.

In its PPO recipe ``kl`` and ``kl_reward`` are sums over the tokens of an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.rows import Warn, sureness, values
from rlaws.logs.readers import Cut, lines

KEYS = (
    Key("global_step", "step"),
    Key("scores|rewards", "reward_task"),
    Key("successes", "correct"),
    Key("rlhf_reward", "reward_train", note="scores with the KL penalty taken off"),
    Key("kl", "kl_ref_seq", note="to the reference model, a SUM over the tokens of an answer"),
    Key("kl_reward", note="minus the KL coefficient times kl"),
    Key("kl_loss", "kl_ref", note="to the reference model, mean over tokens (GRPO recipe)"),
    Key("approx_policy_kls?", "kl_old_new"),
    Key("clipfrac", "clip_total"),
    Key("ratios", note="importance ratio"),
    Key("num_stop_tokens", note="answers that ended by themselves: a count"),
    Key("response_lengths", "len_mean"),
    Key("lr", "lr"),
    Key("loss", "loss"),
    Key("policy_loss", "loss_policy"),
    Key("value_loss", "loss_critic"),
    Key("grad_norm", "grad_norm"),
    Key(r"tokens_per_second_per_gpu\w*|peak_memory_\w+", note="speed and memory"),
)

_ROW = re.compile(r"^\s*Step (?P<step>\d+) \| ?(?P<cells>\S.*)$")
_CELL = re.compile(r"(?P<name>[^\s:|]+):(?P<value>tensor\([^)]*\)+|\S+)(?P<end>\s|$)")
_TENSOR = re.compile(r"tensor\(([^(),]+).*")


class Torchtune:
    """One line a step, or one line a value."""

    NAME: ClassVar[str] = "torchtune"
    TITLE: ClassVar[str] = "torchtune, DiskLogger"
    NEEDS: ClassVar[str] = "lines 'Step 12 | name:value name:value'"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS

    def sniff(self, head: Head) -> float:
        """Return how sure the keys of the lines make; the form of the lines is the signature."""
        found = (_ROW.match(line) for line in head.text.splitlines())
        return sureness({key for row in found if row for key in _cells(row["cells"])}, KEYS, ".+")

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a line; the last value of a line without an end may be cut and is left out."""
        for place, line in lines(path, tell, warn):
            row = _ROW.match(line)
            cells = _cells(row["cells"]) if row else {}
            if isinstance(line, Cut) and not line.endswith(" ") and cells:
                cells.popitem()
                warn(f"{path.name}, line {place}: the last line is cut off; its last value is left out.")
            if row and cells:
                yield Record(float(row["step"]), values(cells), place)


def _cells(text: str) -> dict[str, object]:
    """Return name and printed value of each cell; a tensor is its number."""
    return {cell["name"]: _TENSOR.sub(r"\1", cell["value"]) for cell in _CELL.finditer(text)}


DIALECT = Torchtune()
