"""Logs of TRL and ms-swift."""

from __future__ import annotations

import io
import json

from tests.logs.building import STEPS, row, value, words

GRPO = words(
    "loss grad_norm learning_rate num_tokens completions/mean_length completions/min_length completions/max_length "
    "completions/clipped_ratio completions/mean_terminated_length rewards/accuracy_reward/mean "
    "rewards/accuracy_reward/std rewards/format_reward/mean rewards/format_reward/std reward reward_std "
    "frac_reward_zero_std kl entropy clip_ratio/low_mean clip_ratio/high_mean clip_ratio/region_mean step_time"
)
OLD = words("loss grad_norm learning_rate completion_length rewards/format_reward2 reward reward_std kl clip_ratio")
RAGGED = ["loss", "grad_norm", "learning_rate", "entropy", "clip_ratio/low_mean"]
PPO = words(
    "objective/kl objective/entropy objective/non_score_reward objective/rlhf_reward objective/scores "
    "policy/approxkl_avg policy/clipfrac_avg loss/policy_avg loss/value_avg val/clipfrac_avg policy/entropy_avg "
    "val/ratio val/ratio_var"
)


def history() -> list[dict[str, object]]:
    """Entries with several a step, a ragged one, an evaluation and the summary."""
    entries: list[dict[str, object]] = []
    for step in range(1, STEPS + 1):
        keys = GRPO if step % 3 else RAGGED
        entries.append(row(keys, step, epoch=round(step / 10, 2), num_tokens=1000.0 * step + 13, step=step))
        if step % 3 == 0:
            copies = {"eval_reward": value(step, 70), "eval_kl": value(step, 71), "eval_runtime": 3.5}
            entries.append({**copies, "step": step})
    entries[0].pop("num_tokens")
    entries[1]["kl"] = float("nan")
    return [*entries, {"train_loss": 0.0521, "train_runtime": 77.25, "total_flos": 0.0, "epoch": 0.6, "step": STEPS}]


def state() -> bytes:
    text = {
        "best_global_step": None,
        "best_metric": None,
        "epoch": 0.6,
        "eval_steps": 500,
        "global_step": STEPS,
        "is_hyper_param_search": False,
        "is_world_process_zero": True,
        "log_history": history(),
        "max_steps": STEPS,
        "trial_params": None,
    }
    return json.dumps(text, indent=1).encode()


def stdout(quoted: bool = False) -> bytes:
    text = "Some weights were not used.\n"
    for step in range(1, STEPS + 1):
        keys = GRPO[:-1] if step != 4 else RAGGED
        cells = row(keys, step, epoch=round(step / 10, 2))
        shown = {key: f"{cell:.6g}" for key, cell in cells.items()} if quoted else cells
        text += f"\r {step}%|█▏       | {step}/{STEPS} [00:1{step}<00:09,  1.99s/it]\r{shown}\n"
    return text.encode()


def old() -> bytes:
    rows = [row(OLD, step, epoch=round(step / 10, 2)) for step in range(1, STEPS + 1)]
    return "".join(f"{one}\n" for one in rows).encode()


def ppo() -> bytes:
    rows = [
        {"eps": 1, **row(PPO, step), "val/num_eos_tokens": step, "lr": 3e-06, "episode": 16 * step, "epoch": step / 50}
        for step in range(1, STEPS + 1)
    ]
    return "".join(f"{one}\n" for one in rows).encode()


def swift(stdout: bool = False) -> bytes:
    text = ""
    for step in range(5, 5 * STEPS + 5, 5):
        one = row(GRPO[:16], step, **{"epoch": step / 960, "global_step/max_steps": f"{step}/960"})
        one |= {"percentage": f"{step / 9.6:.2f}%", "elapsed_time": "1m 2s", "remaining_time": "59m"}
        one |= {"memory(GiB)": 61.25, "train_speed(iter/s)": 0.0523}
        text += (str({key: str(cell) for key, cell in one.items()}) if stdout else json.dumps(one)) + "\n"
    return text.encode()


def parquet(step: int) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    right = [(step + 3 * place) % 4 == 0 for place in range(12)]
    table = pa.table({
        "step": [step] * 12,
        "prompt": [f"What is {place // 4} + {step}?" for place in range(12)],
        "completion": [f"{place}" for place in range(12)],
        "accuracy_reward": [1.0 if one else 0.0 for one in right],
        "format_reward": [0.5] * 12,
        "advantage": [0.25 * place for place in range(12)],
    })
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def samples() -> dict[str, dict[str, bytes]]:
    return {
        "trl_state": {"trainer_state.json": state()},
        "trl_state/folder": {f"checkpoint-{STEPS}/trainer_state.json": state(), "README.md": b"# a model\n"},
        "trl_stdout": {"train.log": stdout()},
        "trl_stdout/quoted": {"train.log": stdout(quoted=True)},
        "trl_stdout/old": {"train.log": old()},
        "trl_ppo": {"ppo.log": ppo()},
        "ms_swift": {"logging.jsonl": swift()},
        "ms_swift/console": {"swift.log": swift(stdout=True)},
        "trl_completions": {"completions_00003.parquet": parquet(3)},
        "trl_completions/folder": {f"completions_0000{step}.parquet": parquet(step) for step in range(1, STEPS + 1)},
    }
