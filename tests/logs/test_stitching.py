"""Merging of ragged rows, resumes, duplicates, gaps: what counts, and that everything else is listed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.logs.dialects.base import Record
from rlaws.logs.runs import Gap
from rlaws.logs.stitching import Cells, Rows, Stitched, duplicates, place, stitch


def _stitched(entries: Iterable[tuple[float | None, dict[str, float]]]) -> tuple[Rows, Stitched]:
    rows = Rows(lambda key: Cells(stored=True, dated=key != "time"))
    for at, (step, values) in enumerate(entries, start=1):
        rows.add(Record(step, values, at), "log")
    return rows, stitch(rows)


def _values(rows: Rows, stitched: Stitched, key: str) -> list[float | None]:
    values, present = place(rows.cells[key], stitched)
    return [float(v) if p else None for v, p in zip(values, present, strict=True)]


def test_ragged_rows_of_one_step_are_merged_without_resume() -> None:
    rows, stitched = _stitched([(1, {"loss": 0.1}), (1, {"reward": 2.0}), (2, {"loss": 0.3}), (2, {"eval": 5.0})])
    assert stitched.step.tolist() == [1, 2]
    assert _values(rows, stitched, "loss") == [0.1, 0.3]
    assert _values(rows, stitched, "reward") == [2.0, None]
    assert _values(rows, stitched, "eval") == [None, 5.0]
    assert duplicates(rows.cells, stitched) == ()
    assert stitched.warnings == ()


def test_the_later_segment_wins_from_its_first_step_on() -> None:
    first = [(s, {"r": float(s)}) for s in range(1, 41)]
    second = [(s, {"r": 100.0 + s}) for s in range(31, 36)]  # killed again after five steps
    rows, stitched = _stitched([*first, *second])
    assert stitched.step.tolist() == list(range(1, 36))
    assert _values(rows, stitched, "r") == [*map(float, range(1, 31)), *(100.0 + s for s in range(31, 36))]
    assert [(s.first, s.last, s.kept) for s in stitched.segments] == [(1, 30, 30), (31, 35, 5)]
    assert stitched.segments[0].replaced == tuple(range(31, 41))
    assert stitched.segments[1].place == "log, 41"
    assert stitched.segment.tolist() == [1] * 30 + [2] * 5
    assert "Segment 2 begins at step 31" in stitched.warnings[0]
    assert "10 steps from 31 to 40 were run again" in stitched.warnings[1]


def test_three_segments_nest() -> None:
    entries = [(s, {"r": 1.0}) for s in range(10)] + [(s, {"r": 2.0}) for s in range(6, 12)]
    rows, stitched = _stitched(entries + [(s, {"r": 3.0}) for s in range(4, 8)])
    assert stitched.step.tolist() == list(range(8))
    assert _values(rows, stitched, "r") == [1.0] * 4 + [3.0] * 4
    assert stitched.segments[1].kept == 0


def test_writers_that_lag_are_no_resume() -> None:
    entries = [(3, {"reward": 0.1, "time": 1.0}), (2, {"loss": 0.5, "time": 2.0}), (4, {"reward": 0.2, "time": 3.0})]
    rows, stitched = _stitched([*entries, (3, {"loss": 0.6, "time": 4.0})])
    assert len(stitched.segments) == 1
    assert stitched.step.tolist() == [2, 3, 4]
    assert _values(rows, stitched, "loss") == [0.5, 0.6, None]
    assert _values(rows, stitched, "reward") == [None, 0.1, 0.2]
    assert duplicates(rows.cells, stitched) == ()


def test_doubled_lines_are_told_from_changed_ones() -> None:
    entries = [(1, {"a": 1.0, "b": np.nan}), (1, {"a": 1.0, "b": np.nan}), (2, {"a": 2.0}), (2, {"a": 2.5})]
    rows, stitched = _stitched(entries)
    found = duplicates(rows.cells, stitched)
    assert [(d.step, d.same, d.differing) for d in found] == [(1, 2, 0), (2, 0, 1)]
    assert _values(rows, stitched, "a") == [1.0, 2.5]  # the last one, not the mean


def test_a_logged_nan_is_not_a_missing_value() -> None:
    rows, stitched = _stitched([(1, {"a": np.nan, "b": 1.0}), (2, {"b": 2.0}), (3, {"a": np.inf, "b": 3.0})])
    values, present = place(rows.cells["a"], stitched)
    assert present.tolist() == [True, False, True]
    assert np.isnan(values[:2]).all()
    assert rows.cells["a"].strange() == 2


def test_gaps_are_listed_where_there_is_a_usual_spacing() -> None:
    _, stitched = _stitched([(s, {"a": 1.0}) for s in (10, 20, 30, 60, 70, 75, 85)])
    assert stitched.gaps == (Gap(30, 60),)
    _, stitched = _stitched([(s, {"a": 1.0}) for s in (1, 10, 100, 1000)])
    assert stitched.gaps == ()


def test_rows_out_of_order_are_sorted_and_told() -> None:
    rows, stitched = _stitched([(s, {"a": float(s)}) for s in (5, 3, 4, 1, 2)])
    assert _values(rows, stitched, "a") == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(stitched.segments) == 1
    assert "out of order" in stitched.warnings[0]


def test_runs_put_one_behind_the_other_are_refused() -> None:
    with pytest.raises(InputError, match="several runs"):
        _stitched([(s, {"a": float(seed)}) for seed in range(3) for s in range(20)])
    with pytest.raises(InputError, match="several runs"):
        _stitched([(s % 3, {"a": 1.0}) for s in range(29)])


def test_a_restart_from_scratch_replaces_everything_and_says_so() -> None:
    rows, stitched = _stitched([(s, {"a": 1.0}) for s in range(5)] + [(s, {"a": 2.0}) for s in range(9)])
    assert _values(rows, stitched, "a") == [2.0] * 9
    assert any("replaced as a whole" in text for text in stitched.warnings)


def test_records_without_a_step() -> None:
    rows, stitched = _stitched([(None, {"a": 1.0}), (7, {"a": 2.0}), (np.nan, {"a": 3.0})])
    assert stitched.step.tolist() == [7]
    assert "2 of 3 records name no step (first: log, 1)" in stitched.warnings[0]
    rows, stitched = _stitched([(None, {"a": 1.0}), (None, {"a": 2.0})])
    assert stitched.counted
    assert _values(rows, stitched, "a") == [1.0, 2.0]
    assert stitched.step.tolist() == [1, 2]


def test_text_is_kept_apart() -> None:
    rows = Rows(lambda key: Cells(True, True))
    rows.add(Record(1.0, {"a": "0.25", "b": "oops\x07" + "x" * 99}, 1), "log")
    stitched = stitch(rows)
    assert _values(rows, stitched, "a") == [0.25]
    assert _values(rows, stitched, "b") == [None]
    assert rows.cells["b"].texts == 1
    assert rows.cells["b"].example.startswith("oops?x")


def test_no_record_and_endless_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no record"):
        _stitched([])
    monkeypatch.setattr("rlaws.logs.stitching.KEY_LIMIT", 10)
    with pytest.raises(InputError, match="more than 10 different keys"):
        _stitched([(1, {f"k{i}": 1.0 for i in range(11)})])
