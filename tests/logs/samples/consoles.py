"""Console logs of trainers that print their metrics."""

from __future__ import annotations

import pprint

from tests.logs.building import STEPS, row, value, words

OPENRLHF = words(
    "policy_loss entropy_loss actor_lr actor_grad_norm ppo_clip_ratio ppo_kl vllm_kl kl logprobs_diff reward score "
    "return group_reward_std response_length total_length critic_loss values critic_lr dynamic_filtering_pass_rate "
    "timing/make_experience timing/step_total"
)
SKYRL = words(
    "reward/avg_raw_reward reward/avg_pass_at_4 reward/mean_positive_reward loss/avg_final_rewards "
    "loss/avg_raw_advantages loss/avg_raw_advantages_abs loss/avg_kl policy/policy_loss policy/policy_entropy "
    "policy/ppo_clip_ratio policy/raw_grad_norm generate/avg_num_tokens timing/step eval/all/avg_score "
    "eval/all/pass_at_1"
)
NANO = words(
    "train/kl_penalty train/rewards train/reward_metrics/format_reward train/reward_metrics/equation_reward "
    "eval/rewards eval/reward_metrics/format_reward"
)
TORCHTUNE = words(
    "scores num_stop_tokens rlhf_reward kl kl_reward loss policy_loss value_loss clipfrac ratios approx_policy_kl "
    "response_lengths lr tokens_per_second_per_gpu_trajectory tokens_per_second_per_gpu_ppo"
)
TORCHFORGE = words(
    "buffer/add/count_episodes_added buffer/sample/avg_sampled_policy_age dataset/sample/avg_sample_len "
    "generator/generate/sum_tokens_generated main/rollout/std_advantage reward/evaluate_response/avg_total_reward "
    "rl_trainer/avg_loss"
)
SLIME_ROLLOUT = words("rollout/response_lengths rollout/rewards rollout/truncated rollout/raw_reward")
SLIME_TRAIN = words(
    "train/loss train/pg_loss train/entropy_loss train/pg_clipfrac train/ppo_kl train/kl_loss "
    "train/train_rollout_logprob_abs_diff train/grad_norm train/lr-pg_0"
)
AREAL = words(
    "ppo_actor/task_reward/avg ppo_actor/seq_len/avg ppo_actor/no_eos_ratios/avg ppo_actor/update/loss/avg "
    "ppo_actor/update/importance_weight/avg ppo_actor/update/behave_imp_weight/avg ppo_actor/update/entropy/avg "
    "rollout/reward eval-rollout/reward timeperf/rollout"
)
INSTRUCT = {
    "objective": ("verifiable_reward", "verifiable_correct_rate", "kl2_avg"),
    "loss": ("policy_avg", "kl_avg"),
    "policy": ("entropy_avg", "clipfrac_avg"),
    "val": ("sequence_lengths", "stop_rate", "ratio"),
}


def openrlhf(star: str = "✨ ") -> bytes:
    text = "(PPOTrainer pid=1) INFO 07-01 10:00:00 start\n"
    for step in range(1, STEPS + 1):
        text += f"(PPOTrainer pid=1) INFO ppo_trainer.py:547] {star}Global step {step}: {row(OPENRLHF, step)}\n"
    return text.encode()


def skyrl(keys: list[str], times: int = 1) -> bytes:
    """Blocks of four-decimal texts with ANSI colours and Ray's prefix, each line so many times."""
    text = ""
    for step in range(1, STEPS + 1):
        cells: dict[str, object] = {key: f"{value(step, 7 * place):.4f}" for place, key in enumerate(keys)}
        cells |= {"trainer/global_step": step, "trainer/epoch": 0, "generate/batch_num_seq": 512 + step}
        head = f"\x1b[32m2025-10-0{step}\x1b[0m | INFO | skyrl_train.utils.tracking:log:66 - Step {step}: "
        for line in [head, *pprint.pformat(cells).split("\n")]:
            text += f"\x1b[36m(skyrl_entrypoint pid=77)\x1b[0m {line}\n" * times
        text += "(raylet) something else {'a': 1}\n"
    return text.encode()


def nano_aha() -> bytes:
    text = "Logs and Checkpoints will be saved to: runs/x\n"
    for step in range(STEPS):
        cells = row(NANO if step % 3 == 0 else NANO[:4], step)
        shown = ", ".join(f"'{key}': np.float64({cell})" for key, cell in cells.items())
        text += f"Iteration {step}/1000\nTime taken to train: 7.1 seconds\nKEY METRICS: {{{shown}}}\n"
    return text.encode()


def torchtune() -> bytes:
    text = ""
    for step in range(1, STEPS + 1):
        cells = row(TORCHTUNE, step)
        shown = "".join(f"{key}:{cell} " for key, cell in cells.items() if key != "loss")
        text += f"Step {step} | loss:tensor({cells['loss']}, device='cuda:0') {shown}\n"
    return text.encode()


def torchforge() -> bytes:
    text = "INFO starting\n"
    for step in range(1, STEPS + 1):
        text += f"[0] INFO === [global_reduce] - METRICS STEP {step} ===\n"
        text += "".join(f"  {key}: {cell}\n" for key, cell in row(TORCHFORGE, step).items())
        text += "==============================\n\n"
    return text.encode()


def slime() -> bytes:
    text = ""
    for step in range(STEPS):
        prefix = "\x1b[36m(MegatronTrainRayActor pid=5)\x1b[0m [2025-10-01 10:00:00]"
        text += f"{prefix} data.py:1 - rollout {step}: {row(SLIME_ROLLOUT, step)}\n"
        if step % 3 == 0:
            score = {"eval/aime": value(step, 50), "eval/aime-truncated_ratio": 0.25}
            text += f"{prefix} rollout.py:2 - eval {step}: {score}\n"
        text += f"{prefix} model.py:3 - step {step}: {row(SLIME_TRAIN, step)}\n"
        speed = {"perf/step_time": value(step, 60), "perf/actor_train_tflops": 91.5}
        text += f"{prefix} perf.py:4 - perf {step}: {speed}\n"
    return text.encode()


def areal() -> bytes:
    text = ""
    for step in range(1, STEPS + 1):
        cells = [f"│ {key} │ {cell:.6e} " for key, cell in row(AREAL, step).items()]
        text += f"20251001 INFO: Epoch 1/2 Step {step % 4 + 1}/4 Train step {step}/8 done. Detailed stats:\n"
        text += "╭" + "─" * 58 + "╮\n"
        text += "".join(f"{a}{b}│\n" for a, b in zip(cells[::2], cells[1::2], strict=True))
        text += "╰" + "─" * 58 + "╯\n"
    return text.encode()


def open_instruct() -> bytes:
    """Panels; the group "val" is wrapped over two lines, a value apart from its name."""
    text = ""
    for step in range(1, STEPS + 1):
        text += f"╭{'─' * 28} Metrics {'─' * 28}╮\n"
        for group, names in INSTRUCT.items():
            shown = " | ".join(f"{name}: {value(step, place):.2f}" for place, name in enumerate(names))
            if group == "val":
                first, rest = shown.split(": ", 1)
                text += f"│ {group:<10} {first + ':':<52} │\n│ {'':<10} {rest:<52} │\n"
            else:
                text += f"│ {group:<10} {shown:<52} │\n"
        other = f"training_step: {step} | episode: {512 * step} | scores: {value(step, 31):.2f}"
        text += f"│ {'other':<10} {other:<52} │\n╰{'─' * 65}╯\n"
    return text.encode()


def samples() -> dict[str, dict[str, bytes]]:
    return {
        "openrlhf": {"train.log": openrlhf()},
        "openrlhf/plain": {"train.log": openrlhf(star="")},
        "skyrl": {"train.log": skyrl(SKYRL[::2])},
        "skyrl/doubled": {"train.log": skyrl(SKYRL[1:6:2], times=2)},
        "nano_aha": {"run.log": nano_aha()},
        "torchtune": {"log_1.txt": torchtune()},
        "torchforge": {"forge.log": torchforge()},
        "slime": {"slime.log": slime()},
        "areal": {"areal.log": areal()},
        "open_instruct/console": {"console.log": open_instruct()},
    }
