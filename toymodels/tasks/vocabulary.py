"""One vocabulary for all task families, so that one model reads them all; question <-> tokens with an exact inverse.

Ids 0 .. V-1 are values (and wire numbers), then the words of ``WORDS``. A question reads

    FAMILY, m, inputs .., (operation, operands) .., ASK       and its solution       x_1 .. x_L, END.

For the arithmetic chain, what stands between m and the end is ``ChainProblem.to_tokens`` with the ids of the words
moved from m to V: the modulus is said in the question instead of being fixed by the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rlaws.errors import InputError
from toymodels.tasks.programs import GATES, OPERATIONS, Ints, Program, Step

FAMILIES = ("chain", "reflection", "circuit")
WORDS = (*OPERATIONS, "ask", "end", "style", "pad", *FAMILIES)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token ids of values and words.

    Attributes:
        values: V; moduli up to V - 1 and wire numbers below V can be written.
    """

    values: int

    def __post_init__(self) -> None:
        if self.values < 3:
            raise InputError(f"A vocabulary of {self.values} values cannot write a modulus; give at least 3.")

    @property
    def size(self) -> int:
        """Number of token ids."""
        return self.values + len(WORDS)

    def id(self, word: str) -> int:
        """Return the token id of a word of ``WORDS``."""
        return self.values + WORDS.index(word)

    def encode(self, program: Program) -> Ints:
        """Return the question of a program as token ids.

        Raises:
            InputError: If a number of the program is beyond the vocabulary's values.
        """
        body = [token for step in program.steps for token in (self.id(step.kind), *self._operands(step))]
        tokens = [self.id(program.family), program.modulus, *program.inputs, *body, self.id("ask")]
        largest = max(program.modulus, *(max(self._operands(step)) for step in program.steps))
        if largest >= self.values:
            raise InputError(
                f"Problem '{program.id}' writes the number {largest}, but the vocabulary has the values 0 to "
                f"{self.values - 1}; use a vocabulary of at least {largest + 1} values or smaller problems."
            )
        return np.array(tokens, dtype=np.int64)

    @staticmethod
    def _operands(step: Step) -> tuple[int, ...]:
        return (step.left, step.right) if step.kind in GATES else (step.right,)

    def decode(self, tokens: ArrayLike, id: str = "") -> Program:
        """Return the program of a question; the inverse of ``encode``.

        Raises:
            InputError: If the tokens are no question.
        """
        v = [int(x) for x in np.asarray(tokens).ravel()]
        starts = [i for i, x in enumerate(v) if self.values <= x < self.values + len(OPERATIONS)]
        families = range(self.id(FAMILIES[0]), self.size)
        if not starts or starts[0] < 3 or v[0] not in families or v[-1] != self.id("ask"):
            raise InputError(f"Tokens {v[:8]}... are no question; expected family, modulus, inputs, steps, ASK.")
        inputs = tuple(v[2 : starts[0]])
        spans = zip(starts, [*starts[1:], len(v) - 1], strict=True)
        steps = tuple(self._read(v[a:b], len(inputs) + t - 1) for t, (a, b) in enumerate(spans))
        return Program(id, FAMILIES[v[0] - families.start], v[1], inputs, steps)

    def _read(self, tokens: list[int], before: int) -> Step:
        kind = OPERATIONS[tokens[0] - self.values]
        wanted = 2 if kind in GATES else 1
        if len(tokens) != 1 + wanted:
            raise InputError(f"Step {tokens} is not '{kind}' with {wanted} operand(s).")
        return Step(kind, tokens[1], tokens[2]) if kind in GATES else Step(kind, before, tokens[1])
