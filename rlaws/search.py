"""Search at inference: what is asked of a policy that can be branched, and the ledger that it hands back.

One currency for all methods: an *expansion* is one node at which the policy or the verifier is called, the root and
every completed answer included. Tokens (steps written) and verifier calls stand beside it, because methods differ in
how many of each an expansion takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.problems import ProblemSet

METHODS = ("best_of_n", "beam", "diverse_beam", "mcts", "lookahead")
"""Sampling; step-level beam; beam in groups that do not compete; PUCT; best-first search by value."""

SELECTS = ("oracle", "verifier", "majority", "weighted")
"""The answer that is given: the right one if it was reached; best by verifier; most votes; most verifier score."""


@dataclass(frozen=True, slots=True)
class Search:
    """One way to search, and how much it may spend.

    Attributes:
        method: One of ``METHODS``.
        budgets: Most expansions for one problem, rising, [K].
        select: One of ``SELECTS``.
    """

    method: str
    budgets: tuple[int, ...]
    select: str = "oracle"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method = '{self.method}' is not known.{suggest(self.method, METHODS)}")
        if self.select not in SELECTS:
            raise InputError(f"select = '{self.select}' is not known.{suggest(self.select, SELECTS)}")
        b = self.budgets
        if not b or b[0] < 1 or any(x >= y for x, y in pairwise(b)):
            raise InputError(f"budgets = {b}: give one or more rising whole numbers of expansions, at least 1.")


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search answered on each problem within each budget; every array is [P, K].

    A search that has completed no answer within its budget answers by one sample of the policy, charged as such
    (``select`` "oracle" gives no such answer, so that its curve is the method's own).

    Attributes:
        found: Whether the right answer is among the completed ones.
        right: Whether the answer given is right.
        right_steps: Steps of the answer before its first error; -1 where there is none.
        expansions: Nodes at which policy or verifier were called.
        tokens: Steps written.
        verifier_calls: Values or scores asked for.
        answers: Completed answers.
        visits: Visits of the root's children, [P, b], from "mcts"; else None.
        cost: Totals, by ledger entry.
    """

    found: NDArray[np.bool_]
    right: NDArray[np.bool_]
    right_steps: NDArray[np.int64]
    expansions: NDArray[np.int64]
    tokens: NDArray[np.int64]
    verifier_calls: NDArray[np.int64]
    answers: NDArray[np.int64]
    visits: NDArray[np.int64] | None = None
    cost: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Brancher(Protocol):
    """Can be continued from any prefix, so that it can be searched."""

    def branch(self, problems: ProblemSet, search: Search, seed: np.random.SeedSequence) -> Searched:
        """Search every problem. The same seed gives every method the same problems and the same value errors."""
        ...


def least_budget(policy: Any, search: str) -> int:
    """Return the expansions of the smallest complete answer: the number of steps and the root.

    Args:
        policy: A branching policy with ``steps``, the number of steps of an answer.
        search: Name of the method; all of ``METHODS`` write at least one full answer.

    Raises:
        InputError: If the policy does not say how long an answer is.
    """
    steps = getattr(policy, "steps", None)
    if steps is None:
        raise InputError(f"{type(policy).__name__} does not say how many 'steps' an answer has; '{search}' needs it.")
    return int(steps) + 1
