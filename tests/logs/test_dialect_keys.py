"""Every key that the trainers' sources list is understood, and lies in the column that it means."""

from __future__ import annotations

import re

import pytest

from rlaws.logs.canonical import FIELDS
from rlaws.logs.dialects import dialects
from rlaws.logs.meanings import lenders, reading
from tests.logs.building import words

# Key -> column; "" where a key is understood and has no column. Typed from the loggers' sources.
TRL = """
reward reward_task | reward_std reward_std_group | frac_reward_zero_std frac_groups_zero | kl kl_ref
entropy entropy_token | rewards/accuracy_reward/mean correct | rewards/accuracy_reward/std
rewards/format_reward/mean reward_format | rewards/code_reward_func/mean | rewards/code_reward_func/std
rewards/format_reward2 reward_format | rewards/length_func | entropy_coef | policy_loss loss_policy | aux_loss
num_tokens tokens_cum | step_time seconds_step | completions/mean_length len_mean | completions/min_length
completions/max_length | completions/mean_terminated_length | completions/min_terminated_length
completions/max_terminated_length | completions/clipped_ratio trunc_frac | clip_ratio/low_mean clip_low
clip_ratio/low_min | clip_ratio/high_mean clip_high | clip_ratio/high_max | clip_ratio/region_mean clip_total
cispo_clip_ratio clip_high | vespo/phi_seq_mean | sampling/sampling_logp_difference/mean
sampling/sampling_logp_difference/max | sampling/importance_sampling_ratio/min
sampling/importance_sampling_ratio/mean | sampling/importance_sampling_ratio/max | tools/call_frequency
tools/failure_frequency | loss loss | grad_norm grad_norm | learning_rate lr | epoch epoch
completion_length len_mean | clip_ratio clip_total | train_runtime | train_loss | total_flos
eval_reward eval[metric=reward] | eval_math_reward eval[set=math,metric=reward] | eval_kl | eval_loss | eval_entropy
eval_rewards/accuracy_reward/mean eval[metric=accuracy_reward] | eval_completions/mean_length | eval_runtime
eval_num_tokens | eval_reward_std | eval_rewards/accuracy_reward/std | eval_clip_ratio/low_mean
eval_samples_per_second | train/reward reward_task | train/kl kl_ref | train/num_tokens tokens_cum
eval/reward eval[metric=reward] | eval/kl | train/global_step step
"""
PPO = """
eps | objective/kl kl_ref_seq | objective/entropy entropy_seq | objective/non_score_reward | lr lr
episode samples_cum | objective/rlhf_reward reward_train | objective/scores reward_task
policy/approxkl_avg kl_old_new | policy/clipfrac_avg clip_total | policy/entropy_avg entropy_token
loss/policy_avg loss_policy | loss/value_avg loss_critic | val/clipfrac_avg | val/ratio | val/ratio_var
val/num_eos_tokens | epoch epoch | train/objective/kl kl_ref_seq
"""
SWIFT = """
global_step/max_steps step | percentage | memory(GiB) | train_speed(iter/s) | train_speed(s/it) | reward reward_task
elapsed_time | remaining_time | loss loss | rewards/Accuracy/mean correct | rewards/Format/mean reward_format
"""
OPENRLHF = """
policy_loss loss_policy | entropy_loss entropy_token | actor_lr lr | actor_grad_norm grad_norm
ppo_clip_ratio clip_total | ppo_kl kl_old_new | vllm_kl kl_sampler_trainer | kl kl_ref | logprobs_diff
reward reward_task | score reward_task | return reward_train | group_reward_std reward_std_group
response_length len_mean | total_length len_total | critic_loss loss_critic | values | critic_lr
dynamic_filtering_pass_rate | timing/make_experience | timing/ppo_train | timing/broadcast | timing/generation
timing/step_total seconds_step | act_loss loss_policy | gen_len len_mean | tot_len len_total | act_lr lr
grad_norm grad_norm | ent_loss entropy_token | train/global_step step | train/reward reward_task | train/kl kl_ref
train/ppo_kl kl_old_new | train/vllm_kl kl_sampler_trainer | eval/eval_math500_pass1 eval[set=math500,metric=mean]
eval/eval_math500_pass4 eval[set=math500,metric=any,k=4] | eval_math500_pass1 eval[set=math500,metric=mean]
eval/eval_math500_response_length_mean | rollout/num_samples samples_step | eval/eval_math500_truncated_rate
eval/eval_num_samples | eval_aime_24_pass8 eval[set=aime_24,metric=any,k=8]
"""
SKYRL = """
reward/avg_raw_reward reward_task | reward/avg_pass_at_4 pass_k[k=4] | reward/mean_positive_reward | reward/mean
reward/min | reward/max | reward/num_zero_variance_filtered | loss/avg_final_rewards reward_train
loss/avg_raw_rewards reward_train | loss/avg_raw_advantages advantage_mean | loss/avg_raw_advantages_abs
loss/avg_kl kl_ref | loss/avg_kl_max | loss/kl_loss_coef kl_coef | policy/policy_loss loss_policy
policy/policy_entropy entropy_token | policy/policy_kl kl_ref | policy/policy_lr lr | policy/clip_ratio clip_total
policy/ppo_clip_ratio clip_total | policy/final_loss loss | policy/rollout_train_logprobs_abs_diff_mean
policy/rollout_train_logprobs_abs_diff_std | critic/critic_loss loss_critic | critic/values_mean
critic/values_clipfrac | critic/critic_lr | generate/avg_num_tokens len_mean | generate/min_num_tokens
generate/max_num_tokens | generate/std_num_tokens | generate/avg_tokens_zero_rewards
generate/avg_tokens_non_zero_rewards | generate/batch_num_seq samples_step | async/staleness_mean staleness
async/staleness_max | trainer/global_step step | trainer/epoch epoch | trainer/tokens_per_second_per_gpu
timing/step seconds_step | timing/generate | eval/all/avg_score eval[set=all,metric=score]
eval/all/mean_positive_reward | eval/all/pass_at_4 eval[set=all,metric=any,k=4]
eval/gsm8k/test/avg_score eval[set=gsm8k/test,metric=score]
"""
PRIME = """
step step | time wall_s | train/agg/all/solver/reward/mean reward_task | train/agg/all/solver/reward/max
train/agg/effective/solver/reward/p10 | train/math/all/solver/reward/p90 | train/math/all/solver/reward/min
train/math/all/solver/rewards/right/mean | train/agg/all/solver/is_truncated/mean trunc_frac
train/agg/all/solver/solved_none frac_groups_all0 | train/agg/all/solver/solved_all frac_groups_all1
train/agg/all/solver/solved_some | train/agg/all/solver/num_total_tokens/mean len_total | train/agg/all/has_error/mean
eval/aime24/solver/avg@8 eval[set=aime24,metric=mean,n=8]
eval/aime24/effective/pass@4 eval[set=aime24,metric=pass,k=4] | eval/aime24/avg@16 eval[set=aime24,metric=mean,n=16]
loss/mean loss | entropy/all/mean entropy_token | mismatch_kl/all/mean kl_sampler_trainer | kl_ent_ratio/mean
optim/lr lr | optim/grad_norm grad_norm | perf/mfu | perf/throughput | perf/throughput_per_gpu | perf/peak_memory
time/step seconds_step | time/wait_for_batch | progress/tokens tokens_step | progress/total_tokens tokens_cum
progress/input_tokens tokens_prompt_step | progress/output_tokens tokens_gen_step
train/agg/effective/reward/mean reward_task | reward/mean reward_task | val_reward/mean eval[set=val,metric=reward]
"""
INSTRUCT = """
training_step step | episode samples_cum | epoch epoch | lr lr | scores reward_task
objective/verifiable_reward reward_task | objective/verifiable_correct_rate correct | objective/math_reward
objective/kl kl_ref_seq | objective/kl0_avg | objective/kl1_avg | objective/kl2_avg kl_ref | objective/kl3_avg
objective/entropy entropy_seq | objective/rlhf_reward reward_train | objective/scores_mean reward_task
loss/policy_avg loss_policy | loss/kl_avg kl_penalty | loss/total_avg loss | policy/entropy_avg entropy_token
policy/clipfrac_avg clip_total | policy/approxkl_avg kl_old_new | val/ratio | val/ratio_var | val/rho_weight
val/rho_clipfrac | val/sequence_lengths len_mean | val/sequence_lengths_solved | val/sequence_lengths_unsolved
val/stop_rate | val/advantages_mean advantage_mean | val/num_total_tokens tokens_cum | val/num_step_tokens tokens_step
val/actor_tokens_per_second | val/total_reward_groups | debug/vllm_vs_local_logprob_diff_mean
debug/vllm_vs_local_logprob_diff_max | debug/vllm_vs_local_logprob_diff_std
debug/vllm_local_reverse_kl kl_sampler_trainer | eval/scores eval[set=eval,metric=scores]
eval/pass_at_4 eval[set=eval,metric=any,k=4] | eval/pass_at_4_unbiased eval[set=eval,metric=pass,k=4] | eval/stop_rate
eval/sequence_lengths | time/training | other/anything
"""
TINKER = """
step step | env/all/reward/total reward_task | env/all/correct correct | env/all/format_ok reward_format
env/all/format_valid reward_format | env/all/ac_tokens_per_turn len_mean | env/all/ob_tokens_per_turn
env/all/turns_per_episode | env/all/total_episodes samples_step | env/all/by_group/frac_mixed | env/gsm8k/correct
env/all/by_group/frac_all_good frac_groups_all1 | env/all/by_group/frac_all_bad frac_groups_all0
test/env/all/correct eval[set=all,metric=mean] | test/env/all/reward/total eval[set=all,metric=reward/total]
test/env/harvey-labs/lab/criteria_passed | test/env/harvey-labs/lab/criteria_total | optim/lr lr
optim/entropy entropy_token | optim/kl_sample_train_v1 kl_sampler_trainer | optim/kl_sample_train_v2 | teacher_kl
kl_policy_base kl_ref | progress/batch step | progress/done_frac | sampling_client/step_min | sampling_client/step_max
sampling_client/step_mean | time/sample | time/train | time/total seconds_step
"""
NANO = """
iteration step | train/rewards reward_task | train/reward_metrics/format_reward reward_format
train/non_stop_rate trunc_frac | train/reward_metrics/equation_reward correct | train/response_lengths len_mean
train/policy_loss loss_policy | train/kl_penalty kl_ref | train/entropy | train/zero_advantages_ratio
train/loss loss | train/grad_norm grad_norm | train/learning_rate lr | eval/rewards eval[set=eval,metric=rewards]
eval/response_lengths | eval/reward_metrics/equation_reward eval[set=eval,metric=reward_metrics/equation_reward]
"""
TORCHTUNE = """
scores reward_task | num_stop_tokens | rlhf_reward reward_train | kl kl_ref_seq | kl_reward | lr lr | loss loss
policy_loss loss_policy | value_loss loss_critic | clipfrac clip_total | ratios | approx_policy_kl kl_old_new
response_lengths len_mean | tokens_per_second_per_gpu_trajectory | tokens_per_second_per_gpu_ppo
"""
TORCHFORGE = """
reward/evaluate_response/avg_total_reward reward_task | generator/generate/sum_tokens_generated tokens_gen_step
buffer/sample/avg_sampled_policy_age staleness | rl_trainer/avg_loss loss | main/rollout/std_advantage
buffer/add/count_episodes_added | dataset/sample/avg_sample_len
"""
SLIME = """
rollout/raw_reward reward_task | rollout/entropy entropy_token | rollout/log_probs | rollout/ref_log_probs
rollout/step step | train/ppo_kl kl_old_new | train/pg_clipfrac clip_total | train/kl_loss kl_ref
train/grad_norm grad_norm | train/train_rollout_logprob_abs_diff | train/lr-pg_0 lr | train/step
eval/aime eval[set=aime,metric=mean] | eval/aime-truncated_ratio | perf/step_time seconds_step
perf/actor_train_tok_per_s | perf/actor_train_tflops | zero_std/count_0 | zero_std/all_zero_ratio frac_groups_all0
zero_std/all_one_ratio frac_groups_all1 | rollout/response_len/mean len_mean | rollout/response_lengths len_mean
rollout/total_lengths len_total | train/tis
"""
NEMO = """
train/reward reward_task | train/accuracy correct | train/pass_k | train/grad_norm grad_norm | train/lr lr
train/global_valid_toks tokens_gen_step | train/mean_prompt_length | train/mean_gen_tokens_per_sample len_mean
train/probs_ratio | train/probs_ratio_min | train/probs_ratio_max | train/probs_ratio_clamped
train/kl_penalty kl_ref | train/probs_ratio_clamped_min | train/probs_ratio_clamped_max | train/token_mult_prob_error
train/policy_kl_error | train/gen_kl_error kl_sampler_trainer | train/js_divergence_error
train/approx_entropy entropy_token | train/baseline_reward/pct_0 frac_groups_all0
train/baseline_reward/pct_1 frac_groups_all1 | train/advantages/sum | train/baseline_reward/pct_mixed
train/advantages/mean advantage_mean | timing/train/generation | validation/accuracy eval[set=validation,metric=mean]
performance/tokens_per_sec_per_gpu
"""
AREAL = """
rollout/reward reward_task | eval-rollout/reward eval[set=eval-rollout,metric=reward] | ppo_actor/task_reward/avg
ppo_actor/task_reward/min | ppo_actor/task_reward/max | ppo/actor/task_reward/avg | grpo_actor/task_reward/avg
ppo_actor/seq_len/avg len_total | ppo_actor/no_eos_ratios/avg trunc_frac | ppo_actor/update/loss/avg loss_policy
ppo_actor/update/loss/min | ppo_actor/update/importance_weight/avg | ppo_actor/update/behave_imp_weight/max
ppo_actor/update/behave_imp_weight__count | timeperf/rollout
"""
LISTED = {
    "trl_state": TRL + PPO,
    "trl_stdout": TRL,
    "trl_ppo": PPO,
    "ms_swift": SWIFT,
    "openrlhf": OPENRLHF,
    "skyrl": SKYRL,
    "prime_rl": PRIME,
    "open_instruct": INSTRUCT,
    "tinker": TINKER,
    "nano_aha": NANO,
    "torchtune": TORCHTUNE,
    "torchforge": TORCHFORGE,
    "slime": SLIME,
    "nemo_rl": NEMO,
    "areal": AREAL,
}


def listed(text: str) -> dict[str, str]:
    pairs = [words(part) for line in text.strip().splitlines() for part in line.split("|")]
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs if pair}


@pytest.mark.parametrize("name", sorted(LISTED))
def test_every_listed_key_means_its_column(name: str) -> None:
    keys = dialects()[name].KEYS  # type: ignore[union-attr]
    for key, column in listed(LISTED[name]).items():
        meaning = reading(key, keys)
        assert meaning.understood, f"{name} does not understand {key}"
        assert meaning.column == column, key


@pytest.mark.parametrize("name", sorted(LISTED))
def test_every_pattern_is_sound(name: str) -> None:
    for key in dialects()[name].KEYS:  # type: ignore[union-attr]
        groups = set(re.compile(key.pattern).groupindex)
        assert groups <= {"set", "metric", "k", "n"}
        assert not key.field or key.field in FIELDS
        assert key.field or key.note, f"{key.pattern} fills no column and does not say what it is"
        assert not groups or key.field in ("eval", "pass_k")


@pytest.mark.parametrize("name", sorted(LISTED))
def test_no_dialect_understands_a_generic_tail_or_what_it_never_writes(name: str) -> None:
    keys = dialects()[name].KEYS  # type: ignore[union-attr]
    for key in ("mean", "my/own/mean", "custom/kl", "foo", "train/my_own", "val/my_own", "xreward", "rewardx"):
        assert not reading(key, keys).understood


@pytest.mark.parametrize("name", sorted(LISTED))
def test_evaluation_never_fills_a_column_of_training(name: str) -> None:
    keys = dialects()[name].KEYS  # type: ignore[union-attr]
    copies = [f"{before}{key}" for key in listed(LISTED[name]) for before in ("eval_", "eval/", "test/", "validation/")]
    filled = {reading(key, keys).field for key in copies}
    assert filled <= {"", "eval", "step", "epoch"}
    assert not {reading(key, keys).field for key in copies} & {"step", "epoch"}


@pytest.mark.parametrize("name", ["openrlhf", "trl_state", "slime", "nemo_rl", "prime_rl", "skyrl", "open_instruct"])
def test_a_tracker_borrows_from_the_trainer_that_wrote_the_keys(name: str) -> None:
    keys = [key for key in listed(LISTED[name]) if "/" in key]
    assert name in lenders(keys)
    owner = dialects()[name].KEYS  # type: ignore[union-attr]
    for other in lenders(keys):
        theirs = dialects()[other].KEYS  # type: ignore[union-attr]
        assert all(reading(key, owner).agrees(reading(key, theirs)) for key in keys)


def test_three_divergences_stay_three_columns() -> None:
    keys = dialects()["openrlhf"].KEYS  # type: ignore[union-attr]
    assert [reading(key, keys).column for key in ("kl", "ppo_kl", "vllm_kl")] == [
        "kl_ref",
        "kl_old_new",
        "kl_sampler_trainer",
    ]


def test_the_same_name_means_what_its_trainer_means() -> None:
    trl, torchtune = dialects()["trl_state"].KEYS, dialects()["torchtune"].KEYS  # type: ignore[union-attr]
    assert reading("kl", trl).column == "kl_ref"
    assert reading("kl", torchtune).column == "kl_ref_seq"
    instruct = dialects()["open_instruct"].KEYS  # type: ignore[union-attr]
    assert "no validation" in reading("val/ratio", instruct).note
    assert "VALUE function" in reading("val/clipfrac_avg", trl).note
