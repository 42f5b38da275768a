"""AReaL: console tables ``│ key │ value │`` after ``Train step n/N``, and history rows of its trackers as JSON lines.

``rollout/reward`` covers all rollouts; ``ppo_actor/task_reward`` only those that training used, a selected subset. The
two are never mixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell, Value
from rlaws.logs.dialects.rows import JsonRows, Warn, head_json, values
from rlaws.logs.readers import Cut, lines
from rlaws.logs.readers import head as head_of

_A = "(?:ppo_actor|ppo/actor|grpo_actor|actor)/"
_U = f"{_A}(?:update/)?"

KEYS = (
    Key("step|global_step", "step"),
    Key("_timestamp", "wall_s", note="seconds since 1970"),
    Key("_step|_runtime", note="counters of the tracker"),
    Key(r".+__count", note="how many values went into a mean"),
    Key("rollout/reward", "reward_task", note="all rollouts"),
    Key("(?P<set>eval-rollout|eval_rollout)/reward", "eval", labels={"metric": "reward"}),
    Key(
        rf"{_A}task_reward(?:/(?:avg|min|max))?",
        note="only the rollouts used for training: not comparable with rollout/reward",
    ),
    Key(
        rf"{_A}(?:final_reward|kl_rewards|\w*overlong\w*|raw_task_reward)(?:/\w+)?",
        note="only the rollouts used for training",
    ),
    Key(rf"{_A}seq_len/avg", "len_total", note="prompt and answer, of the rollouts used for training"),
    Key(rf"{_A}(?:response_len|gen_len)/avg", "len_mean"),
    Key(rf"{_A}no_eos_ratios/avg", "trunc_frac", note="answers without an end token"),
    Key(rf"{_A}advantages/avg", "advantage_mean"),
    Key(rf"{_U}entropy/avg", "entropy_token"),
    Key(rf"{_U}approx_kl/avg", "kl_old_new"),
    Key(rf"{_U}behave_approx_kl/avg", note="to the policy that sampled, which may be several updates old"),
    Key(rf"{_U}clip_ratio/avg", "clip_total"),
    Key(rf"{_U}dual_clip_ratio/avg", "clip_dual"),
    Key(rf"{_U}(?:actor_loss|loss)/avg", "loss_policy"),
    Key(rf"{_U}grad_norm(?:/avg)?", "grad_norm"),
    Key(rf"{_U}lr(?:/avg)?", "lr"),
    Key(rf"{_U}(?:version_stats/)?sample_staleness_(?:theta_)?avg", "staleness"),
    Key(rf"{_A}.+", note="another statistic of the rollouts used for training or of the update"),
    Key("timeperf/(?:step/total|total|e2e)", "seconds_step"),
    Key(r"timeperf/.+|time_perf/.+|perf_stats/.+", note="seconds of one part of the step"),
    Key(r"(?:rollout|eval-rollout)/.+", note="another statistic of the rollouts"),
)

_HEAD = re.compile(r"\bStep \d+/\d+ Train step (?P<step>\d+)")
_BAR = re.compile(r"[│|]")


class Areal(JsonRows):
    """Tables of two columns, repeated side by side; or rows of a tracker's history."""

    NAME: ClassVar[str] = "areal"
    TITLE: ClassVar[str] = "AReaL, console tables or history rows"
    NEEDS: ClassVar[str] = "keys such as ppo_actor/update/loss/avg, in tables or rows"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS
    SIGNATURE: ClassVar[str] = r"(?:ppo_actor|ppo/actor|grpo_actor)/.+|timeperf/.+|eval-rollout/reward"
    STEPS: ClassVar[tuple[str, ...]] = ("step", "global_step", "_step")

    def sniff(self, head: Head) -> float:
        """Return how sure the keys make."""
        if head_json(head):
            return super().sniff(head)
        return self.sure({key for _, _, cells in _tables(enumerate(head.text.splitlines(), start=1)) for key in cells})

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a table or row."""
        if head_json(head_of(path)):
            yield from super().records(path, tell, warn)
            return
        for place, step, cells in _tables(lines(path, tell, warn)):
            yield Record(step, values(cells), place)


def _tables(source: Iterator[tuple[int, str]]) -> Iterator[tuple[int, float | None, dict[str, Value]]]:
    """Yield line, step and printed cells of each table; a cut last line is left out."""
    place, step, cells = 0, None, dict[str, Value]()
    for at, line in source:
        if found := _HEAD.search(line):
            if cells:
                yield place, step, cells
            place, step, cells = at, float(found["step"]), {}
        elif step is not None and _BAR.match(line.strip()) and not isinstance(line, Cut):
            texts = [text.strip() for text in _BAR.split(line.strip())[1:-1]]
            cells.update({key: text for key, text in zip(texts[::2], texts[1::2], strict=False) if key and text})
    if cells:
        yield place, step, cells


DIALECT = Areal()
