"""The account of a run's keys, in both languages."""

from __future__ import annotations

import pytest

from rlaws.errors import InputError
from rlaws.logs.canonical import FIELDS, KINDS, column_id, parse_id
from rlaws.logs.explain import explain, table
from rlaws.logs.importing import import_runs
from rlaws.logs.runs import Run
from tests.logs.conftest import Write


@pytest.fixture
def run(write: Write) -> Run:
    lines = [
        "step:1 - my/own:1 - critic/score/mean:0.51234 - actor/lr(1e-4):0.01 - timing_s/gen:3 - actor/entropy:nan",
        "step:2 - my/own:1 - critic/score/mean:0.6 - actor/lr(1e-4):0.01 - timing_s/gen:3 - actor/entropy:x",
        "step:3 - critic/score/mean:0.7 - actor/lr(1e-4):0.01 - timing_s/gen:3",
        "step:7 - critic/score/mean:0.7 - actor/lr(1e-4):0.01 - timing_s/gen:3",
        "step:7 - critic/score/mean:0.8 - actor/lr(1e-4):0.01 - timing_s/gen:3",
    ]
    (found,) = import_runs([write("log", "\n".join(lines) + "\n")])
    return found


def test_every_key_is_accounted_for_in_order(run: Run) -> None:
    rows = explain(run)
    assert [row.key for row in rows] == [
        "critic/score/mean", "actor/entropy", "actor/lr(1e-4)", "timing_s/gen", "my/own",
    ]
    score, entropy, rate, timing, own = rows
    assert (score.column, score.unit, score.coverage) == ("reward_task", "?", 1.0)
    assert "before any KL penalty" in score.meaning
    assert (entropy.coverage, entropy.nonfinite, entropy.texts) == (0.25, 1, 1)
    assert "'x'" in entropy.note
    assert "× 0.0001" in rate.note
    assert (timing.column, timing.understood) == ("", True)
    assert (own.understood, own.meaning, own.coverage) == (False, "not understood", 0.5)


def test_the_table_says_the_rest_too(run: Run) -> None:
    text = table(run)
    assert "not understood" in text
    assert "1 steps were logged more than once, 1 with other values" in text
    assert "no step between 3 and 7" in text
    head, first = text.splitlines()[:2]
    assert head.index("column") == first.index("reward_task")


def test_chinese(run: Run) -> None:
    rows = explain(run, "zh")
    assert rows[0].meaning == "任务奖励的均值，不含 KL 惩罚"
    assert "未能识别" in table(run, "zh")
    with pytest.raises(InputError, match="no language 'fr'"):
        explain(run, "fr")


def test_the_schema_is_whole() -> None:
    for name, field in FIELDS.items():
        assert field.name == name
        assert field.kind in KINDS
        assert field.unit
        assert field.meaning["en"]
        assert any("一" <= c <= "鿿" for c in field.meaning["zh"])
        assert field.low <= field.high
    kinds = {name: field.kind for name, field in FIELDS.items()}
    assert (kinds["tokens_step"], kinds["tokens_cum"], kinds["kl_ref"]) == ("per_step", "cumulative", "state")


def test_names_of_columns_read_back() -> None:
    name = column_id("eval", {"n": "1", "set": "math", "metric": "mean"})
    assert name == "eval[set=math,metric=mean,n=1]"
    assert parse_id(name) == ("eval", {"set": "math", "metric": "mean", "n": "1"})
    assert parse_id("lr") == ("lr", {})
    for wrong in ("", "eval[", "evl", "lr[set=a]", "eval[set=a=b]"):
        with pytest.raises(InputError):
            parse_id(wrong)


def test_odd_characters_do_not_reach_the_terminal(write: Write) -> None:
    text = '{"step": 1, "reward_task": 0.5, "bad\\u001b[31m\\ud800": 1, "\\u0000": "\\u0007"}\n'
    (run,) = import_runs([write("x.jsonl", text)])
    shown = table(run)
    assert shown.encode()
    assert "\x1b" not in shown
