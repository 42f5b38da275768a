"""Logs of trackers, with the keys of trainers in them."""

from __future__ import annotations

from tests.logs.building import STEPS, event_file, value, words

HF = words(
    "train/loss train/grad_norm train/learning_rate train/num_tokens train/completions/mean_length train/reward "
    "train/reward_std train/frac_reward_zero_std train/kl train/entropy train/clip_ratio/region_mean"
)
OPENRLHF = words(
    "train/policy_loss train/actor_lr train/reward train/return train/kl train/ppo_kl train/vllm_kl "
    "train/response_length train/total_length"
)
VERL = words("critic/score/mean critic/rewards/mean actor/entropy actor/ppo_kl actor/kl_loss perf/total_num_tokens")
VERL_EVAL = "val-core/math/acc/mean_at_8"
META = "artifact_uri: file:///x\nrun_id: {run}\nrun_name: {name}\nstart_time: {start}\nstatus: 3\n"
START = 1_700_000_000_000


def rows(keys: list[str], first: int, last: int) -> list[tuple[int, dict[str, float]]]:
    return [(step, {key: value(step, place) for place, key in enumerate(keys)}) for step in range(first, last + 1)]


def resumed() -> dict[str, bytes]:
    """Two starts of one run: the second goes back by two steps. The names sort in the other order."""
    first, second = rows(OPENRLHF, 1, STEPS), rows(OPENRLHF, STEPS - 1, STEPS + 2)
    second[0][1]["eval/eval_math500_pass1"] = 0.4375
    return {
        "events.out.tfevents.1700000900.host.9.0": event_file(first),
        "events.out.tfevents.1700000900.host.10.0": event_file(second, 1_700_000_900.0),
    }


def mlflow_run(run: str, name: str, shift: int = 0) -> dict[str, bytes]:
    files = {"meta.yaml": META.format(run=run, name=name, start=START + shift).encode()}
    for place, key in enumerate(VERL):
        lines = [f"{START + shift + 1000 * step} {value(step + shift, place)} {step}\n" for step in range(1, STEPS + 1)]
        files[f"metrics/{key}"] = "".join(lines).encode()
    points = [f"{START + shift + 1000 * step} {value(step, 40)} {step}\n" for step in (3, 6)]
    files[f"metrics/{VERL_EVAL}"] = "".join(points).encode()
    return files | {"params/actor/optim/lr": b"1e-06", "params/algorithm": b"grpo", "tags/mlflow.user": b"u"}


def csv() -> bytes:
    lines = [f"{1654943296.2150984 + 17 * step},{step},{59.310001373291016 + step / 7}" for step in range(STEPS)]
    return "\n".join(["Wall time,Step,Value", *lines, ""]).encode()


def samples() -> dict[str, dict[str, bytes]]:
    meta = b"experiment_id: '1'\nname: gsm8k\n"
    experiment = {"meta.yaml": meta}
    for at, run in enumerate(("a1b2c3d4e5f60718", "b1b2c3d4e5f60718")):
        experiment |= {f"{run}/{name}": data for name, data in mlflow_run(run, f"seed-{at}", 11 * at).items()}
    return {
        "tensorboard": {"events.out.tfevents.1700000000.host.1.0": event_file(rows(HF, 1, STEPS))},
        "tensorboard/resumed": resumed(),
        "tensorboard/csv": {"run-tag-train_reward.csv": csv()},
        "mlflow": mlflow_run("a1b2c3d4e5f60718", "seed-0"),
        "mlflow/experiment": experiment,
        "mlflow/metric": {"mean": mlflow_run("a", "b")["metrics/critic/score/mean"]},
    }
