"""A task: problems as padded token arrays, the reading of responses, demonstrations, and exact grades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlaws.errors import InputError
from rlaws.problems import ProblemSet
from rlaws.store import digest
from toymodels.tasks.programs import Bools, Grade, Ints, Tables, grade, programs_of, tabulate
from toymodels.tasks.vocabulary import Vocabulary


class Reading(NamedTuple):
    """What M responses show.

    Attributes:
        values: Values shown for steps 1 .. S, [M, S]; -1 where there is none.
        length: Tokens written, END included, [M].
        ended: END was written, [M].
        styled: The style token stands directly after the last step, [M].
    """

    values: Ints
    length: Ints
    ended: Bools
    styled: Bools


@dataclass(frozen=True, slots=True)
class Task:
    """Problems in tokens. Make one with ``make_task``.

    Attributes:
        vocabulary: Token ids.
        questions: Questions, padded on the right with "pad", [P, Q].
        question_length: Tokens of each question, [P].
        tables: The programs behind them.
        demonstrations: Right solutions x_1 .. x_L, END, padded on the right, [P, R].
        response: R, the most tokens that a response may have.
        style: There is room for the style token.
    """

    vocabulary: Vocabulary
    questions: Ints
    question_length: Ints
    tables: Tables
    demonstrations: Ints
    response: int
    style: bool

    def __len__(self) -> int:
        return len(self.question_length)

    @property
    def width(self) -> int:
        """Tokens of the longest question and response together: the context that a model needs."""
        return int(self.questions.shape[1]) + self.response

    @property
    def identity(self) -> str:
        """A hash of all questions and the response length: two tasks with one identity are the same."""
        return digest(self.vocabulary.values, self.response, self.questions.tolist())

    def read(self, rows: Ints, responses: Ints) -> Reading:
        """Read the values, the style token and the end of responses.

        Args:
            rows: Problem of each response, [M].
            responses: Tokens, [M, R]; what follows END is not read.
        """
        v, steps = self.vocabulary, self.tables.steps[rows]
        is_end = responses == v.id("end")
        ended = is_end.any(axis=1)
        end = np.where(ended, is_end.argmax(axis=1), responses.shape[1])
        position = np.arange(responses.shape[1])
        shown = (position < end[:, None]) & (responses < v.values)
        values = np.where(shown, responses, -1)[:, : self.tables.kind.shape[1]]
        styled = ((responses == v.id("style")) & (position == steps[:, None]) & (position < end[:, None])).any(axis=1)
        return Reading(values, np.minimum(end + 1, responses.shape[1]), ended, styled)

    def grade(self, rows: Ints, reading: Reading) -> Grade:
        """Grade what responses show, exactly."""
        return grade(self.tables, rows, reading.values)

    def answers(self, rows: Ints, reading: Reading) -> Ints:
        """Return the answer class of each response: the value of the last step, -1 where none is shown, [M]."""
        return np.take_along_axis(reading.values, self.tables.steps[rows, None] - 1, axis=1)[:, 0]


def make_task(problems: ProblemSet, values: int, *, style: bool = False, spare: int = 0) -> Task:
    """Render problems as tokens.

    Args:
        problems: Arithmetic chains, reflection chains, circuits or a mixture.
        values: Values of the vocabulary; one number for all tasks that a model is to read.
        style: Leave room for the style token after the last step.
        spare: More tokens that a response may have beyond the longest right one.

    Raises:
        InputError: If a problem cannot be written in the vocabulary.
    """
    vocabulary, programs = Vocabulary(values), programs_of(problems)
    if spare < 0:
        raise InputError(f"spare = {spare} tokens; give 0 or more.")
    tables = tabulate(programs)
    encoded = [vocabulary.encode(program) for program in programs]
    length = np.array([tokens.size for tokens in encoded], dtype=np.int64)
    questions = np.full((len(programs), length.max()), vocabulary.id("pad"), dtype=np.int64)
    for row, tokens in enumerate(encoded):
        questions[row, : tokens.size] = tokens
    response = int(tables.steps.max()) + 1 + int(style) + spare
    return Task(vocabulary, questions, length, tables, _demonstrations(vocabulary, tables, response), response, style)


def _demonstrations(vocabulary: Vocabulary, tables: Tables, response: int) -> Ints:
    shown = np.full((len(tables.steps), response), vocabulary.id("pad"), dtype=np.int64)
    shown[:, : tables.truth.shape[1]] = np.where(tables.truth >= 0, tables.truth, vocabulary.id("pad"))
    np.put_along_axis(shown, tables.steps[:, None], vocabulary.id("end"), axis=1)
    return shown


def label_noise(labels: Bools, q: float, rng: np.random.Generator) -> Bools:
    """Return labels of which each is flipped with probability q: noisy outcome or step labels of any shape."""
    return labels ^ (rng.random(labels.shape) < q)


@dataclass(frozen=True, slots=True)
class Verifier:
    """A checker of final answers that errs.

    P(reward | right) = 1 - fn; P(reward | wrong) = fp, plus ``style`` where the response carries the style token.

    Attributes:
        fp: False-positive rate in [0, 1].
        fn: False-negative rate in [0, 1].
        style: delta, what the style token adds to the false-positive rate; fp + style at most 1.
    """

    fp: float = 0.0
    fn: float = 0.0
    style: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.fp <= 1 and 0 <= self.fn <= 1 and 0 <= self.style <= 1 - self.fp):
            raise InputError(
                f"fp = {self.fp}, fn = {self.fn}, style = {self.style}: needed are rates in [0, 1] "
                "with fp + style <= 1."
            )

    def __call__(self, outcome: Bools, styled: Bools, rng: np.random.Generator) -> Bools:
        """Return whether each response is rewarded, [M]; one uniform a response is drawn whatever the rates."""
        rate = np.where(outcome, 1.0 - self.fn, self.fp + self.style * styled)
        return rng.random(outcome.shape) < rate
