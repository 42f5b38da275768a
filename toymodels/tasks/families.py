"""Task families beside ``rlaws.problems.ArithmeticChain``: one near it, one of logic, and mixtures.

They are "problems" objects (``UNITS``, ``draw``); their items are ``Program``. Training on one family and measuring
another gives transfer: the reflection chain needs the same arithmetic with operations that the chain never shows, the
circuit another kind of reasoning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.problems import ProblemSet
from rlaws.seeding import child
from toymodels.tasks.programs import GATES, Program, Step


@dataclass(frozen=True, slots=True)
class ReflectionChain:
    """Near transfer: chains of subtractions and reflections x -> a - x modulo m, and "set" with probability ``reset``.

    Both operations are one-to-one on Z_m, so a wrong value stays wrong until a "set", as in the arithmetic chain.

    Attributes:
        length: Steps L of each chain.
        modulus: m, at least 2.
        reset: Share of "set" steps in [0, 1].
        size: Number of problems.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"length": "steps", "modulus": "1", "reset": "1", "size": "problems"}
    length: int
    modulus: int
    reset: float
    size: int

    def __post_init__(self) -> None:
        if self.length < 1 or self.modulus < 2 or not 0 <= self.reset <= 1 or self.size < 1:
            raise InputError(
                f"length = {self.length}, modulus = {self.modulus}, reset = {self.reset}, size = {self.size}: "
                "needed are length >= 1, modulus >= 2, 0 <= reset <= 1 and size >= 1."
            )

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Draw the problems; difficulties: length, modulus, resets."""
        rng = np.random.default_rng(seed)
        shape, kinds = (self.size, self.length), ("subtract", "reflect", "set")
        code = rng.integers(0, 2, shape)
        code[rng.random(shape) < self.reset] = 2
        amount = np.where(code == 0, rng.integers(1, self.modulus, shape), rng.integers(0, self.modulus, shape))
        start = rng.integers(0, self.modulus, self.size)
        items = tuple(
            Program(f"reflection-{i:06d}", "reflection", self.modulus, (int(start[i]),), steps)
            for i, steps in enumerate(
                tuple(Step(kinds[k], t, int(a)) for t, (k, a) in enumerate(zip(ks, row, strict=True)))
                for ks, row in zip(code, amount, strict=True)
            )
        )
        numbers = {"length": self.length, "modulus": self.modulus, "resets": (code == 2).sum(axis=1)}
        return _problem_set(items, numbers, self, ("length", "modulus", "reset", "size"))


@dataclass(frozen=True, slots=True)
class BooleanCircuit:
    """Far transfer, logic: evaluate a circuit of "and", "or" and "xor" gates on given bits.

    Every gate reads the wire before it and one other earlier wire, so the depth is the length. A wrong bit may be
    masked by an "and" or an "or": the recovery of this family is a property of the circuit, not a setting.

    Attributes:
        bits: Input bits k, at least 2.
        length: Gates L of each circuit.
        size: Number of problems.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"bits": "bits", "length": "steps", "size": "problems"}
    bits: int
    length: int
    size: int

    def __post_init__(self) -> None:
        if self.bits < 2 or self.length < 1 or self.size < 1:
            raise InputError(
                f"bits = {self.bits}, length = {self.length}, size = {self.size}: "
                "needed are bits >= 2, length >= 1 and size >= 1."
            )

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Draw the problems; difficulties: length, modulus (2), bits."""
        rng = np.random.default_rng(seed)
        shape = (self.size, self.length)
        inputs, code = rng.integers(0, 2, (self.size, self.bits)), rng.integers(0, len(GATES), shape)
        before = self.bits + np.arange(self.length) - 1
        other = np.floor(rng.random(shape) * before).astype(np.int64)
        items = tuple(
            Program(
                f"circuit-{i:06d}",
                "circuit",
                2,
                tuple(int(x) for x in inputs[i]),
                tuple(Step(GATES[code[i, t]], int(before[t]), int(other[i, t])) for t in range(self.length)),
            )
            for i in range(self.size)
        )
        numbers = {"length": self.length, "modulus": 2, "bits": self.bits}
        return _problem_set(items, numbers, self, ("bits", "length", "size"))


def _problem_set(
    items: tuple[Program, ...], numbers: Mapping[str, Any], source: Any, settings: tuple[str, ...]
) -> ProblemSet:
    difficulty = {k: np.broadcast_to(np.asarray(v, dtype=np.float64), len(items)).copy() for k, v in numbers.items()}
    ids = np.array([item.id for item in items])
    return ProblemSet(ids, difficulty, items, {name: getattr(source, name) for name in settings})


@dataclass(frozen=True, slots=True)
class Mixture:
    """Problems of several kinds in one set, for example chains of 2 to 4 steps.

    Attributes:
        parts: Problems objects; part i is drawn from the i-th child of the seed.
    """

    UNITS: ClassVar[Mapping[str, str]] = {}
    parts: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError("A mixture of no problems was asked; give at least one part.")

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Draw every part; ids carry the part's number, and the difficulties that all parts have are kept."""
        return join([part.draw(child(seed, i)) for i, part in enumerate(self.parts)])


def join(sets: list[ProblemSet]) -> ProblemSet:
    """Return one set of the problems of all; ids become "part.id", difficulties are those that all sets carry."""
    ids = np.array([f"{i}.{name}" for i, part in enumerate(sets) for name in part.ids])
    shared = set.intersection(*(set(part.difficulty) for part in sets))
    difficulty = {name: np.concatenate([part.difficulty[name] for part in sets]) for name in sorted(shared)}
    items = tuple(item for part in sets for item in part.items)
    return ProblemSet(ids, difficulty, items, {f"part {i}": dict(part.settings) for i, part in enumerate(sets)})
