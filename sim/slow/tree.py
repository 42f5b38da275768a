"""The reasoning tree in plain Python, written from the definitions in ``sim/tree.py``: nodes are objects.

Arithmetic is double precision where the kernels use single, so values agree to about 1e-6 and searches are the same
unless two scores come closer than that.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from math import cos, inf, log, log1p, pi, sqrt

from sim.tree import TreePolicy

M32 = 0xFFFFFFFF


def mix(x: int) -> int:
    """The "lowbias32" finaliser."""
    x = (x ^ x >> 16) * 0x7FEB352D & M32
    x = (x ^ x >> 15) * 0x846CA68B & M32
    return x ^ x >> 16


def unit(x: int) -> float:
    """Top 24 bits as a number in [0, 1)."""
    return (x >> 8) * 2.0**-24


def root(q: int, world: int) -> int:
    """Word of the root of problem q."""
    return mix(2654435761 * q + world & M32)


def deviate(h: int, salt: int, second: int, law: str) -> float:
    """Error z of a node."""
    u = unit(mix(h ^ salt))
    if law == "uniform":
        return 2 * u - 1
    u += 2.0**-25
    if law == "normal":
        return sqrt(-2 * log(u)) * cos(2 * pi * unit(mix(h ^ second)))
    return (2 * u - 1) / sqrt(2 * u * (1 - u))


@dataclass
class Node:
    """A node of one problem: its word, its depth, and how many of its steps were right before the first error."""

    tree: TreePolicy
    p: float
    word: int
    depth: int = 0
    steps: int = 0
    kids: dict[int, Node] = field(default_factory=dict)
    visits: list[int] = field(default_factory=list)
    total: list[float] = field(default_factory=list)

    @property
    def on(self) -> bool:
        """Whether every step was right."""
        return self.steps == self.depth

    @property
    def good(self) -> int:
        """The child that continues a right path."""
        return mix(self.word ^ 0x68E31DA4) % self.tree.branching

    def child(self, a: int) -> Node:
        """The child a."""
        right = self.on and a == self.good
        return Node(self.tree, self.p, mix(self.word + (a + 1) * 0x9E3779B1 & M32), self.depth + 1, self.steps + right)

    def prior(self) -> list[float]:
        """The policy's probabilities."""
        t, b = self.tree, self.tree.branching
        p = self.p if self.on or t.decoys else 1 / b
        w = [1 - t.unevenness / 2 + t.unevenness * unit(mix(self.word ^ 0xB5297A4D + a)) for a in range(b)]
        rest = sum(w) - w[self.good]
        return [p if a == self.good else (1 - p) * w[a] / rest for a in range(b)]

    def value(self) -> float:
        """The value estimate."""
        t = self.tree
        z = deviate(self.word, 0x1B56C4E9, 0x52DCE729, t.value_law)
        return (t.value_right if self.on else t.value_wrong) + t.value_noise * z

    def score(self) -> float:
        """The verifier's score of a leaf."""
        t = self.tree
        if t.verifier == "accept":
            u = unit(mix(self.word ^ 0x7FEB1B5B))
            return float(u >= t.false_negative) if self.on else float(u < t.false_positive)
        return self.on + t.verifier_noise * deviate(self.word, 0x7FEB1B5B, 0x38495AB5, t.verifier_law)

    def answer(self) -> int:
        """Class of a leaf's answer; 0 is right."""
        return 0 if self.on else 1 + mix(self.word ^ 0x2545F491) % self.tree.wrong_answers


def puct(top: Node, simulations: int) -> tuple[list[int], list[tuple[int, Node]]]:
    """PUCT: argmax of Q + (c + log((n + base + 1) / base)) sqrt(n) P / (1 + N); return root visits and timed leaves."""
    t, b = top.tree, top.tree.branching
    top.visits, top.total = [0] * b, [0.0] * b
    leaves = []
    for s in range(simulations):
        node, path = top, []
        while True:
            n = 1 + sum(node.visits)
            e = (t.exploration + log1p((n + 1) / t.exploration_base)) * sqrt(n)
            prior = node.prior()
            scores = [
                (node.total[a] / node.visits[a] if node.visits[a] else 0.0) + e * prior[a] / (1 + node.visits[a])
                for a in range(b)
            ]
            a = scores.index(max(scores))
            path.append((node, a))
            known = a in node.kids
            if not known:
                node.kids[a] = node.child(a)
            node = node.kids[a]
            if not known:
                node.visits, node.total = [0] * b, [0.0] * b
                if node.depth == t.depth:
                    leaves.append((s + 2, node))
                break
            if node.depth == t.depth:
                break
        v = node.score() if node.depth == t.depth else node.value()
        for parent, a in path:
            parent.visits[a] += 1
            parent.total[a] += v
    return top.visits, leaves


def open_score(node: Node, parent: Node, a: int) -> float:
    """Score of an open node: value plus weighted log-probability of the last step."""
    weight = node.tree.prior_weight
    return node.value() + (weight * log(parent.prior()[a]) if weight else 0.0)


def lookahead(top: Node, budget: int) -> list[tuple[int, Node]]:
    """Best-first search; return timed leaves."""
    heap: list[tuple[float, int, Node]] = [(-inf, 0, top)]
    made, leaves = 1, []
    for t in range(1, budget + 1):
        if not heap:
            break
        _, _, node = heapq.heappop(heap)
        if node.depth == top.tree.depth:
            leaves.append((t, node))
            continue
        for a in range(top.tree.branching):
            kid = node.child(a)
            heapq.heappush(heap, (-open_score(kid, node, a), made, kid))
            made += 1
    return leaves


def beam(top: Node, width: int, groups: int = 1) -> list[tuple[int, Node]]:
    """Beam search in groups that do not compete; return timed leaves, best first."""
    level: list[tuple[Node, int | None]] = [(top, None)]
    spent = 1
    for _ in range(top.tree.depth):
        kids = [(n.child(a), g, open_score(n.child(a), n, a)) for n, g in level for a in range(top.tree.branching)]
        if len(kids) > width:
            kids.sort(key=lambda k: -k[2])
            dealt = [(n, r % groups if g is None else g) for r, (n, g, _) in enumerate(kids)]
            level = [
                (n, g) for i, (n, g) in enumerate(dealt) if sum(h == g for _, h in dealt[:i]) < width // groups
            ]
        else:
            level = [(n, g) for n, g, _ in kids]
        spent += len(level)
    return [(spent, n) for n, _ in level]
