"""What the keys of TRL's trainers mean, the same in every file that carries them.

The loggers of the Trainer put ``train/`` before the keys of training and turn ``eval_`` into ``eval/`` (TensorBoard,
Weights & Biases); ``trainer_state.json``, the console and MLflow have the plain keys. Both are understood.
"""

from __future__ import annotations

from rlaws.logs.dialects.base import Key

_T = "(?:train/)?"
_E = r"eval[_/](?:(?P<set>[A-Za-z0-9][\w.-]*?)_)?"
_COPIED = (
    r"loss|grad_norm|reward_std|frac_reward_zero_std|kl|entropy|entropy_coef|policy_loss|aux_loss|num_tokens|step_time|"
    r"completion_length|completions/\w+|clip_ratio|clip_ratio/\w+|cispo_clip_ratio|vespo/\w+|sampling/.+|tools/\w+|"
    r"rewards/[^/]+/std|objective/\w+|policy/\w+|token_acc|mean_token_accuracy"
)

TRAINER = (
    Key(f"{_T}epoch", "epoch"),
    Key("eval/epoch", note="epoch at which the evaluation ran"),
    Key(f"(?:{_T}global_step|step)", "step"),
    Key(f"{_T}loss", "loss", note="starts at 0 by construction while on-policy: it shows no progress"),
    Key(f"{_T}grad_norm", "grad_norm"),
    Key(f"{_T}learning_rate", "lr"),
    Key(f"{_T}total_flos", note="floating-point operations as transformers estimates them, generation not counted"),
    Key(r"(?:train/)?train_(?:runtime|loss|samples_per_second|steps_per_second|tokens_per_second)", note="summary row"),
    Key(
        r"eval[_/](?:.*_)?(?:runtime|samples_per_second|steps_per_second|model_preparation_time)",
        note="evaluation time",
    ),
    Key(r"(?:train/)?(?:memory|gpu_mem\w*|token_acc|num_input_tokens_seen)", note="memory and counters of the Trainer"),
)
"""Keys of every transformers Trainer."""

GRPO = (
    Key(f"{_T}reward", "reward_task", note="weighted sum of all reward functions, format included; no KL is taken off"),
    Key(f"{_T}reward_std", "reward_std_group", note="mean over groups of the standard deviation within the group"),
    Key(f"{_T}frac_reward_zero_std", "frac_groups_zero"),
    Key(rf"{_T}rewards/(?:accuracy_reward|accuracy|Accuracy|MathAccuracy|math_accuracy)(?:/mean)?", "correct"),
    Key(rf"{_T}rewards/\w*(?:format|Format)\w*(?:/mean)?", "reward_format"),
    Key(rf"{_T}rewards/[^/]+/std", note="standard deviation of one reward function"),
    Key(rf"{_T}rewards/[^/]+(?:/mean)?", note="mean of one reward function"),
    Key(f"{_T}kl", "kl_ref", note="to the reference model, mean over tokens; logged only where beta is not 0"),
    Key(f"{_T}entropy", "entropy_token"),
    Key(f"{_T}entropy_coef", note="weight of the entropy in the loss"),
    Key(f"{_T}policy_loss", "loss_policy"),
    Key(f"{_T}aux_loss", note="load balancing of a mixture of experts"),
    Key(f"{_T}num_tokens", "tokens_cum", note="prompts and completions since the start of training: cumulative"),
    Key(f"{_T}step_time", "seconds_step"),
    Key(f"{_T}completions/mean_length", "len_mean"),
    Key(f"{_T}completion_length", "len_mean", note="older name of completions/mean_length"),
    Key(f"{_T}completions/clipped_ratio", "trunc_frac", note="share of completions cut at the length limit"),
    Key(rf"{_T}completions/(?:min|max)_length", note="shortest and longest completion"),
    Key(rf"{_T}completions/(?:mean|min|max)_terminated_length", note="completions that ended by themselves only"),
    Key(
        f"{_T}clip_ratio(?:/region_mean)?",
        "clip_total",
        note="clip_ratio is the older name of clip_ratio/region_mean",
    ),
    Key(f"{_T}clip_ratio/low_mean", "clip_low"),
    Key(f"{_T}clip_ratio/high_mean", "clip_high"),
    Key(f"{_T}cispo_clip_ratio", "clip_high", note="CISPO clips from above only"),
    Key(rf"{_T}clip_ratio/(?:low_min|low_max|high_min|high_max|region_min|region_max)", note="extrema over devices"),
    Key(rf"{_T}vespo/\w+", note="diagnostics of VESPO"),
    Key(
        rf"{_T}sampling/sampling_logp_difference/(?:mean|max)",
        note="absolute difference of log-probabilities, sampler against trainer: no KL divergence",
    ),
    Key(rf"{_T}sampling/importance_sampling_ratio/(?:min|mean|max)", note="importance ratio, trainer over sampler"),
    Key(rf"{_T}tools/(?:call|failure)_frequency", note="calls of tools"),
    Key(rf"{_E}(?P<metric>reward)", "eval", note="evaluation copy of reward"),
    Key(rf"{_E}rewards/(?P<metric>[^/]+)(?:/mean)?", "eval", note="evaluation copy of one reward function"),
    Key(rf"eval[_/](?:[\w.-]*_)?(?:{_COPIED})", note="evaluation copy of a training key: no column"),
)
"""Keys of the GRPO and RLOO trainers."""

PPO = (
    Key(f"{_T}eps", note="episodes a second"),
    Key(f"{_T}episode", "samples_cum", note="completions seen since the start of training"),
    Key(f"{_T}objective/kl", "kl_ref_seq", note="to the reference model, a SUM over the tokens of a completion"),
    Key(f"{_T}objective/entropy", "entropy_seq", note="a SUM over the tokens of a completion"),
    Key(f"{_T}objective/non_score_reward", note="minus the KL coefficient times objective/kl"),
    Key(f"{_T}objective/rlhf_reward", "reward_train", note="objective/scores with the KL penalty taken off"),
    Key(f"{_T}objective/scores", "reward_task"),
    Key(f"{_T}objective/scores_margin", note="between the two completions of a pair"),
    Key(f"{_T}policy/approxkl_avg", "kl_old_new"),
    Key(f"{_T}policy/clipfrac_avg", "clip_total"),
    Key(f"{_T}policy/entropy_avg", "entropy_token"),
    Key(f"{_T}loss/policy_avg", "loss_policy"),
    Key(f"{_T}loss/value_avg", "loss_critic"),
    Key(f"{_T}val/clipfrac_avg", note="clipped share of the VALUE function: val/ is no validation here"),
    Key(rf"{_T}val/(?:ratio|ratio_var)", note="importance ratio of the policy: val/ is no validation here"),
    Key(f"{_T}val/num_eos_tokens", note="completions that ended by themselves: val/ is no validation here"),
    Key(f"{_T}lr", "lr"),
)
"""Keys of the PPO trainer and of the older RLOO trainer."""
