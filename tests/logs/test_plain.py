"""Tables and JSON lines of one's own, and Parquet with and without pyarrow."""

from __future__ import annotations

import sys

import pytest

from rlaws.errors import InputError
from rlaws.logs.importing import import_runs
from tests.logs.conftest import Write


@pytest.mark.parametrize("mark", [",", "\t", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_with_names_of_the_schema(write: Write, mark: str, end: str, encoding: str) -> None:
    rows = (("step", "reward_task", "eval[set=math]", "odd"), ("1", "0.5", "", "x"), ("2", "NaN", "0.25", ""))
    text = "".join(mark.join(row) + end for row in rows)
    (run,) = import_runs([write("t.txt", text.encode(encoding))])
    assert run.dialect == "table"
    assert run.step.tolist() == [1, 2]
    assert run.columns["reward_task"].present.tolist() == [True, True]
    assert run.columns["eval[set=math]"].present.tolist() == [False, True]
    assert run.unknown() == ("odd",)
    assert next(r for r in run.keys if r.key == "odd").texts == 1


def test_labels_of_a_table(write: Write) -> None:
    names = ["eval[set=a,metric=mean,k=2,n=3]", "eval[metric=mean]", "pass_k[k=8]"]
    (run,) = import_runs([write("t.tsv", "step\t" + "\t".join(names) + "\n1\t0.5\t0.25\t0.125\n")])
    assert [run.columns[name].values[0] for name in names] == [0.5, 0.25, 0.125]


def test_a_table_with_names_of_a_trainer(write: Write) -> None:
    (run,) = import_runs([write("t.csv", "global_step,critic/score/mean,actor/kl_loss\n1,0.5,0.1\n")])
    assert run.columns["kl_ref"].values.tolist() == [0.1]
    assert run.settings["keys"].startswith("verl")


def test_a_table_without_meaning_or_step_is_refused(write: Write) -> None:
    with pytest.raises(InputError, match=r"nothing in it has a place in the schema.*mapping file"):
        import_runs([write("t.csv", "step,foo\n1,0.5\n")])
    with pytest.raises(InputError, match="no column names the training step among 'foo', 'reward_task'"):
        import_runs([write("t.csv", "foo,reward_task\n1,0.5\n")])
    with pytest.raises(InputError, match="no dialect that is known"):
        import_runs([write("t.csv", "step,reward_task\n")])
    with pytest.raises(InputError, match="no dialect that is known"):
        import_runs([write("t.csv", "1,2\n3,4\n")])


def test_damaged_rows_are_told(write: Write) -> None:
    (run,) = import_runs([write("t.csv", "step,lr\n1,0.5\n2\n3,0.7,8\n4,0.2")])
    assert run.step.tolist() == [1, 4]
    assert [text for text in run.warnings if "cells for" in text] == [
        "t.csv, line 3 has 1 cells for 2 columns; the row is left out.",
        "t.csv, line 4 has 3 cells for 2 columns; the row is left out.",
    ]
    assert any("no line end" in text for text in run.warnings)


def test_json_lines(write: Write) -> None:
    text = '{"step": 1, "reward_task": 0.5, "nested": {"lr": 1}}\n{"step": 2, "reward_task": NaN}\n{"step": 3, "rew'
    (run,) = import_runs([write("x.jsonl", text)])
    assert run.columns["reward_task"].present.tolist() == [True, True]
    assert run.unknown() == ("nested/lr",)
    assert any("cut off" in text for text in run.warnings)


def test_parquet(write: Write) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = write("t.parquet", "")
    columns = {"step": [1, 2, 3], "reward_task": [0.5, None, float("nan")], "note": ["a", "b", "c"]}
    parquet.write_table(arrow.table({**columns, "l": [[1], [2], []]}), path)
    (run,) = import_runs([path])
    assert run.columns["reward_task"].present.tolist() == [True, False, True]
    assert run.unknown() == ("note",)
    assert any("'l' holds lists" in text for text in run.warnings)
    content = path.read_bytes()
    with pytest.raises(InputError, match="damaged Parquet"):
        import_runs([write("t.parquet", content[:-20])])


def test_parquet_without_pyarrow_names_the_extra(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"rlaws\[logs\]"):
        import_runs([write("t.parquet", b"PAR1" + bytes(50))])
