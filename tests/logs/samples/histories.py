"""Logs of trainers that write rows of JSON, and rows of a tracker's history."""

from __future__ import annotations

from tests.logs.building import STEPS, json_lines, row, value, words

PRIME_TRAINER = words(
    "loss/mean entropy/all/mean mismatch_kl/all/mean kl_ent_ratio/mean optim/lr optim/grad_norm perf/mfu "
    "perf/throughput perf/peak_memory time/step"
)
PRIME_ROLLOUTS = words(
    "train/agg/all/solver/reward/mean train/agg/all/solver/reward/p90 train/agg/effective/solver/reward/mean "
    "train/math/all/solver/reward/mean train/math/all/solver/rewards/right/mean train/agg/all/solver/is_truncated/mean "
    "train/agg/all/solver/solved_none train/agg/all/solver/solved_all train/agg/all/solver/num_total_tokens/mean "
    "progress/tokens progress/total_tokens progress/input_tokens progress/output_tokens time/wait_for_batch"
)
PRIME_OLD = words("reward/mean reward/std seq_len/mean completion_len/mean is_truncated/mean solve_all solve_none")
INSTRUCT = words(
    "lr scores objective/verifiable_reward objective/verifiable_correct_rate objective/math_reward objective/kl0_avg "
    "objective/kl2_avg loss/policy_avg loss/kl_avg loss/total_avg policy/entropy_avg policy/clipfrac_avg val/ratio "
    "val/ratio_var val/sequence_lengths val/sequence_lengths_solved val/stop_rate val/advantages_mean "
    "val/num_step_tokens debug/vllm_local_reverse_kl debug/vllm_vs_local_logprob_diff_mean time/training"
)
INSTRUCT_EVAL = words("eval/scores eval/pass_at_1 eval/pass_at_4_unbiased eval/stop_rate eval/sequence_lengths")
TINKER = words(
    "env/all/reward/total env/all/correct env/all/format_ok env/all/ac_tokens_per_turn env/all/ob_tokens_per_turn "
    "env/all/turns_per_episode env/all/total_episodes env/all/by_group/frac_mixed env/all/by_group/frac_all_good "
    "env/all/by_group/frac_all_bad env/gsm8k/correct optim/lr optim/entropy optim/kl_sample_train_v1 "
    "optim/kl_sample_train_v2 kl_policy_base progress/done_frac sampling_client/step_mean time/total"
)
NEMO = words(
    "train/reward train/accuracy train/grad_norm train/lr train/global_valid_toks train/mean_prompt_length "
    "train/mean_gen_tokens_per_sample train/probs_ratio train/probs_ratio_clamped_max train/token_mult_prob_error "
    "train/gen_kl_error train/policy_kl_error train/js_divergence_error train/approx_entropy train/kl_penalty "
    "train/baseline_reward/pct_0 train/baseline_reward/pct_mixed train/advantages/mean validation/accuracy "
    "timing/train/total_step_time performance/tokens_per_sec_per_gpu"
)
AREAL = words(
    "rollout/reward eval-rollout/reward ppo_actor/task_reward/avg ppo_actor/task_reward/max ppo_actor/seq_len/avg "
    "ppo_actor/update/loss/avg ppo_actor/update/importance_weight/max timeperf/train_step rollout/reward__count"
)
STARTED = 1_760_000_000.0


def prime(keys: list[str], first: int = 0) -> list[dict[str, object]]:
    return [{"step": step, "time": STARTED + 60 * step, **row(keys, step)} for step in range(first, STEPS + first)]


def prime_rl() -> bytes:
    """Trainer and orchestrator write to one file, each in its own time."""
    pairs = zip(prime(PRIME_ROLLOUTS), prime(PRIME_TRAINER), strict=True)
    rows = [one for pair in pairs for one in pair]
    rows[6] |= {"eval/aime24/solver/avg@8": value(3, 80), "eval/aime24/solver/pass@4": value(3, 81)}
    return json_lines(rows)


def open_instruct() -> bytes:
    rows: list[dict[str, object]] = []
    for step in range(1, STEPS + 1):
        counts = {"training_step": step, "episode": 512 * step, "val/num_total_tokens": 310_000 * step, "epoch": step}
        rows.append({"_step": 2 * step, "_timestamp": STARTED + step, **counts, **row(INSTRUCT, step)})
        if step % 3 == 0:
            rows.append({"_step": 2 * step + 1, "training_step": step, **row(INSTRUCT_EVAL, step)})
    return json_lines(rows)


def tinker() -> bytes:
    rows: list[dict[str, object]] = [{"step": at, "progress/batch": at, **row(TINKER, at)} for at in range(STEPS)]
    rows[3] |= {"test/env/all/correct": value(3, 91), "test/env/all/reward/total": value(3, 92)}
    del rows[4]["step"]
    return json_lines(rows)


def samples() -> dict[str, dict[str, bytes]]:
    old = {"train/metrics.jsonl": json_lines(prime(PRIME_TRAINER)), "metrics.jsonl": json_lines(prime(PRIME_OLD))}
    nemo = [{"_step": step, **row(NEMO, step)} for step in range(1, STEPS + 1)]
    areal = [{"_step": step, **row(AREAL, step)} for step in range(1, STEPS + 1)]
    config = b'{\n  "model_name": "m",\n  "learning_rate": 4e-05\n}\n'
    return {
        "prime_rl": {"metrics.jsonl": prime_rl()},
        "prime_rl/folder": old,
        "open_instruct": {"history.jsonl": open_instruct()},
        "tinker": {"metrics.jsonl": tinker()},
        "tinker/folder": {"metrics.jsonl": tinker(), "config.json": config},
        "nemo_rl": {"history.jsonl": json_lines(nemo)},
        "areal/history": {"history.jsonl": json_lines(areal)},
    }
