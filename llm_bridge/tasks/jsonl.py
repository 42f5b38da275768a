"""A user's own questions: a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llm_bridge.tasks.answers import ASK, final_answer, number, plain, tagged
from llm_bridge.tasks.asked import Judged
from llm_bridge.tasks.judge import JUDGE
from rlaws.errors import InputError, suggest
from rlaws.problems import ProblemSet


def _exact(gold: str, answer: str) -> Judged:
    return Judged(plain(answer) == plain(gold), plain(answer))


def _numeric(gold: str, answer: str) -> Judged:
    value = number(answer)
    return Judged(value is not None and value == number(gold), plain(answer) if value is None else str(value))


def _math(gold: str, answer: str) -> Judged:
    reply = JUDGE.ask("math", gold=gold, answer=answer)
    return Judged(False, plain(answer)) if reply is None else Judged(bool(reply["right"]), str(reply["form"]))


MODES: dict[str, Callable[[str, str], Judged]] = {"exact": _exact, "numeric": _numeric, "math": _math}
"""How answers are compared: as text, white space aside; by the last number in them, exactly; as mathematics."""


@dataclass(frozen=True, slots=True)
class JsonlItem:
    """One question of a file.

    Attributes:
        text: The question.
        answer: The right answer.
        mode: One of ``MODES``.
        instruction: What is added to the question; "" for nothing.
    """

    text: str
    answer: str
    mode: str
    instruction: str

    @property
    def question(self) -> str:
        """The question, with how the answer is to be given."""
        return f"{self.text}\n{self.instruction}" if self.instruction else self.text

    @property
    def solution(self) -> str:
        """The right answer in tags."""
        return tagged(self.answer)

    def read(self, text: str) -> str | None:
        r"""Return the final answer: in tags, in \boxed{} or after "answer:"."""
        return final_answer(text)

    def judge(self, answer: str) -> Judged:
        """Compare an answer with the right one."""
        return MODES[self.mode](self.answer, answer)


@dataclass(frozen=True, slots=True)
class JsonlProblems:
    """Questions and answers of a file, one JSON object a line.

    Attributes:
        path: The file.
        question: Key of the question.
        answer: Key of the answer, a text or a number.
        id: Key of the name of a problem; "" numbers the lines.
        difficulties: Keys of numbers that say how hard a problem is.
        mode: How answers are compared, one of ``MODES``.
        instruction: What is added to every question; "" for nothing.
        size: Problems that are drawn without replacement; 0 for all of them in the order of the file.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "path": "name", "question": "name", "answer": "name", "id": "name", "difficulties": "name", "mode": "name",
        "instruction": "name", "size": "problems",
    }  # fmt: skip
    path: str
    question: str = "question"
    answer: str = "answer"
    id: str = ""
    difficulties: tuple[str, ...] = ()
    mode: str = "math"
    instruction: str = ASK
    size: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode = '{self.mode}' is not known.{suggest(self.mode, MODES)}")
        if self.size < 0:
            raise InputError(f"size = {self.size}; give 0 for all problems of the file, or how many to draw.")

    def sources(self) -> tuple[Path, ...]:
        """Return the file: its content counts in the hash of a study."""
        if not Path(self.path).is_file():
            raise InputError(f"There is no file '{self.path}'; give problems.path=FILE.jsonl.")
        return (Path(self.path),)

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Read the file and draw from it.

        Raises:
            InputError: If the file or one of its lines cannot be used; line and key are named.
        """
        rows = [self._row(i, line) for i, line in enumerate(self._lines(), 1) if line.strip()]
        if not rows or self.size > len(rows):
            raise InputError(f"{self.path} has {len(rows)} problems; {self.size or 'at least 1'} asked.")
        ids = [str(r[self.id]) if self.id else f"line-{i:06d}" for i, r in enumerate(rows, 1)]
        if len(set(ids)) < len(ids):
            twice = next(x for x in ids if ids.count(x) > 1)
            raise InputError(f"{self.path}: key '{self.id}' names several problems '{twice}'; names must differ.")
        picked = np.arange(len(rows))
        if self.size:
            picked = np.sort(np.random.default_rng(seed).choice(len(rows), self.size, replace=False))
        items = tuple(
            JsonlItem(str(rows[i][self.question]), str(rows[i][self.answer]), self.mode, self.instruction)
            for i in picked
        )
        numbers = {k: np.array([float(rows[i][k]) for i in picked]) for k in self.difficulties}
        settings = {"file": Path(self.path).name, "size": len(items), "mode": self.mode}
        return ProblemSet(np.array(ids)[picked], numbers, items, settings)

    def _lines(self) -> list[str]:
        try:
            return self.sources()[0].read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Cannot read {self.path}: {error}. It must be UTF-8 text.") from error

    def _row(self, line: int, text: str) -> dict[str, Any]:
        """Return one line as a dictionary with the keys that are needed."""
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{self.path}, line {line}: no JSON ({error.msg}, column {error.colno}).") from error
        if not isinstance(row, dict):
            raise InputError(f"{self.path}, line {line}: a JSON object is needed, not {type(row).__name__}.")
        for key in (self.question, self.answer, *self.difficulties, *((self.id,) if self.id else ())):
            if key not in row:
                raise InputError(f"{self.path}, line {line}: there is no key '{key}'.{suggest(key, row)}")
        for key, kinds, what in self._kinds():
            if isinstance(row[key], bool) or not isinstance(row[key], kinds):
                raise InputError(f"{self.path}, line {line}, key '{key}': {row[key]!r} is not {what}.")
        return row

    def _kinds(self) -> list[tuple[str, tuple[type, ...], str]]:
        """Return key, types and their name for what must be typed."""
        return [
            (self.question, (str,), "a text"),
            (self.answer, (str, int, float), "a text or a number"),
            *((k, (int, float), "a number") for k in self.difficulties),
        ]
