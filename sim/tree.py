"""The reasoning tree: a policy, a value estimate and a verifier on an implicit tree, and five ways to search it.

A problem is a tree of depth d and branching b with one right leaf. At a node of the right path the policy puts p on the
right child and shares the rest; elsewhere it knows nothing (uniform), or is just as sure of some child (``decoys``).
The value estimate of a node is v = 1[on the right path] + noise z and the verifier judges leaves, by a score
1[right] + noise z' or by accepting with errors; z and z' are fixed functions of the node, so asking twice returns the
same error, and any two methods see the same errors. Whole-answer success of one sample is p^d.

| quantity | symbol | here |
|---|---|---|
| step accuracy after training of scale C | 1 - (1 - p) C^-gamma, at least 1/b | ``TreePolicy.accuracy`` |
| expansions of best-of-n | 1 + n d | the root once, then every step of every sample |
| expansions of a beam of width w | sum over levels of min(b^k, w) | the leaves included |
| expansions of PUCT | 1 + simulations | a visit to a known leaf is charged, too |
| expansions of best-first search | nodes opened | d + 1 without value noise |

Known to be right by: (1 - p^d)^n and its mixtures over problems, d + 1, enumeration of all trees of depth 2, a slow
twin in plain Python written from the definitions (``slow/tree.py``), conservation of visits, and closed forms of what
verifiers and votes can do (``exact/tree.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaws.errors import suggest
from rlaws.policy import Array, Checkpoint, Counts
from rlaws.problems import ProblemSet, difficulty
from rlaws.search import SELECTS, Search, Searched
from rlaws.seeding import word
from sim.rng import seed_word
from sim.scale import at_scales

LAWS = ("uniform", "normal", "heavy")
VERIFIERS = ("score", "accept")
MOST_DEPTH, MOST_BRANCHING = 4096, 64


# ------------------------------------------------------------------------------------------------------- problems
@dataclass(frozen=True, slots=True)
class TreeProblems:
    """Problems of one step accuracy.

    Attributes:
        step: Probability p of the right step, for a policy trained at scale 1; in (0, 1].
        size: Number of problems.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"step": "1", "size": "problems"}
    step: float
    size: int

    def __post_init__(self) -> None:
        if not 0 < self.step <= 1 or self.size < 1:
            raise ValueError(f"step = {self.step} must lie in (0, 1] and size = {self.size} be at least 1.")

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Return the problems; trees differ by number, so the seed is not used."""
        ids = np.array([f"tree-{i:06d}" for i in range(self.size)])
        return ProblemSet(ids, {"step": np.full(self.size, self.step)}, settings={"step": self.step, "size": self.size})


# --------------------------------------------------------------------------------------------------------- policy
@dataclass(frozen=True, slots=True)
class TreePolicy:
    """Policy, value estimate, verifier and the settings of the searches.

    Attributes:
        branching: b, children of a node.
        depth: d, steps of an answer.
        value_noise: Factor of z in the value estimate; the standard deviation for the normal law.
        value_law: Law of z: "normal", "uniform" on [-1, 1], or "heavy" (Student with two degrees of freedom).
        value_right: Mean estimate on the right path.
        value_wrong: Mean estimate off it.
        unevenness: Wrong children share (1 - p) in proportion to 1 + unevenness (u - 1/2); 0 for equal parts.
        decoys: Whether the policy is as sure of one child off the right path as on it.
        verifier: "score" (1[right] + noise) or "accept" (errors).
        verifier_noise: Factor of z' in the score; 0 is an exact verifier.
        verifier_law: Law of z'.
        false_positive: Share of wrong leaves that an accepting verifier takes.
        false_negative: Share of right leaves that it rejects.
        wrong_answers: Number of different wrong answers, for votes.
        exploration: c of PUCT.
        exploration_base: Visits after which exploration grows by a logarithm; inf for never.
        groups: Groups of the diverse beam.
        prior_weight: Weight of log P(step) beside the value in beams and best-first search.
        training: C, scale of training relative to the problems' step accuracy.
        gamma: Exponent by which the step error falls with C.
        threads: Threads; results do not depend on them.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "branching": "children", "depth": "steps", "value_noise": "1", "value_law": "name", "value_right": "1",
        "value_wrong": "1", "unevenness": "1", "decoys": "1", "verifier": "name", "verifier_noise": "1",
        "verifier_law": "name", "false_positive": "1", "false_negative": "1", "wrong_answers": "answers",
        "exploration": "1", "exploration_base": "visits", "groups": "groups", "prior_weight": "1/nat",
        "training": "C0", "gamma": "1", "threads": "threads",
    }  # fmt: skip
    branching: int = 4
    depth: int = 8
    value_noise: float = 0.5
    value_law: str = "normal"
    value_right: float = 1.0
    value_wrong: float = 0.0
    unevenness: float = 0.0
    decoys: bool = False
    verifier: str = "score"
    verifier_noise: float = 0.0
    verifier_law: str = "normal"
    false_positive: float = 0.0
    false_negative: float = 0.0
    wrong_answers: int = 16
    exploration: float = 1.25
    exploration_base: float = 19652.0
    groups: int = 4
    prior_weight: float = 0.0
    training: float = 1.0
    gamma: float = 0.5
    threads: int = 1

    def __post_init__(self) -> None:
        _check_whole(self)
        _check_names(self)
        _check_ranges(self)

    # ---- what the policy knows
    @property
    def steps(self) -> int:
        """Steps of an answer."""
        return self.depth

    def accuracy(self, problems: ProblemSet) -> Array:
        """Return the step accuracy on each problem, [P].

        Problems that carry "step" give it directly; those that carry a whole-answer success "p" have p^(1/d).
        """
        if "step" in problems.difficulty:
            step = difficulty(problems, "step")
        else:
            step = difficulty(problems, "p") ** (1.0 / self.depth)
        return np.asarray(np.maximum(1.0 - (1.0 - step) * self.training**-self.gamma, 1.0 / self.branching))

    def success(self, problems: ProblemSet) -> Array:
        """Return the probability of a right answer in one sample, step^d, [P]."""
        return np.asarray(self.accuracy(problems) ** self.depth)

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return n and the number of right ones for every problem, each [P], by walking every sample."""
        if n < 1:
            raise ValueError(f"n = {n} samples asked; give at least 1.")
        hits = count_right(self, self.accuracy(problems), n, word(seed))
        return np.full(len(problems), n, dtype=np.int64), hits

    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Return the policy trained at ``times`` times its scale; training is a formula, so the seed is not used.

        Raises:
            ValueError: If the times are not positive and rising.
        """
        return at_scales(self, times)

    def branch(self, problems: ProblemSet, search: Search, seed: np.random.SeedSequence) -> Searched:
        """Search every problem; the seed fixes the trees and their value errors, whatever the method."""
        return run(self, self.accuracy(problems), search, word(seed))


def _check_whole(t: TreePolicy) -> None:
    """Refuse sizes that are not whole numbers in range."""
    ranges = {"branching": MOST_BRANCHING, "depth": MOST_DEPTH, "wrong_answers": 1 << 20, "groups": 1 << 16}
    for name, most in {**ranges, "threads": 256}.items():
        least = 2 if name == "branching" else 1
        if not least <= getattr(t, name) <= most:
            raise ValueError(f"{name} = {getattr(t, name)} must be a whole number from {least} to {most}.")


def _check_names(t: TreePolicy) -> None:
    """Refuse unknown laws and verifiers."""
    for name, possible in (("value_law", LAWS), ("verifier_law", LAWS), ("verifier", VERIFIERS)):
        if getattr(t, name) not in possible:
            raise ValueError(f"{name} = '{getattr(t, name)}' is not known.{suggest(getattr(t, name), possible)}")


def _check_ranges(t: TreePolicy) -> None:
    """Refuse numbers out of range."""
    for name in ("value_noise", "verifier_noise", "exploration", "prior_weight", "gamma"):
        if not 0 <= getattr(t, name) < np.inf:
            raise ValueError(f"{name} = {getattr(t, name)} must be finite and at least 0.")
    for name in ("false_positive", "false_negative"):
        if not 0 <= getattr(t, name) <= 1:
            raise ValueError(f"{name} = {getattr(t, name)} is a probability; give 0 to 1.")
    if not 0 <= t.unevenness < 2:
        raise ValueError(f"unevenness = {t.unevenness} must lie in [0, 2): weights 1 ± unevenness / 2 stay positive.")
    if not 0 < t.training < np.inf or not t.exploration_base > 0:
        raise ValueError(f"training = {t.training}, exploration_base = {t.exploration_base}: both must be positive.")


# ------------------------------------------------------------------------------------------------------- searching
def run(
    tree: TreePolicy, p: ArrayLike, search: Search, seed: int, *, root_key: int | None = None, whole: bool = False
) -> Searched:
    """Search trees 0 ... P - 1 with step accuracies p.

    Args:
        tree: The tree, its judges and the settings of the searches.
        p: Step accuracy on each problem, [P], in [0, 1].
        search: Method, budgets and rule of choice.
        seed: One 64-bit word; it fixes the trees, their value errors and the samples.
        root_key: The 32-bit word from which the roots are made, if not the seed's; for worlds defined elsewhere.
        whole: Under "oracle" a search ends at the right leaf, since nothing after it changes the answer; True goes on,
            so that the root's visits are those of the whole budget.

    Returns:
        Answers and ledger, [P, K].

    Raises:
        ValueError: A step accuracy that is no probability, or a rule that the method cannot follow.
    """
    steps = np.asarray(p, dtype=np.float32)
    if steps.ndim != 1 or not steps.size or np.any(~((steps >= 0) & (steps <= 1))):
        raise ValueError("p must hold one step accuracy in [0, 1] for each problem.")
    if search.select in ("majority", "weighted") and search.method in ("mcts", "lookahead"):
        raise ValueError(f"'{search.select}' needs independent answers; '{search.method}' has none. Use 'verifier'.")
    key = tree_key(seed) if root_key is None else np.uint32(root_key)
    out, visits = _run_threads(tree, steps, search, seed, key, whole)
    if search.select != "oracle":
        _fall_back(tree, steps, search, seed, key, out)
    return _ledger(tree, search, out, visits)


def tree_key(seed: int) -> np.uint32:
    """Return the 32-bit word from which a seed's trees are made."""
    from sim import tree_kernels as k
    from sim.rng import stream_key

    return np.uint32(int(stream_key(seed_word(seed), k.ROOTS, 0)) >> 32)


def _run_threads(
    tree: TreePolicy, p: NDArray[np.float32], search: Search, seed: int, key: np.uint32, whole: bool
) -> tuple[Any, NDArray[np.int32] | None]:
    """Deal the problems to threads; each writes its own rows."""
    from sim import tree_kernels as k

    out = _room(p.size, len(search.budgets))
    visits = np.zeros((p.size, tree.branching), np.int32) if search.method == "mcts" else None
    edges = np.linspace(0, p.size, tree.threads + 1).astype(int)

    def part(i: int) -> None:
        work = k.Work(int(edges[i]), int(edges[i + 1]), key, seed_word(seed), SELECTS.index(search.select), 1)
        _kernel(tree, p, search, work, out, (visits, not whole and search.select == "oracle"))

    if tree.threads == 1:
        part(0)
    else:
        with ThreadPoolExecutor(tree.threads) as pool:
            list(pool.map(part, range(tree.threads)))
    return out, visits


def _kernel(
    tree: TreePolicy, p: NDArray[np.float32], search: Search, work: Any, out: Any, rest: tuple[Any, bool]
) -> None:
    """Call the kernel of a method; ``rest`` is what only PUCT needs: room for visits, and whether to stop early."""
    from sim import tree_kernels as k

    shape, there = (0,) * tree.branching, world(tree)
    budgets = np.asarray(search.budgets, dtype=np.int64)
    if search.method == "mcts":
        k.run_puct(p, work, budgets, there, _tables(tree, int(budgets[-1]), rest[1]), rest[0], out, shape)
    elif search.method == "best_of_n":
        k.run_samples(p, work, budgets, there, k.SAMPLES, out, shape)
    elif search.method == "lookahead":
        k.run_lookahead(p, work, budgets, there, out, shape)
    else:
        groups = tree.groups if search.method == "diverse_beam" else 1
        widths = np.array([beam_width(int(c), tree.branching, tree.depth, groups) for c in budgets])
        if widths.max():
            k.run_beam(p, work._replace(groups=groups), widths, there, out, shape)
        else:
            out.steps[work.first : work.last] = -1
            out.spent[work.first : work.last] = 1


def _room(problems: int, budgets: int) -> Any:
    from sim import tree_kernels as k

    make = partial(np.zeros, (problems, budgets))
    return k.Outcome(make(np.uint8), make(np.uint8), make(np.int32), make(np.int32), make(np.int32))


def world(tree: TreePolicy) -> Any:
    """Return the tree as the kernels take it."""
    from sim import tree_kernels as k

    f = np.float32
    return k.World(
        depth=tree.depth,
        right=f(tree.value_right),
        wrong=f(tree.value_wrong),
        noise=f(tree.value_noise),
        kind=LAWS.index(tree.value_law),
        low=f(1.0 - tree.unevenness / 2),
        span=f(tree.unevenness),
        decoys=tree.decoys,
        binary=tree.verifier == "accept",
        leaf_noise=f(tree.verifier_noise),
        leaf_kind=LAWS.index(tree.verifier_law),
        false_positive=f(tree.false_positive),
        false_negative=f(tree.false_negative),
        answers=np.uint32(tree.wrong_answers),
        prior_weight=f(tree.prior_weight),
    )


def _tables(tree: TreePolicy, size: int, stop: bool) -> Any:
    """Return the exploration factor and the reciprocals, for visit counts up to ``size`` + 2."""
    from sim import tree_kernels as k

    n = np.arange(size + 3, dtype=float)
    growth = np.log1p((n + 1.0) / tree.exploration_base)
    inverse = np.divide(1.0, n, out=np.zeros_like(n), where=n > 0)
    explore = (tree.exploration + growth) * np.sqrt(n)
    return k.Tables(explore.astype(np.float32), inverse.astype(np.float32), stop)


def beam_cost(width: int, branching: int, depth: int) -> int:
    """Return the expansions of a beam: sum over levels 0 ... d of min(b^k, width)."""
    full, level = 0, 1
    for k in range(depth + 1):
        if level >= width:
            return full + width * (depth + 1 - k)
        full, level = full + level, level * branching
    return full


def beam_width(budget: int, branching: int, depth: int, groups: int = 1) -> int:
    """Return the widest beam within a budget, a multiple of the groups; 0 if not even one path fits."""
    low, high = 0, budget
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if beam_cost(middle, branching, depth) <= budget else (low, middle - 1)
    return low if low < groups else low - low % groups


def _fall_back(
    tree: TreePolicy, p: NDArray[np.float32], search: Search, seed: int, key: np.uint32, out: Any
) -> None:
    """Where no answer is complete, give one sample of the policy, and charge it."""
    from sim import tree_kernels as k

    none = out.leaves == 0
    if none.any():
        one = _room(p.size, 1)
        work = k.Work(0, p.size, key, seed_word(seed), SELECTS.index("verifier"), 1)
        budget = np.array([tree.depth + 1])
        k.run_samples(p, work, budget, world(tree), k.FALLBACK, one, (0,) * tree.branching)
        for mine, sampled in ((out.right, one.right), (out.steps, one.steps)):
            mine[none] = np.broadcast_to(sampled, none.shape)[none]
        out.spent[none] += tree.depth


def _ledger(tree: TreePolicy, search: Search, out: Any, visits: NDArray[np.int32] | None) -> Searched:
    """Count tokens and verifier calls from the expansions.

    Opening a node writes and judges all its children, a simulation writes and judges one, a sample writes d steps and
    judges one leaf. A beam that does not fit into its budget opens nothing.
    """
    spent, leaves = out.spent.astype(np.int64), out.leaves.astype(np.int64)
    sampled = (leaves == 0) * (tree.depth if search.select != "oracle" else 0)
    searched = spent - sampled
    if search.method == "best_of_n":
        tokens, calls = leaves * tree.depth, leaves
    elif search.method == "mcts":
        tokens, calls = searched - 1, searched - 1
    else:
        opened = searched - leaves
        tokens = (opened if search.method == "lookahead" else opened * (leaves > 0)) * tree.branching
        calls = tokens + leaves
    cost = {"expansions": int(spent[:, -1].sum()), "tokens": int((tokens + sampled)[:, -1].sum())}
    return Searched(
        found=out.found.astype(bool),
        right=out.right.astype(bool),
        right_steps=out.steps.astype(np.int64),
        expansions=spent,
        tokens=tokens + sampled,
        verifier_calls=calls,
        answers=leaves,
        visits=None if visits is None else visits.astype(np.int64),
        cost={**cost, "verifier_calls": int(calls[:, -1].sum())},
    )


def count_right(tree: TreePolicy, p: ArrayLike, n: int, seed: int) -> NDArray[np.int64]:
    """Return the right ones among n samples of each problem, [P]."""
    from sim import tree_kernels as k

    steps = np.asarray(p, dtype=np.float32)
    out = np.zeros(steps.size, np.int64)
    work = k.Work(0, steps.size, tree_key(seed), seed_word(seed), 0, 1)
    k.run_counts(steps, work, n, world(tree), out, (0,) * tree.branching)
    return out
