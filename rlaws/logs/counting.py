"""Import of answers per problem: how often each problem was answered right, from dumps, tables and folders."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.logs.detection import located
from rlaws.logs.dialects.base import Count, CountDialect, Sample, Tell
from rlaws.logs.importing import Warnings
from rlaws.logs.runs import Counts

PLAIN = ((0.0, 1.0), (-1.0, 1.0))  # scores of which it is plain what is right
SHOWN = 8  # scores named in a refusal


def import_counts(
    paths: Sequence[str | Path],
    *,
    dialect: str | None = None,
    threshold: float | None = None,
    tell: Tell | None = None,
) -> list[Counts]:
    """Import how often each problem was answered right.

    Args:
        paths: Files or folders; a folder is walked.
        dialect: Name of the dialect of all of them, or None to find it from the content of each.
        threshold: An answer with at least this score is right; needed where scores are neither 0/1 nor -1/1.
        tell: Told the number of bytes read since the last call.

    Returns:
        One table a file or folder, a row for each model, step and problem in the order in which they begin.

    Raises:
        InputError: Nothing to read, unknown or ambiguous dialect, damaged content, a problem whose counts are
            impossible, or scores of which it is not plain which are right.
    """
    found = [pair for path in paths for pair in located(Path(path), "counts", dialect)]
    if not found:
        raise InputError("There is nothing to import; give files or folders of answers per problem.")
    return [_import(path, source, threshold, tell or (lambda _: None)) for path, source in found]


class _Table:
    """Counts and graded answers while they are read: rows by (model, step, problem), 12 bytes a graded answer."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, float | None, str], int] = {}
        self.n = array("q")
        self.c = array("q")
        self.counted: set[int] = set()
        self.of = array("I")  # row of each graded answer
        self.scores = array("d")

    def row(self, model: str, step: float | None, problem: str) -> int:
        """Return the row, a new one where it is not there yet."""
        row = self.rows.setdefault((model, step, problem), len(self.rows))
        if row == len(self.n):
            self.n.append(0)
            self.c.append(0)
        return row

    def count(self, given: Count, path: Path) -> None:
        """Take a count.

        Raises:
            InputError: If it is impossible, or its problem has one already.
        """
        row = self.row(given.model, given.step, given.problem)
        who = f"{path}: problem '{given.problem}'" + (f" of model '{given.model}'" if given.model else "")
        if row in self.counted:
            raise InputError(f"{who} is there twice; remove one of them, or name model or step in a column.")
        if not 0 <= given.c <= given.n or given.n == 0 or given.n >= 2**62:
            raise InputError(f"{who} has {given.c} right of {given.n}; 1 or more samples and 0 to all of them right.")
        self.counted.add(row)
        self.n[row], self.c[row] = given.n, given.c


def _import(path: Path, source: Any, threshold: float | None, tell: Tell) -> Counts:
    dialect: CountDialect = source
    warnings = Warnings()
    table = _Table()
    for item in dialect.counts(path, tell, warnings):
        if isinstance(item, Count):
            table.count(item, path)
        else:
            _take(table, item)
    n, c = np.array(table.n, dtype=np.int64), np.array(table.c, dtype=np.int64)
    _grade(table, threshold, path, n, c, warnings)
    keep = n > 0
    if not keep.any():
        raise InputError(f"{path}: no problem with a graded answer in it. {' '.join(warnings.all())}")
    models, steps, problems = zip(*table.rows, strict=True)
    at = np.array([np.nan if step is None else step for step in steps])
    return Counts(
        name=path.name if path.is_dir() else path.stem,
        dialect=dialect.NAME,
        sources=(str(path),),
        model=np.array(models, dtype=str)[keep],
        problem=np.array(problems, dtype=str)[keep],
        step=at[keep],
        n=n[keep],
        c=c[keep],
        warnings=warnings.all(),
        settings={} if threshold is None else {"threshold": f"{threshold:g}"},
    )


def _take(table: _Table, answer: Sample) -> None:
    table.of.append(table.row(answer.model, answer.step, answer.problem))
    table.scores.append(answer.score)


def _grade(
    table: _Table, threshold: float | None, path: Path, n: NDArray[np.int64], c: NDArray[np.int64], warnings: Warnings
) -> None:
    """Add the graded answers to the counts.

    Raises:
        InputError: If it is not plain which scores are right.
    """
    scores, of = np.array(table.scores), np.array(table.of, dtype=np.int64)
    finite = np.isfinite(scores)
    if not finite.all():
        warnings(f"{path.name}: {int((~finite).sum())} answers have no finite score; they are not counted.")
    scores, of = scores[finite], of[finite]
    right = scores >= (_bound(scores, path) if threshold is None else threshold)
    np.add.at(n, of, 1)
    np.add.at(c, of[right], 1)


def _bound(scores: NDArray[np.float64], path: Path) -> float:
    seen = np.unique(scores)
    if not seen.size or any(set(seen.tolist()) <= set(plain) for plain in PLAIN):
        return 1.0
    some = ", ".join(f"{score:g}" for score in seen[:SHOWN]) + (", ..." if seen.size > SHOWN else "")
    raise InputError(
        f"{path}: the scores are {some}, so it is not plain which answers are right; say from which score on "
        "(threshold=)."
    )
