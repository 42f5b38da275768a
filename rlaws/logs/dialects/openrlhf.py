"""OpenRLHF: console lines ``✨ Global step N: {...}`` (newer: without the star), and the tags of its trackers.

TensorBoard and Weights & Biases carry the same keys as ``train/<key>`` and ``eval/<key>``.
"""

from __future__ import annotations

import re
from typing import ClassVar

from rlaws.logs.dialects.base import Key
from rlaws.logs.dialects.rows import ConsoleRows

_T = "(?:train/)?"
_EVAL = r"(?:eval/)?eval_(?P<set>.+)_"

KEYS = (
    Key(f"{_T}global_step", "step"),
    Key(f"{_T}epoch|eval/epoch", "epoch"),
    Key(f"{_T}(?:policy_loss|act_loss|actor_loss|pg)", "loss_policy"),
    Key(
        f"{_T}(?:entropy_loss|ent_loss|entropy)",
        "entropy_token",
        note="the mean entropy, logged where it has a coefficient",
    ),
    Key(f"{_T}(?:actor_lr|act_lr)", "lr"),
    Key(f"{_T}(?:actor_grad_norm|grad_norm)", "grad_norm"),
    Key(f"{_T}ppo_clip_ratio", "clip_total"),
    Key(f"{_T}ppo_kl", "kl_old_new", note="old to new policy within the update"),
    Key(f"{_T}vllm_kl", "kl_sampler_trainer", note="sampler (vLLM) against trainer, same weights"),
    Key(f"{_T}kl", "kl_ref", note="to the reference model, mean over tokens"),
    Key(f"{_T}logprobs_diff", note="mean log-ratio to the reference model; another estimate of kl"),
    Key(f"{_T}kl_loss", note="KL term of the loss, weighted"),
    Key(f"{_T}score", "reward_task", note="score of the task"),
    Key(f"{_T}(?:reward|rm)", "reward_task", note="reward before the KL penalty; equals score unless it is shaped"),
    Key(f"{_T}(?:return|ret)", "reward_train", note="sum of rewards with the KL penalty taken off"),
    Key(f"{_T}group_reward_std", "reward_std_group"),
    Key(f"{_T}(?:response_length|gen_len|glen)", "len_mean"),
    Key(f"{_T}(?:total_length|tot_len|tlen)", "len_total", note="prompt and response, mean over samples"),
    Key(f"{_T}(?:truncated|response_clip_ratio|truncated_rate)", "trunc_frac"),
    Key(f"{_T}(?:critic_loss|cri)", "loss_critic"),
    Key(f"{_T}(?:values|vals)", note="mean prediction of the critic"),
    Key(f"{_T}(?:critic_lr|cri_lr|critic_grad_norm)", note="critic"),
    Key(f"{_T}(?:ptx_loss|ptx|aux_loss|num_actions|advantages)", note="further losses and counts"),
    Key(
        f"{_T}dynamic_filtering_pass_rate",
        note="share of groups kept by dynamic filtering; in percent in newer versions",
    ),
    Key(rf"{_T}rollout/num_samples", "samples_step"),
    Key(rf"{_T}rollout/(?:dropped/\w+|num_\w+)", note="counts of rollouts dropped or made"),
    Key(rf"{_T}timing/step_total", "seconds_step"),
    Key(rf"{_T}timing/\w+", note="seconds of one part of the step"),
    Key(rf"{_EVAL}pass1", "eval", note="mean over the samples of a question", labels={"metric": "mean"}),
    Key(rf"{_EVAL}pass(?P<k>\d+)", "eval", note="right at least once in k", labels={"metric": "any"}),
    Key(rf"{_EVAL}(?P<metric>reward|score|acc|accuracy)", "eval"),
    Key(r"(?:eval/)?eval_.+_(?:response_length_(?:mean|max|min|std)|truncated_rate)", note="lengths at evaluation"),
    Key(r"(?:eval/)?eval_(?:num_samples|time|global_step)|eval/global_step", note="size and place of the evaluation"),
)


class OpenRlhf(ConsoleRows):
    """Printed dicts after "Global step N:"."""

    NAME: ClassVar[str] = "openrlhf"
    TITLE: ClassVar[str] = "OpenRLHF, console"
    NEEDS: ClassVar[str] = "lines 'Global step 12: {...}'"
    KEYS: ClassVar[tuple[Key, ...]] = KEYS
    ROW: ClassVar[re.Pattern[str]] = re.compile(r"Global step (?P<step>\d+): (?P<dict>\{.*\})\s*$")
    SIGNATURE: ClassVar[str] = "policy_loss|act_loss|critic_loss|actor_lr|response_length"


DIALECT = OpenRlhf()
