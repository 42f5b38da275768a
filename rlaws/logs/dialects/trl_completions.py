"""TRL's logged completions, ``completions/completions_<step>.parquet``.

Columns: step, prompt, completion, one for each reward function, advantage. They give how often each prompt was
answered right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from rlaws.errors import InputError
from rlaws.logs.dialects.base import Head, Sample, Tell
from rlaws.logs.dialects.rows import Warn
from rlaws.logs.readers import missing, number, problem_id, shown

_MAGIC = b"PAR1"
_BASE = {"step", "prompt", "completion"}
_GRADER = re.compile(r"accura|correct|solved|exact|\bacc\b|verif", re.IGNORECASE)
_BATCH = 4096  # rows held at once


class TrlCompletions:
    """One file a step, or a folder of them."""

    NAME: ClassVar[str] = "trl_completions"
    TITLE: ClassVar[str] = "TRL, completions parquet"
    NEEDS: ClassVar[str] = "a parquet file with the columns step, prompt, completion and a reward function's"

    def sniff(self, head: Head) -> float:
        """Return 0.95 for parquet with these columns, 0.6 for parquet where pyarrow, which would tell, is missing."""
        if head.members:
            files = _files(head.path)
            here = [name for name in head.members if "/" not in name]
            return min(map(_sure, files)) if files and len(files) == len(here) else 0.0
        return _sure(head.path) if head.raw.startswith(_MAGIC) else 0.0

    def counts(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Sample]:
        """Yield a graded answer a row, in bounded memory.

        Raises:
            InputError: If pyarrow is missing, a file is damaged, or several reward functions could be the grade.
        """
        for file in _files(path) if path.is_dir() else [path]:
            yield from _answers(file, tell, warn)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.parquet") if file.is_file())


def _sure(file: Path) -> float:
    """Return how sure the columns of a parquet file make."""
    try:
        with _opened(file) as table:
            return 0.95 if set(table.schema_arrow.names) >= _BASE else 0.0
    except InputError as error:
        return 0.6 if isinstance(error.__cause__, ImportError) else 0.0


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Open a parquet file with pyarrow, which is loaded here only; damage becomes an ``InputError``."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise missing(file, "pyarrow", "a parquet file") from error
    try:
        with pq.ParquetFile(file) as table:
            yield table
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{file} is a damaged parquet file ({shown(str(error), 120)}); copy it again.") from error


def _answers(file: Path, tell: Tell, warn: Warn) -> Iterator[Sample]:
    blank = 0
    with _opened(file) as table:
        grade = _grade(file, table.schema_arrow)
        for batch in table.iter_batches(batch_size=_BATCH, columns=["step", "prompt", grade]):
            for row in batch.to_pylist():
                score = number(row[grade])
                blank += score is None
                if score is not None:
                    yield Sample(number(row["step"]), _problem(row["prompt"]), score)
    tell(file.stat().st_size)
    if blank:
        warn(f"{file.name}: {blank} answers have no {grade}; they are left out.")


def _problem(prompt: object) -> str:
    """Return the name of a prompt, which is a text or a list of messages."""
    return problem_id(prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, default=str))


def _grade(file: Path, schema: Any) -> str:
    """Return the column that says whether an answer is right.

    Raises:
        InputError: If a column is missing, or no reward function or several could be the grade.
    """
    if lacking := sorted(_BASE - set(schema.names)):
        raise InputError(f"{file} lacks {', '.join(lacking)}; TRL's completions have step, prompt and completion.")
    numeric = ("int", "float", "double", "half", "bool")
    numbers = [field.name for field in schema if str(field.type).startswith(numeric)]
    rewards = [name for name in numbers if name not in (*_BASE, "advantage")]
    graders = rewards if len(rewards) == 1 else [name for name in rewards if _GRADER.search(name)]
    if len(graders) == 1:
        return str(graders[0])
    has = f"the reward functions {', '.join(rewards)}" if rewards else "no column of a reward function"
    raise InputError(
        f"{file} has {has}; "
        "one must say whether an answer is right: keep only that one, or name it after accuracy (accuracy_reward)."
    )


DIALECT = TrlCompletions()
