"""Consoles of OpenRLHF, SkyRL, nano-aha-moment, torchtune, torchforge, slime, AReaL and open-instruct."""

from __future__ import annotations

import numpy as np
import pytest

from rlaws.logs.importing import import_runs
from rlaws.logs.runs import Run
from tests.logs.building import STEPS, value
from tests.logs.conftest import Write
from tests.logs.samples import consoles


def imported(write: Write, content: str | bytes, **wanted: object) -> Run:
    (run,) = import_runs([write("a.log", content)], **wanted)  # type: ignore[arg-type]
    return run


def said(run: Run, words: str) -> bool:
    return any(words in sentence for sentence in run.warnings)


@pytest.mark.parametrize("star", ["✨ ", ""])
def test_openrlhf(write: Write, star: str) -> None:
    run = imported(write, consoles.openrlhf(star))
    at = consoles.OPENRLHF.index
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]
    for column, key in (("kl_ref", "kl"), ("kl_old_new", "ppo_kl"), ("kl_sampler_trainer", "vllm_kl")):
        assert run.columns[column].values.tolist() == [value(step, at(key)) for step in range(1, STEPS + 1)]
    assert run.columns["reward_task"].keys[0] == "score"
    assert run.columns["reward_train"].values[0] == value(1, at("return"))


def test_openrlhf_resumed(write: Write) -> None:
    lines = consoles.openrlhf().splitlines(keepends=True)
    run = imported(write, b"".join([*lines[:5], lines[0], *lines[3:]]))
    assert [segment.first for segment in run.segments] == [1, 3]
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]


def test_openrlhf_damaged_and_cut(write: Write) -> None:
    lines = consoles.openrlhf().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"'kl': ", b"'kl': ?")
    run = imported(write, b"".join(lines)[:-40])
    assert run.step.tolist() == [1, 3, 4, 5]
    assert said(run, "line 3")
    assert said(run, "line 7")


def test_skyrl_reads_texts_of_four_decimals(write: Write) -> None:
    run = imported(write, consoles.skyrl(consoles.SKYRL))
    at = consoles.SKYRL.index
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]
    assert run.columns["reward_task"].values[2] == round(value(3, 7 * at("reward/avg_raw_reward")), 4)
    assert run.columns["pass_k[k=4]"].values[2] == round(value(3, 7 * at("reward/avg_pass_at_4")), 4)
    assert run.columns["samples_step"].values.tolist() == [513, 514, 515, 516, 517, 518]
    assert not run.unknown()


def test_skyrl_doubled_by_ray_counts_once(write: Write) -> None:
    once, by_line = (imported(write, consoles.skyrl(consoles.SKYRL[:5], times)) for times in (1, 2))
    blocks = consoles.skyrl(consoles.SKYRL[:5]).split(b"(raylet)")
    by_block = imported(write, b"(raylet)".join(part for block in blocks for part in (block, block)))
    for run in (by_line, by_block):
        assert run.step.tolist() == once.step.tolist()
        assert {name: column.values.tolist() for name, column in run.columns.items()} == {
            name: column.values.tolist() for name, column in once.columns.items()
        }
        assert len(run.segments) == 1


def test_skyrl_with_lines_of_others_within_a_block(write: Write) -> None:
    lines = consoles.skyrl(consoles.SKYRL[:6]).splitlines(keepends=True)
    mixed = [part for line in lines for part in (line, b"(vllm pid=3) INFO 10:00 Avg: 3.1 {'a': 1}\n")]
    once, run = imported(write, b"".join(lines)), imported(write, b"".join(mixed))
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]
    assert set(run.columns) == set(once.columns)


def test_skyrl_with_the_old_name_and_a_rounded_rate(write: Write) -> None:
    text = "Step {0}: \n{{'loss/avg_raw_rewards': '0.2{0}00',\n 'policy/policy_lr': '0.0000',\n"
    text += " 'trainer/global_step': {0}}}\n"
    run = imported(write, "".join(text.format(step) for step in (1, 2, 3)))
    assert run.columns["reward_train"].values.tolist() == [0.21, 0.22, 0.23]
    assert "reward_task" not in run.columns
    assert said(run, "four decimals")


def test_skyrl_cut_in_a_block(write: Write) -> None:
    run = imported(write, consoles.skyrl(consoles.SKYRL)[:-300])
    assert run.step.tolist() == [1, 2, 3, 4, 5]
    assert said(run, "step 6 is cut")


def test_nano_aha_takes_the_step_of_the_line_before(write: Write) -> None:
    run = imported(write, consoles.nano_aha())
    assert run.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert run.columns["kl_ref"].values[4] == value(4, 0)
    assert "kl_penalty" not in run.columns
    assert "micro-batches" in next(key.note for key in run.keys if key.key == "train/kl_penalty")
    assert run.columns["eval[set=eval,metric=rewards]"].present.tolist() == [True, False, False, True, False, False]


def test_torchtune_with_a_tensor_and_appended_resume(write: Write) -> None:
    lines = consoles.torchtune().splitlines(keepends=True)
    run = imported(write, b"".join([*lines, *lines[3:]]))
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]
    assert [segment.first for segment in run.segments] == [1, 4]
    assert run.columns["loss"].values[0] == value(1, consoles.TORCHTUNE.index("loss"))
    assert run.columns["kl_ref_seq"].values[5] == value(6, consoles.TORCHTUNE.index("kl"))


def test_torchtune_leaves_the_cut_last_value_out(write: Write) -> None:
    run = imported(write, "Step 1 | loss:0.25 lr:0.125 \nStep 2 | loss:0.75 lr:0.1")
    assert run.columns["loss"].values.tolist() == [0.25, 0.75]
    assert run.columns["lr"].present.tolist() == [True, False]
    assert said(run, "line 2")


def test_torchforge_blocks_of_one_rank_are_left_out(write: Write) -> None:
    rank = "=== [TrainActor_0] - METRICS STEP 1 ===\n  rl_trainer/avg_loss: 99.0\n==============================\n"
    run = imported(write, rank.encode() + consoles.torchforge())
    assert run.columns["loss"].values[0] == value(1, consoles.TORCHFORGE.index("rl_trainer/avg_loss"))
    assert said(run, "TrainActor_0")


def test_torchforge_sample_of_an_issue(write: Write) -> None:
    text = "=== [global_reduce] - METRICS STEP 1 ===\n  buffer/add/count_episodes_added: 24.0\n"
    text += "  dataset/sample/avg_sample_len: 525.25\n  main/rollout/std_advantage: 0.9332931327148772\n"
    text += "  reward/evaluate_response/avg_total_reward: 0.40625\n"
    run = imported(write, text)
    assert run.columns["reward_task"].values.tolist() == [0.40625]
    assert not run.unknown()


def test_slime_with_several_optimiser_steps_a_rollout(write: Write) -> None:
    text = ""
    for rollout in range(4):
        text += f"x - rollout {rollout}: {{'rollout/raw_reward': 0.{rollout + 1}}}\n"
        for at in (2 * rollout, 2 * rollout + 1):
            text += f"x - step {at}: {{'train/ppo_kl': 0.0{at + 1}, 'train/step': {at}}}\n"
    run = imported(write, text)
    assert run.step.tolist() == [0, 1, 2, 3]
    assert run.columns["reward_task"].values.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert run.columns["kl_old_new"].values.tolist() == [0.02, 0.04, 0.06, 0.08]
    assert len(run.segments) == 1
    assert said(run, "optimiser steps")


def test_slime_whose_rollouts_run_ahead(write: Write) -> None:
    text = "x - rollout 0: {'rollout/raw_reward': 0.1}\n"
    for step in range(3):
        text += f"x - rollout {step + 1}: {{'rollout/raw_reward': 0.{step + 2}}}\n"
        text += f"x - step {step}: {{'train/ppo_kl': 0.0{step + 1}}}\n"
    run = imported(write, text)
    assert run.columns["kl_old_new"].present.tolist() == [True, True, True, False]
    assert not said(run, "optimiser steps")


def test_areal_counts_over_epochs(write: Write) -> None:
    run = imported(write, consoles.areal())
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]
    assert len(run.segments) == 1
    assert run.columns["reward_task"].values[1] == pytest.approx(value(2, consoles.AREAL.index("rollout/reward")), 1e-6)


def test_open_instruct_panels(write: Write) -> None:
    run = imported(write, consoles.open_instruct())
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]
    assert run.columns["len_mean"].values[0] == round(value(1, 0), 2)
    assert run.columns["samples_cum"].values[2] == 1536
    assert said(run, "rounded")


@pytest.mark.parametrize("name", ["openrlhf", "skyrl", "nano_aha", "torchtune", "torchforge", "slime", "areal"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_windows_line_ends_and_encodings(write: Write, name: str, encoding: str) -> None:
    (content,) = consoles.samples()[name].values()
    plain = imported(write, content)
    run = imported(write, content.decode().replace("\n", "\r\n").encode(encoding))
    assert run.dialect == name
    assert run.step.tolist() == plain.step.tolist()
    assert set(run.columns) == set(plain.columns)
    for key, column in plain.columns.items():
        np.testing.assert_array_equal(run.columns[key].values, column.values)


def test_nan_is_logged_and_not_missing(write: Write) -> None:
    text = consoles.openrlhf().decode().replace(f"'kl': {value(2, consoles.OPENRLHF.index('kl'))}", "'kl': nan")
    column = imported(write, text).columns["kl_ref"]
    assert column.present.all()
    assert column.finite().tolist() == [True, False, True, True, True, True]
