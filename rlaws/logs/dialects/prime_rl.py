"""prime-rl: ``metrics.jsonl``, to which trainer and orchestrator write different rows of one run.

Older versions wrote a file a process; a folder with such files is one run. Reward keys have three generations:
``reward/mean``, ``train/agg/effective/reward/mean`` and ``train/<env or agg>/<all or effective>/<agent>/reward/mean``.
"effective" are the rollouts left after filtering, which training used; "all" every rollout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.rows import JsonRows, Warn, head_json
from rlaws.logs.readers import head as head_of

_ALL = r"train/agg/all/(?:[^/]+/)?"
_USED = r"train/agg/effective/(?:[^/]+/)?"
_AGG = r"train/agg/(?:all|effective)/(?:[^/]+/)?"
_STAT = r"(?:mean|max|min|std|median|p\d+|sum|count)"
_EVALS = tuple(rf"eval/(?P<set>[^/]+)/{kept}(?:[^/]+/)?" for kept in ("all/", "effective/", ""))
_SCORES = tuple(
    key
    for eval_ in _EVALS
    for key in (
        Key(rf"{eval_}avg@(?P<n>\d+)", "eval", labels={"metric": "mean"}),
        Key(rf"{eval_}pass@(?P<k>\d+)", "eval", note="the unbiased estimate", labels={"metric": "pass"}),
        Key(rf"{eval_}reward/mean", "eval", labels={"metric": "reward"}),
    )
)

KEYS = (
    Key("step|_step", "step"),
    Key("time|_timestamp", "wall_s", note="seconds since 1970"),
    Key(f"{_ALL}reward/mean", "reward_task", note="all rollouts, before filtering"),
    Key(f"{_USED}reward/mean", "reward_task", note="only the rollouts left after filtering: not comparable with all"),
    Key("reward/mean", "reward_task", note="oldest name of train/agg/.../reward/mean"),
    Key(f"{_ALL}solved_none", "frac_groups_all0"),
    Key(f"{_ALL}solved_all", "frac_groups_all1"),
    Key("solve_none|batch/solve_none", "frac_groups_all0"),
    Key("solve_all|batch/solve_all", "frac_groups_all1"),
    Key(f"{_AGG}solved_(?:none|all|some)", note="share of groups solved never, always, sometimes"),
    Key("(?:batch/)?(?:solve_some|effective_batch_size)", note="share of groups that give a gradient"),
    Key(f"{_ALL}is_truncated/mean", "trunc_frac"),
    Key(f"{_USED}is_truncated/mean", "trunc_frac", note="only the rollouts left after filtering"),
    Key("is_truncated/mean", "trunc_frac"),
    Key(f"{_ALL}(?:num_output_tokens|completion_len)/mean", "len_mean"),
    Key(f"{_USED}(?:num_output_tokens|completion_len)/mean", "len_mean", note="only the rollouts left after filtering"),
    Key("completion_len/mean", "len_mean"),
    Key(f"{_ALL}(?:num_total_tokens|seq_len)/mean", "len_total"),
    Key(f"{_USED}(?:num_total_tokens|seq_len)/mean", "len_total", note="only the rollouts left after filtering"),
    Key("seq_len/mean", "len_total"),
    Key(r"train/[^/]+/(?:all|effective)/.+", note="one environment, one reward function, or another statistic"),
    Key(
        rf"(?:reward|seq_len|prompt_len|completion_len|is_truncated|error)/{_STAT}",
        note="another statistic of the rollouts",
    ),
    *_SCORES,
    Key(r"(?P<set>val)_reward/mean", "eval", labels={"metric": "reward"}),
    Key(
        rf"eval/.+/(?:{_STAT}|failed_rollouts|no_response)|val_reward/{_STAT}",
        note="another statistic of the evaluation",
    ),
    Key("loss/mean", "loss"),
    Key("entropy/(?:all/)?mean", "entropy_token"),
    Key("mismatch_kl/(?:all/)?mean", "kl_sampler_trainer", note="sampler against trainer"),
    Key(
        rf"(?:loss|entropy|mismatch_kl|kl_ent_ratio|masked_\w+|is_masked\w*|unmasked_\w+)/(?:[^/]+/)?{_STAT}",
        note="another statistic over tokens",
    ),
    Key("optim/lr", "lr"),
    Key("optim/grad_norm", "grad_norm"),
    Key(r"optim/(?:zero_grad_ratio|\w*grad_norm\w*|momentum|weight_decay)", note="optimiser"),
    Key("progress/tokens", "tokens_step"),
    Key("progress/total_tokens", "tokens_cum"),
    Key("progress/input_tokens", "tokens_prompt_step"),
    Key("progress/output_tokens", "tokens_gen_step"),
    Key("progress/samples", "samples_step"),
    Key("progress/total_samples", "samples_cum"),
    Key("progress/problems", "prompts_step"),
    Key("progress/epoch", "epoch"),
    Key(
        r"progress/(?:\w*ckpt_step|\w*problems|num_\w+|total_\w+|train_rollouts|effective_\w+)",
        note="another counter",
    ),
    Key("(?:async|batch)/async_level|(?:scheduler/)?async_level(?:/mean)?", "staleness"),
    Key("time/step", "seconds_step"),
    Key("time/.+", note="seconds of one part of the step"),
    Key(r"perf/(?:mfu|throughput|throughput_per_gpu|peak_memory)|system/.+", note="speed and memory"),
    Key(
        r"(?:inference|dispatcher|scheduler|batch|buffer|event_loop_lag|error_rate|pool|off_policy_level|filters?)/.+",
        note="queues",
    ),
)


class PrimeRl(JsonRows):
    """Rows of trainer, orchestrator and inference, each with a part of the keys; non-finite values were dropped."""

    NAME: ClassVar[str] = "prime_rl"
    TITLE: ClassVar[str] = "prime-rl, metrics.jsonl"
    NEEDS: ClassVar[str] = "rows of prime-rl's keys (mismatch_kl/all/mean, train/agg/..., progress/total_tokens)"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS
    SIGNATURE: ClassVar[str] = (
        r"mismatch_kl/(?:all/)?mean|train/[^/]+/(?:all|effective)/.+|progress/(?:total_)?tokens|kl_ent_ratio/mean|"
        r"val_reward/mean|(?:batch/)?solve_(?:all|none)|eval/[^/]+/.*(?:avg|pass)@\d+|entropy/(?:all/)?mean"
    )

    def sniff(self, head: Head) -> float:
        """Return how sure the keys make; a folder is mine where its files are the processes of one run.

        They are that where no two of them share a key beyond step and time; two runs would share nearly all.
        """
        if not head.members:
            return super().sniff(head)
        heads = [head_of(part) for part in _parts(head.path)]
        keys = [{key for row in head_json(part) for key in row} - {"step", "time"} for part in heads]
        apart = sum(map(len, keys)) == len(set().union(*keys))
        return min(map(super().sniff, heads)) if len(heads) > 1 and apart else 0.0

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a row, of a folder file by file."""
        for part in [path] if path.is_file() else _parts(path):
            yield from super().records(part, tell, warn)


def _parts(folder: Path) -> list[Path]:
    """Return the files of rows in a folder, at most one folder down; rollouts are stored deeper."""
    return sorted([*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl")])


DIALECT = PrimeRl()
