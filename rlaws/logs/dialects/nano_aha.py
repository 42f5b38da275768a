"""nano-aha-moment: console lines ``KEY METRICS: {...}`` after ``Iteration i/n``, and its Weights & Biases keys.

Statistics of the loss are sums over a micro-batch, divided by the tokens of the WHOLE batch, and then averaged over the
micro-batches: they come out too small by the number of micro-batches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.rows import Warn, sureness, values
from rlaws.logs.readers import lines, literal

_SMALL = "too small by the number of micro-batches"

KEYS = (
    Key("iteration", "step"),
    Key("train/rewards", "reward_task", note="sum of the format and the equation reward"),
    Key("train/reward_metrics/format_reward", "reward_format"),
    Key("train/reward_metrics/equation_reward", "correct", note="0 or 1"),
    Key("train/reward_metrics/.+", note="another reward function"),
    Key("train/non_stop_rate", "trunc_frac"),
    Key("train/response_lengths", "len_mean"),
    Key("train/policy_loss", "loss_policy", note=_SMALL),
    Key("train/kl_penalty", "kl_ref", note=f"to the reference model, k3; {_SMALL}"),
    Key("train/entropy", note="divided by the tokens of the batch a second time: no entropy per token"),
    Key("train/zero_advantages_ratio", note=f"share of tokens without advantage, not of groups; {_SMALL}"),
    Key("train/loss", "loss", note=_SMALL),
    Key("train/grad_norm", "grad_norm"),
    Key("train/learning_rate", "lr"),
    Key(r"(?P<set>eval)/(?P<metric>rewards|reward_metrics/\w+)", "eval"),
    Key(r"eval/(?:response_lengths|non_stop_rate)", note="lengths at evaluation"),
    Key(r"episodes/.+|eval/episodes", note="table of texts"),
)

_ITERATION = re.compile(r"\bIteration (?P<step>\d+)/\d+")
_ROW = re.compile(r"KEY METRICS: (?P<dict>\{.*\})\s*$")


class NanoAha:
    """Printed dicts; the step stands in an earlier line."""

    NAME: ClassVar[str] = "nano_aha"
    TITLE: ClassVar[str] = "nano-aha-moment, console"
    NEEDS: ClassVar[str] = "lines 'KEY METRICS: {...}'"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS

    def sniff(self, head: Head) -> float:
        """Return how sure the keys of the dicts make."""
        rows = [literal(found["dict"]) for line in head.text.splitlines() if (found := _ROW.search(line))]
        signature = r"train/(?:rewards|reward_metrics/\w+|kl_penalty)"
        return sureness({key for row in rows if row for key in row}, KEYS, signature)

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a line of key metrics, at the iteration named before it."""
        step: float | None = None
        for place, line in lines(path, tell, warn):
            if found := _ITERATION.search(line):
                step = float(found["step"])
            if "KEY METRICS:" not in line:
                continue
            found = _ROW.search(line)
            row = literal(found["dict"]) if found else None
            if row is None:
                warn(f"{path.name}, line {place}: the key metrics are cut or damaged; they are left out.")
            else:
                yield Record(step, values(row), place)


DIALECT = NanoAha()
