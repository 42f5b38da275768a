# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"
"""Loops of the reasoning tree; ``sim/tree.py`` has the mathematics and the public functions.

A node is one 32-bit word, the hash of its path; everything about it is a function of that word and of whether the path
to it is right, so a tree takes memory only for what a search holds at a moment, and all methods meet the same tree.
``mix32`` is the "lowbias32" finaliser of Wellons' hash-prospector (2018).

| symbol | meaning | computed as |
|---|---|---|
| root(q) | word of problem q | mix(2654435761 q + world) |
| child(h, a) | word of child a of node h | mix(h + (a + 1) 0x9E3779B1) |
| good(h) | the right child, where h is on the right path | mix(h ^ GOOD) mod b |
| P(a given h) | policy | p at good(h); the rest shared in proportion to w_a = low + span u_a |
| v(h) | value estimate | right or wrong + noise z(h) |
| s(h) | verifier's score of a leaf | 1[right] + noise z'(h), or accepted / rejected |

Every method reports its *leaves* in the order it completes them: at how many expansions, how many steps were right
before the first error, the verifier's score, and the leaf's word. ``settle`` then reads off, for every budget, what
the method answers; so the rule of choice is the same code for all methods.

The number of children is the length of a tuple ``shape``: a constant to the compiler, so loops over children unroll.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types, uint32, uint64
from numba.extending import intrinsic

from sim.jit import kernel
from sim.rng import fill_words, stream_key

# Streams of sim.tree (see the table in sim/rng.py).
SAMPLES, FALLBACK, ROOTS = 48, 49, 50

GOOD, WEIGHT, VALUE, VALUE_TOO, LEAF, LEAF_TOO, ANSWER = (
    0x68E31DA4, 0xB5297A4D, 0x1B56C4E9, 0x52DCE729, 0x7FEB1B5B, 0x38495AB5, 0x2545F491,
)  # fmt: skip
UNIFORM, NORMAL, HEAVY = 0, 1, 2
ORACLE, VERIFIER, MAJORITY, WEIGHTED = 0, 1, 2, 3
LANES = 64  # samples side by side

_f = np.float32
_ZERO, _HALF, _ONE, _TWO = _f(0.0), _f(0.5), _f(1.0), _f(2.0)
_TINY, _TURN = _f(2.0**-25), _f(2 * np.pi)


class World(NamedTuple):
    """The tree and its judges; floats are float32."""

    depth: int
    right: np.float32  # mean value of a node on the right path
    wrong: np.float32
    noise: np.float32
    kind: int  # law of z: UNIFORM on [-1, 1], NORMAL, HEAVY (Student, two degrees of freedom)
    low: np.float32  # weight of a wrong child: low + span u
    span: np.float32
    decoys: bool  # True: off the right path, too, the policy puts p on one child
    binary: bool  # the verifier accepts or rejects, else it gives a score
    leaf_noise: np.float32
    leaf_kind: int
    false_positive: np.float32
    false_negative: np.float32
    answers: np.uint32  # classes of wrong answers
    prior_weight: np.float32  # of log P in the score of an open node


class Tables(NamedTuple):
    """Functions of a visit count."""

    explore: np.ndarray  # float32: (c + log((n + base + 1) / base)) sqrt(n)
    inverse: np.ndarray  # float32: 1 / n
    stop: bool  # whether the right leaf ends the search


class Leaves(NamedTuple):
    """Leaves in the order of completion."""

    time: np.ndarray  # int32, expansions when the leaf is complete
    steps: np.ndarray  # int32, right steps before the first error; ``depth``: the right leaf
    score: np.ndarray  # float32
    word: np.ndarray  # uint32, from which the class of the answer is made where answers vote


class Nodes(NamedTuple):
    """Nodes that a search holds."""

    row: np.ndarray  # float32 [M, 4 b]: mean values | priors | 1 / (1 + visits) | number of the child node
    kid: np.ndarray  # the same memory as int32
    word: np.ndarray  # uint32 [M]
    steps: np.ndarray  # int32 [M]
    good: np.ndarray  # int32 [M]
    visits: np.ndarray  # int32 [M]
    path: np.ndarray  # int32 [depth + 1]
    turn: np.ndarray  # int32 [depth + 1]


class Frontier(NamedTuple):
    """Open nodes: a heap for best-first search, two levels for beams."""

    score: np.ndarray  # float32 [M]
    word: np.ndarray  # uint32 [M]
    steps: np.ndarray  # int32 [M]
    depth: np.ndarray  # int32 [M]
    group: np.ndarray  # int32 [M], of a diverse beam; -1 before the nodes are dealt
    heap: np.ndarray  # int32 [M], numbers of open nodes
    row: np.ndarray  # float32 [2 b], scratch of ``write_priors``


class Outcome(NamedTuple):
    """What a method answers within each budget, each [Q, K]."""

    found: np.ndarray  # uint8, whether the right leaf is among the completed ones
    right: np.ndarray  # uint8, whether it is the one that is answered
    steps: np.ndarray  # int32, right steps of the answer
    spent: np.ndarray  # int32, expansions
    leaves: np.ndarray  # int32, completed answers


# ---------------------------------------------------------------- words, in 32-bit arithmetic (numba would widen it)
def _mix(builder, x):
    def constant(value):
        return ir.Constant(ir.IntType(32), value)

    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x = builder.mul(builder.xor(x, builder.lshr(x, constant(shift))), constant(factor))
    return x


def _word(context, builder, signature, args, i):
    return context.cast(builder, args[i], signature.args[i], types.uint32)


@intrinsic
def mix32(typingctx, x):
    """Finaliser of a 32-bit word: a bijection."""

    def codegen(context, builder, signature, args):
        return _mix(builder, _word(context, builder, signature, args, 0))

    return types.uint32(x), codegen


@intrinsic
def salted(typingctx, h, salt):
    """Hash of a node for one purpose."""

    def codegen(context, builder, signature, args):
        h, salt = (_word(context, builder, signature, args, i) for i in range(2))
        return _mix(builder, builder.xor(h, salt))

    return types.uint32(h, salt), codegen


@intrinsic
def child_word(typingctx, h, a):
    """Word of child ``a`` of node ``h``."""

    def codegen(context, builder, signature, args):
        h, a = (_word(context, builder, signature, args, i) for i in range(2))
        gold, one = ir.Constant(ir.IntType(32), 0x9E3779B1), ir.Constant(ir.IntType(32), 1)
        return _mix(builder, builder.add(h, builder.mul(builder.add(a, one), gold)))

    return types.uint32(h, a), codegen


@intrinsic
def unit(typingctx, h):
    """The top 24 bits of a word as a float32 in [0, 1)."""

    def codegen(context, builder, signature, args):
        word = builder.lshr(_word(context, builder, signature, args, 0), ir.Constant(ir.IntType(32), 8))
        return builder.fmul(builder.sitofp(word, ir.FloatType()), ir.Constant(ir.FloatType(), 2.0**-24))

    return types.float32(h), codegen


@kernel(inline=True)
def root_word(q, world):
    """Word of the root of problem q."""
    return mix32(uint32(uint64(q) * uint64(2654435761) + uint64(world)))


@kernel(inline=True)
def good_child(h, shape):
    """The child that continues a right path."""
    return np.int32(salted(h, uint32(GOOD)) % uint32(len(shape)))


@kernel
def deviate(h, salt, second, kind):
    """Error z of a node in units of the noise, by inversion (Box and Muller for the normal law)."""
    u = unit(salted(h, uint32(salt)))
    if kind == UNIFORM:
        return _TWO * u - _ONE
    u += _TINY
    if kind == NORMAL:
        return _f(np.sqrt(-_TWO * np.log(u)) * np.cos(_TURN * unit(salted(h, uint32(second)))))
    return (_TWO * u - _ONE) / np.sqrt(_TWO * u * (_ONE - u))


@kernel(inline=True)
def value(h, on, world):
    """Value estimate of a node: fixed, whoever asks."""
    return (world.right if on else world.wrong) + world.noise * deviate(h, VALUE, VALUE_TOO, world.kind)


@kernel
def leaf_score(h, on, world):
    """What the verifier says of a complete answer: fixed, whoever asks."""
    if world.binary:
        u = unit(salted(h, uint32(LEAF)))
        return _f(u >= world.false_negative) if on else _f(u < world.false_positive)
    if world.leaf_noise == _ZERO:
        return _f(on)
    return _f(on) + world.leaf_noise * deviate(h, LEAF, LEAF_TOO, world.leaf_kind)


@kernel(inline=True)
def accuracy(p, on, world, shape):
    """Probability that the policy puts on the good child: p where it knows the way, else 1/b."""
    return p if on or world.decoys else _ONE / _f(len(shape))


@kernel(fastmath=True)
def write_priors(h, good, p, world, row, shape):
    """Write the policy's probabilities of the children into row[b : 2 b]."""
    b = len(shape)
    total = _ZERO
    for a in range(b):
        w = world.low + world.span * unit(salted(h, uint32(WEIGHT + a)))
        w = _ZERO if a == good else w
        row[b + a] = w
        total += w
    scale = (_ONE - p) / total
    for a in range(b):
        row[b + a] = p if a == good else row[b + a] * scale


@kernel
def add_leaf(leaves, count, time, h, steps, world):
    """Append a leaf; return how many there are."""
    on = steps == world.depth
    leaves.time[count] = time
    leaves.steps[count] = steps
    leaves.score[count] = leaf_score(h, on, world)
    leaves.word[count] = h
    return count + 1


# ---------------------------------------------------------------- PUCT
@kernel(inline=True)
def open_node(nodes, n, h, steps, on, p, world, shape):
    """Make row n of a node that has been visited once."""
    b = len(shape)
    good = good_child(h, shape)
    nodes.good[n] = good
    row = nodes.row[n]
    kid = nodes.kid[n]
    write_priors(h, good, accuracy(p, on, world, shape), world, row, shape)
    for a in range(b):
        row[a] = _ZERO
        row[2 * b + a] = _ONE
        kid[3 * b + a] = 0


@kernel(inline=True)
def join_child(nodes, at, a, k, n, shape):
    """Join row n to row ``at`` as its child a, visited once, k steps deep; return its word, right steps, rightness."""
    h = child_word(nodes.word[at], uint32(a))
    on = nodes.steps[at] == k - 1 and a == nodes.good[at]
    steps = nodes.steps[at] + np.int32(on)
    nodes.kid[at, 3 * len(shape) + a] = n
    nodes.word[n], nodes.steps[n], nodes.visits[n] = h, steps, 1
    return h, steps, on


@kernel(inline=True)
def best_child(row, e, shape):
    """Argmax of mean value + e P / (1 + N); the first of equals."""
    b = len(shape)
    best = row[0] + e * row[b] * row[2 * b]
    arg = 0
    for a in range(1, b):
        score = row[a] + e * row[b + a] * row[2 * b + a]
        better = score > best
        best = score if better else best
        arg = a if better else arg
    return arg


@kernel(inline=True)
def back_up(nodes, length, v, inverse, shape):
    """Average v into every edge of the path."""
    b = len(shape)
    for k in range(length):
        at = nodes.path[k]
        a = nodes.turn[k]
        row = nodes.row[at]
        nodes.visits[at] += 1
        n = np.int32(_ONE / row[2 * b + a] + _HALF)  # one more than the visits of the edge
        row[a] += (v - row[a]) * inverse[n]
        row[2 * b + a] = inverse[n + 1]


@kernel(fastmath=True)
def puct(root, p, simulations, world, tables, nodes, leaves, shape):
    """Search one tree by PUCT (Rosin 2011; the exploration rate of Silver et al. 2018); return the number of leaves.

    A simulation descends, opens one node and averages its value into the path; one that ends at a known leaf averages
    that leaf's score once more and is charged like any other.
    """
    b3 = 3 * len(shape)
    depth = world.depth
    nodes.word[0], nodes.steps[0], nodes.visits[0] = root, 0, 1
    open_node(nodes, 0, root, 0, True, p, world, shape)
    n = 1
    count = 0
    for s in range(simulations):
        at = 0
        k = 0
        v = _ZERO
        on = False
        while True:
            arg = best_child(nodes.row[at], tables.explore[nodes.visits[at]], shape)
            nodes.path[k], nodes.turn[k] = at, arg
            k += 1
            kid = nodes.kid[at, b3 + arg]
            if kid:
                at = kid
                if k < depth:
                    continue
                v = leaves.score[nodes.good[at]]
                break
            h, steps, on = join_child(nodes, at, arg, k, n, shape)
            if k == depth:
                count = add_leaf(leaves, count, s + 2, h, steps, world)
                nodes.good[n] = count - 1  # a leaf has no children: the number of its record
                v = leaves.score[count - 1]
            else:
                open_node(nodes, n, h, steps, on, p, world, shape)
                v = value(h, on, world)
            n += 1
            break
        back_up(nodes, k, v, tables.inverse, shape)
        if tables.stop and k == depth and on:
            break
    return count


# ---------------------------------------------------------------- sampling
class Lanes(NamedTuple):
    """Samples side by side."""

    word: np.ndarray  # uint32 [LANES]
    steps: np.ndarray  # int32 [LANES]
    scale: np.ndarray  # float32 [LANES]
    level: np.ndarray  # float32 [LANES]
    good: np.ndarray  # int32 [LANES]
    turn: np.ndarray  # int32 [LANES]
    weight: np.ndarray  # float32 [b, LANES]
    draws: np.ndarray  # uint64 [LANES / 2]


@kernel(fastmath=True)
def sample_step(k, p, world, lanes, shape):
    """Take step k of LANES samples at once: each takes child a with probability P(a | h)."""
    b = len(shape)
    for i in range(LANES):
        lanes.good[i] = good_child(lanes.word[i], shape)
        lanes.scale[i] = _ZERO
    for a in range(b):
        weight = lanes.weight[a]
        for i in range(LANES):
            w = world.low + world.span * unit(salted(lanes.word[i], uint32(WEIGHT + a)))
            w = _ZERO if lanes.good[i] == np.int32(a) else w
            weight[i] = w
            lanes.scale[i] += w
    flat = _ONE / _f(b)
    for i in range(LANES):
        q = p if world.decoys or lanes.steps[i] == np.int32(k) else flat
        lanes.level[i] = q
        lanes.scale[i] = (_ONE - q) / lanes.scale[i]
    draws = lanes.draws.view(np.uint32)
    for i in range(LANES):
        u = unit(draws[i])
        q = lanes.level[i]
        total = _ZERO
        turn = np.int32(0)
        for a in range(b - 1):
            w = lanes.weight[a, i] * lanes.scale[i]
            total += q if lanes.good[i] == np.int32(a) else w
            turn += np.int32(u >= total)
        lanes.turn[i] = turn
    for i in range(LANES):
        on = np.int32(lanes.steps[i] == np.int32(k)) & np.int32(lanes.turn[i] == lanes.good[i])
        lanes.steps[i] += on
        lanes.word[i] = child_word(lanes.word[i], uint32(lanes.turn[i]))


@kernel
def samples(root, p, number, key, world, lanes, leaves, shape):
    """Write ``number`` independent answers of the policy as leaves; return the number."""
    depth = world.depth
    count = 0
    for first in range(0, number, LANES):
        for i in range(LANES):
            lanes.word[i] = root
            lanes.steps[i] = 0
        for k in range(depth):
            fill_words(lanes.draws, key, (first // LANES * depth + k) * lanes.draws.size)
            sample_step(k, p, world, lanes, shape)
        for i in range(min(LANES, number - first)):
            count = add_leaf(leaves, count, 1 + (first + i + 1) * depth, lanes.word[i], lanes.steps[i], world)
    return count


# ---------------------------------------------------------------- best first
@kernel(inline=True)
def before(front, i, j):
    """Whether node i is taken before node j: higher score, then the older."""
    return front.score[i] > front.score[j] or (front.score[i] == front.score[j] and i < j)


@kernel(inline=True)
def push(front, size, i):
    """Put node i on the heap; return the new size."""
    at = size
    while at and before(front, i, front.heap[(at - 1) // 2]):
        front.heap[at] = front.heap[(at - 1) // 2]
        at = (at - 1) // 2
    front.heap[at] = i
    return size + 1


@kernel(inline=True)
def pop(front, size):
    """Move the best node to heap[size - 1] and mend the heap of the others."""
    top, i = front.heap[0], front.heap[size - 1]
    at = 0
    while True:
        kid = 2 * at + 1
        if kid >= size - 1:
            break
        if kid + 1 < size - 1 and before(front, front.heap[kid + 1], front.heap[kid]):
            kid += 1
        if before(front, i, front.heap[kid]):
            break
        front.heap[at] = front.heap[kid]
        at = kid
    front.heap[at] = i
    return top


@kernel
def open_children(front, n, i, p, world, shape):
    """Write the children of node i as nodes n ... n + b - 1, scored by value plus weighted log-probability."""
    b = len(shape)
    h, steps, depth = front.word[i], front.steps[i], front.depth[i]
    good = good_child(h, shape)
    write_priors(h, good, accuracy(p, steps == depth, world, shape), world, front.row, shape)
    for a in range(b):
        on = steps == depth and a == good
        front.word[n + a] = child_word(h, uint32(a))
        front.steps[n + a] = steps + np.int32(on)
        front.depth[n + a] = depth + 1
        front.group[n + a] = front.group[i]
        score = value(front.word[n + a], on, world)
        if world.prior_weight != _ZERO:
            score += world.prior_weight * _f(np.log(front.row[b + a]))
        front.score[n + a] = score


@kernel
def lookahead(root, p, budget, stop, world, front, leaves, shape):
    """Best-first search: always open the node of the highest score; return the number of leaves.

    Opening a node is one expansion, a leaf included. With ``stop`` the right leaf ends the search.
    """
    front.word[0], front.steps[0], front.depth[0], front.group[0] = root, 0, 0, 0
    front.score[0] = _ZERO
    size = push(front, 0, 0)
    n = 1
    count = 0
    for t in range(1, budget + 1):
        if size == 0:
            break
        i = pop(front, size)
        size -= 1
        if front.depth[i] == world.depth:
            count = add_leaf(leaves, count, t, front.word[i], front.steps[i], world)
            if stop and front.steps[i] == world.depth:
                break
            continue
        open_children(front, n, i, p, world, shape)
        for a in range(len(shape)):
            size = push(front, size, n + a)
        n += len(shape)
    return count


# ---------------------------------------------------------------- beams
@kernel
def keep_best(front, first, last, width, groups):
    """Write the nodes of [first, last) that stay on the beam into the heap, best first; return how many.

    All stay while they fit. The first time they do not, they are dealt to the groups in order of score; from then on
    each group keeps its own best width / groups, so that no group can crowd out another.
    """
    if last - first <= width:
        for i in range(first, last):
            front.heap[i - first] = i
        return last - first
    order = np.argsort(-front.score[first:last], kind="mergesort")
    room = np.full(groups, width // groups)
    deal = front.group[first] < 0
    kept = 0
    for r in range(last - first):
        i = first + order[r]
        if deal:
            front.group[i] = r % groups
        if room[front.group[i]]:
            room[front.group[i]] -= 1
            front.heap[kept] = i
            kept += 1
    return kept


@kernel
def beam(root, p, width, groups, world, front, leaves, shape):
    """Search level by level with ``width`` nodes a level; return (leaves, expansions): all leaves complete at once."""
    front.word[0], front.steps[0], front.depth[0], front.group[0] = root, 0, 0, -1
    front.heap[0] = 0
    kept, n, spent = 1, 1, 1
    for _ in range(world.depth):
        first = n
        for j in range(kept):
            open_children(front, n, front.heap[j], p, world, shape)
            n += len(shape)
        kept = keep_best(front, first, n, width, groups)
        spent += kept
    for j in range(kept):
        i = front.heap[j]
        add_leaf(leaves, j, spent, front.word[i], front.steps[i], world)
    return kept, spent


# ---------------------------------------------------------------- what is answered
@kernel
def answer_class(leaves, j, world):
    """Class of answer j: 0 is right, wrong leaves are hashed into ``answers`` classes."""
    return 0 if leaves.steps[j] == world.depth else 1 + salted(leaves.word[j], uint32(ANSWER)) % world.answers


@kernel
def vote(leaves, upto, select, world, tally):
    """Winner among the first ``upto`` leaves: the class with most votes (or most score), the earliest of equals."""
    tally[:] = 0.0
    best = 0
    for j in range(upto):
        tally[answer_class(leaves, j, world)] += 1.0 if select == MAJORITY else leaves.score[j]
    for j in range(upto):
        if tally[answer_class(leaves, j, world)] > tally[answer_class(leaves, best, world)]:
            best = j
    return best


@kernel
def choose(leaves, upto, select, world, tally):
    """Number of the leaf that is answered, among the first ``upto`` (at least one)."""
    if select >= MAJORITY:
        return vote(leaves, upto, select, world, tally)
    best = 0
    for j in range(upto):
        if select == ORACLE:
            if leaves.steps[j] == world.depth:
                return j
        elif leaves.score[j] > leaves.score[best]:
            best = j
    return best


@kernel
def settle(leaves, count, budgets, select, world, tally, out, q):
    """Write what is answered within each budget; nothing complete: right = 0, leaves = 0, steps = -1."""
    upto = 0
    found = False
    for k in range(budgets.size):
        while upto < count and leaves.time[upto] <= budgets[k]:
            found |= leaves.steps[upto] == world.depth
            upto += 1
        out.leaves[q, k] = upto
        out.found[q, k] = found
        out.steps[q, k] = -1
        out.right[q, k] = 0
        if upto:
            best = choose(leaves, upto, select, world, tally)
            out.steps[q, k] = leaves.steps[best]
            out.right[q, k] = leaves.steps[best] == world.depth


@kernel
def write_spent(leaves, count, budgets, stop, depth, out, q):
    """Write what a one-at-a-time search spent: its budget, or less where the right leaf ended it."""
    done = stop and count > 0 and leaves.steps[count - 1] == depth
    for k in range(budgets.size):
        out.spent[q, k] = min(budgets[k], leaves.time[count - 1]) if done else budgets[k]


# ---------------------------------------------------------------- many problems
@kernel
def make_leaves(size):
    """Room for leaves."""
    return Leaves(
        np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.float32), np.empty(size, np.uint32)
    )


@kernel
def make_nodes(size, depth, shape):
    """Room for a PUCT tree."""
    row = np.empty((size, 4 * len(shape)), np.float32)
    return Nodes(
        row, row.view(np.int32), np.empty(size, np.uint32), np.empty(size, np.int32), np.empty(size, np.int32),
        np.empty(size, np.int32), np.empty(depth + 1, np.int32), np.empty(depth + 1, np.int32),
    )  # fmt: skip


@kernel
def make_lanes(shape):
    """Room for samples."""
    i32, f32 = np.int32, np.float32
    return Lanes(
        np.empty(LANES, np.uint32), np.empty(LANES, i32), np.empty(LANES, f32), np.empty(LANES, f32),
        np.empty(LANES, i32), np.empty(LANES, i32), np.empty((len(shape), LANES), f32), np.empty(LANES // 2, np.uint64),
    )  # fmt: skip


@kernel
def make_frontier(size, shape):
    """Room for open nodes."""
    i32 = np.int32
    return Frontier(
        np.empty(size, np.float32), np.empty(size, np.uint32), np.empty(size, i32), np.empty(size, i32),
        np.empty(size, i32), np.empty(size, i32), np.empty(2 * len(shape), np.float32),
    )  # fmt: skip


@kernel
def make_outcome():
    """Room for one problem and one budget."""
    i32, u8 = np.int32, np.uint8
    return Outcome(
        np.empty((1, 1), u8), np.empty((1, 1), u8), np.empty((1, 1), i32), np.empty((1, 1), i32), np.empty((1, 1), i32)
    )


class Work(NamedTuple):
    """Which problems, and how they are answered."""

    first: int  # problems first ... last - 1
    last: int
    key: np.uint32  # "world" of ``root_word``
    seed: np.uint64  # of the samples
    select: int
    groups: int


@kernel
def run_puct(p, work, budgets, world, tables, visits, out, shape):
    """PUCT on every problem; ``visits`` int32 [Q, b] gets the root's."""
    b = len(shape)
    simulations = budgets[-1] - 1
    nodes = make_nodes(simulations + 2, world.depth, shape)
    leaves = make_leaves(simulations + 1)
    tally = np.empty(1 + world.answers)
    for q in range(work.first, work.last):
        count = puct(root_word(q, work.key), p[q], simulations, world, tables, nodes, leaves, shape)
        settle(leaves, count, budgets, work.select, world, tally, out, q)
        write_spent(leaves, count, budgets, tables.stop, world.depth, out, q)
        for a in range(b):
            visits[q, a] = np.int32(_ONE / nodes.row[0, 2 * b + a] + _HALF) - 1


@kernel
def run_samples(p, work, budgets, world, stream, out, shape):
    """Best-of-n on every problem: n = (budget - 1) // depth."""
    depth = world.depth
    number = (budgets[-1] - 1) // depth
    leaves = make_leaves(number)
    lanes = make_lanes(shape)
    tally = np.empty(1 + world.answers)
    for q in range(work.first, work.last):
        key = stream_key(work.seed, stream, q)
        count = samples(root_word(q, work.key), p[q], number, key, world, lanes, leaves, shape)
        settle(leaves, count, budgets, work.select, world, tally, out, q)
        for k in range(budgets.size):
            out.spent[q, k] = 1 + out.leaves[q, k] * depth


@kernel
def run_lookahead(p, work, budgets, world, out, shape):
    """Best-first search on every problem."""
    most = budgets[-1]
    front = make_frontier(most * len(shape) + 1, shape)
    leaves = make_leaves(most)
    tally = np.empty(1 + world.answers)
    stop = work.select == ORACLE
    for q in range(work.first, work.last):
        count = lookahead(root_word(q, work.key), p[q], most, stop, world, front, leaves, shape)
        settle(leaves, count, budgets, work.select, world, tally, out, q)
        write_spent(leaves, count, budgets, stop, world.depth, out, q)


@kernel
def run_beam(p, work, widths, world, out, shape):
    """A beam of each width on every problem; a width of 0 answers nothing."""
    widest = widths.max()
    front = make_frontier(widest * len(shape) * world.depth + 1, shape)
    leaves = make_leaves(widest)
    tally = np.empty(1 + world.answers)
    always = np.array([np.iinfo(np.int32).max])
    one = make_outcome()
    for q in range(work.first, work.last):
        for k in range(widths.size):
            count, spent = 0, 1
            if widths[k]:
                groups = min(work.groups, widths[k])
                count, spent = beam(root_word(q, work.key), p[q], widths[k], groups, world, front, leaves, shape)
            settle(leaves, count, always, work.select, world, tally, one, 0)
            out.found[q, k], out.right[q, k], out.steps[q, k] = one.found[0, 0], one.right[0, 0], one.steps[0, 0]
            out.spent[q, k], out.leaves[q, k] = spent, count


@kernel
def run_counts(p, work, number, world, out, shape):
    """Right ones among ``number`` samples of every problem, int64 [Q]."""
    leaves = make_leaves(number)
    lanes = make_lanes(shape)
    for q in range(work.first, work.last):
        key = stream_key(work.seed, SAMPLES, q)
        samples(root_word(q, work.key), p[q], number, key, world, lanes, leaves, shape)
        out[q] = 0
        for i in range(number):
            out[q] += leaves.steps[i] == world.depth
