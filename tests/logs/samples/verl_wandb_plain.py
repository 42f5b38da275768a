"""Samples of verl, W&B, plain tables and counts, each number written with digits of its own."""

from __future__ import annotations

import io
import json

STEPS = range(1, 9)
HISTORY = "_step,_runtime,_timestamp,training/global_step,critic/score/mean,actor/kl_loss"


def _console() -> str:
    head = "\x1b[36m(main_task pid=54569)\x1b[0m {'actor_rollout_ref': {'actor': {'ppo_mini_batch_size': 64}}}\n"
    lines = [
        f"\x1b[36m(TaskRunner pid=7, ip=10.0.0.1)\x1b[0m step:{s} - timing_s/step:{20 + s / 7:.6f} - "
        f"critic/score/mean:{0.1 + s / 31:.6f} - critic/rewards/mean:{0.05 + s / 33:.6f} - "
        f"actor/entropy:{0.9 - s / 37:.6f} - actor/ppo_kl:{s / 4100:.8f} - perf/total_num_tokens:{100000 + 13 * s}"
        + (f" - val-core/math/acc/mean@1:{0.2 + s / 41:.6f}" if s % 4 == 0 else "")
        for s in STEPS
    ]
    return head + "\n".join(lines) + "\n"


def _rows() -> list[dict[str, float]]:
    return [
        {"critic/score/mean": 0.1 + s / 31, "actor/kl_loss": s / 4700, "response_length/mean": 300.0 + s / 3}
        for s in STEPS
    ]


def _csv(head: str, rows: list[list[object]]) -> bytes:
    return "\n".join([head, *(",".join(str(cell) for cell in row) for row in rows), ""]).encode()


def _panel() -> bytes:
    names = [f"{run} - critic/score/mean{end}" for run in ("seed 1", "seed 2") for end in ("", "__MIN", "__MAX")]
    rows = [[s, *(round(0.1 + s / 31 + i / 101, 6) if (s + i) % 4 else "" for i in range(6))] for s in STEPS]
    return _csv("Step," + ",".join(f'"{name}"' for name in names), rows)


def _parquet() -> bytes:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    table = arrow.table({"step": list(STEPS), "reward_task": [s / 31 for s in STEPS], "lr": [1e-6] * 8})
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def _dump(step: int) -> bytes:
    rows = [
        {"input": f"question {q}", "output": "so 4", "gts": "4", "score": float((q + i + step) % 3 == 0), "step": step}
        for q in range(4)
        for i in range(3)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _monkey(right: int) -> bytes:
    answers = "".join(f"- {'true' if i < right else 'false'}\n" for i in range(6))
    head = f"prompt: 'What is 1+{right}?'\ngt_answer: '{1 + right}'\nsamples:\n- 'it is 2'\n"
    return f"{head}is_correct:\n{answers}".encode()


def samples() -> dict[str, dict[str, bytes]]:
    history = [[7 * s, s / 3, 1.7e9 + 11 * s, s, round(s / 31, 6), "" if s % 3 else round(s / 97, 6)] for s in STEPS]
    lines = [json.dumps({"step": s, "data": row}) for s, row in zip(STEPS, _rows(), strict=True)]
    runs = [[s, round(s / 31, 7), "" if s % 4 else round(s / 37, 7), round(s / 41, 7)] for s in STEPS]
    counts = [[m, p, 100, 7 * p + i] for i, m in enumerate(("70M", "160M")) for p in range(5)]
    table = _csv("step,reward_task,kl_ref", [[s, s / 31, s / 4700] for s in STEPS])
    return {
        "verl": {"console.log": _console().encode()},
        "verl/crlf": {"console.log": _console().replace("\n", "\r\n").encode()},
        "verl/utf16": {"console.log": _console().encode("utf-16")},
        "verl_jsonl": {"run.jsonl": "".join(line + "\n" for line in lines).encode()},
        "verl_rollouts": {"1.jsonl": _dump(1), "2.jsonl": _dump(2)},
        "wandb_panel": {"wandb_export.csv": _panel()},
        "wandb_runs": {"wandb_export.csv": _csv("Step,0.6b,14b,1.7b", runs)},
        "wandb_history": {"history.csv": _csv(HISTORY, history)},
        "wandb_offline": {"run-abc.wandb": b":W&B\x5c\xdb\x00" + bytes(range(64))},
        "table": {"mine.csv": table},
        "table/tsv": {"mine.tsv": table.replace(b",", b"\t")},
        "jsonl": {"mine.jsonl": "".join(json.dumps({"step": s, "reward_task": s / 31}) + "\n" for s in STEPS).encode()},
        "parquet": {"mine.parquet": _parquet()},
        "counts_table": {"counts.csv": _csv("model,problem_idx,n_samples,n_correct", counts)},
        "monkeys": {f"{i}.yaml": _monkey(i) for i in range(4)},
    }
