"""Detection over all samples: the right dialect, and no other specific one, takes each."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaws.logs.dialects import dialects
from rlaws.logs.readers import head
from tests.logs.conftest import spread
from tests.logs.samples import all_samples

GENERIC = {"table", "jsonl", "parquet"}  # any table or rows; they answer 0.5, so that every specific dialect wins
SAMPLES = all_samples()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_only_the_right_dialect_takes_a_sample(name: str, tmp_path: Path) -> None:
    beginning = head(spread(tmp_path, SAMPLES[name]))
    own = name.partition("/")[0]
    sure = {other: one.sniff(beginning) for other, one in dialects().items()}
    assert sure[own] >= 0.5
    assert max(sure, key=lambda other: sure[other]) == own
    for other, score in sure.items():
        assert 0.0 <= score <= 1.0
        assert other == own or score < 0.5 or (other in GENERIC and score == 0.5 < sure[own])


@pytest.mark.parametrize("name", sorted(name for name, files in SAMPLES.items() if len(files) == 1))
def test_the_name_of_a_file_decides_nothing(name: str, tmp_path: Path) -> None:
    files = SAMPLES[name]
    (content,) = files.values()
    own = dialects()[name.partition("/")[0]]
    named, renamed = (head(spread(tmp_path / str(at), {file: content})) for at, file in enumerate((*files, "x")))
    assert own.sniff(named) == own.sniff(renamed)


NOTHING = (b"", b"\n\n", b"\0" * 500, b"hello\nworld\n", b"{}\n{}\n", b"[]", b"\xff\xfe", b"{'a': 1}\n")


@pytest.mark.parametrize("content", NOTHING)
@pytest.mark.parametrize("name", sorted(dialects()))
def test_nothing_is_made_of_nothing(name: str, content: bytes, tmp_path: Path) -> None:
    sure = dialects()[name].sniff(head(spread(tmp_path, {"x": content})))
    assert sure < 0.5 or (name in GENERIC and sure == 0.5)
