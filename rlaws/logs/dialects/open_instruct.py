"""open-instruct: rows of its Weights & Biases history (JSON lines), and the panels that it prints to the console.

``val/`` are diagnostics of training, not a validation. With rewards of an environment ``objective/verifiable_reward``
is a flat 0.0; ``scores`` is the reward then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell, Value
from rlaws.logs.dialects.rows import JsonRows, Warn, head_json, values
from rlaws.logs.readers import head as head_of
from rlaws.logs.readers import lines, number

_VAL = "a diagnostic of training: val/ is no validation here"

KEYS = (
    Key("training_step", "step"),
    Key("episode", "samples_cum", note="answers since the start of training"),
    Key("epoch", "epoch"),
    Key("lr", "lr"),
    Key("scores", "reward_task", note="mean reward of all verifiers and environments"),
    Key("objective/scores_mean", "reward_task"),
    Key(
        "objective/verifiable_reward",
        "reward_task",
        note="a flat 0.0 where an environment gives the reward: use scores",
    ),
    Key("objective/verifiable_correct_rate", "correct"),
    Key("objective/format_scores|objective/format_reward", "reward_format"),
    Key(
        r"objective/kl2_avg",
        "kl_ref",
        note="to the reference model, mean over tokens; k3, or k2 in versions with kl4_avg",
    ),
    Key(r"objective/kl[0134]_avg|objective/kl_avg", note="to the reference model, by another estimator"),
    Key("objective/kl", "kl_ref_seq", note="to the reference model, a SUM over the tokens of an answer"),
    Key("objective/entropy", "entropy_seq", note="a SUM over the tokens of an answer"),
    Key("objective/rlhf_reward", "reward_train", note="after the KL penalty"),
    Key("objective/non_score_reward", note="minus the KL coefficient times the KL divergence"),
    Key(r"objective/\w*(?:reward|correct_rate|scores?)\w*", note="one verifier, or another statistic of the reward"),
    Key("loss/policy_avg", "loss_policy"),
    Key("loss/total_avg", "loss"),
    Key("loss/value_avg", "loss_critic"),
    Key("loss/kl_avg", "kl_penalty", note="the KL term of the loss, its coefficient included"),
    Key("policy/entropy_avg", "entropy_token"),
    Key("policy/clipfrac_avg", "clip_total"),
    Key("policy/approxkl_avg", "kl_old_new"),
    Key("val/sequence_lengths", "len_mean", note=f"mean length of an answer; {_VAL}"),
    Key("val/sequence_lengths_(?:solved|unsolved|solved_hist|unsolved_hist|min|max|std)", note=_VAL),
    Key("val/stop_rate", note=f"share of answers that ended by themselves, 1 minus the cut ones; {_VAL}"),
    Key("val/advantages_mean", "advantage_mean", note=_VAL),
    Key("val/num_total_tokens", "tokens_cum", note="since the start of training: cumulative"),
    Key("val/num_step_tokens", "tokens_step"),
    Key(
        r"val/(?:ratio|ratio_var|rho_\w+|tis_\w+|advantages_\w+|actor_tokens_per_second|learner_\w+|total_reward_groups|"
        r"all_zero_reward\w*|all_one_\w+|clipfrac_avg|num_\w+|good_outputs_rate|tool_\w+)",
        note=_VAL,
    ),
    Key("debug/vllm_local_reverse_kl", "kl_sampler_trainer", note="sampler (vLLM) against trainer, mean over tokens"),
    Key(r"debug/vllm_\w+", note="difference of log-probabilities, sampler against trainer: no KL divergence"),
    Key(r"(?P<set>eval)/(?P<metric>scores)", "eval"),
    Key(r"(?P<set>eval)/pass_at_(?P<k>\d+)_unbiased", "eval", note="the unbiased estimate", labels={"metric": "pass"}),
    Key(r"(?P<set>eval)/pass_at_(?P<k>\d+)", "eval", note="right at least once in k", labels={"metric": "any"}),
    Key(r"(?P<set>eval)/(?P<metric>objective/verifiable_correct_rate|verifiable_correct_rate)", "eval"),
    Key(
        r"eval/(?:stop_rate|sequence_lengths\w*|objective/\w+|sample_completions)",
        note="another statistic of the evaluation",
    ),
    Key("time/total", "seconds_step"),
    Key(
        r"(?:time|other|batch|real_batch_size_ratio|unsolved_batch_size_ratio|packed_ratio|optim|reward)(?:/.+)?",
        note="machine and batch",
    ),
    Key("learner_tokens_per_second.*|total_tokens|non_padding_tokens", note="machine and batch"),
    Key("_timestamp", "wall_s", note="seconds since 1970"),
    Key("_step|_runtime", note="counters of Weights & Biases; _step is not the step of training"),
)

_ROW = re.compile(r"^\W*[│|]\s?(?P<group>\w*)\s+(?P<cells>\S.*?)\s*[│|]\s*$")
_EDGE = re.compile(r"[╭╰]─")
_CELL = re.compile(r"(?P<name>[\w/@.-]+): (?P<value>[^\s|]+)")


class OpenInstruct(JsonRows):
    """Rows of the W&B history with ``training_step``, or printed panels ``group  name: value | name: value``."""

    NAME: ClassVar[str] = "open_instruct"
    TITLE: ClassVar[str] = "open-instruct, W&B history or console panels"
    NEEDS: ClassVar[str] = "rows with training_step and keys such as objective/verifiable_correct_rate"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS
    SIGNATURE: ClassVar[str] = (
        r"training_step|objective/verifiable_\w+|objective/kl\d_avg|val/(?:num_step_tokens|num_total_tokens|"
        r"sequence_lengths|stop_rate|total_reward_groups)|debug/vllm_\w+"
    )
    STEPS: ClassVar[tuple[str, ...]] = ("training_step",)

    def sniff(self, head: Head) -> float:
        """Return how sure the keys make."""
        if head_json(head):
            return super().sniff(head)
        keys = {key for panel in _panels(enumerate(head.text.splitlines(), start=1)) for key in panel[1]}
        return self.sure(keys) if "training_step" in keys else 0.0

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a row or panel; a reward that stays at exactly 0 beside moving scores is told to ``warn``."""
        rewards: set[float | None] = set()
        scored = False
        for record in self._rows(path, tell, warn):
            if "objective/verifiable_reward" in record.values and len(rewards) < 2:
                rewards.add(number(record.values["objective/verifiable_reward"]))
            scored = scored or bool(number(record.values.get("scores")))
            yield record
        if rewards == {0.0} and scored:
            warn(f"{path.name}: objective/verifiable_reward is 0 throughout; an environment's reward is in scores.")

    def _rows(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        if head_json(head_of(path)):
            yield from super().records(path, tell, warn)
            return
        warn(f"{path.name} is a console log: its panels are rounded to two decimals or three digits.")
        for place, panel in _panels(lines(path, tell, warn)):
            yield Record(number(panel.get("training_step")), panel, place)


def _panels(source: Iterator[tuple[int, str]]) -> Iterator[tuple[int, dict[str, Value]]]:
    """Yield line and values of every printed panel; a group that the panel wraps goes on under a blank name."""
    place, group, held = 0, "", dict[str, str]()
    for at, line in source:
        found = _ROW.match(line)
        if found:
            group = found["group"] or group
            held[group] = f"{held.get(group, '')} {found['cells']}"
            place = place or at
        elif held and _EDGE.search(line):
            yield place, _cells(held)
            place, group, held = 0, "", {}
    if held:
        yield place, _cells(held)


def _cells(groups: Mapping[str, str]) -> dict[str, Value]:
    """Return the values of a panel under their whole keys; group "other" holds the keys without a slash."""
    cells = {
        (cell["name"] if group == "other" else f"{group}/{cell['name']}"): cell["value"]
        for group, text in groups.items()
        for cell in _CELL.finditer(text)
    }
    return values(cells)


DIALECT = OpenInstruct()
