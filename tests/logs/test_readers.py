"""The low-level readers on files as users have them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rlaws.errors import InputError
from rlaws.logs import readers
from tests.logs.conftest import Write

TEXT = "step:1 - a/b:0.5\nmesure é:1\n最后:2\n"


def _lines(path: Path) -> tuple[list[tuple[int, str]], list[str], int]:
    told: list[int] = []
    warned: list[str] = []
    return list(readers.lines(path, told.append, warned.append)), warned, sum(told)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_encoding_gives_the_same_lines(write: Write, encoding: str, end: str) -> None:
    content = TEXT.replace("\n", end).encode(encoding)
    if encoding.startswith("utf-16-"):  # without its mark it is told by its zeros, which mostly Western text has
        content = ("a/b:0.5" * 20 + end).encode(encoding)
        lines, warned, told = _lines(write("log", content))
        assert lines == [(1, "a/b:0.5" * 20)]
    else:
        lines, warned, told = _lines(write("log", content))
        assert lines == [(1, "step:1 - a/b:0.5"), (2, "mesure é:1"), (3, "最后:2")]
    assert warned == []
    assert told == len(content)


def test_latin_1_is_read_and_told_once(write: Write) -> None:
    lines, warned, _ = _lines(write("log", b"a\nmesure \xe9:1\ncaf\xe9:2\n"))
    assert lines == [(1, "a"), (2, "mesure é:1"), (3, "café:2")]
    assert len(warned) == 1
    assert "line 2" in warned[0]


def test_console_decoration_is_removed(write: Write) -> None:
    content = (
        "\x1b[36m(TaskRunner pid=12, ip=10.0.0.1)\x1b[0m step:1 - a/b:1.0 [repeated 3x across cluster]\n"
        "(main_task pid=9) step:2\n"
        "(pid=9) step:3\n"
        "(a remark) stays\n"
        " 10%|#   |\r 20%|##  |\rstep:4\n"
        "\x1b]0;title\x07step:5\n"
    )
    lines, _, _ = _lines(write("log", content))
    assert [text for _, text in lines] == [
        "step:1 - a/b:1.0", "step:2", "step:3", "(a remark) stays", " 10%|#   |", " 20%|##  |", "step:4", "step:5",
    ]
    assert [number for number, _ in lines] == [1, 2, 3, 4, 5, 5, 5, 6]


def test_only_an_unended_last_line_is_marked_as_cut(write: Write) -> None:
    lines, _, _ = _lines(write("log", "one\ntwo"))
    assert [isinstance(text, readers.Cut) for _, text in lines] == [False, True]
    lines, _, _ = _lines(write("log", "one\ntwo\n"))
    assert [isinstance(text, readers.Cut) for _, text in lines] == [False, False]


def test_zero_bytes_are_left_out_and_told(write: Write) -> None:
    lines, warned, _ = _lines(write("log", b"a:1\n\0\0\0\0b:2\n"))
    assert lines == [(1, "a:1"), (2, "b:2")]
    assert "zero bytes" in warned[0]


def test_a_line_without_end_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LINE_LIMIT", 1000)
    for content in (b"x" * 5000, ("x" * 90000).encode("utf-16")):
        with pytest.raises(InputError, match="longer than"):
            _lines(write("log", content))


def test_json_lines_keep_nan_and_leave_out_damage(write: Write) -> None:
    deep = "[" * 100_000
    huge = '{"a": ' + "9" * 5000 + "}"
    content = f'{{"a": NaN, "b": -Infinity}}\n\nnot json\n{deep}\n{huge}\n[1]\n{{"a": 2}}\n{{"a": 3.1'
    warned: list[str] = []
    rows = list(readers.json_lines(write("log", content), lambda _: None, warned.append))
    assert [at for at, _ in rows] == [1, 7]
    assert math.isnan(rows[0][1]["a"])
    assert rows[0][1]["b"] == -math.inf
    assert rows[1][1] == {"a": 2}
    assert [text.split(" is ")[0].split(": ")[0] for text in warned] == [f"log, line {i}" for i in (3, 4, 5, 6, 8)]
    assert "cut off" in warned[-1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'loss': '0.91', 'kl': 1e-05}", {"loss": "0.91", "kl": 1e-5}),
        ("{'a': -inf, 'b': True, 'c': None}", {"a": -math.inf, "b": True, "c": None}),
        ("{'a': np.float64(0.5), 'b': tensor(-1.5)}", {"a": 0.5, "b": -1.5}),
        ('{"it\'s": {"x": [1, (2,)]}}', {"it's": {"x": [1, [2]]}}),
        ("{'a': 1", None),
        ("{'a': __import__('os').system('true')}", None),
        ("{'a': open('x')}", None),
        ("{**{}}", None),
        ("{1, 2}", None),
        ("{'a': 1 + 2}", None),
        ("(" * 5000, None),
        ("{" * 5000 + "}" * 5000, None),
        (r"{'a\d': 1}", {r"a\d": 1}),
    ],
)
def test_literals_are_read_and_nothing_is_evaluated(text: str, value: object) -> None:
    assert readers.literal(text) == value


def test_the_fast_path_of_literals_reads_the_same() -> None:
    text = "{'a': 1, 'b': -2.5e-07, 'c': 'text', 'd': {'e': [1, 2]}}"
    slow = text.replace("'text'", '"text"')  # a double quote sends it the slow way
    assert readers.literal(text) == readers.literal(slow) == json.loads(text.replace("'", '"'))


@pytest.mark.parametrize(
    ("value", "number"),
    [(0.5, 0.5), (3, 3.0), (True, 1.0), ("0.91", 0.91), (" 1e-6 ", 1e-6), ("-inf", -math.inf), ("+3", 3.0),
     ("", None), ("0.9%", None), ("1_000", None), ("１", None), (None, None), ("0x10", None), ("1,5", None),
     (10**400, None), ([1], None)],
)
def test_what_is_a_number(value: object, number: float | None) -> None:
    assert readers.number(value) == number


def test_nan_is_a_number() -> None:
    assert math.isnan(readers.number("NaN") or 0.0)


def test_nested_records_become_flat() -> None:
    deep: dict[str, object] = {"x": 1}
    for _ in range(50):
        deep = {"d": deep}
    flat = readers.flat({"a": {"b": 1, "c": "t"}, "l": [1], "n": None, "big": 10**400, **deep})
    assert flat["a/b"] == 1.0
    assert flat["a/c"] == "t"
    assert "l" not in flat
    assert "n" not in flat
    assert "nested too deeply" in flat.values()
    assert flat["big"] == "too large a number"


def test_tables_name_their_damage(write: Write) -> None:
    warned: list[str] = []
    path = write("t.csv", 'step,"a, b",c\n1,0.5,\n2,0.6\n3,0.7,x')
    rows = list(readers.table(path, lambda _: None, warned.append))
    assert rows == [(2, {"step": "1", "a, b": "0.5"}), (4, {"step": "3", "a, b": "0.7", "c": "x"})]
    assert "line 3 has 2 cells for 3 columns" in warned[0]
    assert "no line end" in warned[1]
    with pytest.raises(InputError, match="two columns are named 'a'"):
        list(readers.table(write("t.csv", "a,a\n1,2\n"), lambda _: None, warned.append))
    with pytest.raises(InputError, match="not closed"):
        list(readers.table(write("t.csv", 'a,b\n1,"2\n3,4\n'), lambda _: None, warned.append))


@pytest.mark.parametrize("mark", [",", "\t", ";"])
def test_the_delimiter_is_seen(write: Write, mark: str) -> None:
    path = write("t", f"step{mark}a\n1{mark}2\n")
    assert list(readers.table(path, lambda _: None, lambda _: None)) == [(2, {"step": "1", "a": "2"})]


@pytest.mark.parametrize(
    ("keys", "step"),
    [
        (["_step", "loss", "train/global_step"], "train/global_step"),
        (["step", "trainer/global_step"], "trainer/global_step"),
        (["episode", "training_step"], "training_step"),
        (["Step", "x"], "Step"),
        (["iteration"], "iteration"),
        (["_step", "time/step_seconds"], ""),
        (["stepsize", "steps_per_second"], ""),
    ],
)
def test_which_key_is_the_step(keys: list[str], step: str) -> None:
    assert readers.step_key(keys) == step


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a file nor a folder"):
        readers.head(tmp_path / "nothing")
