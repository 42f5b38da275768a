"""torchforge: console blocks ``=== [name] - METRICS STEP n ===`` with a line ``key: value`` each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell, Value
from rlaws.logs.dialects.rows import Warn, sureness
from rlaws.logs.readers import Cut, lines, number

KEYS = (
    Key("reward/evaluate_response/avg_total_reward", "reward_task", note="sum of all reward functions"),
    Key(r"reward/evaluate_response/avg_\w*(?:thinking|format)\w*_reward", "reward_format"),
    Key(r"reward/evaluate_response/avg_math_?reward", "correct"),
    Key(r"reward/evaluate_response/.+", note="another statistic of the reward"),
    Key("generator/generate/sum_tokens_generated", "tokens_gen_step"),
    Key("generator/generate/count_sequences_completed", "samples_step"),
    Key("generator/generate/avg_tokens_generated", "len_mean"),
    Key("buffer/sample/avg_sampled_policy_age", "staleness"),
    Key("rl_trainer/avg_loss|grpo_loss/total_loss|loss/total_loss", "loss"),
    Key("rl_trainer/(?:avg_)?grad_norm", "grad_norm"),
    Key("rl_trainer/learning_rate|rl_trainer/lr", "lr"),
    Key(r"(?:grpo_)?loss/policy_(?:gradient_)?loss(?:_mean)?", "loss_policy"),
    Key(r"(?:grpo_)?loss/kl_(?:divergence|loss)_mean", "kl_ref", note="to the reference model"),
    Key("main/rollout/std_advantage", note="standard deviation of the advantages"),
    Key("main/rollout/(?:avg|mean)_advantage", "advantage_mean"),
    Key(
        r"(?:buffer|dataset|main|main_perf|generator|generator_perf|rl_trainer|rl_trainer_perf|episode|"
        r"reference_perf|ref_model|reference_model|reward_perf|grpo_loss)/.+",
        note="another statistic: counts, timings, memory",
    ),
)

_HEAD = re.compile(r"=== \[(?P<name>[^\]]*)\] - METRICS STEP (?P<step>\d+) ===")
_CELL = re.compile(r"^\s*(?P<key>[\w.@-]+(?:/[\w.@+-]+)+): (?P<value>\S+)\s*$")
_END = re.compile(r"^={10,}\s*$")


class Torchforge:
    """Blocks of the reduced metrics; blocks of single ranks are passed over."""

    NAME: ClassVar[str] = "torchforge"
    TITLE: ClassVar[str] = "torchforge, console"
    NEEDS: ClassVar[str] = "blocks '=== [global_reduce] - METRICS STEP 1 ==='"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS

    def sniff(self, head: Head) -> float:
        """Return how sure the keys of the blocks make."""
        blocks = _blocks(enumerate(head.text.splitlines(), start=1))
        return sureness({key for _, _, _, cells in blocks for key in cells}, KEYS, r"[a-z_]+/.+")

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a block."""
        passed: set[str] = set()
        for place, step, name, cells in _blocks(lines(path, tell, warn)):
            if "global" in name.lower():
                yield Record(step, cells, place)
            elif name not in passed:
                passed.add(name)
                warn(f"{path.name}, line {place}: blocks of '{name}', one process only, are left out.")


def _blocks(source: Iterator[tuple[int, str]]) -> Iterator[tuple[int, float, str, dict[str, Value]]]:
    """Yield line, step, name and values of each block; a value in a cut last line is left out."""
    place, step, name, cells = 0, 0.0, "", dict[str, Value]()
    inside = False
    for at, line in source:
        found = _HEAD.search(line)
        if found or _END.match(line):
            if inside and cells:
                yield place, step, name, cells
            inside, cells = bool(found), {}
            if found:
                place, step, name = at, float(found["step"]), found["name"]
        elif inside and not isinstance(line, Cut) and (cell := _CELL.match(line)):
            value = number(cell["value"])
            cells[cell["key"]] = cell["value"] if value is None else value
    if inside and cells:
        yield place, step, name, cells


DIALECT = Torchforge()
