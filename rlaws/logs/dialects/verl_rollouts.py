"""verl's rollout dumps: a file a step, a line an answer, with the question, the answer and its score."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.errors import InputError
from rlaws.logs import readers
from rlaws.logs.dialects.base import Head, Sample, Tell

_LINE = re.compile(r'^\s*\{\s*"input"\s*:\s*"')
_REST = ('"output":', '"score":')


class VerlRollouts:
    """The dumps of ``trainer.rollout_data_dir`` and ``trainer.validation_data_dir``."""

    NAME: ClassVar[str] = "verl_rollouts"
    TITLE: ClassVar[str] = "rollout or validation dumps of verl (a line an answer)"
    NEEDS: ClassVar[str] = 'lines {"input": ..., "output": ..., "score": ..., "step": ...}'

    def sniff(self, head: Head) -> float:
        """Return how sure a file is such a dump, or a folder one of them."""
        if head.members:
            dumps = [name for name in head.members if name.endswith(".jsonl")]
            return self.sniff(readers.head(head.path / dumps[0])) if dumps and len(dumps) == len(head.members) else 0.0
        if not _LINE.match(head.text):
            return 0.0
        if all(word in head.text for word in _REST):
            return 0.95
        return 0.4 if "\n" in head.text else 0.6  # a first answer of more than 64 KiB hides the rest of its line

    def counts(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Sample]:
        """Yield the answers; a question is named by the hash of its text, and "acc" is preferred to "score".

        Raises:
            InputError: If no line has a question and a score.
        """
        files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
        found = False
        for file in files:
            for at, row in readers.json_lines(file, tell, warn):
                score = readers.number(row.get("acc", row.get("score")))
                if "input" not in row or score is None:
                    warn(f"{file.name}, line {at} has no question or no score that is a number; it is left out.")
                    continue
                found = True
                yield Sample(readers.number(row.get("step")), readers.problem_id(str(row["input"])), score)
        if not found:
            raise InputError(f"{path}: no line has 'input' and a 'score' that is a number.")


DIALECT = VerlRollouts()
