"""verl's console, file logger and rollout dumps, with old and new key names."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.logs.counting import import_counts
from rlaws.logs.dialects.verl_keys import KEYS
from rlaws.logs.importing import import_runs
from rlaws.logs.meanings import reading
from tests.logs.conftest import Write

NEW = (
    "\x1b[36m(TaskRunner pid=12, ip=10.0.0.1)\x1b[0m step:{s} - global_seqlen/mean:208836.375 - "
    "actor/ppo_kl:0.010411410980547467 - actor/lr:1e-06 - perf/mfu/actor:0.45631487346036326 - "
    "val-core/math/acc/mean@1:0.706 - val-core/math/acc/best@8/mean:0.81 - val-aux/math/reward/maj@8/mean:0.75\n"
)
OLD = (
    "(main_task pid=9) step:{s} - timing/gen:21.470 - critic/vf_loss:14.947 - critic/lr(1e-4):0.100 - "
    "actor/lr(1e-4):0.010 - actor/entropy_loss:0.433 - actor/pg_loss:-0.005 - val/test_score/openai/gsm8k:0.125\n"
)


def test_new_console(write: Write) -> None:
    (run,) = import_runs([write("log", "".join(NEW.format(s=s) for s in (4, 5)))])
    assert run.step.tolist() == [4, 5]
    first = {name: column.values[0] for name, column in run.columns.items()}
    assert first == {
        "kl_old_new": 0.010411410980547467,
        "lr": 1e-6,
        "eval[set=math,metric=mean,n=1]": 0.706,
        "eval[set=math,metric=best,k=8]": 0.81,
        "eval[set=math,metric=reward/maj,k=8]": 0.75,
    }
    assert run.unknown() == ()


def test_old_console_is_coarse_and_scaled(write: Write) -> None:
    (run,) = import_runs([write("log", "".join(OLD.format(s=s) for s in (0, 1)))])
    np.testing.assert_allclose(run.columns["lr"].values, 1e-6, rtol=1e-12)
    assert run.columns["entropy_token"].values.tolist() == [0.433, 0.433]
    assert run.columns["eval[set=openai/gsm8k,metric=score]"].values.tolist() == [0.125, 0.125]
    assert run.unknown() == ()
    assert any("three decimals" in text for text in run.warnings)


def test_a_rate_printed_as_zero_is_not_a_rate_of_zero(write: Write) -> None:
    (run,) = import_runs([write("log", "step:1 - actor/lr:0.000 - actor/kl_loss:0.006 - critic/score/mean:0.135\n")])
    assert "lr" not in run.columns
    (report,) = [report for report in run.keys if report.key.startswith("actor/lr")]
    assert report.understood
    assert "three decimals" in report.note
    (run,) = import_runs([write("log", "step:1 - actor/lr:0.0 - actor/kl_loss:0.0061\n")])
    assert run.columns["lr"].values.tolist() == [0.0]  # a rate of zero, in full precision


def test_ray_doubles_lines_and_progress_bars_stand_before_them(write: Write) -> None:
    line = NEW.format(s=1)
    text = line + line + "Training:  1%|#  | 1/435 [00:30<3:00]" + NEW.format(s=2) + "\r 2%|#" + "\r" + NEW.format(s=3)
    (run,) = import_runs([write("log", text)])
    assert run.step.tolist() == [1, 2, 3]
    assert [(d.step, d.differing) for d in run.duplicates] == [(1, 0)]
    assert len(run.segments) == 1


def test_a_cut_last_line_loses_only_its_last_number(write: Write) -> None:
    whole = "step:1 - critic/score/mean:0.135 - actor/entropy:0.433\n"
    for cut in range(len("step:2 - critic/score/mean:0.145 - actor/entropy:"), len(whole) - 1):
        second = whole.replace("step:1", "step:2")[:cut]
        (run,) = import_runs([write("log", whole + second)])
        assert run.columns["reward_task"].values.tolist() == [0.135, 0.135]
        assert run.columns["entropy_token"].present.tolist() == [True, False]
        assert any("cut off" in text for text in run.warnings)


def test_text_of_the_model_is_no_metric(write: Write) -> None:
    text = "step:1 - critic/score/mean:0.5\nstep:2 - add the numbers: 7\nsubstep:3 - a/b:1\nsee step:9 for a/b:1\n"
    (run,) = import_runs([write("log", text)])
    assert run.step.tolist() == [1]


def test_what_is_spliced_into_a_line_is_reported(write: Write) -> None:
    text = "step:1 - critic/score/mean:0.5 - actor/entropy:0.4WARNING x\n"
    text += "step:2 - critic/score/mean:nan - actor/entropy:0.3\n"
    (run,) = import_runs([write("log", text)])
    assert run.columns["entropy_token"].present.tolist() == [False, True]
    report = next(report for report in run.keys if report.key == "actor/entropy")
    assert (report.texts, report.example) == (1, "0.4WARNING x")
    score = next(report for report in run.keys if report.key == "critic/score/mean")
    assert (score.steps, score.nonfinite) == (2, 1)


def test_scores_without_a_step_are_told(write: Write) -> None:
    text = "\"Initial validation metrics: {'test_score/openai/gsm8k': 0.0007}\"\n" + OLD.format(s=0)
    (run,) = import_runs([write("log", text)])
    assert any("Initial validation metrics" in text for text in run.warnings)


def test_file_logger_with_a_renamed_key_after_a_resume(write: Write) -> None:
    rows = [{"step": s, "data": {"actor/entropy_loss": 0.5, "critic/score/mean": float("nan")}} for s in range(4)]
    rows += [{"step": s, "data": {"actor/entropy": 0.25}} for s in range(2, 6)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run,) = import_runs([write("x.jsonl", text + '{"step": 6, "data": {"act')])
    assert run.columns["entropy_token"].values.tolist() == [0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    assert run.columns["reward_task"].present.tolist() == [True, True, False, False, False, False]
    assert run.segments[0].replaced == (2, 3)
    assert any("cut off" in text for text in run.warnings)


def test_mlflow_names(write: Write) -> None:
    meaning = reading("val-core/math/acc/mean_at_32", KEYS)
    assert meaning.column == "eval[set=math,metric=mean,n=32]"


@pytest.mark.parametrize(
    ("key", "column"),
    [
        ("critic/score/mean", "reward_task"), ("critic/rewards/mean", "reward_train"), ("critic/score/max", ""),
        ("actor/reward_kl_penalty", "kl_ref"), ("actor/reward_kl_penalty_coeff", "kl_coef"), ("critic/kl", "kl_ref"),
        ("response_length/mean", "len_mean"), ("response_length_non_aborted/mean", ""),
        ("prompt_length/mean", "len_prompt"), ("variance_proxy/proxy3_pure_noise", ""),
        ("response_length/clip_ratio", "trunc_frac"), ("prompt_length/clip_ratio", ""), ("critic/lr", ""),
        ("timing_s/step", "seconds_step"), ("timing_s/gen", ""), ("perf/time_per_step", "seconds_step"),
        ("perf/total_num_tokens", "tokens_step"), ("global_seqlen/mean", ""), ("training/epoch", "epoch"),
        ("training/rollout_probs_diff_mean", ""), ("val-core/math/acc/std@8", ""),
        ("val/test_score/math/unknown", "eval[set=math,metric=score]"), ("critic/vf_explained_var", "explained_var"),
        ("val-core/a/b/reward/mean@4", "eval[set=a/b,metric=reward/mean,n=4]"),
    ],
)
def test_meanings(key: str, column: str) -> None:
    meaning = reading(key, KEYS)
    assert meaning.understood
    assert meaning.column == column


@pytest.mark.parametrize("key", ["mean", "score", "actor/entropy/mean", "my/critic/score/mean", "critic", "kl", "lr"])
def test_generic_tails_mean_nothing(key: str) -> None:
    assert not reading(key, KEYS).understood


def _dump(*scores: float, step: int = 10, **extra: object) -> str:
    rows = [{"input": "q1" if i < 3 else "q2", "output": "a", "gts": "1", "score": s, "step": step, **extra}
            for i, s in enumerate(scores)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_rollout_dumps_give_counts_per_question(write: Write) -> None:
    write("dump/10.jsonl", _dump(1, 0, 1, 0, 0))
    folder = write("dump/20.jsonl", _dump(1, 1, 1, 0, 1, step=20)).parent
    (counts,) = import_counts([folder])
    assert counts.dialect == "verl_rollouts"
    assert counts.step.tolist() == [10, 10, 20, 20]
    assert (counts.n.tolist(), counts.c.tolist()) == ([3, 2, 3, 2], [2, 0, 3, 1])
    assert counts.problem[0] == counts.problem[2] != counts.problem[1]


def test_scores_that_are_not_plain_need_a_threshold(write: Write) -> None:
    path = write("1.jsonl", _dump(1, 0.1, 0, 0.1, float("nan")))
    with pytest.raises(InputError, match=r"scores are 0, 0.1, 1, so it is not plain"):
        import_counts([path])
    (counts,) = import_counts([path], threshold=0.1)
    assert (counts.n.tolist(), counts.c.tolist()) == ([3, 1], [2, 1])
    assert any("1 answers have no finite score" in text for text in counts.warnings)
    (counts,) = import_counts([write("1.jsonl", _dump(1, -1, -1))])
    assert counts.c.tolist() == [1]
    (counts,) = import_counts([write("1.jsonl", _dump(0.3, 0.2, 0.9, acc=True))])
    assert counts.c.tolist() == [3]
