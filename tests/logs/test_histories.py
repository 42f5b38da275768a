"""Rows of JSON: prime-rl, open-instruct, tinker-cookbook, NeMo-RL, AReaL."""

from __future__ import annotations

import pytest

from rlaws.logs.importing import import_runs
from rlaws.logs.runs import Run
from tests.logs.building import STEPS, json_lines, row, value
from tests.logs.conftest import Write
from tests.logs.samples import histories


def imported(write: Write, content: str | bytes) -> Run:
    (run,) = import_runs([write("metrics.jsonl", content)])
    return run


def said(run: Run, words: str) -> bool:
    return any(words in sentence for sentence in run.warnings)


def test_prime_rl_joins_the_rows_of_its_processes(write: Write) -> None:
    run = imported(write, histories.prime_rl())
    assert run.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert len(run.segments) == 1
    at, used = histories.PRIME_ROLLOUTS.index, "train/agg/all/solver/reward/mean"
    assert run.columns["reward_task"].values[0] == value(0, at(used))
    assert run.columns["tokens_cum"].values[1] == value(1, at("progress/total_tokens"))
    assert run.columns["tokens_step"].values[1] == value(1, at("progress/tokens"))
    place = histories.PRIME_TRAINER.index("mismatch_kl/all/mean")
    assert run.columns["kl_sampler_trainer"].values[0] == value(0, place)
    assert run.columns["eval[set=aime24,metric=mean,n=8]"].present.sum() == 1


@pytest.mark.parametrize("above", ["", "train/agg/effective/", "train/agg/all/", "train/agg/all/solver/"])
def test_prime_rl_in_three_generations(write: Write, above: str) -> None:
    key = f"{above}reward/mean"
    rows = [{"step": step, key: value(step, 1), "progress/tokens": 100 + step} for step in range(STEPS)]
    run = imported(write, json_lines(rows))
    assert run.dialect == "prime_rl"
    assert run.columns["reward_task"].values.tolist() == [value(step, 1) for step in range(STEPS)]


def test_prime_rl_files_of_one_run_are_one_and_of_two_runs_are_two(write: Write) -> None:
    trainer, rollouts = (json_lines(histories.prime(keys)) for keys in (histories.PRIME_TRAINER, histories.PRIME_OLD))
    folder = write("one/metrics.jsonl", trainer).parent
    write("one/run_default/metrics.jsonl", rollouts)
    (run,) = import_runs([folder])
    assert {"loss", "reward_task"} <= set(run.columns)
    both = write("two/a/metrics.jsonl", trainer).parent.parent
    write("two/b/metrics.jsonl", trainer)
    assert len(import_runs([both])) == 2


def test_prime_rl_resumed_and_cut(write: Write) -> None:
    first, second = histories.prime(histories.PRIME_TRAINER), histories.prime(histories.PRIME_TRAINER, 4)
    run = imported(write, json_lines([*first, *second])[:-20])
    assert [segment.first for segment in run.segments] == [0, 4]
    assert run.step.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert said(run, "cut off")


def test_open_instruct(write: Write) -> None:
    run = imported(write, histories.open_instruct())
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]
    at = histories.INSTRUCT.index
    assert run.columns["reward_task"].values[0] == value(1, at("scores"))
    assert run.columns["kl_ref"].values[0] == value(1, at("objective/kl2_avg"))
    assert run.columns["tokens_cum"].values[1] == 620_000
    assert run.columns["eval[set=eval,metric=scores]"].present.tolist() == [False, False, True, False, False, True]
    assert not [name for name in run.columns if name.startswith("eval[") and "ratio" in name]


def test_open_instruct_flat_zero_reward_is_told(write: Write) -> None:
    rows = [{"training_step": at, "objective/verifiable_reward": 0.0, "scores": value(at, 1)} for at in range(1, 7)]
    flat = imported(write, json_lines(rows))
    assert said(flat, "0 throughout")
    assert flat.columns["reward_task"].values[0] == value(1, 1)
    rows[3]["objective/verifiable_reward"] = 0.5
    assert not said(imported(write, json_lines(rows)), "0 throughout")
    without = [{key: cell for key, cell in one.items() if "verifiable" not in key} for one in rows]
    assert not said(imported(write, json_lines(without)), "0 throughout")
    silent = [{**one, "objective/verifiable_reward": 0.0, "scores": 0.0} for one in rows]
    assert not said(imported(write, json_lines(silent)), "0 throughout")


def test_tinker_rows_without_step(write: Write) -> None:
    run = imported(write, histories.tinker())
    assert run.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert run.columns["correct"].present.all()
    last = {"test/env/all/correct": 0.875}
    with_final = imported(write, histories.tinker() + json_lines([last]))
    assert said(with_final, "step")
    assert with_final.step.tolist() == run.step.tolist()


def test_tinker_samples_of_public_runs(write: Write) -> None:
    text = '{"step": 9, "env/all/reward/total": 0.5}\n'
    text += '{"progress/batch": 10, "env/all/reward/total": 0.0, "env/all/format_valid": 0.0, "teacher_kl": 0.2927, '
    text += '"optim/entropy": 0.541, "env/all/ac_tokens_per_turn": 4096, "time/sample": 213.2, "time/total": 237.0}\n'
    text += '{"progress/batch": 11, "test/env/harvey-labs/lab/criteria_passed": 3}\n'
    run = imported(write, text)
    assert run.dialect == "tinker"
    assert run.unknown() == ()
    assert run.columns["reward_task"].values[:2].tolist() == [0.5, 0.0]
    assert "kl_ref" not in run.columns


def test_nemo_rl_percent_becomes_a_share(write: Write) -> None:
    rows = [{"step": at, **row(histories.NEMO, at), "train/baseline_reward/pct_0": 12.5 * at} for at in range(1, 7)]
    run = imported(write, json_lines(rows))
    assert run.columns["frac_groups_all0"].values.tolist() == [0.125, 0.25, 0.375, 0.5, 0.625, 0.75]
    assert run.columns["kl_sampler_trainer"].values[0] == value(1, histories.NEMO.index("train/gen_kl_error"))
    assert run.columns["kl_ref"].values[0] == value(1, histories.NEMO.index("train/kl_penalty"))


def test_areal_never_mixes_the_selected_rollouts_with_all(write: Write) -> None:
    rows = [{"step": at, "ppo_actor/task_reward/avg": value(at, 1), "timeperf/rollout": 3.5} for at in range(1, 7)]
    run = imported(write, json_lines([{**one, "ppo_actor/seq_len/avg": 99.5} for one in rows]))
    assert "reward_task" not in run.columns
    assert run.unknown() == ()


@pytest.mark.parametrize("name", ["prime_rl", "open_instruct", "tinker", "nemo_rl"])
def test_rows_with_nan_of_windows(write: Write, name: str) -> None:
    (content,) = histories.samples()[name].values()
    plain = imported(write, content)
    text = content.decode().replace("\n", "\r\n").replace(": 0.1", ": NaN, \"x/y\": 0.1", 1)
    for encoding in ("utf-8-sig", "utf-16"):
        run = imported(write, text.encode(encoding))
        assert run.dialect == name
        assert run.step.tolist() == plain.step.tolist()
        assert [key.key for key in run.keys if not key.understood] == ["x/y"]
