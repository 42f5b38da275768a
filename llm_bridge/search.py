"""Searches over the steps that a language model writes, with one ledger for all methods (``rlaws.search``).

A node is the beginning of an answer; opening it asks the model for ``step_samples`` next steps, of which the distinct
ones are its children and their shares the prior. One expansion is one step written, or one completed answer judged, so
that methods are compared at equal text: a sample of L steps takes L + 1, opening a node ``step_samples``. A node's
children depend on the seed, the problem and its text alone: every method meets the same ones, with the same values.

All problems are searched in step, so that the model is asked for the next steps of all of them at once.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import exp, inf, log1p, sqrt
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from llm_bridge.backends.base import Completion, Request, Sampling
from llm_bridge.tasks.base import Graded, Task
from rlaws.errors import InputError, suggest
from rlaws.search import Search, Searched
from rlaws.seeding import child, word

GUIDES = ("oracle", "likelihood", "scorer")
EXPLORATION_BASE = 19652.0
"""Of PUCT's slowly growing exploration (arXiv 1712.01815)."""


@dataclass(slots=True, eq=False)
class Node:
    """The beginning of an answer.

    Attributes:
        text: What is written so far.
        level: Steps in it.
        prior: Share of the samples of its parent that it is.
        logprob: Log-probability of its steps, None where the engine gives none.
        ended: It is a whole answer.
        value: What the guide says of it.
        children: Next steps; None before it is opened.
        tokens: Tokens that opening it took.
        visits: How often PUCT went through it, and the sum of the values that it found there.
        total: See above.
    """

    text: str = ""
    level: int = 0
    prior: float = 1.0
    logprob: float | None = 0.0
    ended: bool = False
    value: float = 1.0
    children: list[Node] | None = None
    tokens: int = 0
    visits: int = 0
    total: float = 0.0


class Options(NamedTuple):
    """How nodes are opened and judged.

    Attributes:
        steps: Most steps of an answer.
        step_samples: Next steps that are sampled at a node.
        guide: One of ``GUIDES``.
        exploration: c of PUCT.
        beam_groups: Groups of the diverse beam.
        false_positive: Chance that the oracle calls wrong steps or answers right.
        false_negative: Chance that it calls right ones wrong.
        scorer: Gives the probability that an answer so far is right, for "scorer".
    """

    steps: int
    step_samples: int
    guide: str
    exploration: float = 1.25
    beam_groups: int = 4
    false_positive: float = 0.0
    false_negative: float = 0.0
    scorer: Callable[[Sequence[tuple[str, str]]], Sequence[float]] | None = None


class Ask(Protocol):
    """Samples requests."""

    def __call__(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """Return the completions of every request."""
        ...


def refuse_unknown(guide: str) -> None:
    """Refuse a guide that there is not.

    Raises:
        InputError: With the nearest name.
    """
    if guide not in GUIDES:
        raise InputError(f"guide = '{guide}' is not known.{suggest(guide, GUIDES)}")


def stream(*words: object) -> int:
    """Return the 63-bit seed of a request named by ``words``."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()[:8], "little") >> 1


@dataclass(slots=True)
class Ledger:
    """What a search has spent so far, and when each answer was complete.

    Attributes:
        time: Expansions.
        rows: Time, tokens and values asked for, of each entry.
        leaves: Time and answer.
    """

    time: int = 0
    rows: list[tuple[int, int, int]] = field(default_factory=list)
    leaves: list[tuple[int, Node]] = field(default_factory=list)

    def spend(self, expansions: int, tokens: int, calls: int) -> None:
        """Enter what was spent."""
        self.time += expansions
        self.rows.append((self.time, tokens, calls))

    def opened(self, node: Node, samples: int) -> None:
        """Enter the opening of a node."""
        self.spend(samples, node.tokens, len(node.children or ()))

    def judged(self, leaf: Node) -> None:
        """Enter a completed answer."""
        self.spend(1, 0, 0)
        self.leaves.append((self.time, leaf))

    def until(self, budget: int) -> Spent:
        """Return what had been spent and completed within a budget."""
        rows = np.array([r for r in self.rows if r[0] <= budget], dtype=np.int64).reshape(-1, 3)
        time = int(rows[-1, 0]) if len(rows) else 0
        leaves = [leaf for t, leaf in self.leaves if t <= budget]
        return Spent(time, int(rows[:, 1].sum()), int(rows[:, 2].sum()), leaves)


class Spent(NamedTuple):
    """Expansions, tokens and values asked for within a budget, and the answers completed, in order."""

    expansions: int
    tokens: int
    calls: int
    leaves: list[Node]


Walk = Generator[list[Node], None, list[Spent]]
"""A search of one problem: yields nodes to be opened, returns what it had within each budget."""


class Searcher:
    """Searches the problems of a task with one engine.

    Args:
        ask: Samples requests.
        task: The problems.
        sampling: Of whole answers.
        options: How nodes are opened and judged.
        seed: Problem i uses its i-th child.
    """

    def __init__(
        self, ask: Ask, task: Task, sampling: Sampling, options: Options, seed: np.random.SeedSequence
    ) -> None:
        self.ask, self.task, self.sampling, self.options = ask, task, sampling, options
        self.questions = task.questions
        self.words = [word(child(seed, i)) for i in range(len(self.questions))]
        per_step = -(-sampling.max_tokens // max(1, options.steps)) + 4
        self.step = replace(sampling, max_tokens=per_step, stop=(task.separator,))

    def run(self, search: Search) -> Searched:
        """Search every problem within every budget."""
        size = len(self.questions)
        if search.method == "best_of_n":
            spent = self._samples(search.budgets)
            visits = None
        else:
            roots = [Node() for _ in range(size)]
            walks = [_walk(root, search, self.options) for root in roots]
            spent = _in_step(walks, self._open)
            visits = _visits(roots, self.options.step_samples) if search.method == "mcts" else None
        spare = self._fallback(spent, search)
        return self._ledger(search, spent, spare, visits)

    # ---- asking
    def _samples(self, budgets: Sequence[int]) -> list[list[Spent]]:
        """Return best-of-n: whole answers, one after the other."""
        each = self.options.steps + 1
        many = budgets[-1] // each
        if not many:
            return [[Spent(0, 0, 0, []) for _ in budgets] for _ in self.questions]
        out = []
        for i, drawn in enumerate(self._answers(range(len(self.questions)), many)):
            book = Ledger()
            nodes = [Node(c.text, self.options.steps, 1.0, c.logprob, ended=True) for c in drawn]
            self._judge([(i, node) for node in nodes])
            for c, node in zip(drawn, nodes, strict=True):
                book.spend(each - 1, c.tokens, 1)
                book.judged(node)
            out.append([book.until(b - b % each) for b in budgets])
        return out

    def _answers(self, problems: Sequence[int], n: int) -> list[list[Completion]]:
        requests = [Request(self.questions[i], n, stream(self.words[i], "answer")) for i in problems]
        return self.ask(requests, self.sampling)

    def _open(self, nodes: Sequence[tuple[int, Node]]) -> None:
        """Give nodes their children: the distinct next steps among the samples, with their values."""
        b = self.options.step_samples
        requests = [
            Request(self.questions[i], b, stream(self.words[i], "step", node.text), self._prefix(node))
            for i, node in nodes
        ]
        fresh = []
        for (i, node), drawn in zip(nodes, self.ask(requests, self.step), strict=True):
            seen: dict[str, Node] = {}
            for c in drawn:
                if c.text not in seen:
                    seen[c.text] = self._child(node, c)
                    seen[c.text].prior = 0.0
                seen[c.text].prior += 1.0 / b
            node.children, node.tokens = list(seen.values()), sum(c.tokens for c in drawn)
            fresh += [(i, kid) for kid in node.children]
        self._judge(fresh)

    def _prefix(self, node: Node) -> str:
        return node.text + self.task.separator if node.level else ""

    def _child(self, node: Node, step: Completion) -> Node:
        text = self._prefix(node) + step.text
        ended = not step.text.strip() or self.task.complete(text) or node.level + 1 >= self.options.steps
        known = None if node.logprob is None or step.logprob is None else node.logprob + step.logprob
        return Node(text, node.level + 1, logprob=known, ended=ended)

    # ---- judging
    def _judge(self, nodes: Sequence[tuple[int, Node]]) -> None:
        """Give nodes the guide's values."""
        guide = self.options.guide
        if guide == "scorer":
            assert self.options.scorer is not None
            said = self.options.scorer([(self.questions[i], node.text) for i, node in nodes])
        elif guide == "likelihood":
            said = [self._likelihood(node) for _, node in nodes]
        else:
            said = self._labels(nodes)
        for (_, node), value in zip(nodes, said, strict=True):
            node.value = float(value)

    def _likelihood(self, node: Node) -> float:
        """Return the geometric mean of the probabilities of the steps."""
        if node.logprob is None:
            raise InputError("guide = likelihood needs log-probabilities, which this engine does not give.")
        return exp(node.logprob / max(node.level, 1))

    def _labels(self, nodes: Sequence[tuple[int, Node]]) -> list[float]:
        """Return whether all steps so far, or the answer if it is whole, are right, as an erring verifier says it."""
        whole = [k for k, (_, node) in enumerate(nodes) if node.ended]
        problem = np.array([nodes[k][0] for k in whole], dtype=np.int64)
        right = np.zeros(len(nodes), dtype=bool)
        right[whole] = self.task.grade(problem, [nodes[k][1].text for k in whole]).correct if whole else []
        for k, (i, node) in enumerate(nodes):
            if not node.ended:
                right[k] = self.task.right_steps(i, node.text) >= node.level
        flips = np.array([stream(self.words[i], "label", node.text) / 2.0**63 for i, node in nodes])
        wrong = flips < np.where(right, self.options.false_negative, self.options.false_positive)
        return [float(x) for x in right != wrong]

    # ---- answering
    def _fallback(self, spent: Sequence[Sequence[Spent]], search: Search) -> dict[int, tuple[Node, int]]:
        """Return one sample, and its tokens, for each problem that has a budget without an answer."""
        if search.select == "oracle":
            return {}
        bare = [i for i, rows in enumerate(spent) if any(not s.leaves for s in rows)]
        drawn = self._answers(bare, 1) if bare else []
        return {i: (Node(c[0].text, self.options.steps), c[0].tokens) for i, c in zip(bare, drawn, strict=True)}

    def _ledger(
        self,
        search: Search,
        spent: Sequence[Sequence[Spent]],
        spare: dict[int, tuple[Node, int]],
        visits: NDArray[np.int64] | None,
    ) -> Searched:
        names = ("found", "right", "right_steps", "expansions", "tokens", "verifier_calls", "answers")
        table = {n: np.zeros((len(spent), len(search.budgets)), dtype=np.int64) for n in names}
        for i, rows in enumerate(spent):
            texts = {leaf.text for s in rows for leaf in s.leaves} | ({spare[i][0].text} if i in spare else set())
            grades = self._grades(i, sorted(texts))
            for k, s in enumerate(rows):
                row = self._answered(i, search, s, grades, spare.get(i))
                for name, value in zip(names, row, strict=True):
                    table[name][i, k] = value
        flags = {n: table[n].astype(bool) for n in ("found", "right")}
        cost = {n: int(table[n][:, -1].sum()) for n in ("expansions", "tokens", "verifier_calls")}
        return Searched(**{**table, **flags}, visits=visits, cost=cost)

    def _grades(self, problem: int, texts: list[str]) -> dict[str, tuple[bool, int, int]]:
        """Return of each answer whether it is right, its class and its right steps."""
        if not texts:
            return {}
        graded: Graded = self.task.grade(np.full(len(texts), problem, dtype=np.int64), texts)
        steps = [self._right_steps(problem, t, bool(ok)) for t, ok in zip(texts, graded.correct, strict=True)]
        return {t: (bool(graded.correct[j]), int(graded.answer[j]), steps[j]) for j, t in enumerate(texts)}

    def _right_steps(self, problem: int, text: str, right: bool) -> int:
        return self.task.right_steps(problem, text) if self.task.steps else int(right)

    def _answered(
        self,
        problem: int,
        search: Search,
        s: Spent,
        grades: dict[str, tuple[bool, int, int]],
        spare: tuple[Node, int] | None,
    ) -> tuple[int, ...]:
        """Return the row of one problem and budget, in the order of the ledger's columns."""
        given, expansions, tokens = None, max(s.expansions, 1), s.tokens  # the root was looked at
        if s.leaves:
            given = _chosen(search.select, s.leaves, grades)
        elif spare is not None:
            given, expansions, tokens = spare[0], expansions + self.options.steps, tokens + spare[1]
        found = any(grades[leaf.text][0] for leaf in s.leaves)
        right, _, steps = (False, -1, -1) if given is None else grades[given.text]
        return found, right, steps, expansions, tokens, s.calls, len(s.leaves)


def _chosen(select: str, leaves: list[Node], grades: dict[str, tuple[bool, int, int]]) -> Node:
    """Return the answer that is given; of equals the first."""
    if select == "oracle":
        return next((leaf for leaf in leaves if grades[leaf.text][0]), leaves[0])
    if select == "verifier":
        return max(leaves, key=lambda leaf: leaf.value)
    votes: dict[int, float] = {}
    for leaf in leaves:
        answer = grades[leaf.text][1]
        votes[answer] = votes.get(answer, 0.0) + (leaf.value if select == "weighted" else 1.0)
    best = max((a for a in votes if a >= 0), key=lambda a: votes[a], default=-1)
    return max((leaf for leaf in leaves if grades[leaf.text][1] == best), key=lambda leaf: leaf.value)


def _visits(roots: Sequence[Node], samples: int) -> NDArray[np.int64]:
    """Return the visits of the roots' children, [P, samples]; fewer distinct children leave zeros."""
    out = np.zeros((len(roots), samples), dtype=np.int64)
    for i, root in enumerate(roots):
        for j, kid in enumerate(root.children or ()):
            out[i, j] = kid.visits
    return out


# -------------------------------------------------------------------------------------------------------- methods
def _walk(root: Node, search: Search, options: Options) -> Walk:
    if search.method == "mcts":
        return _puct(root, search.budgets, options)
    if search.method == "lookahead":
        return _lookahead(root, search.budgets, options)
    return _beams(root, search.budgets, options, options.beam_groups if search.method == "diverse_beam" else 1)


def _lookahead(root: Node, budgets: Sequence[int], options: Options) -> Walk:
    """Best-first search by value."""
    book, made = Ledger(), count(1)
    heap = [(-inf, 0, root)]
    while heap:
        node = heapq.heappop(heap)[2]
        if book.time + (1 if node.ended else options.step_samples) > budgets[-1]:
            break
        if node.ended:
            book.judged(node)
            continue
        yield [node]
        book.opened(node, options.step_samples)
        for kid in node.children or ():
            heapq.heappush(heap, (-kid.value, next(made), kid))
    return [book.until(budget) for budget in budgets]


def _puct(root: Node, budgets: Sequence[int], options: Options) -> Walk:
    """PUCT: argmax of Q + (c + log((n + base + 1) / base)) sqrt(n) P / (1 + N); coming back to an answer costs 1."""
    book, samples = Ledger(), options.step_samples
    root.visits = 1
    while True:
        path, node = [], root
        while node.children and not node.ended:
            node = max(node.children, key=_upper(node.visits, options.exploration))
            path.append(node)
        if book.time + (1 if node.ended else samples) > budgets[-1]:
            return [book.until(budget) for budget in budgets]
        if not node.ended:
            yield [node]
            book.opened(node, samples)
        elif node.visits:
            book.spend(1, 0, 0)
        else:
            book.judged(node)
        for at in path:
            at.visits += 1
            at.total += node.value
        root.visits += bool(path)


def _upper(visits: int, exploration: float) -> Callable[[Node], float]:
    """Return what PUCT maximises over the children of a node with so many visits."""
    bonus = (exploration + log1p((visits + 1) / EXPLORATION_BASE)) * sqrt(visits)

    def of(kid: Node) -> float:
        return (kid.total / kid.visits if kid.visits else 0.0) + bonus * kid.prior / (1.0 + kid.visits)

    return of


def beam_width(budget: int, options: Options) -> int:
    """Return the widest beam whose steps and judged answers fit into a budget, b (1 + W (L - 1)) + W; 0 if none."""
    b = options.step_samples
    width, spent = 0, 0
    while spent <= budget:
        width += 1
        opened = sum(min(width, b**t) for t in range(options.steps))
        spent = b * opened + min(width, b**options.steps)
        if width > b**options.steps:
            break
    return width - 1


def _beams(root: Node, budgets: Sequence[int], options: Options, groups: int) -> Walk:
    """Beams of the width that each budget allows, in groups that do not compete."""
    out = []
    for budget in budgets:
        book, width = Ledger(), beam_width(budget, options)
        width -= width % groups if width >= groups else 0
        level: list[tuple[Node, int | None]] = [(root, None)] if width else []
        while any(not node.ended for node, _ in level):
            fresh = [node for node, _ in level if not node.ended]
            yield fresh
            for node in fresh:
                book.opened(node, options.step_samples)
            kids = [(k, g) for node, g in level for k in ([node] if node.ended else node.children or ())]
            level = _narrowed(kids, width, groups)
        for node, _ in sorted(level, key=lambda kid: -kid[0].value):
            book.judged(node)
        out.append(book.until(book.time))
    return out


def _narrowed(kids: list[tuple[Node, int | None]], width: int, groups: int) -> list[tuple[Node, int | None]]:
    """Return the best of a level, as many of each group; a level that fits has no groups yet."""
    if len(kids) <= width:
        return kids
    ranked = sorted(kids, key=lambda kid: -kid[0].value)
    dealt = [(node, rank % groups if group is None else group) for rank, (node, group) in enumerate(ranked)]
    kept, taken = [], [0] * groups
    for node, group in dealt:
        if taken[group] < max(1, width // groups):
            taken[group] += 1
            kept.append((node, group))
    return kept[:width]


def _in_step(walks: Sequence[Walk], open_nodes: Callable[[list[tuple[int, Node]]], None]) -> list[list[Spent]]:
    """Run all searches side by side, opening the nodes that they ask for together."""
    done: dict[int, list[Spent]] = {}
    active = dict(enumerate(walks))
    while active:
        asked: list[tuple[int, Node]] = []
        for i, walk in list(active.items()):
            try:
                asked += [(i, node) for node in next(walk) if node.children is None]
            except StopIteration as end:
                done[i] = end.value
                del active[i]
        if asked:
            open_nodes(asked)
    return [done[i] for i in range(len(walks))]
