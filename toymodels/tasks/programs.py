"""Straight-line programs: the one form in which every task family is evaluated and graded.

A program has input values and steps; wire 0 .. k-1 are the inputs, wire k + t is the output of step t (t = 0 .. L-1).
The arithmetic chain of ``rlaws.problems`` is a program whose every step reads the wire before it; a Boolean circuit
reads any earlier two. A solution shows the outputs y_1 .. y_L in order, so one exact grader serves all families:

    follows_t  = [y_t = o_t(shown values)],     on_track_t = [y_t = x_t],     outcome = on_track_L.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.problems import KINDS, ChainProblem, Operation, ProblemSet

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNARY = ("add", "multiply", "set", "subtract", "reflect")
"""Steps on the wire before them and an amount a: x + a, x a, a, x - a, a - x, all modulo m."""
GATES = ("and", "or", "xor")
"""Steps on two earlier wires, modulo 2."""
OPERATIONS = UNARY + GATES
_SET = OPERATIONS.index("set")


class Step(NamedTuple):
    """One step: its operation, the wire it reads, and an amount (``UNARY``) or a second wire (``GATES``)."""

    kind: str
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Program:
    """One problem of any family.

    Attributes:
        id: Name of the problem.
        family: Name of its family.
        modulus: m, at least 2.
        inputs: Values of the input wires, each in [0, m).
        steps: o_1 .. o_L.
    """

    id: str
    family: str
    modulus: int
    inputs: tuple[int, ...]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        m = self.modulus
        if m < 2 or not self.inputs or not self.steps or not all(0 <= x < m for x in self.inputs):
            raise InputError(
                f"Problem '{self.id}': modulus {m}, inputs {self.inputs}, {len(self.steps)} steps; "
                "needed are modulus >= 2, inputs in [0, modulus) and at least one of each."
            )
        for t, step in enumerate(self.steps):
            self._check(step, t)

    def _check(self, step: Step, t: int) -> None:
        kind, left, right = step
        last, m = len(self.inputs) + t - 1, self.modulus
        unit = kind != "multiply" or gcd(right, m) == 1
        if kind in UNARY and left == last and 0 <= right < m and unit:
            return
        if kind in GATES and m == 2 and 0 <= left <= last and 0 <= right <= last:
            return
        raise InputError(
            f"Problem '{self.id}', step {t + 1}: {tuple(step)} is no step modulo {m}; possible are "
            f"{', '.join(UNARY)} on the wire before with an amount in [0, modulus) (coprime to it for multiply), "
            f"and {', '.join(GATES)} on two earlier wires modulo 2."
        )

    @property
    def states(self) -> tuple[int, ...]:
        """The true values x_1 .. x_L."""
        return tuple(int(x) for x in _true_values(tabulate([self]))[0])

    @property
    def answer(self) -> int:
        """The right answer x_L."""
        return self.states[-1]


def from_chain(problem: ChainProblem) -> Program:
    """Return an arithmetic chain as a program of the family "chain"."""
    steps = tuple(Step(kind, t, amount) for t, (kind, amount) in enumerate(problem.operations))
    return Program(problem.id, "chain", problem.modulus, (problem.start,), steps)


def to_chain(program: Program) -> ChainProblem:
    """Return a program as an arithmetic chain; the inverse of ``from_chain``.

    Raises:
        InputError: If it is none.
    """
    if len(program.inputs) != 1 or not {step.kind for step in program.steps} <= set(KINDS):
        raise InputError(f"Problem '{program.id}' of the family '{program.family}' is no arithmetic chain.")
    operations = tuple(Operation(step.kind, step.right) for step in program.steps)
    return ChainProblem(program.id, program.inputs[0], program.modulus, operations)


def programs_of(problems: ProblemSet) -> tuple[Program, ...]:
    """Return the problems of a set as programs.

    Raises:
        InputError: If the set has no content, or content of another kind.
    """
    items = tuple(from_chain(item) if isinstance(item, ChainProblem) else item for item in problems.items)
    if not items or not all(isinstance(item, Program) for item in items):
        raise InputError(
            "These problems have no steps to show; a toy transformer takes problems = arithmetic_chain, "
            "reflection_chain, boolean_circuit or a mixture of them."
        )
    return items


# ------------------------------------------------------------------------------------------------- many at once
class Tables(NamedTuple):
    """Programs as padded arrays; P programs, at most K inputs and S steps.

    Attributes:
        modulus: m, [P].
        inputs: Input values right-aligned, so that step t writes wire K + t in every row, [P, K].
        kind: Position in ``OPERATIONS``, [P, S].
        left: First wire read, [P, S].
        right: Second wire read, [P, S]; equal to ``left`` where there is none.
        amount: Amount a, [P, S]; 0 for gates.
        steps: L of each program, [P].
        truth: True values x_t, [P, S]; -1 after step L.
    """

    modulus: Ints
    inputs: Ints
    kind: Ints
    left: Ints
    right: Ints
    amount: Ints
    steps: Ints
    truth: Ints


def tabulate(programs: Sequence[Program]) -> Tables:
    """Return programs as padded arrays."""
    wires, length = max(len(p.inputs) for p in programs), max(len(p.steps) for p in programs)
    inputs = np.zeros((len(programs), wires), dtype=np.int64)
    cells = np.zeros((4, len(programs), length), dtype=np.int64)
    cells[0] = _SET
    for row, program in enumerate(programs):
        shift = wires - len(program.inputs)
        inputs[row, shift:] = program.inputs
        cells[:, row, : len(program.steps)] = np.transpose([_cells(step, shift) for step in program.steps])
    modulus = np.array([p.modulus for p in programs], dtype=np.int64)
    steps = np.array([len(p.steps) for p in programs], dtype=np.int64)
    kind, left, right, amount = cells
    tables = Tables(modulus, inputs, kind, left, right, amount, steps, np.full_like(kind, -1))
    return tables._replace(truth=_true_values(tables))


def _cells(step: Step, shift: int) -> tuple[int, int, int, int]:
    gate = step.kind in GATES
    left = step.left + shift
    return OPERATIONS.index(step.kind), left, step.right + shift if gate else left, 0 if gate else step.right


def _true_values(tables: Tables) -> Ints:
    """Evaluate step by step, [P, S]."""
    wires, rows = tables.inputs, np.arange(len(tables.steps))
    for t in range(tables.kind.shape[1]):
        left, right = wires[rows, tables.left[:, t]], wires[rows, tables.right[:, t]]
        value = apply(tables.kind[:, t], left, right, tables.amount[:, t], tables.modulus)
        wires = np.concatenate([wires, value[:, None]], axis=1)
    values = wires[:, tables.inputs.shape[1] :]
    return np.where(np.arange(values.shape[1]) < tables.steps[:, None], values, -1)


def apply(kind: Ints, left: Ints, right: Ints, amount: Ints, modulus: Ints) -> Ints:
    """Apply operations elementwise; all arguments of one shape, or broadcast to it."""
    outcomes = (
        left + amount,
        left * amount,
        np.broadcast_to(amount, kind.shape),
        left - amount,
        amount - left,
        left * right,
        left + right - left * right,
        left + right,
    )
    return np.asarray(np.choose(kind, outcomes) % modulus)


class Grade(NamedTuple):
    """What is right in M shown solutions; nothing is right after the program's last step.

    Attributes:
        follows: The step follows from the values *shown* before it, [M, S] (``step_correct`` of ``Rollouts``).
        on_track: The shown value is the true one, [M, S].
        exists: The program has this step, [M, S].
        outcome: The final answer is right, [M].
    """

    follows: Bools
    on_track: Bools
    exists: Bools
    outcome: Bools


def grade(tables: Tables, rows: Ints, shown: Ints) -> Grade:
    """Grade shown values exactly; a step that reads a missing value is wrong (a "set" reads none).

    Args:
        tables: Programs.
        rows: Program of each solution, [M].
        shown: Values shown, [M, S]; anything outside [0, m) is no value.
    """
    modulus = tables.modulus[rows, None]
    exists = np.arange(tables.kind.shape[1]) < tables.steps[rows, None]
    known = (shown >= 0) & (shown < modulus) & exists
    wires = np.concatenate([tables.inputs[rows], np.where(known, shown, -1)], axis=1)
    left = np.take_along_axis(wires, tables.left[rows], axis=1)
    right = np.take_along_axis(wires, tables.right[rows], axis=1)
    kind = tables.kind[rows]
    follows = apply(kind, left, right, tables.amount[rows], modulus)
    usable = ((left >= 0) & (right >= 0)) | (kind == _SET)
    on_track = known & (shown == tables.truth[rows])
    outcome = np.take_along_axis(on_track, tables.steps[rows, None] - 1, axis=1)[:, 0]
    return Grade(known & usable & (shown == follows), on_track, exists, outcome)
