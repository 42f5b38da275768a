"""Problems: a question, its answer, its difficulty, and a rendering for each kind of policy with an exact inverse."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaws.errors import InputError

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KINDS = ("add", "multiply", "set")
"""Operations of the arithmetic chain; the position is the code in state vectors and, after the m values, in tokens."""

_ASK, _END = 3, 4
"""Offsets after the m value tokens: end of the question, end of the solution (0 to 2 are the operations)."""


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """Problems as a policy sees them.

    Attributes:
        ids: Name of each problem, [P].
        difficulty: Named numbers of each problem, each [P] ("p": success of a unit-strength policy, "length", ...).
        items: The problems themselves where they have content (``ChainProblem``), else empty.
        settings: What the set was drawn from, for provenance.
    """

    ids: NDArray[np.str_]
    difficulty: Mapping[str, NDArray[np.float64]]
    items: tuple[Any, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


def difficulty(problems: ProblemSet, name: str) -> NDArray[np.float64]:
    """Return one named difficulty of every problem, [P].

    Raises:
        InputError: If the set does not carry it.
    """
    if name not in problems.difficulty:
        known = ", ".join(sorted(problems.difficulty)) or "none"
        raise InputError(f"The problems carry no difficulty '{name}', only: {known}. Choose problems that do.")
    return np.asarray(problems.difficulty[name], dtype=np.float64)


def given_or_own(problems: ProblemSet | None, policy: Any, probe: str) -> ProblemSet:
    """Return the problems of the study, or those that a recorded policy brings (``problem_set()``).

    Raises:
        InputError: If there are neither.
    """
    if problems is not None:
        return problems
    if not hasattr(policy, "problem_set"):
        raise InputError(f"{probe} needs problems, and {type(policy).__name__} brings none; add a 'problems' group.")
    own: ProblemSet = policy.problem_set()
    return own


def _ids(stem: str, size: int) -> NDArray[np.str_]:
    return np.array([f"{stem}-{i:06d}" for i in range(size)])


def _check_size(size: int) -> None:
    if size < 1:
        raise InputError(f"size = {size} problems asked; give at least 1.")


# ------------------------------------------------------------------------------------- populations of difficulties
@dataclass(frozen=True, slots=True)
class BetaProblems:
    """Problems whose success probabilities are independent draws of Beta(alpha, beta).

    Attributes:
        alpha: Weight of hard problems: the density goes as p^(alpha - 1) near p = 0; positive.
        beta: Weight of easy problems; positive.
        size: Number of problems.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"alpha": "1", "beta": "1", "size": "problems"}
    alpha: float
    beta: float
    size: int

    def __post_init__(self) -> None:
        _check_size(self.size)
        if not (0 < self.alpha < np.inf and 0 < self.beta < np.inf):
            raise InputError(f"alpha = {self.alpha}, beta = {self.beta}: both must be positive and finite.")

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Draw the problems; they carry the difficulty "p"."""
        p = np.random.default_rng(seed).beta(self.alpha, self.beta, self.size)
        settings = {"alpha": self.alpha, "beta": self.beta, "size": self.size}
        return ProblemSet(_ids("beta", self.size), {"p": p}, settings=settings)


@dataclass(frozen=True, slots=True)
class SingleDifficulty:
    """Problems of one difficulty.

    Attributes:
        p: Success probability of a unit-strength policy on each, in [0, 1].
        size: Number of problems.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"p": "1", "size": "problems"}
    p: float
    size: int

    def __post_init__(self) -> None:
        _check_size(self.size)
        if not 0 <= self.p <= 1:
            raise InputError(f"p = {self.p} is not a probability; give 0 <= p <= 1.")

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Return the problems; nothing is random, so the seed is not used."""
        return ProblemSet(
            _ids("single", self.size), {"p": np.full(self.size, self.p)}, settings={"p": self.p, "size": self.size}
        )


# ------------------------------------------------------------------------------------------- the arithmetic chain
class Operation(NamedTuple):
    """One step: add ``amount``, multiply by ``amount`` (a unit of Z_m), or set the value to ``amount``."""

    kind: str
    amount: int


_WORDS = {"add": "add {}", "multiply": "multiply by {}", "set": "set the value to {}"}
_HEAD = "Start with the value {}. All values are taken modulo {}."
_TAIL = 'After each step write one line "Step i: value". The value after step {} is the answer.'


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", r"(\d+)"))


@dataclass(frozen=True, slots=True)
class ChainProblem:
    """One arithmetic chain: x_t = o_t(x_{t-1}) in Z_m for t = 1 .. L; the answer is x_L.

    Additions and multiplications by units are one-to-one on Z_m, so a wrong value stays wrong however well the later
    steps are done, until a "set" step gives the value afresh.

    Attributes:
        id: Name of the problem.
        start: x_0, in [0, m).
        modulus: m, at least 2.
        operations: o_1 .. o_L.
    """

    id: str
    start: int
    modulus: int
    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        m = self.modulus
        if m < 2 or not 0 <= self.start < m or not self.operations:
            raise InputError(
                f"Problem '{self.id}': start {self.start}, modulus {m}, {len(self.operations)} operations; "
                "needed are modulus >= 2, 0 <= start < modulus and at least one operation."
            )
        for t, (kind, amount) in enumerate(self.operations, 1):
            if kind not in KINDS or not 0 <= amount < m or (kind == "multiply" and gcd(amount, m) != 1):
                raise InputError(
                    f"Problem '{self.id}', step {t}: '{kind} {amount}' is no operation modulo {m}; possible are "
                    "add and set with an amount in [0, modulus), and multiply with an amount coprime to the modulus."
                )

    @property
    def states(self) -> tuple[int, ...]:
        """The true values x_1 .. x_L."""
        values, x = [], self.start
        for kind, amount in self.operations:
            x = amount if kind == "set" else (x + amount if kind == "add" else x * amount) % self.modulus
            values.append(x)
        return tuple(values)

    @property
    def answer(self) -> int:
        """The right answer x_L."""
        return self.states[-1]

    # ---- state vector
    def to_state(self) -> Ints:
        """Return the state vector (m, x_0, kind_1, a_1, .., kind_L, a_L), [2 + 2L]."""
        steps = [v for kind, amount in self.operations for v in (KINDS.index(kind), amount)]
        return np.array([self.modulus, self.start, *steps], dtype=np.int64)

    @staticmethod
    def from_state(state: ArrayLike, id: str = "") -> ChainProblem:
        """Return the problem of a state vector; the inverse of ``to_state``.

        Raises:
            InputError: If the vector is no chain.
        """
        v = [int(x) for x in np.asarray(state).ravel()]
        if len(v) < 4 or len(v) % 2 or not set(v[2::2]) <= set(range(len(KINDS))):
            raise InputError(f"State vector of length {len(v)} is no chain; expected modulus, start, (kind, amount)*.")
        steps = tuple(Operation(KINDS[k], a) for k, a in zip(v[2::2], v[3::2], strict=True))
        return ChainProblem(id, v[1], v[0], steps)

    # ---- tokens
    def to_tokens(self) -> Ints:
        """Return the question as token ids x_0, o_1, a_1, .., o_L, a_L, ASK, [2L + 2].

        Ids 0 .. m-1 are the values, then add, multiply, set, ASK, END: m + 5 in all (``vocabulary_size``).
        """
        m = self.modulus
        steps = [v for kind, amount in self.operations for v in (m + KINDS.index(kind), amount)]
        return np.array([self.start, *steps, m + _ASK], dtype=np.int64)

    @staticmethod
    def from_tokens(tokens: ArrayLike, modulus: int, id: str = "") -> ChainProblem:
        """Return the problem of a token sequence; the inverse of ``to_tokens`` for that modulus.

        Raises:
            InputError: If the tokens are no question.
        """
        v = [int(x) for x in np.asarray(tokens).ravel()]
        kinds = [x - modulus for x in v[1:-1:2]]
        if len(v) < 4 or len(v) % 2 or v[-1] != modulus + _ASK or not set(kinds) <= set(range(len(KINDS))):
            raise InputError(
                f"Tokens {v[:8]}... are no question modulo {modulus}; expected start, (operation, amount)*, ASK."
            )
        steps = tuple(Operation(KINDS[k], a) for k, a in zip(kinds, v[2:-1:2], strict=True))
        return ChainProblem(id, v[0], modulus, steps)

    def solution_tokens(self) -> Ints:
        """Return the right solution as token ids x_1 .. x_L, END, [L + 1]."""
        return np.array([*self.states, self.modulus + _END], dtype=np.int64)

    # ---- text
    def to_text(self) -> str:
        """Return the worded question, one line a step."""
        steps = [f"Step {t}: {_WORDS[kind].format(a)}." for t, (kind, a) in enumerate(self.operations, 1)]
        return "\n".join([_HEAD.format(self.start, self.modulus), *steps, _TAIL.format(len(self.operations))])

    @staticmethod
    def from_text(text: str, id: str = "") -> ChainProblem:
        """Return the problem of a worded question; the inverse of ``to_text``.

        Raises:
            InputError: If a line is not understood; the line is quoted.
        """
        lines = text.split("\n")
        head = _pattern(_HEAD).fullmatch(lines[0])
        if head is None or len(lines) < 3 or lines[-1] != _TAIL.format(len(lines) - 2):
            raise InputError(f"Not a worded chain: it starts '{lines[0]}' and ends '{lines[-1]}'.")
        steps = tuple(_read_step(line, t) for t, line in enumerate(lines[1:-1], 1))
        return ChainProblem(id, int(head[1]), int(head[2]), steps)

    def solution_text(self) -> str:
        """Return the right solution in words, one line a step."""
        return "\n".join(f"Step {t}: {x}" for t, x in enumerate(self.states, 1))


def _read_step(line: str, t: int) -> Operation:
    for kind, words in _WORDS.items():
        found = _pattern(f"Step {t}: {words}.").fullmatch(line)
        if found:
            return Operation(kind, int(found[1]))
    raise InputError(f"Line '{line}' is not step {t}; expected 'Step {t}: add|multiply by|set the value to a.'.")


def vocabulary_size(modulus: int) -> int:
    """Number of token ids of the chain: the m values, three operations, ASK and END."""
    return modulus + _END + 1


def read_tokens(tokens: ArrayLike, length: int, modulus: int) -> Ints:
    """Return the values shown by a proposed solution in tokens, [L]; -1 where there is no value.

    Args:
        tokens: What the policy wrote after ASK; what follows END or step L is not read.
        length: Steps L of the problem.
        modulus: m.
    """
    shown = np.asarray(tokens, dtype=np.int64).ravel()[:length]
    values = np.full(length, -1, dtype=np.int64)
    end = np.flatnonzero(shown == modulus + _END)
    shown = shown[: end[0]] if end.size else shown
    values[: shown.size] = np.where(shown < modulus, shown, -1)
    return values


_LINE = re.compile(r"^\W*step\s+(\d+)\W(.*)$", re.IGNORECASE | re.MULTILINE)
_MODULO = re.compile(r"\(?\bmod(?:ulo)?\s*\d+\)?", re.IGNORECASE)


def read_text(text: str, length: int) -> Ints:
    """Return the values shown by a proposed solution in words, [L]; -1 where no value is found.

    The value of a step is the last whole number on its line, "mod m" aside; of several lines for one step the last
    counts, so that a solution may repeat the question first.
    """
    values = np.full(length, -1, dtype=np.int64)
    for number, rest in _LINE.findall(text):
        found = re.findall(r"-?\d+", _MODULO.sub("", rest))
        if found and len(number) < 7 and 1 <= int(number) <= length:
            values[int(number) - 1] = int(found[-1]) if len(found[-1]) < 18 else -1
    return values


@dataclass(frozen=True, slots=True)
class Grade:
    """What is right in proposed solutions.

    Attributes:
        step_correct: The step follows from the value *shown* before it, y_t = o_t(y_{t-1}), [M, L]: the c_t of the
            credit-assignment chain. A step after a missing value is right only if it is a "set".
        on_track: The shown value is the true one, y_t = x_t, [M, L]: the z_t of that chain.
    """

    step_correct: Bools
    on_track: Bools

    @property
    def outcome(self) -> Bools:
        """Whether the final answer is right, [M]."""
        return self.on_track[:, -1]


def grade(problems: ProblemSet, problem: ArrayLike, values: ArrayLike) -> Grade:
    """Grade proposed solutions of arithmetic chains.

    For a solver whose every step is right with probability p, wrong values being uniform over the m - 1 others:
    P(z_t = 1 | z_{t-1} = 1) = p, and P(z_t = 1 | z_{t-1} = 0) = r p + (1 - r)(1 - p)/(m - 1) with r the reset share:
    the recovery of the credit-assignment chain, up to the chance of falling back on the true value.

    Args:
        problems: Chains of one length L.
        problem: Index of the problem of each solution, [M].
        values: The values shown, [M, L]; anything outside [0, m) is no value.

    Raises:
        InputError: If the problems are no chains of one length, or the values do not fit them.
    """
    start, kinds, amounts, modulus = chain_arrays(problems)
    rows, shown = np.asarray(problem, dtype=np.int64), np.asarray(values, dtype=np.int64)
    if shown.shape != (rows.size, kinds.shape[1]):
        raise InputError(f"Values have shape {shown.shape}; expected {rows.size} solutions of {kinds.shape[1]} steps.")
    m = modulus[rows, None]
    known = (shown >= 0) & (shown < m)
    before = np.concatenate([start[rows, None], np.where(known, shown, -1)[:, :-1]], axis=1)
    follows = _apply(kinds[rows], amounts[rows], before, m)
    usable = (before >= 0) | (kinds[rows] == KINDS.index("set"))
    return Grade(known & usable & (shown == follows), shown == true_states(problems)[rows])


def _apply(kinds: Ints, amounts: Ints, before: Ints, m: Ints) -> Ints:
    """Apply operations elementwise."""
    moved = np.where(kinds == KINDS.index("add"), before + amounts, before * amounts) % m
    return np.where(kinds == KINDS.index("set"), amounts, moved)


def chain_arrays(problems: ProblemSet) -> tuple[Ints, Ints, Ints, Ints]:
    """Return x_0 [P], the operations' codes and amounts [P, L], and the moduli [P] of chains of one length.

    Raises:
        InputError: If the problems are no chains, or differ in length.
    """
    if not problems.items or not all(isinstance(item, ChainProblem) for item in problems.items):
        raise InputError("These problems have no arithmetic chains; use problems = arithmetic_chain.")
    states = [item.to_state() for item in problems.items]
    if len({s.size for s in states}) != 1:
        raise InputError("The chains differ in length; use one length a problem set.")
    table = np.stack(states)
    return table[:, 1], table[:, 2::2], table[:, 3::2], table[:, 0]


def true_states(problems: ProblemSet) -> Ints:
    """Return the true values x_1 .. x_L of every chain, [P, L]."""
    return np.array([item.states for item in problems.items], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class ArithmeticChain:
    """The task that all rungs share: chains of L operations modulo m.

    A step is "set" with probability ``reset``, else an addition of 1 .. m-1 or a multiplication by a unit other than
    1, with equal chances (modulo 2, which has no such unit, always an addition). Set values are uniform in Z_m.

    Attributes:
        length: Steps L of each chain.
        modulus: m, at least 2.
        reset: Share of "set" steps in [0, 1]: the recovery r of the credit-assignment chain.
        size: Number of problems.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"length": "steps", "modulus": "1", "reset": "1", "size": "problems"}
    length: int
    modulus: int
    reset: float
    size: int

    def __post_init__(self) -> None:
        _check_size(self.size)
        if self.length < 1 or self.modulus < 2 or not 0 <= self.reset <= 1:
            raise InputError(
                f"length = {self.length}, modulus = {self.modulus}, reset = {self.reset}: "
                "needed are length >= 1, modulus >= 2 and 0 <= reset <= 1."
            )

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Draw the problems; difficulties: length, modulus, resets, and span (steps from the last "set" to the end)."""
        rng = np.random.default_rng(seed)
        ids = _ids("chain", self.size)
        kinds, amounts = self._operations(rng)
        start = rng.integers(0, self.modulus, self.size)
        items = tuple(
            ChainProblem(str(i), int(x), self.modulus, _steps(k, a))
            for i, x, k, a in zip(ids, start, kinds, amounts, strict=True)
        )
        resets = kinds == KINDS.index("set")
        span = np.where(resets.any(axis=1), 1 + np.argmax(resets[:, ::-1], axis=1), self.length)
        numbers = {"length": np.full(self.size, self.length), "modulus": np.full(self.size, self.modulus)}
        numbers |= {"resets": resets.sum(axis=1), "span": span}
        settings = {"length": self.length, "modulus": self.modulus, "reset": self.reset, "size": self.size}
        return ProblemSet(ids, {k: v.astype(np.float64) for k, v in numbers.items()}, items, settings)

    def _operations(self, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Draw codes and amounts, each [P, L]."""
        shape = (self.size, self.length)
        units = np.array([a for a in range(2, self.modulus) if gcd(a, self.modulus) == 1], dtype=np.int64)
        kinds = rng.integers(0, 2 if units.size else 1, shape)
        kinds[rng.random(shape) < self.reset] = KINDS.index("set")
        added = rng.integers(1, self.modulus, shape)
        factors = units[rng.integers(0, units.size, shape)] if units.size else added
        given = rng.integers(0, self.modulus, shape)
        return kinds, np.choose(kinds, [added, factors, given])


def _steps(kinds: Sequence[int] | Ints, amounts: Sequence[int] | Ints) -> tuple[Operation, ...]:
    return tuple(Operation(KINDS[int(k)], int(a)) for k, a in zip(kinds, amounts, strict=True))
