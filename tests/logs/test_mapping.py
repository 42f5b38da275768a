"""Mapping files: what they say, what they may not say, and that a typo names the word that was meant."""

from __future__ import annotations

import hashlib

import pytest

from rlaws.errors import InputError
from rlaws.logs.importing import import_runs
from rlaws.logs.mapping import load
from tests.logs.conftest import Write

TABLE = "iter,seed,acc (%),rew,temp\n10,1,50,0.5,1.0\n20,1,60,,1.0\n10,2,55,0.25,1.0\n20,2,65,0.75,1.0\n"
MAPPING = """step: iter
run: seed
columns:
  acc (%): {field: eval, set: math, metric: mean, n: 1, factor: 0.01}
  rew: reward_task
  temp: {what: sampling temperature}
"""


def test_a_mapping_of_six_lines_reads_a_table_of_ones_own(write: Write) -> None:
    table = write("mine.csv", TABLE)
    mapping = write("map.yaml", MAPPING)
    one, two = import_runs([table], mapping=mapping)
    assert (one.name, two.name) == ("mine: 1", "mine: 2")
    assert one.columns["eval[set=math,metric=mean,n=1]"].values.tolist() == [0.5, 0.6]
    assert two.columns["reward_task"].values.tolist() == [0.25, 0.75]
    assert one.columns["reward_task"].present.tolist() == [True, False]
    assert one.step.tolist() == [10, 20]
    assert one.unknown() == ()
    note = next(report for report in one.keys if report.key == "temp")
    assert (note.column, note.understood, note.note) == ("", True, "sampling temperature")
    assert one.settings["mapping"] == MAPPING
    assert one.settings["mapping_sha256"] == hashlib.sha256(MAPPING.encode()).hexdigest()


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ({"stp": "iter"}, "no option 'stp'. Did you mean 'step'?"),
        ({"step": "itr", "columns": {"rew": "lr"}}, "no column 'itr' that the mapping names. Did you mean 'iter'?"),
        ({"step": "iter", "columns": {"reww": "reward_task"}}, "no column 'reww' .* Did you mean 'rew'?"),
        ({"columns": {"rew": "reward_tsk"}}, "'reward_tsk' is not a field .* Did you mean 'reward_task'?"),
        ({"step": "iter", "columns": {"rew": {"feld": "lr"}}}, "no option 'feld'. Did you mean 'field'?"),
        ({"step": "iter", "columns": {"rew": {"field": "lr", "factor": "a lot"}}}, "factor 'a lot'"),
        ({"step": "iter", "columns": {"rew": {"field": "lr", "factor": 0}}}, "other than 0"),
        ({"step": "iter", "columns": {"rew": {"field": "lr", "set": "math"}}}, "'set' is not a label of lr"),
        ({"step": "iter", "columns": {"rew": {}}}, "needs 'field'"),
        ({"step": "iter", "columns": {"rew": 3}}, "must be a field"),
        ({"step": "iter", "columns": {"rew": "eval[set=a,split=b]"}}, "'split' is not a label of eval"),
        ({"columns": {"iter": "step"}}, "name the column of the steps by 'step: iter'"),
        ({"step": ["iter"]}, "must be one name"),
        ({"columns": ["rew"]}, "must name columns"),
        ({"step": "iter", "keys": "verk"}, "no log dialect 'verk'. Did you mean 'verl'"),
    ],
)
def test_a_wrong_mapping_names_what_is_wrong(write: Write, mapping: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        import_runs([write("mine.csv", TABLE)], mapping=mapping)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("step: [", "is no YAML"),
        ("- step", "must name options"),
        ("step: a\nstep: b\n", "names 'step' twice"),
        ("columns:\n  a: lr\n  a: loss\n", "names 'a' twice"),
        ("columns: &x\n  a: lr\nstep: *x\n", "references"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
    ],
)
def test_a_mapping_file_is_safe_and_strict(write: Write, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load(write("map.yaml", text))


def test_files_that_are_no_mapping_are_refused(write: Write) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load("nothing.yaml")
    with pytest.raises(InputError, match="Is it the log itself"):
        load(write("map.yaml", b"#" * (1 << 21)))
    with pytest.raises(InputError, match="UTF-8"):
        load(write("map.yaml", b"step: \xff\xfe"))


def test_a_mapping_adds_to_a_dialect_and_comes_before_it(write: Write) -> None:
    line = "step:{} - critic/score/mean:0.5 - my/metric:0.25 - actor/kl_loss:0.125\n"
    path = write("log", "".join(line.format(s) for s in range(3)))
    (plain,) = import_runs([path])
    assert plain.unknown() == ("my/metric",)
    mapping = {"columns": {"my/metric": "eval[set=own]", "actor/kl_loss": {"field": "kl_ref_seq", "factor": 8}}}
    (run,) = import_runs([path], mapping=mapping)
    assert run.dialect == "verl"
    assert run.columns["eval[set=own]"].values.tolist() == [0.25] * 3
    assert run.columns["kl_ref_seq"].values.tolist() == [1.0] * 3
    assert "kl_ref" not in run.columns
    assert run.unknown() == ()


def test_keys_says_whose_names_a_table_has(write: Write) -> None:
    path = write("t.csv", "round_nr,critic/kl\n1,0.5\n2,0.25\n")
    (run,) = import_runs([path], mapping={"step": "round_nr", "keys": "verl"})
    assert run.columns["kl_ref"].values.tolist() == [0.5, 0.25]
    assert run.settings["keys"] == "verl"
