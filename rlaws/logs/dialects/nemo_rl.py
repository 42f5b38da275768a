"""NeMo-RL: keys that its trackers carry as ``train/``, ``validation/``, ``timing/`` and ``performance/``.

It writes no log of its own that is richer; rows of its tracker's history, saved as JSON lines, are read.
"""

from __future__ import annotations

from typing import ClassVar

from rlaws.logs.dialects.base import Key
from rlaws.logs.dialects.rows import JsonRows

_T = "train/"

KEYS = (
    Key("step|train/step", "step"),
    Key("_timestamp", "wall_s", note="seconds since 1970"),
    Key("_step|_runtime", note="counters of the tracker"),
    Key(f"{_T}reward", "reward_task"),
    Key(f"{_T}accuracy", "correct"),
    Key(f"{_T}pass_k", note="pass@k of the training rollouts, k as the environment was set"),
    Key(f"{_T}grad_norm", "grad_norm"),
    Key(f"{_T}lr", "lr"),
    Key(f"{_T}loss", "loss"),
    Key(f"{_T}global_valid_toks", "tokens_gen_step", note="tokens in the loss, which are those of the answers"),
    Key(f"{_T}global_valid_seqs|{_T}num_valid_samples", "samples_step"),
    Key(f"{_T}mean_gen_tokens_per_sample", "len_mean"),
    Key(f"{_T}mean_prompt_length", note="mean length of a prompt"),
    Key(f"{_T}total_num_tokens", "tokens_step"),
    Key(f"{_T}truncation_rate", "trunc_frac"),
    Key(f"{_T}gen_kl_error", "kl_sampler_trainer", note="sampler against trainer, mean over tokens"),
    Key(f"{_T}policy_kl_error", note="sampler against trainer, the other direction of gen_kl_error"),
    Key(f"{_T}js_divergence_error", note="sampler against trainer, Jensen-Shannon: no KL divergence"),
    Key(f"{_T}token_mult_prob_error", note="mean factor between probabilities of sampler and trainer, 1 is none"),
    Key(f"{_T}kl_penalty", "kl_ref", note="to the reference model, divided by its coefficient"),
    Key(f"{_T}approx_entropy", "entropy_token", note="estimated from the sampled tokens"),
    Key(
        f"{_T}baseline_reward/pct_0",
        "frac_groups_all0",
        factor=0.01,
        note="percent of answers whose group baseline is 0",
    ),
    Key(
        f"{_T}baseline_reward/pct_1",
        "frac_groups_all1",
        factor=0.01,
        note="percent of answers whose group baseline is 1",
    ),
    Key(f"{_T}baseline_reward/pct_mixed", note="percent of answers whose group gives a gradient"),
    Key(f"{_T}advantages/mean", "advantage_mean"),
    Key(rf"{_T}advantages/\w+", note="another statistic of the advantages"),
    Key(rf"{_T}probs_ratio(?:_clamped)?(?:_min|_max)?|{_T}sampling_importance_ratio", note="importance ratios"),
    Key(r"(?P<set>validation)/accuracy", "eval", labels={"metric": "mean"}),
    Key(r"(?P<set>validation)/pass[@_](?P<k>\d+)", "eval", labels={"metric": "pass"}),
    Key(r"(?P<set>validation)/(?P<metric>reward)", "eval"),
    Key(r"validation/(?:avg_length|pass_k|num_samples|mean_gen_tokens_per_sample|\w*loss|\w*toks)", note="validation"),
    Key(r"timing/train/total_step_time", "seconds_step"),
    Key(r"timing/.+", note="seconds of one part of the step"),
    Key(r"performance/.+|ray/.+", note="speed and memory"),
)


class NemoRl(JsonRows):
    """Rows of a tracker's history."""

    NAME: ClassVar[str] = "nemo_rl"
    TITLE: ClassVar[str] = "NeMo-RL, history rows"
    NEEDS: ClassVar[str] = "rows with keys such as train/token_mult_prob_error or train/global_valid_toks"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS
    SIGNATURE: ClassVar[str] = r"train/(?:token_mult_prob_error|gen_kl_error|global_valid_toks|baseline_reward/pct_\w+)"
    STEPS: ClassVar[tuple[str, ...]] = ("step", "train/step", "_step")


DIALECT = NemoRl()
