"""TRL and ms-swift: states, consoles, what their rows lack, and what they do not mean."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.logs.dialects import dialects
from rlaws.logs.dialects.base import Record
from rlaws.logs.importing import import_runs
from rlaws.logs.runs import Run
from tests.logs.building import STEPS, json_lines, value
from tests.logs.conftest import Write
from tests.logs.samples import trl


def only(run: list[Run]) -> Run:
    (one,) = run
    return one


def records(name: str, path: object, warned: list[str]) -> list[Record]:
    return list(dialects()[name].records(path, lambda _: None, warned.append))  # type: ignore[union-attr]


def test_a_state_gives_every_entry_with_nan_and_ragged_rows(write: Write) -> None:
    run = only(import_runs([write("trainer_state.json", trl.state())]))
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]
    reward, kl = run.columns["reward_task"], run.columns["kl_ref"]
    assert reward.present.tolist() == [True, True, False, True, True, False]
    assert kl.present[1]
    assert math.isnan(kl.values[1])
    assert not kl.present[2]
    assert run.columns["tokens_cum"].values[3] == 4013
    assert run.columns["eval[metric=reward]"].present.tolist() == [False, False, True, False, False, True]
    assert len(run.segments) == 1


def test_an_output_folder_is_one_run_read_from_the_newest_state(write: Write) -> None:
    half = json.loads(trl.state())
    half |= {"global_step": 3, "log_history": half["log_history"][:3]}
    older = write("out/checkpoint-3/trainer_state.json", json.dumps(half))
    write("out/checkpoint-10/trainer_state.json", trl.state())
    write("out/checkpoint-10/config.json", '{"a": 1}')
    run = only(import_runs([older.parent.parent]))
    assert run.dialect == "trl_state"
    assert run.step[-1] == STEPS


def test_a_cut_state_gives_the_entries_before_the_cut(write: Write) -> None:
    text = trl.state()
    cut = text[: text.index(b'"step": 5')]
    run = only(import_runs([write("trainer_state.json", cut)], dialect="trl_state"))
    assert run.step.tolist() == [1, 2, 3, 4]
    assert any("no whole JSON document" in sentence for sentence in run.warnings)


def test_a_state_without_history_is_refused(write: Write) -> None:
    with pytest.raises(InputError, match="no log_history"):
        import_runs([write("x.json", '{"global_step": 3, "max_steps": 9}')], dialect="trl_state")


def test_a_state_of_ppo_keeps_sums_apart_from_means(write: Write) -> None:
    state = json.loads(trl.state())
    state["log_history"] = [{"objective/kl": 6.75, "policy/approxkl_avg": 0.25, "objective/entropy": 114.5, "step": 1}]
    run = only(import_runs([write("s.json", json.dumps(state))]))
    assert {name: column.values[0] for name, column in run.columns.items()} == {
        "kl_ref_seq": 6.75,
        "kl_old_new": 0.25,
        "entropy_seq": 114.5,
    }


@pytest.mark.parametrize("quoted", [False, True])
def test_console_rows_between_progress_bars(write: Write, quoted: bool) -> None:
    run = only(import_runs([write("a.log", trl.stdout(quoted))]))
    assert run.columns["reward_task"].present.tolist() == [True, True, True, False, True, True]
    place = trl.GRPO.index("reward")
    assert run.columns["reward_task"].values[0] == pytest.approx(value(1, place), rel=1e-5)
    assert any("names its step" in sentence for sentence in run.warnings)


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_consoles_of_windows(write: Write, end: str, encoding: str) -> None:
    text = trl.old().decode().replace("\n", end)
    run = only(import_runs([write("a.log", text.encode(encoding))]))
    assert len(run.step) == STEPS
    assert run.columns["len_mean"].values[0] == value(1, trl.OLD.index("completion_length"))
    assert run.columns["clip_total"].values[5] == value(6, trl.OLD.index("clip_ratio"))


def test_a_cut_console_row_is_told(write: Write) -> None:
    run = only(import_runs([write("a.log", trl.old()[:-25])]))
    assert len(run.step) == STEPS - 1
    assert any("line 6" in sentence and "cut" in sentence for sentence in run.warnings)


def test_a_dict_that_is_no_metrics_is_passed_over(write: Write) -> None:
    run = only(import_runs([write("a.log", b"{'foo': 3, 'bar': 'x'}\n" + trl.old())]))
    assert len(run.step) == STEPS
    assert run.unknown() == ()


def test_old_and_new_name_of_one_column_do_not_count_twice(write: Write) -> None:
    rows = [{"loss": 0.5, "reward": 1.5, "completion_length": 99.0, "completions/mean_length": 99.0, "epoch": 0.1}]
    text = "".join(f"{one}\n" for one in rows * 3)
    run = only(import_runs([write("a.log", text)]))
    assert run.columns["len_mean"].values.tolist() == [99.0] * 3
    assert run.columns["len_mean"].keys[0] == "completions/mean_length"
    assert run.columns["len_mean"].origin == "logged"


def test_ppo_on_the_console(write: Write) -> None:
    sample = "{'eps': 1, 'objective/kl': 6.8093, 'objective/entropy': 114.4067, 'objective/scores': 2.3594, "
    sample += "'objective/rlhf_reward': 2.0189, 'episode': 96, 'epoch': 0.11}\n"
    run = only(import_runs([write("a.log", sample + sample.replace("6.8093", "6.9487").replace("96", "112"))]))
    assert run.dialect == "trl_ppo"
    assert run.columns["kl_ref_seq"].values.tolist() == [6.8093, 6.9487]
    assert run.columns["samples_cum"].values.tolist() == [96, 112]
    assert run.columns["reward_train"].values[0] == 2.0189
    assert "kl_ref" not in run.columns
    assert "entropy_token" not in run.columns


def test_swift_takes_its_step_from_a_text(write: Write) -> None:
    run = only(import_runs([write("logging.jsonl", trl.swift())]))
    assert run.step.tolist() == [5, 10, 15, 20, 25, 30]
    closing = json.dumps({"last_model_checkpoint": "out/checkpoint-30", "best_metric": None, "log_history": []})
    with_end = only(import_runs([write("b.jsonl", trl.swift() + closing.encode() + b"\n")]))
    assert with_end.step.tolist() == run.step.tolist()
    assert with_end.warnings == run.warnings


def test_swift_resumed_in_the_same_file(write: Write) -> None:
    lines = trl.swift().splitlines(keepends=True)
    run = only(import_runs([write("logging.jsonl", b"".join([*lines[:4], *lines[2:]]))]))
    assert [segment.first for segment in run.segments] == [5, 15]
    assert run.step.tolist() == [5, 10, 15, 20, 25, 30]


def test_swift_with_a_cut_last_line(write: Write) -> None:
    run = only(import_runs([write("logging.jsonl", trl.swift()[:-30])]))
    assert run.step.tolist() == [5, 10, 15, 20, 25]
    assert any("cut" in sentence for sentence in run.warnings)


def test_rows_keep_texts_and_leave_lists_out(write: Write) -> None:
    row = {"global_step/max_steps": "2/9", "loss": "0.91", "note": "abc", "table": [1, 2], "kl": None}
    (record,) = records("ms_swift", write("a.jsonl", json_lines([row])), [])
    assert record.step == 2.0
    assert record.values == {"loss": 0.91, "note": "abc"}
    assert np.isfinite(record.values["loss"])  # type: ignore[arg-type]
