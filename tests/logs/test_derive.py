"""Derived axes against sums done by hand, and that they refuse where a part is missing."""

from __future__ import annotations

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.logs.derive import AXES, Setup, axis, derive
from rlaws.logs.importing import import_runs
from rlaws.logs.runs import Run
from tests.logs.conftest import Write


def _run(write: Write, text: str) -> Run:
    (run,) = import_runs([write("t.csv", text)])
    return run


FULL = "step,tokens_step,tokens_gen_step,seconds_step,samples_step\n1,100,60,36,8\n2,110,70,72,8\n3,120,80,108,8\n"


def test_sums_by_hand(write: Write) -> None:
    run = derive(_run(write, FULL), Setup(parameters=10.0, gpus=2))
    assert run.columns["tokens_cum"].values.tolist() == [100, 210, 330]
    assert run.columns["samples_cum"].values.tolist() == [8, 16, 24]
    assert run.columns["gpu_h_cum"].values.tolist() == pytest.approx([0.02, 0.06, 0.12])
    generated, trained = np.array([60, 130, 210]), np.array([100, 210, 330])
    assert run.columns["flops_cum"].values.tolist() == (20.0 * generated + 60.0 * trained).tolist()
    assert {run.columns[name].origin for name in ("tokens_cum", "samples_cum", "gpu_h_cum", "flops_cum")} == {"derived"}
    assert run.columns["flops_cum"].unit == "FLOP"
    assert run.columns["tokens_cum"].keys == ("tokens_step",)
    assert run.settings["setup.parameters"] == "10.0"


def test_six_n(write: Write) -> None:
    column = axis(_run(write, FULL), "flops_cum", Setup(parameters=1e9, convention="6N"))
    assert column.values.tolist() == [6e11, 12.6e11, 19.8e11]


def test_tokens_from_means_and_a_batch_are_assumed(write: Write) -> None:
    run = _run(write, "step,len_mean,len_prompt\n1,10,5\n2,20,5\n")
    done = derive(run, Setup(samples=4, parameters=1.0))
    assert done.columns["tokens_step"].values.tolist() == [60, 100]
    assert done.columns["tokens_gen_step"].values.tolist() == [40, 80]
    assert done.columns["tokens_cum"].values.tolist() == [60, 160]
    assert done.columns["flops_cum"].values.tolist() == [2 * 40 + 6 * 60, 2 * 120 + 6 * 160]
    assert {done.columns[name].origin for name in AXES if name in done.columns} == {"assumed"}
    assert "setup.samples" in done.columns["tokens_step"].keys


def test_a_logged_axis_is_left_alone(write: Write) -> None:
    run = _run(write, "step,tokens_step,tokens_cum\n1,100,1000\n2,110,2000\n")
    assert derive(run, Setup()).columns["tokens_cum"] is run.columns["tokens_cum"]


@pytest.mark.parametrize(
    ("text", "name", "setup", "sentence"),
    [
        (FULL, "flops_cum", Setup(), "give parameters="),
        (FULL, "gpu_h_cum", Setup(), "give gpus="),
        ("step,lr\n1,1\n", "tokens_cum", Setup(), "no len_total"),
        ("step,len_total\n1,1\n", "tokens_step", Setup(), "give samples="),
        ("step,lr\n1,1\n", "samples_cum", Setup(), "give samples="),
        ("step,tokens_step\n1,1\n2,\n3,1\n", "tokens_cum", Setup(), "missing at 1 steps .first: 2."),
        ("step,tokens_step,lr\n1,1,1\n2,,1\n3,1,1\n", "tokens_cum", Setup(), "missing at 1 steps .first: 2."),
        ("step,tokens_step\n1,1\n2,nan\n3,1\n", "tokens_cum", Setup(), "missing at 1 steps .first: 2."),
        ("step,tokens_step\n5,1\n6,1\n", "tokens_cum", Setup(), "before step 5"),
        ("step,tokens_step\n1,1\n11,1\n21,1\n", "tokens_cum", Setup(), "between the steps 1 and 11"),
        (FULL, "flops_cum", Setup(parameters=-1.0), "positive number"),
        (FULL, "flops_cum", Setup(parameters=1.0, convention="6n"), "Did you mean '6N'"),
        (FULL, "flop_cum", Setup(), "Did you mean 'flops_cum'"),
        ("step,tokens_cum\n1,100\n2,50\n", "flops_cum", Setup(parameters=1.0, convention="6N"), "falls at step 2"),
        ("step,tokens_cum\n1,100\n2,200\n", "flops_cum", Setup(parameters=1.0), "no len_mean"),
    ],
)
def test_missing_parts_are_named(write: Write, text: str, name: str, setup: Setup, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        axis(_run(write, text), name, setup)


def test_what_was_not_derived_is_told(write: Write) -> None:
    run = derive(_run(write, "step,tokens_step\n1,1\n2,1\n"), Setup())
    assert "tokens_cum" in run.columns
    assert "flops_cum" not in run.columns
    assert any(text.startswith("flops_cum is not derived: give parameters=") for text in run.warnings)


def test_filled_steps_count_the_mean_and_are_assumed(write: Write) -> None:
    run = _run(write, "step,tokens_step\n10,4\n20,6\n30,8\n")
    column = axis(run, "tokens_cum", Setup(fill=True))
    assert column.origin == "assumed"
    assert column.values.tolist() == [9 * 6 + 4, 18 * 6 + 10, 27 * 6 + 18]


def test_an_evaluation_before_the_first_step_costs_nothing(write: Write) -> None:
    run = _run(write, "step,tokens_step,eval[set=a]\n0,,0.5\n1,10,\n2,20,0.75\n")
    assert axis(run, "tokens_cum", Setup()).values.tolist() == [0, 10, 30]


def test_sums_run_across_resumes_and_count_each_step_once(write: Write) -> None:
    rows = [(s, 10) for s in range(1, 7)] + [(s, 100) for s in range(4, 8)]
    run = _run(write, "step,tokens_step\n" + "".join(f"{s},{t}\n" for s, t in rows))
    assert len(run.segments) == 2
    assert axis(run, "tokens_cum", Setup()).values.tolist() == [10, 20, 30, 130, 230, 330, 430]


def test_a_total_that_starts_again_at_a_resume_goes_on(write: Write) -> None:
    rows = [(s, 100 * s) for s in range(1, 7)] + [(s, 100 * (s - 3)) for s in range(4, 8)]
    run = _run(write, "step,tokens_cum\n" + "".join(f"{s},{t}\n" for s, t in rows))
    column = axis(run, "flops_cum", Setup(parameters=1.0, convention="6N"))
    assert column.values.tolist() == [600.0 * s for s in range(1, 8)]
    assert column.origin == "derived"
