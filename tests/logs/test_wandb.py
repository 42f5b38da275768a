"""W&B: charts with extrema and groups, cleaned charts, histories, and the binary log that cannot be read."""

from __future__ import annotations

import pytest

from rlaws.errors import InputError
from rlaws.logs import meanings
from rlaws.logs.dialects.base import Key
from rlaws.logs.importing import import_runs
from tests.logs.conftest import Write

PANEL = (
    '"Step","a - b - critic/score/mean","a - b - critic/score/mean__MIN","a - b - critic/score/mean__MAX",'
    '"c - critic/score/mean","c - critic/score/mean__MIN","c - critic/score/mean__MAX"\n'
    '"0","0.25","0.25","0.25","","",""\n"1","","","","0.5","0.5","0.5"\n"2","0.75","0.7","0.8","NaN","NaN","NaN"\n'
)


def test_a_chart_has_three_columns_a_run(write: Write) -> None:
    first, second = import_runs([write("wandb_export_2024.csv", PANEL)])
    assert (first.name, second.name) == ("wandb_export_2024: a - b", "wandb_export_2024: c")
    assert first.step.tolist() == [0, 2]
    assert first.columns["reward_task"].values.tolist() == [0.25, 0.75]
    assert second.step.tolist() == [1, 2]
    assert second.columns["reward_task"].present.tolist() == [True, True]  # a logged NaN is there
    assert next(r for r in second.keys if r.key == "critic/score/mean").nonfinite == 1
    assert list(first.columns) == ["reward_task"]  # extrema fill no column
    assert first.unknown() == ()
    assert first.settings["keys"].startswith("verl")
    assert any("sampled" in text for text in first.warnings)


def test_a_group_is_a_mean_over_runs(write: Write) -> None:
    name = "algo: grpo - actor/entropy"
    text = f"Step,{name},{name}__MIN,{name}__MAX\n1,0.5,0.25,1\n"
    (run,) = import_runs([write("x.csv", text)])
    assert run.name == "x: algo: grpo"
    assert any("'algo: grpo' is a group" in text for text in run.warnings)


def test_another_axis_is_the_step_but_time_is_not(write: Write) -> None:
    (run,) = import_runs([write("x.csv", "train/global_step,r - actor/entropy\n10,0.5\n20,0.25\n")])
    assert run.step.tolist() == [10, 20]
    with pytest.raises(InputError, match="no column names the training step"):
        import_runs([write("x.csv", "Relative Time (Wall),r - actor/entropy\n10.5,0.5\n20.5,0.25\n")])


def test_a_metric_that_no_trainer_writes_needs_a_mapping(write: Write) -> None:
    path = write("x.csv", "Step,p_run - ensemble_reward,p_run - ensemble_reward__MIN\n1,0.5,0.5\n2,0.25,0.25\n")
    with pytest.raises(InputError, match="nothing in it has a place in the schema: 'ensemble_reward'"):
        import_runs([path])
    (run,) = import_runs([path], mapping={"columns": {"ensemble_reward": "reward_task"}})
    assert run.columns["reward_task"].values.tolist() == [0.5, 0.25]


def test_a_cleaned_chart_does_not_name_its_metric(write: Write) -> None:
    path = write("export.csv", "Step,0.6b,14b\n0,0.037149355572403335,0.7839272175890827\n1,,0.7930250189537529\n")
    with pytest.raises(InputError, match="does not name the metric"):
        import_runs([path])
    with pytest.raises(InputError, match="'evl' is not a field"):
        import_runs([path], metric="evl[set=gsm8k]")
    small, large = import_runs([path], metric="eval[set=gsm8k,metric=mean]")
    assert small.step.tolist() == [0]
    assert large.columns["eval[set=gsm8k,metric=mean]"].values.tolist() == [0.7839272175890827, 0.7930250189537529]
    (again, _) = import_runs([path], mapping={"metric": {"field": "eval", "set": "gsm8k", "factor": 100}})
    assert again.columns["eval[set=gsm8k]"].values.tolist() == [3.7149355572403335]


def test_a_table_of_metrics_is_no_cleaned_chart(write: Write) -> None:
    (run,) = import_runs([write("x.csv", "Step,reward_task,kl_ref\n0,0.5,0.1\n")])
    assert run.dialect == "table"


HISTORY = "_step,_runtime,_timestamp,training/global_step,critic/score/mean,val-core/math/acc/mean@1\n"


def test_a_history_never_counts_log_calls(write: Write) -> None:
    rows = ("0,1.5,170.5,1,0.25,", "1,2.5,171.5,,,", "2,3.5,172.5,1,,0.75", "9,9.5,179.5,2,0.5,")
    text = HISTORY + "".join(f"{row}\n" for row in rows)
    (run,) = import_runs([write("h.csv", text)])
    assert run.step.tolist() == [1, 2]
    assert run.columns["reward_task"].values.tolist() == [0.25, 0.5]
    assert run.columns["eval[set=math,metric=mean,n=1]"].present.tolist() == [True, False]
    assert any("1 of 4 records name no step" in text for text in run.warnings)
    assert run.unknown() == ()
    assert run.duplicates == ()  # the clock differs from row to row, the metrics do not repeat


def test_a_history_without_a_step_uses_log_calls_and_says_so(write: Write) -> None:
    text = "_step,_runtime,critic/score/mean\n0,1.5,0.25\n1,2.5,0.5\n"
    (run,) = import_runs([write("h.csv", text)])
    assert run.step.tolist() == [0, 1]
    assert any("counts calls" in text for text in run.warnings)


class _Lender:
    """A trainer for tests, with one key."""

    def __init__(self, field: str) -> None:
        self.KEYS = (Key("kl", field),)


def test_a_name_that_trainers_use_differently_is_not_understood(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"one": _Lender("kl_ref"), "two": _Lender("kl_old_new")}
    monkeypatch.setattr(meanings, "dialects", lambda: two)
    monkeypatch.setattr(meanings, "dialect", two.__getitem__)
    path = write("h.csv", "_step,_runtime,global_step,kl\n0,1.5,1,0.25\n")
    with pytest.raises(InputError, match=r"several trainers use this name \(one: kl_ref; two: kl_old_new\)"):
        import_runs([path])
    two["two"] = _Lender("kl_ref")  # negative control: where they agree it is understood
    (run,) = import_runs([path])
    assert run.columns["kl_ref"].values.tolist() == [0.25]


def test_the_binary_log_is_refused_with_the_ways_out(write: Write) -> None:
    path = write("offline-run-1/run-x.wandb", b":W&B\x5c\xdb\x00" + bytes(99))
    for source in (path, path.parent):
        with pytest.raises(InputError, match=r"not public\. Import what the trainer wrote beside it"):
            import_runs([source])
