"""tinker-cookbook: ``metrics.jsonl`` beside ``config.json``; rows may lack ``step``, as a final evaluation does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.rows import JsonRows, Warn
from rlaws.logs.readers import head as head_of

_ROWS = "metrics.jsonl"
_E = "env/all/"
_TEST = r"test/env/(?P<set>.+)/"

KEYS = (
    Key("step|_step", "step"),
    Key("progress/batch", "step", note="number of the batch; the step where a row names none"),
    Key("progress/done_frac", note="share of the run that is done"),
    Key("progress/epoch|epoch", "epoch"),
    Key(f"{_E}reward/total", "reward_task", note="mean total reward of an episode"),
    Key(f"{_E}correct", "correct"),
    Key(f"{_E}(?:format_ok|format_valid|format)", "reward_format", note="share of answers in the right format"),
    Key(f"{_E}ac_tokens_per_turn", "len_mean", note="tokens of a TURN; an episode of several turns has more"),
    Key(f"{_E}ob_tokens_per_turn", note="tokens of an observation, mean over turns"),
    Key(f"{_E}turns_per_episode", note="turns of an episode"),
    Key(f"{_E}total_episodes", "samples_step", note="episodes of the batch"),
    Key(f"{_E}total_ac_tokens", "tokens_gen_step"),
    Key(f"{_E}total_ob_tokens", "tokens_prompt_step"),
    Key(f"{_E}total_turns", note="turns of the batch"),
    Key(f"{_E}by_group/frac_all_good", "frac_groups_all1"),
    Key(f"{_E}by_group/frac_all_bad", "frac_groups_all0"),
    Key(f"{_E}by_group/frac_mixed", note="share of groups that give a gradient"),
    Key(rf"{_TEST}correct", "eval", labels={"metric": "mean"}),
    Key(rf"{_TEST}(?P<metric>reward/total|format_ok|format_valid)", "eval"),
    Key(r"test/env/.+", note="another statistic of the evaluation"),
    Key(r"(?:test|eval)/(?P<set>[^/]+)/(?P<metric>correct|score|accuracy|reward)", "eval"),
    Key(r"env/.+", note="one kind of environment, or another statistic of the episodes"),
    Key("optim/lr", "lr"),
    Key("optim/entropy", "entropy_token", note="estimated from the sampled tokens"),
    Key(
        "optim/kl_sample_train_v1",
        "kl_sampler_trainer",
        note="mean log-ratio, sampler over trainer: noisy, may be negative",
    ),
    Key(
        "optim/kl_sample_train_v2",
        note="half the mean squared log-ratio of sampler and trainer: another estimate of v1",
    ),
    Key("kl_policy_base", "kl_ref", note="to the base model, mean over tokens"),
    Key("teacher_kl", note="to a teacher that is distilled, not to the reference model"),
    Key("(?:optim/)?grad_norm", "grad_norm"),
    Key("sampling_client/step_(?:mean|min|max)", note="step of the weights that sampled, not their age"),
    Key(r"optim/.+|kl_\w+|async/.+", note="optimiser and queues"),
    Key("time/total", "seconds_step"),
    Key(r"time/.+", note="seconds of one part of the step"),
    Key(r".+:(?:total|count)", note="sum or count behind a mean"),
)


class Tinker(JsonRows):
    """Rows of flat keys; the step is ``step``, else ``progress/batch``."""

    NAME: ClassVar[str] = "tinker"
    TITLE: ClassVar[str] = "tinker-cookbook, metrics.jsonl"
    NEEDS: ClassVar[str] = "rows with keys such as env/all/reward/total or progress/done_frac"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS
    SIGNATURE: ClassVar[str] = r"env/all/.+|test/env/.+|progress/done_frac|optim/kl_sample_train_v\d|kl_policy_base"
    STEPS: ClassVar[tuple[str, ...]] = ("step", "progress/batch")

    def sniff(self, head: Head) -> float:
        """Return how sure the keys make; a folder is mine where it holds such rows beside their config.json."""
        if not head.members:
            return super().sniff(head)
        return super().sniff(head_of(head.path / _ROWS)) if {_ROWS, "config.json"} <= set(head.members) else 0.0

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a row, of the folder's rows where a folder is given."""
        yield from super().records(path / _ROWS if path.is_dir() else path, tell, warn)


DIALECT = Tinker()
