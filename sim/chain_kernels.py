# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"
"""Loops of the credit-assignment chain; ``sim/chain.py`` has the mathematics and the public functions.

Work is cut into *units*: a unit is a slab of consecutive blocks of one cluster, and a block is up to 512 rollouts side
by side, one bit each (65 536 in the event-driven form). Each block draws from streams numbered by the block alone and
each unit owns one row of the output, so nothing depends on which thread takes which unit or in what order.

A block is simulated in three passes over the steps: all Bernoulli bits (wrong steps, and moves of the state where slip,
forgiveness or recovery are at work), then the two-state recursion as bit logic on whole words, then sums over the
rollouts that were wrong at a step. Sums over wrong steps and over all rollouts suffice for the moments of g_t.

| symbol | array | shape |
|---|---|---|
| 1 - c_t | ``scratch.wrong``, bits | [L + padding, 8] |
| z_t | ``scratch.state``, bits | [8]; ``states`` [L, 8] where they are asked for |
| R | ``scratch.outcome``, bits; ``scratch.reward``, float32 | [8]; [512] |
| A = G_t - b | ``scratch.advantage``, float32 | [512] |
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types, uint64
from numba.extending import intrinsic

from sim.jit import kernel
from sim.rng import (
    LANES,
    WORDS,
    bernoulli_rows,
    fill_exponentials,
    fill_normals,
    popcount,
    stream_key,
    uniform,
    vector_at,
)

# Streams of sim.chain (see the table in sim/rng.py); MOVES and MOVE_TIES serve slip, forgiveness and recovery alike:
# at most one of the three is looked at for a rollout and a step, so they may share their draws.
STEPS, STEP_TIES, MOVES, MOVE_TIES, VERIFIER, VERIFIER_TIES, RETURN_NOISE, REWARD_NOISE, EVENTS, EVENT_VERIFIER = range(
    1, 11
)
ROWS = 4  # steps summed together; arrays of steps are padded to a multiple of it
EVENT_LANES = 65536
DRAWS = 1024  # exponentials made at a time in the event-driven form
NEVER, ALWAYS, DRAWN = 0, 1, 2  # kinds of a move: probability 0, 1, or between
ALL_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


class Shape(NamedTuple):
    """How the rollouts are cut: numbers of steps, rollouts, and what a block, a unit and a cluster hold."""

    length: int
    rollouts: int  # of a cluster
    lanes: int  # rollouts of a full block: a multiple of the group
    slab: int  # blocks of a full unit
    units: int  # units of a cluster
    group: int  # rollouts that share a leave-one-out baseline; 1: constant baseline
    seed: np.uint64


class Odds(NamedTuple):
    """Thresholds (``split_threshold``) of every Bernoulli variable."""

    wrong_levels: np.ndarray  # [L, 2] P(c_t = 0)
    wrong_rest: np.ndarray
    move_levels: np.ndarray  # [3, L, 2] P(z_t = 1 | on track and right), (| on track and wrong), (| off track)
    move_rest: np.ndarray
    move_kind: np.ndarray  # int64 [3], NEVER, ALWAYS or DRAWN
    verdict_levels: np.ndarray  # [2, 2] P(R = 1 | z_L = 1), P(R = 1 | z_L = 0)
    verdict_rest: np.ndarray
    moves: bool  # False: z_t = c_1 ... c_t, no move is drawn


class Pay(NamedTuple):
    """How rollouts turn into advantages."""

    baseline: np.float32
    linear: bool  # True: R = sum_t weights_t c_t + noise N(0, 1), whatever the state
    weights: np.ndarray  # float32 [L + padding]
    noise: np.float32  # of the linear reward, or of the return from each step


class Scratch(NamedTuple):
    """What one block needs."""

    wrong: np.ndarray  # uint64 [L + padding, 8]
    moves: np.ndarray  # uint64 [3, L, 8]
    state: np.ndarray  # uint64 [8]
    outcome: np.ndarray  # uint64 [8]
    active: np.ndarray  # uint64 [8], rollouts that the block really holds
    verdict: np.ndarray  # uint64 [2, 8]
    pair: np.ndarray  # uint64 [2, 8]
    reward: np.ndarray  # float32 [512]
    advantage: np.ndarray  # float32 [512]
    normal: np.ndarray  # float32 [512]
    words: np.ndarray  # uint64 [256]
    sums: np.ndarray  # float32 [2 ROWS]


# ---------------------------------------------------------------- vector sums over bits
def _lane_mask(context, builder, bits_type, bits, row, j):
    """Emit the 16 booleans of lanes 16 j ... 16 j + 15 of a row of bits."""
    offset = builder.add(builder.mul(row, ir.Constant(ir.IntType(64), LANES // 8)), ir.Constant(ir.IntType(64), 2 * j))
    word = vector_at(context, builder, bits_type, bits, offset, ir.IntType(16))
    return builder.bitcast(word, ir.VectorType(ir.IntType(1), 16))


def _add_lanes(builder, vector):
    """Emit the sum of 16 floats, by halves, in an order that no compiler may change."""
    undefined = ir.Constant(vector.type, ir.Undefined)
    for half in (8, 4, 2, 1):
        order = [(i + half) % 16 for i in range(16)]
        swapped = builder.shuffle_vector(vector, undefined, ir.Constant(ir.VectorType(ir.IntType(32), 16), order))
        vector = builder.fadd(vector, swapped)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _masked_sums(rows):
    """Make the intrinsic (bits, t, values, sums): sums over the ones of rows t ... t + rows - 1.

    sums[2 k] = sum of values, sums[2 k + 1] = sum of squares, over the lanes whose bit is one in row t + k. Written as
    vector instructions because no compiler turns a loop over bits into masked additions.
    """

    def typed(typingctx, bits, t, values, sums):
        def codegen(context, builder, signature, args):
            lanes = ir.VectorType(ir.FloatType(), 16)
            totals = [ir.Constant(lanes, [0.0] * 16)] * (2 * rows)
            at = [builder.add(args[1], ir.Constant(ir.IntType(64), k)) for k in range(rows)]
            for j in range(LANES // 16):
                offset = ir.Constant(ir.IntType(64), 64 * j)
                value = vector_at(context, builder, signature.args[2], args[2], offset, lanes)
                terms = (value, builder.fmul(value, value))
                for k in range(rows):
                    mask = _lane_mask(context, builder, signature.args[0], args[0], at[k], j)
                    for i, term in enumerate(terms, 2 * k):
                        totals[i] = builder.select(mask, builder.fadd(totals[i], term), totals[i])
            out = context.make_array(signature.args[3])(context, builder, args[3]).data
            for i, total in enumerate(totals):
                builder.store(_add_lanes(builder, total), builder.gep(out, [ir.Constant(ir.IntType(64), i)]))
            return context.get_dummy_value()

        return types.void(bits, types.int64, values, sums), codegen

    return intrinsic(typed)


masked_sums = _masked_sums(ROWS)
masked_sums_of_two = _masked_sums(2)


@intrinsic
def masked_subtract(typingctx, values, bits, t, weights):
    """Subtract weights[t + k] from the lanes whose bit is one in row t + k, for k = 0 ... ROWS - 1."""

    def codegen(context, builder, signature, args):
        lanes = ir.VectorType(ir.FloatType(), 16)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        heights = context.make_array(signature.args[3])(context, builder, args[3]).data
        at = [builder.add(args[2], ir.Constant(ir.IntType(64), k)) for k in range(ROWS)]
        undefined, zeros = ir.Constant(lanes, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), 16), [0] * 16)
        steps = []
        for row in at:
            height = builder.load(builder.gep(heights, [row]), typ=ir.FloatType())
            first = builder.insert_element(undefined, height, ir.Constant(ir.IntType(32), 0))
            steps.append(builder.shuffle_vector(first, undefined, zeros))
        for j in range(LANES // 16):
            address = builder.gep(data, [ir.Constant(ir.IntType(64), 16 * j)])
            address = builder.bitcast(address, lanes.as_pointer())
            value = builder.load(address, align=4, typ=lanes)
            for k in range(ROWS):
                mask = _lane_mask(context, builder, signature.args[1], args[1], at[k], j)
                value = builder.select(mask, builder.fsub(value, steps[k]), value)
            builder.store(value, address, align=4)
        return context.get_dummy_value()

    return types.void(values, bits, types.int64, weights), codegen


@intrinsic
def move_states(typingctx, z, t, wrong, stay, forgiven, recovered):
    """One step of z = z (c ? stay : forgiven) + (1 - z) recovered on 512 bits at once."""

    def codegen(context, builder, signature, args):
        bits = ir.VectorType(ir.IntType(64), WORDS)
        offset = builder.mul(args[1], ir.Constant(ir.IntType(64), LANES // 8))
        rows = [vector_at(context, builder, signature.args[k], args[k], offset, bits) for k in range(2, 6)]
        w, a, b, c = rows
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(data, bits.as_pointer())
        now = builder.load(address, align=8, typ=bits)
        kept = builder.or_(builder.and_(a, builder.not_(w)), builder.and_(b, w))
        then = builder.or_(builder.and_(now, kept), builder.and_(builder.not_(now), c))
        builder.store(then, address, align=8)
        return context.get_dummy_value()

    return types.void(z, types.int64, wrong, stay, forgiven, recovered), codegen


# ---------------------------------------------------------------- one block
@kernel
def make_scratch(length, odds):
    """Allocate the arrays of one block; rows of padding stay zero (nobody is wrong there), certain moves are set."""
    padded = (length + ROWS - 1) // ROWS * ROWS
    moves = np.zeros((3, length, WORDS), np.uint64)
    for k in range(3):
        if odds.move_kind[k] == ALWAYS:
            moves[k] = ALL_ONES
    return Scratch(
        np.zeros((padded, WORDS), np.uint64),
        moves,
        np.empty(WORDS, np.uint64),
        np.empty(WORDS, np.uint64),
        np.empty(WORDS, np.uint64),
        np.empty((2, WORDS), np.uint64),
        np.empty((2, WORDS), np.uint64),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES, np.float32),
        np.empty(LANES // 2, np.uint64),
        np.empty(2 * ROWS, np.float32),
    )


@kernel
def blocks_of(shape, unit):
    """Return the first and the last (exclusive) block of a unit within its cluster, and the cluster's first block."""
    cluster, slab = divmod(unit, shape.units)
    blocks = (shape.rollouts + shape.lanes - 1) // shape.lanes
    return slab * shape.slab, min((slab + 1) * shape.slab, blocks), cluster * blocks


@kernel
def held(shape, block):
    """Return how many rollouts block ``block`` of a cluster holds."""
    return min(shape.lanes, shape.rollouts - block * shape.lanes)


@kernel
def fill_active(active, n):
    """Set the lowest ``n`` bits of a row and clear the others."""
    for i in range(WORDS):
        left = n - 64 * i
        if left >= 64:
            active[i] = ALL_ONES
        elif left <= 0:
            active[i] = uint64(0)
        else:
            active[i] = (uint64(1) << uint64(left)) - uint64(1)


@kernel
def copy_words(into, row):
    """Copy a row of bits (an assignment of slices would compile numba's code for messages about shapes: a second)."""
    for i in range(WORDS):
        into[i] = row[i]


@kernel
def draw_moves(scratch, odds, seed, block):
    """Draw P(z_t = 1) bits for the three situations; those of probability 0 or 1 stand there already."""
    key = stream_key(seed, MOVES, block)
    tie_key = stream_key(seed, MOVE_TIES, block)
    for k in range(3):
        rows = scratch.moves[k]
        levels, rest = odds.move_levels[k], odds.move_rest[k]
        if odds.move_kind[k] == DRAWN:
            bernoulli_rows(rows, levels, rest, key, tie_key)


@kernel
def run_states(scratch, odds, states):
    """Run z_t = z_{t-1} (c_t ? stay : forgiven) or recovered over all steps, one bit a rollout.

    Args:
        scratch: ``wrong`` and ``moves`` are read, ``state`` is z_L on return.
        odds: Tells whether anything but c_t moves the state.
        states: uint64 [L, 8] that receives every z_t, or [0, 8] when they are not wanted.
    """
    z, wrong, length = scratch.state, scratch.wrong, odds.wrong_rest.size
    z[:] = ALL_ONES
    stay, forgiven, recovered = scratch.moves[0], scratch.moves[1], scratch.moves[2]
    for t in range(length):
        if odds.moves:
            move_states(z, t, wrong, stay, forgiven, recovered)
        else:
            w = wrong[t]
            for i in range(WORDS):
                z[i] &= ~w[i]
        if states.shape[0] > 0:
            copy_words(states[t], z)


@kernel
def run_block(scratch, odds, shape, block, n, states):
    """Simulate one block: wrong steps, states and the verifier's outcome of ``n`` rollouts (other bits are zero).

    Args:
        scratch: Written.
        odds: Thresholds.
        shape: The cut.
        block: Number of the block over all clusters; it names the streams.
        n: Rollouts held.
        states: See ``run_states``.
    """
    seed = shape.seed
    fill_active(scratch.active, n)
    wrong = scratch.wrong[: shape.length]
    step_key = stream_key(seed, STEPS, block)
    bernoulli_rows(wrong, odds.wrong_levels, odds.wrong_rest, step_key, stream_key(seed, STEP_TIES, block))
    if odds.moves:
        draw_moves(scratch, odds, seed, block)
    run_states(scratch, odds, states)
    key = stream_key(seed, VERIFIER, block)
    verdict = scratch.verdict
    bernoulli_rows(verdict, odds.verdict_levels, odds.verdict_rest, key, stream_key(seed, VERIFIER_TIES, block))
    for i in range(WORDS):
        z = scratch.state[i]
        scratch.outcome[i] = ((z & verdict[0, i]) | (~z & verdict[1, i])) & scratch.active[i]


# ---------------------------------------------------------------- counts
@kernel
def count_units(first, last, shape, odds, counts, hits):
    """Count wrong steps, and wrong steps of rewarded rollouts: all that a constant baseline needs, in integers.

    Args:
        first: First unit.
        last: Last unit (exclusive).
        shape: The cut.
        odds: Thresholds.
        counts: int64 [last - first, 2, L], zero on entry: wrong at t; wrong at t and R = 1.
        hits: int64 [last - first], zero on entry: R = 1.
    """
    scratch = make_scratch(shape.length, odds)
    no_states = np.empty((0, WORDS), np.uint64)
    outcome, active = scratch.outcome, scratch.active
    for unit in range(first, last):
        wrong_count, rewarded = counts[unit - first]
        begin, end, offset = blocks_of(shape, unit)
        for block in range(begin, end):
            run_block(scratch, odds, shape, offset + block, held(shape, block), no_states)
            for i in range(WORDS):
                hits[unit - first] += np.int64(popcount(outcome[i]))
            for t in range(shape.length):
                row = scratch.wrong[t]
                a, b = uint64(0), uint64(0)
                for i in range(WORDS):
                    a += popcount(row[i] & active[i])
                    b += popcount(row[i] & outcome[i])
                wrong_count[t] += np.int64(a)
                rewarded[t] += np.int64(b)


# ---------------------------------------------------------------- weighted sums
@kernel
def unpack_outcome(scratch):
    """Write R as floats."""
    for j in range(LANES):
        bit = (scratch.outcome[j >> 6] >> uint64(j & 63)) & uint64(1)
        scratch.reward[j] = np.float32(np.int64(bit))


@kernel
def linear_reward(scratch, pay, key):
    """Write R = sum_t w_t c_t + noise N(0, 1), starting from everything right."""
    total = 0.0
    for w in pay.weights:
        total += np.float64(w)
    scratch.reward[:] = np.float32(total)
    for t in range(0, scratch.wrong.shape[0], ROWS):
        masked_subtract(scratch.reward, scratch.wrong, t, pay.weights)
    if pay.noise > _ZERO:
        fill_normals(scratch.normal, scratch.words, key, 0)
        for j in range(LANES):
            scratch.reward[j] += pay.noise * scratch.normal[j]


@kernel
def fill_advantages(advantage, returns, n, group, baseline):
    """Write A = G - b for the ``n`` rollouts held, b constant or the mean of the others of the group; 0 elsewhere."""
    if group == 1:
        for j in range(n):
            advantage[j] = returns[j] - baseline
    else:
        share = _ONE / np.float32(group - 1)
        for start in range(0, n, group):
            members = returns[start : start + group]
            total = _ZERO
            for j in range(members.size):
                total += members[j]
            out = advantage[start : start + group]
            for j in range(members.size):
                out[j] = members[j] - (total - members[j]) * share
    advantage[n:] = _ZERO


@kernel(fastmath={"reassoc", "contract"})
def add_totals(total, advantage, reward, n):
    """Add the sums of A, A^2 and R over the ``n`` rollouts held (vectorised, so in an order of the compiler's)."""
    x = y = z = 0.0
    for j in range(n):
        a = np.float64(advantage[j])
        x += a
        y += a * a
        z += np.float64(reward[j])
    total[0] += x
    total[1] += y
    total[2] += z


@kernel
def weigh_units(first, last, shape, odds, pay, sums, totals):
    """Sum A and A^2 over the rollouts that were wrong at each step, and over all.

    Args:
        first: First unit.
        last: Last unit (exclusive).
        shape: The cut.
        odds: Thresholds.
        pay: Reward and baseline.
        sums: float64 [last - first, L + padding, 2], zero on entry: A and A^2 over wrong rollouts.
        totals: float64 [last - first, 3], zero on entry: A, A^2 and R over all rollouts.
    """
    scratch = make_scratch(shape.length, odds)
    no_states = np.empty((0, WORDS), np.uint64)
    a, r = scratch.advantage, scratch.reward
    for unit in range(first, last):
        out, total = sums[unit - first], totals[unit - first]
        begin, end, offset = blocks_of(shape, unit)
        for block in range(begin, end):
            n = held(shape, block)
            run_block(scratch, odds, shape, offset + block, n, no_states)
            if pay.linear:
                linear_reward(scratch, pay, stream_key(shape.seed, REWARD_NOISE, offset + block))
            else:
                unpack_outcome(scratch)
            fill_advantages(a, r, n, shape.group, pay.baseline)
            add_totals(total, a, r, n)
            for t in range(0, out.shape[0], ROWS):
                masked_sums(scratch.wrong, t, a, scratch.sums)
                for k in range(ROWS):
                    out[t + k, 0] += scratch.sums[2 * k]
                    out[t + k, 1] += scratch.sums[2 * k + 1]


@kernel(fastmath={"contract"})
def weigh_noisy_units(first, last, shape, odds, pay, sums, totals):
    """Sum A_t and A_t^2 with A_t = G_t - b and G_t = R + sum_{u >= t} x_u, over wrong rollouts and over all.

    Args:
        first: First unit.
        last: Last unit (exclusive).
        shape: The cut.
        odds: Thresholds.
        pay: Baseline, and the standard deviation of x.
        sums: float64 [last - first, L, 4], zero on entry: A and A^2 over wrong, then over all.
        totals: float64 [last - first, 3], zero on entry; only the last, the sum of R, is written.
    """
    scratch = make_scratch(shape.length, odds)
    no_states = np.empty((0, WORDS), np.uint64)
    pair, returns, x = scratch.pair, scratch.reward, scratch.normal
    values = scratch.advantage if shape.group > 1 else returns
    for unit in range(first, last):
        begin, end, offset = blocks_of(shape, unit)
        for block in range(begin, end):
            n = held(shape, block)
            run_block(scratch, odds, shape, offset + block, n, no_states)
            unpack_outcome(scratch)
            for i in range(WORDS):
                totals[unit - first, 2] += np.float64(popcount(scratch.outcome[i]))
            if shape.group == 1:
                for j in range(LANES):
                    returns[j] -= pay.baseline
            copy_words(pair[1], scratch.active)
            key = stream_key(shape.seed, RETURN_NOISE, offset + block)
            for t in range(shape.length - 1, -1, -1):
                fill_normals(x, scratch.words, key, t * scratch.words.size)
                for j in range(LANES):
                    returns[j] += pay.noise * x[j]
                if shape.group > 1:
                    fill_advantages(values, returns, n, shape.group, pay.baseline)
                for i in range(WORDS):
                    pair[0, i] = scratch.wrong[t, i] & scratch.active[i]
                masked_sums_of_two(pair, 0, values, scratch.sums)
                for k in range(4):
                    sums[unit - first, t, k] += scratch.sums[k]


# ---------------------------------------------------------------- rare errors, one by one
class Events(NamedTuple):
    """What one block of the event-driven form needs."""

    at: np.ndarray  # uint16 [capacity], rollouts of the errors, step after step
    start: np.ndarray  # int64 [L + 1], where a step's errors begin
    draws: np.ndarray  # float64 [DRAWS], unit exponentials
    words: np.ndarray  # uint64 [DRAWS]
    failed: np.ndarray  # uint8 [EVENT_LANES], 1: wrong somewhere
    reward: np.ndarray  # float32 [EVENT_LANES]
    advantage: np.ndarray  # float32 [EVENT_LANES]


@kernel
def find_errors(events, inverse_rate, key, n):
    """Jump from error to error: rollout m + 1 + floor(E / -log p_t) is the next one wrong at t, E exponential.

    (A geometric gap: P(gap >= k) = P(E >= -k log p_t) = p_t^k.)

    Returns:
        The number of errors; when it exceeds ``events.at.size`` the block has to be run again with more room.
    """
    at, draws, failed = events.at, events.draws, events.failed
    room, used, made, count = at.size, DRAWS, 0, 0
    failed[:n] = 0
    for t in range(inverse_rate.size):
        events.start[t] = count
        scale, m = inverse_rate[t], -1.0
        while True:
            if used == DRAWS:
                fill_exponentials(draws, events.words, key, made)
                made += DRAWS
                used = 0
            m += 1.0 + np.floor(draws[used] * scale)
            used += 1
            if not m < n:
                break
            rollout = np.int64(m)
            failed[rollout] = 1
            if count < room:
                at[count] = rollout
            count += 1
    events.start[inverse_rate.size] = count
    return count


@kernel
def judge_events(events, verdict, n, key):
    """Write R of each rollout: z_L = not failed, seen through the verifier (P(R=1 | z=1), P(R=1 | z=0))."""
    plain = verdict[0] == 1.0 and verdict[1] == 0.0
    failed, reward = events.failed, events.reward
    for j in range(n):
        reward[j] = _ONE - np.float32(failed[j])
    if not plain:
        for j in range(n):
            reward[j] = np.float32(np.int64(uniform(key, j) < verdict[np.int64(failed[j])]))


@kernel
def make_events(capacity, length):
    """Allocate the arrays of one block with room for ``capacity`` errors."""
    return Events(
        np.empty(capacity, np.uint16),
        np.empty(length + 1, np.int64),
        np.empty(DRAWS),
        np.empty(DRAWS, np.uint64),
        np.empty(EVENT_LANES, np.uint8),
        np.empty(EVENT_LANES, np.float32),
        np.empty(EVENT_LANES, np.float32),
    )


@kernel
def event_units(first, last, shape, rare, pay, sums, totals):
    """Sum A and A^2 over wrong rollouts and over all, visiting only the errors (no move of the state but by errors).

    Args:
        first: First unit.
        last: Last unit (exclusive).
        shape: The cut, with blocks of up to EVENT_LANES.
        rare: (1 / -log p_t float64 [L], P(R=1 | z) for z = 1, 0 as float64 [2], room for errors of a block).
        pay: Baseline.
        sums: float64 [last - first, L + padding, 2], zero on entry.
        totals: float64 [last - first, 3], zero on entry.
    """
    inverse_rate, verdict, room = rare
    events = make_events(room, shape.length)
    for unit in range(first, last):
        out, total = sums[unit - first], totals[unit - first]
        begin, end, offset = blocks_of(shape, unit)
        for block in range(begin, end):
            n = held(shape, block)
            key = stream_key(shape.seed, EVENTS, offset + block)
            count = find_errors(events, inverse_rate, key, n)
            while count > events.at.size:
                events = make_events(count, shape.length)
                count = find_errors(events, inverse_rate, key, n)
            judge_events(events, verdict, n, stream_key(shape.seed, EVENT_VERIFIER, offset + block))
            fill_advantages(events.advantage[:n], events.reward, n, shape.group, pay.baseline)
            add_events(events, out, total, n)


@kernel
def add_events(events, out, total, n):
    """Add A and A^2 of every error to its step, and A, A^2 and R of every rollout to the totals."""
    a = events.advantage
    for t in range(events.start.size - 1):
        x = y = 0.0
        at = events.at[events.start[t] : events.start[t + 1]]
        for i in range(at.size):
            value = np.float64(a[at[i]])
            x += value
            y += value * value
        out[t, 0] += x
        out[t, 1] += y
    add_totals(total, a, events.reward, n)


# ---------------------------------------------------------------- raw bits
@kernel
def trace_units(first, last, shape, odds, wrong, states, outcome):
    """Keep the bits themselves.

    Args:
        first: First unit; a unit is one block here.
        last: Last unit (exclusive).
        shape: The cut.
        odds: Thresholds.
        wrong: uint64 [last - first, L, 8], written; bits of rollouts that the block does not hold are arbitrary.
        states: uint64 [last - first, L, 8], written likewise.
        outcome: uint64 [last - first, 8], written.
    """
    scratch = make_scratch(shape.length, odds)
    for unit in range(first, last):
        begin, end, offset = blocks_of(shape, unit)
        for block in range(begin, end):
            run_block(scratch, odds, shape, offset + block, held(shape, block), states[unit - first])
            copy_words(outcome[unit - first], scratch.outcome)
            for t in range(shape.length):
                copy_words(wrong[unit - first, t], scratch.wrong[t])
