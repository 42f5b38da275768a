"""MLflow's folders: nested keys, settings, several runs, resumes, and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaws.errors import InputError
from rlaws.logs.importing import import_runs
from rlaws.logs.runs import Run
from tests.logs.building import STEPS, value
from tests.logs.conftest import Write, spread
from tests.logs.samples import trackers

RUN = "a1b2c3d4e5f60718"


def imported(path: Path, **wanted: str) -> Run:
    (run,) = import_runs([path], **wanted)  # type: ignore[arg-type]
    return run


def test_a_run_with_nested_keys_settings_and_renamed_at_signs(tmp_path: Path) -> None:
    run = imported(spread(tmp_path, trackers.mlflow_run(RUN, "seed-0")))
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6]
    expected = {"reward_task": "critic/score/mean", "kl_ref": "actor/kl_loss", "kl_old_new": "actor/ppo_kl"}
    for column, key in expected.items():
        place = trackers.VERL.index(key)
        assert run.columns[column].values.tolist() == [value(step, place) for step in range(1, STEPS + 1)]
    assert run.columns["eval[set=math,metric=mean,n=8]"].present.tolist() == [False, False, True, False, False, True]
    assert run.columns["wall_s"].values[0] == trackers.START / 1000 + 1
    assert {"params/actor/optim/lr", "params/algorithm"} <= {key.key for key in run.keys}
    assert run.unknown() == ()


@pytest.mark.parametrize("depth", ["", "mlruns/1/", "1/"])
def test_any_level_of_the_store(tmp_path: Path, depth: str) -> None:
    files = {f"{depth}{name}": data for name, data in trackers.samples()["mlflow/experiment"].items()}
    if depth:
        files[f"{depth.removesuffix('1/')}0/meta.yaml"] = b"name: Default\n"
    folder = spread(tmp_path, files)
    runs = import_runs([folder / "mlruns" if depth.startswith("mlruns") else folder])
    assert [run.name.partition(": ")[2] for run in runs] == ["seed-0 (a1b2c3d4)", "seed-1 (b1b2c3d4)"]
    assert runs[0].columns["reward_task"].values[0] != runs[1].columns["reward_task"].values[0]


def test_a_resumed_run_is_stitched_by_time(tmp_path: Path) -> None:
    files = trackers.mlflow_run(RUN, "x")
    for name in [name for name in files if name.startswith("metrics/") and "val-core" not in name]:
        again = "".join(f"{trackers.START + 60_000 + 1000 * step} {step / 10} {step}\n" for step in (5, 6, 7))
        files[name] += again.encode()
    run = imported(spread(tmp_path, files))
    assert run.step.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert [segment.first for segment in run.segments] == [1, 5]
    assert run.columns["reward_task"].values[4:].tolist() == [0.5, 0.6, 0.7]


def test_damage_is_told(tmp_path: Path) -> None:
    files = trackers.mlflow_run(RUN, "x")
    files["metrics/critic/score/mean"] = files["metrics/critic/score/mean"].replace(b" 2\n", b" two\n", 1)[:-3]
    files["metrics/actor/entropy"] += b"1700000009000 NaN 7\n"
    files["meta.yaml"] = b"run_name: [\n"
    run = imported(spread(tmp_path, files))
    assert run.columns["reward_task"].present.tolist() == [True, False, True, True, True, False, False]
    assert run.columns["entropy_token"].present.all()
    assert not run.columns["entropy_token"].finite()[6]
    assert any("line 2 is not 'timestamp value step'" in sentence for sentence in run.warnings)
    assert any("cut off" in sentence for sentence in run.warnings)


def test_one_metric_alone_needs_its_name(write: Write) -> None:
    path = write("mean", trackers.mlflow_run(RUN, "x")["metrics/critic/score/mean"])
    with pytest.raises(InputError, match="metric="):
        import_runs([path])
    assert imported(path, metric="reward_task").columns["reward_task"].values[0] == value(1, 0)


def test_an_empty_metric_file_and_a_long_setting_do_no_harm(tmp_path: Path) -> None:
    files = trackers.mlflow_run(RUN, "x") | {"metrics/empty": b"", "params/prompt": b"x" * 5000}
    run = imported(spread(tmp_path, files))
    assert len(run.step) == STEPS
    assert "params/prompt" not in {key.key for key in run.keys}


def test_a_project_that_holds_a_store_is_not_taken_as_one(tmp_path: Path) -> None:
    store = {f"mlruns/1/{name}": data for name, data in trackers.samples()["mlflow/experiment"].items()}
    folder = spread(tmp_path, store | {"src/x.py": b"1", "logs/a/b.txt": b"2"})
    assert {run.dialect for run in import_runs([folder])} == {"mlflow"}
    with pytest.raises(InputError, match="holds no run"):
        import_runs([folder / "src"], dialect="mlflow")
