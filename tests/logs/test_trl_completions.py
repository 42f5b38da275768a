"""TRL's completions: counts a prompt, the column that grades, and what is said without pyarrow."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import pytest

from rlaws.errors import InputError
from rlaws.logs.counting import import_counts
from rlaws.logs.dialects import dialects
from rlaws.logs.dialects.base import Sample
from rlaws.logs.readers import head, problem_id
from tests.logs.conftest import Write, spread
from tests.logs.samples import trl

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
COMPLETIONS: Any = dialects()["trl_completions"]


def table(**columns: list[Any]) -> bytes:
    rows = len(next(iter(columns.values())))
    base = {"step": [4] * rows, "prompt": ["p"] * rows, "completion": ["c"] * rows, "advantage": [0.5] * rows}
    file = io.BytesIO()
    pq.write_table(pa.table({**base, **columns}), file)
    return file.getvalue()


def samples(path: Path) -> list[Sample]:
    return list(COMPLETIONS.counts(path, lambda _: None, lambda _: None))


def test_counts_a_prompt_over_a_folder(tmp_path: Path) -> None:
    (counts,) = import_counts([spread(tmp_path, trl.samples()["trl_completions/folder"])])
    assert counts.n.tolist() == [4] * 18
    assert counts.c.sum() == sum((step + 3 * place) % 4 == 0 for step in range(1, 7) for place in range(12))
    assert sorted(set(counts.step.tolist())) == [1, 2, 3, 4, 5, 6]


def test_prompts_are_named_by_their_text_or_messages(write: Write) -> None:
    messages = [[{"role": "user", "content": "1+1"}], [{"role": "user", "content": "2+2"}]]
    found = samples(write("a", table(prompt=messages, accuracy_reward=[1.0, 0.0])))
    assert len({sample.problem for sample in found}) == 2
    (text,) = samples(write("b", table(prompt=["1+1"], accuracy_reward=[1.0])))
    assert text == Sample(4.0, problem_id("1+1"), 1.0)


def test_the_only_reward_function_grades_whatever_its_name(write: Write) -> None:
    assert [sample.score for sample in samples(write("a", table(my_reward=[0.5, -1.0])))] == [0.5, -1.0]


def test_several_reward_functions_are_refused_by_name(write: Write) -> None:
    with pytest.raises(InputError, match="format_reward, length_reward"):
        samples(write("a", table(format_reward=[1.0], length_reward=[0.5])))
    with pytest.raises(InputError, match="no column of a reward"):
        samples(write("b", table(label=["x"])))


def test_blank_grades_are_left_out_and_told(write: Write) -> None:
    warned: list[str] = []
    path = write("a", table(accuracy_reward=[1.0, None, 0.0]))
    assert len(list(COMPLETIONS.counts(path, lambda _: None, warned.append))) == 2
    assert warned == ["a: 1 answers have no accuracy_reward; they are left out."]


def test_a_cut_file_is_refused(write: Write) -> None:
    path = write("a", trl.parquet(3)[:-20])
    assert COMPLETIONS.sniff(head(path)) == 0.0
    with pytest.raises(InputError, match="damaged parquet"):
        samples(path)


def test_another_parquet_is_not_mine(write: Write) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"step": [1], "reward": [0.5]}), file)
    path = write("a", file.getvalue())
    assert COMPLETIONS.sniff(head(path)) == 0.0
    with pytest.raises(InputError, match="lacks completion, prompt"):
        samples(path)


def test_without_pyarrow_the_extra_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    path = write("a", trl.parquet(3))
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert COMPLETIONS.sniff(head(path)) == 0.6
    with pytest.raises(InputError, match=r"rlaws\[logs\]"):
        samples(path)
