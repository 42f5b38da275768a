"""The keys of verl and its forks (TinyZero, Reasoning360 and others), new names first."""

from __future__ import annotations

from rlaws.logs.dialects.base import Key

_VAL = r"(?:val-core|val-aux|val)/(?P<set>.+)"
_AT = r"(?:@|_at_)"  # MLflow writes _at_
_BOOTSTRAP = "a bootstrap with replacement, which lies below the unbiased pass@k"

_EVAL = (
    Key(rf"{_VAL}/acc/mean{_AT}(?P<n>\d+)", "eval", labels={"metric": "mean"}),
    Key(rf"{_VAL}/acc/(?P<metric>best|worst|maj){_AT}(?P<k>\d+)/mean", "eval", note=f"best and worst are {_BOOTSTRAP}"),
    Key(rf"{_VAL}/(?P<metric>[^/]+/mean){_AT}(?P<n>\d+)", "eval"),
    Key(rf"{_VAL}/(?P<metric>[^/]+/(?:best|worst|maj)){_AT}(?P<k>\d+)/mean", "eval", note=_BOOTSTRAP),
    Key(rf"{_VAL}/(?:std{_AT}\d+|(?:best|worst|maj){_AT}\d+/std)", note="spread of a validation score"),
    Key(r"val/test_score/(?P<set>.+?)(?:/unknown)?", "eval", labels={"metric": "score"}, note="mean score"),
    Key(r"val-aux/(?:num_turns|response_length|prompt_length|reward)/\w+", note="validation diagnostics"),
)
_REWARD = (
    Key("critic/score/mean", "reward_task"),
    Key("critic/rewards/mean", "reward_train", note="equals the score where the KL penalty is not in the reward"),
    Key("critic/advantages/mean", "advantage_mean"),
    Key(r"critic/(?:score|rewards|advantages)/(?:max|min)", note="extremum over the batch"),
    Key(r"critic/(?:returns|values)/(?:mean|max|min)", note="returns and values of the critic"),
)
_CRITIC = (
    Key("critic/vf_explained_var", "explained_var"),
    Key("critic/vf_loss", "loss_critic"),
    Key(r"critic/(?:vf_clipfrac|vpred_mean|grad_norm|lr.*)", note="the critic's own optimisation"),
)
_KL = (
    Key("actor/kl_loss", "kl_ref"),
    Key("actor/reward_kl_penalty", "kl_ref", note="before its coefficient"),
    Key("critic/kl", "kl_ref", note="old name; before its coefficient"),
    Key(r"actor/(?:kl_coef|reward_kl_penalty_coeff)", "kl_coef"),
    Key("critic/kl_coeff", "kl_coef"),
    Key("actor/ppo_kl", "kl_old_new"),
    Key(r"(?:rollout_corr|mismatch|mismatch_kl)/(?:mismatch_|rollout_)?kl", "kl_sampler_trainer"),
    Key(r"(?:rollout_corr|mismatch|rollout_is)/.*", note="correction for sampler and trainer that differ"),
    Key(
        r"training/rollout_(?:probs|actor_probs)_diff_.*|training/rollout_actor_probs_pearson_corr",
        note="difference of probabilities between sampler and trainer; no KL divergence",
    ),
)
_ACTOR = (
    Key(r"actor/entropy(?:_loss)?", "entropy_token"),
    Key("actor/pg_loss", "loss_policy"),
    Key("actor/pg_clipfrac", "clip_total"),
    Key("actor/pg_clipfrac_lower", "clip_dual", note="second bound for negative advantages, not the lower bound"),
    Key("actor/grad_norm", "grad_norm"),
    Key(r"actor/lr\(1e-4\)", "lr", 1e-4, note="logged in units of 1e-4"),
    Key("actor/lr", "lr"),
    Key(r"actor/lr \(3 decimals\)", note="printed with three decimals: 0.000 for any rate below 0.0005; not used"),
    Key(r"actor/loss", "loss"),
)
_LENGTH = (
    Key("response_length/mean", "len_mean"),
    Key("response_length/clip_ratio", "trunc_frac"),
    Key(r"response_length/(?:max|min)", note="extremum over the batch"),
    Key(r"response_length_non_aborted/.*|response/aborted_ratio", note="aborted answers aside"),
    Key("prompt_length/mean", "len_prompt"),
    Key(r"prompt_length/(?:max|min|clip_ratio)", note="prompts"),
    Key(r"(?:num_turns|tool_call_counts)/.*", note="turns and tool calls of an answer"),
)
_COST = (
    Key("perf/total_num_tokens", "tokens_step"),
    Key(r"timing_s/step|timing/step", "seconds_step"),
    Key("perf/time_per_step", "seconds_step"),
    Key(r"timing(?:_s|_per_token_ms)?/.*", note="time of a part of the step"),
    Key(r"perf/.*", note="throughput, utilisation and memory"),
    Key(r"global_seqlen/.*", note="tokens of a data-parallel rank; times the ranks it is the step's tokens"),
    Key("training/global_step", note="the step again"),
    Key("training/epoch", "epoch"),
    Key(r"variance_proxy/.*", note="signal and noise of the gradient (proxy1 signal, proxy2 total, proxy3 noise)"),
    Key(r"train/num_gen_batches", note="batches that were sampled to fill one after filtering"),
)
KEYS = (*_EVAL, *_REWARD, *_CRITIC, *_KL, *_ACTOR, *_LENGTH, *_COST)
