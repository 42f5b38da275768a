"""Damaged logs of every dialect: runs or one sentence come out, and no number that does not stand in the file."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlaws.errors import RlawsError
from rlaws.logs.counting import import_counts
from rlaws.logs.dialects import dialects
from rlaws.logs.explain import table
from rlaws.logs.importing import import_runs
from rlaws.logs.runs import Run
from tests.logs.conftest import spread
from tests.logs.samples import all_samples

SAMPLES = all_samples()
METRIC = "eval[set=math,metric=mean]"
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
INSERTS = (b"\n", b"{}\n", b"\0\0\0\n", b'"\n', b"nan,inf,-inf\n", b"step:1e9 - \xff\n")
LONGEST = 3  # mutations of one example


def test_every_dialect_has_a_sample() -> None:
    assert {name.partition("/")[0] for name in SAMPLES} == set(dialects())


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_sample_is_recognised_and_every_key_is_understood(name: str, tmp_path: Path) -> None:
    wanted = dialects()[name.partition("/")[0]]
    path = spread(tmp_path, SAMPLES[name])
    if hasattr(wanted, "counts"):
        (counts,) = import_counts([path])
        assert counts.dialect == wanted.NAME
        return
    if wanted.NAME == "wandb_offline":
        with pytest.raises(RlawsError, match="not public"):
            import_runs([path])
        return
    runs = import_runs([path], metric=METRIC)
    assert {run.dialect for run in runs} == {wanted.NAME}
    for run in runs:
        assert run.unknown() == ()
        assert run.columns


def _flip(content: bytes, draw: st.DataObject) -> bytes:
    at = draw.draw(st.integers(0, len(content) - 1))
    return content[:at] + bytes([content[at] ^ draw.draw(st.integers(1, 255))]) + content[at + 1 :]


def _digit(content: bytes, draw: st.DataObject) -> bytes:
    places = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    if not places:
        return content
    at = draw.draw(st.sampled_from(places))
    return content[:at] + bytes([draw.draw(st.integers(48, 57))]) + content[at + 1 :]


def _cut(content: bytes, draw: st.DataObject) -> bytes:
    return content[: draw.draw(st.integers(0, len(content)))]


def _hole(content: bytes, draw: st.DataObject) -> bytes:
    start = draw.draw(st.integers(0, len(content)))
    return content[:start] + content[start + draw.draw(st.integers(0, 200)) :]


def _lines(content: bytes, draw: st.DataObject) -> bytes:
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return content
    i, j = (draw.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    what = draw.draw(st.sampled_from(("double", "swap", "drop", "repeat tail", "insert")))
    if what == "double":
        lines.insert(i, lines[i])
    elif what == "swap":
        lines[i], lines[j] = lines[j], lines[i]
    elif what == "drop":
        del lines[i]
    elif what == "repeat tail":
        lines += lines[i:]
    else:
        lines.insert(i, draw.draw(st.sampled_from(INSERTS)))
    return b"".join(lines)


MUTATIONS = (_flip, _flip, _digit, _cut, _hole, _lines, _lines)


def _texts(files: Iterable[bytes]) -> str:
    out = []
    for content in files:
        utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        out.append(content.decode("utf-16", "replace") if utf16 else content.replace(b"\0", b"").decode("latin-1"))
    return "\n".join(out)


def _standing(text: str) -> np.ndarray:
    """Return every number that a text can be read to hold, sorted."""
    numbers = {float(word) for word in NUMBER.findall(text)}
    numbers |= {float(word.lstrip("+-")) for word in NUMBER.findall(text)} | {0.0, 1.0}  # false and true
    return np.array(sorted(number for number in numbers if math.isfinite(number)))


def _check(run: Run, standing: np.ndarray) -> None:
    """Every finite value of a logged column is a number of the file, times a factor that the report states."""
    factors = {name: {1.0} for name in run.columns}
    for report in run.keys:
        factors.setdefault(report.column, {1.0}).add(report.factor)
    for name, column in run.columns.items():
        assert not column.values[~column.present].size or np.isnan(column.values[~column.present]).all()
        if name == "segment":
            continue
        for value in column.values[column.finite()]:
            near = [np.abs(standing * factor - value).min() <= 1e-9 * abs(value) for factor in factors[name]]
            assert any(near), f"{name}: {value} does not stand in the file"


BINARY = ("parquet", "tensorboard")


@settings(
    max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(st.data())
def test_damage_gives_runs_or_a_sentence(draw: st.DataObject) -> None:
    name = draw.draw(st.sampled_from(sorted(SAMPLES)))
    files = dict(SAMPLES[name])
    for _ in range(draw.draw(st.integers(1, LONGEST))):
        target = draw.draw(st.sampled_from(sorted(files)))
        if files[target]:
            files[target] = draw.draw(st.sampled_from(MUTATIONS))(files[target], draw)
    folder = Path(tempfile.mkdtemp())
    try:
        _import(spread(folder, files), name, files)
    finally:
        shutil.rmtree(folder)


def _import(path: Path, name: str, files: dict[str, bytes]) -> None:
    standing = None if name.startswith(BINARY) else _standing(_texts(files.values()))
    for forced in (None, name.partition("/")[0]):
        with suppress(RlawsError):
            for run in import_runs([path], dialect=forced, metric=METRIC):
                assert np.all(np.diff(run.step) > 0)
                assert table(run).encode()
                if standing is not None:
                    _check(run, standing)
        with suppress(RlawsError):
            for counts in import_counts([path], dialect=forced):
                assert np.all((counts.c >= 0) & (counts.c <= counts.n) & (counts.n > 0))


def test_the_check_sees_a_value_that_does_not_stand_there(tmp_path: Path) -> None:
    files = SAMPLES["verl"]
    (run,) = import_runs([spread(tmp_path, files)])
    standing = _standing(_texts(files.values()))
    _check(run, standing)
    run.columns["reward_task"].values[3] += 1e-4
    with pytest.raises(AssertionError, match="reward_task"):
        _check(run, standing)


def test_one_changed_number_changes_one_value(tmp_path: Path) -> None:
    files = dict(SAMPLES["verl"])
    (before,) = import_runs([spread(tmp_path / "a", files)])
    content = files["console.log"]
    old = b"critic/score/mean:0.196774"
    assert content.count(old) == 1
    new = content.replace(old, b"critic/score/mean:0.796774")
    (after,) = import_runs([spread(tmp_path / "b", {"console.log": new})])
    for name, column in before.columns.items():
        changed = np.flatnonzero(~((column.values == after.columns[name].values) | np.isnan(column.values)))
        assert changed.tolist() == ([2] if name == "reward_task" else [])
    assert after.columns["reward_task"].values[2] == 0.796774
