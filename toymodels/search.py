"""Searches over the enumerated solutions of short problems, with one ledger for all methods (``rlaws.search``).

Children of a node are the m values; the policy's prior is their probability, the guide's value of a node stands for its
chance to be right. What the policy writes beside values (END too soon) is an answer that shows nothing: only samples
have it. One expansion is one node at which policy or guide is called: a sample takes L + 1 of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf, log1p, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaws.search import Search, Searched
from toymodels.enumeration import Array, Solutions, digits
from toymodels.tasks.programs import Ints

Leaf = tuple[int, int]
"""When an answer was complete, in expansions, and its number; -1 is an answer that shows nothing."""
EXPLORATION_BASE = 19652.0


class Guide(NamedTuple):
    """What judges nodes: value[t] of the nodes of level t = 0 .. L, each [P, m^t]; answers are judged by value[L]."""

    value: tuple[Array, ...]


class Options(NamedTuple):
    """Exploration c of PUCT, and groups of the diverse beam."""

    exploration: float
    groups: int


class Tree(NamedTuple):
    """One problem: prior[t] [m^t, m] and value[t] [m^t], the probability of an answer that shows nothing, and m, L."""

    prior: Sequence[Array]
    value: Sequence[Array]
    modulus: int
    depth: int


def search_trees(
    found: Solutions, guide: Guide, search: Search, options: Options, seed: np.random.SeedSequence
) -> Searched:
    """Search every problem within every budget.

    Args:
        found: The solutions with the policy's probabilities.
        guide: Values of the nodes.
        search: Method, budgets, and how the answer is chosen.
        options: Options of the methods.
        seed: Of sampled answers; problem i uses its i-th child.
    """
    size, budgets = len(found.truth), search.budgets
    table: dict[str, NDArray[np.int64]] = {n: np.zeros((size, len(budgets)), dtype=np.int64) for n in COLUMNS}
    shows = _right_steps(found)
    visits = np.zeros((size, found.modulus), dtype=np.int64) if search.method == "mcts" else None
    for i, stream in enumerate(seed.spawn(size)):
        tree = Tree([p[i] for p in found.value], [v[i] for v in guide.value], found.modulus, len(found.value))
        rng = np.random.default_rng(stream)
        for k, (spent, leaves) in enumerate(within(tree, search, options, rng, None if visits is None else visits[i])):
            row = _answered(tree, search, leaves, spent, shows[i], int(found.truth[i]), rng)
            for name, value in row.items():
                table[name][i, k] = value
    return _ledger(table, visits)


COLUMNS = ("found", "right", "right_steps", "expansions", "tokens", "verifier_calls", "answers")


def _ledger(table: Mapping[str, NDArray[np.int64]], visits: NDArray[np.int64] | None) -> Searched:
    flags = {name: table[name].astype(bool) for name in ("found", "right")}
    cost = {name: int(table[name][:, -1].sum()) for name in ("expansions", "tokens", "verifier_calls")}
    return Searched(**{**table, **flags}, visits=visits, cost=cost)


def _right_steps(found: Solutions) -> Ints:
    """Return for every leaf the steps before the first error, [P, m^L]."""
    same = digits(found.modulus, len(found.value))[None] == found.states[:, None, :]
    return np.asarray(np.logical_and.accumulate(same, axis=2).sum(axis=2))


def _answered(
    tree: Tree, search: Search, leaves: list[int], spent: int, shows: Ints, truth: int, rng: np.random.Generator
) -> dict[str, int]:
    """Return the row of one problem and budget: what was found, what is answered, what it took."""
    tokens, calls = _written(tree, search.method, spent, leaves)
    given: int | None = None
    hit = any(leaf >= 0 and leaf % tree.modulus == truth for leaf in leaves)
    if leaves:
        given = chosen(tree, search.select, leaves, truth)
    elif search.select != "oracle":
        given, spent, tokens = _sampled(tree, rng), spent + tree.depth, tokens + tree.depth
    right = given is not None and given >= 0 and given % tree.modulus == truth
    steps = -1 if given is None else 0 if given < 0 else int(shows[given])
    return dict(zip(COLUMNS, (hit, right, steps, spent, tokens, calls, len(leaves)), strict=True))


def _written(tree: Tree, method: str, spent: int, leaves: list[int]) -> tuple[int, int]:
    """Return the tokens written and the values asked for: opening a node writes and judges all its children."""
    if method == "best_of_n":
        return len(leaves) * tree.depth, len(leaves)
    if method == "mcts":
        return max(spent - 1, 0), max(spent - 1, 0)
    opened = (spent - len(leaves)) * tree.modulus if leaves or method == "lookahead" else 0
    return opened, opened


def chosen(tree: Tree, select: str, leaves: list[int], truth: int) -> int:
    """Return the answer that is given."""
    score = {leaf: 0.0 if leaf < 0 else float(tree.value[-1][leaf]) for leaf in leaves}
    if select == "oracle":
        return next((leaf for leaf in leaves if leaf >= 0 and leaf % tree.modulus == truth), leaves[0])
    if select == "verifier":
        return max(leaves, key=lambda leaf: score[leaf])
    votes: dict[int, float] = {}
    for leaf in leaves:
        answer = -1 if leaf < 0 else leaf % tree.modulus
        votes[answer] = votes.get(answer, 0.0) + (score[leaf] if select == "weighted" else 1.0)
    best = max((a for a in votes if a >= 0), key=lambda a: votes[a], default=-1)
    return max((leaf for leaf in leaves if (leaf % tree.modulus if leaf >= 0 else -1) == best), key=lambda x: score[x])


def _sampled(tree: Tree, rng: np.random.Generator) -> int:
    """Return one sample of the policy."""
    node = 0
    for t in range(tree.depth):
        edges = np.cumsum(tree.prior[t][node])
        value = int(np.searchsorted(edges, rng.random(), side="right"))
        if value >= tree.modulus:
            return -1
        node = node * tree.modulus + value
    return node


# -------------------------------------------------------------------------------------------------------- methods
def within(
    tree: Tree, search: Search, options: Options, rng: np.random.Generator, visits: NDArray[np.int64] | None
) -> Iterator[tuple[int, list[int]]]:
    """Yield the expansions spent and the answers completed within each budget, in order of completion."""
    if search.method in ("beam", "diverse_beam"):
        groups = options.groups if search.method == "diverse_beam" else 1
        for budget in search.budgets:
            width = beam_width(budget, tree.modulus, tree.depth, groups)
            yield (beam_cost(width, tree.modulus, tree.depth), _beam(tree, width, groups)) if width else (1, [])
        return
    most = search.budgets[-1]
    timed: dict[str, Callable[[], tuple[list[Leaf], int]]] = {
        "best_of_n": lambda: _samples(tree, most, rng),
        "mcts": lambda: _puct(tree, most, options.exploration, visits),
        "lookahead": lambda: _lookahead(tree, most),
    }
    leaves, end = timed[search.method]()
    for budget in search.budgets:
        done = [leaf for time, leaf in leaves if time <= budget]
        full = budget - budget % (tree.depth + 1) if search.method == "best_of_n" else min(budget, end)
        yield full, done


def _samples(tree: Tree, most: int, rng: np.random.Generator) -> tuple[list[Leaf], int]:
    each = tree.depth + 1
    return [(each * (i + 1), _sampled(tree, rng)) for i in range(most // each)], most


def _lookahead(tree: Tree, most: int) -> tuple[list[Leaf], int]:
    """Best-first search by value."""
    heap: list[tuple[float, int, int, int]] = [(-inf, 0, 0, 0)]
    made, leaves = 1, []
    for time in range(1, most + 1):
        if not heap:
            return leaves, time - 1
        _, _, level, node = heapq.heappop(heap)
        if level == tree.depth:
            leaves.append((time, node))
            continue
        for child in range(node * tree.modulus, (node + 1) * tree.modulus):
            heapq.heappush(heap, (-float(tree.value[level + 1][child]), made, level + 1, child))
            made += 1
    return leaves, most


def _puct(
    tree: Tree, most: int, exploration: float, visits: NDArray[np.int64] | None
) -> tuple[list[Leaf], int]:
    """PUCT: argmax of Q + (c + log((n + base + 1) / base)) sqrt(n) P / (1 + N); the root takes the first expansion."""
    counts: dict[tuple[int, int], Array] = {(0, 0): np.zeros((2, tree.modulus))}
    leaves: list[Leaf] = []
    seen: set[int] = set()
    for time in range(2, most + 1):
        path, level, node = [], 0, 0
        while True:
            tally = counts[level, node]
            n = 1.0 + tally[0].sum()
            bonus = (exploration + log1p((n + 1) / EXPLORATION_BASE)) * sqrt(n)
            q = np.divide(tally[1], tally[0], out=np.zeros(tree.modulus), where=tally[0] > 0)
            a = int(np.argmax(q + bonus * tree.prior[level][node] / (1.0 + tally[0])))
            path.append((level, node, a))
            level, node = level + 1, node * tree.modulus + a
            if level == tree.depth or (level, node) not in counts:
                break
        if level < tree.depth:
            counts[level, node] = np.zeros((2, tree.modulus))
        elif node not in seen:
            seen.add(node)
            leaves.append((time, node))
        for at, of, a in path:
            counts[at, of][:, a] += (1.0, float(tree.value[level][node]))
    if visits is not None:
        visits[:] = counts[0, 0][0].astype(np.int64)
    return leaves, most


def beam_cost(width: int, branching: int, depth: int) -> int:
    """Return the expansions of a beam: the sum over levels 0 .. d of min(b^t, width)."""
    return sum(min(branching**t, width) for t in range(depth + 1))


def beam_width(budget: int, branching: int, depth: int, groups: int = 1) -> int:
    """Return the widest beam within a budget, a multiple of the groups where it has as many; 0 if not even one fits."""
    width = 0
    while width < branching**depth and beam_cost(width + 1, branching, depth) <= budget:
        width += 1
    return width if width < groups else width - width % groups


def _beam(tree: Tree, width: int, groups: int) -> list[int]:
    """Return the answers of a beam in groups that do not compete, best first."""
    level: list[tuple[int, int | None]] = [(0, None)]
    for t in range(tree.depth):
        kids = [(n * tree.modulus + a, g) for n, g in level for a in range(tree.modulus)]
        if len(kids) > width:
            kids.sort(key=lambda kid: -float(tree.value[t + 1][kid[0]]))
            dealt = [(n, r % groups if g is None else g) for r, (n, g) in enumerate(kids)]
            each = max(1, width // groups)
            kids = [(n, g) for i, (n, g) in enumerate(dealt) if sum(h == g for _, h in dealt[:i]) < each][:width]
        level = kids
    return [n for n, _ in sorted(level, key=lambda kid: -float(tree.value[tree.depth][kid[0]]))]
