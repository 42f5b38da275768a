# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"
"""Counter-based random numbers: the i-th draw of a stream is a pure function of (seed, stream, index, i).

A draw is ``mix64(key + (i + 1) * GOLD)``, the splitmix64 generator (Steele, Lea and Flood 2014) entered at position i,
where ``key = stream_key(seed, stream, index)``. Nothing is carried from draw to draw, so results do not depend on the
number of threads, on chunks, or on the order in which work is done: a kernel gives each unit of work (a block of
rollouts, a problem, a path) its own ``index`` and counts draws within it.

| symbol | meaning |
|---|---|
| seed | one 64-bit word from the caller (``seed_word`` checks it; ``rlaws.seeding.word`` makes one) |
| stream | what the draws are for, a number from the table below: two purposes never share a stream |
| index | the unit of work (block, cluster, problem) |

Streams 1 to 15 belong to ``sim.chain`` (named in ``chain_kernels.py``); a simulator that is added takes the next free
sixteen numbers and names them at the top of its own kernel file:

| streams | topic | | streams | topic |
|---|---|---|---|---|
| 1-15 | chain | | 96-111 | capacity |
| 16-31 | density | | 112-127 | learning |
| 32-47 | drift | | 128-143 | reward |
| 48-63 | tree | | 144-159 | replay |
| 64-79 | temperature | | 160-175 | budget |
| 80-95 | critic | | 1000+ | tests |

Functions for kernels: ``stream_key``, ``draw`` (64 bits), ``uniform`` (float64 in (0, 1)), ``fill_words``,
``bernoulli_row`` (512 Bernoulli variables as bits), ``fill_exponentials`` and ``fill_normals`` (float32, vectorised).

Bernoulli variables are packed 64 to a word and drawn from one random *byte* each. A byte below the threshold's top byte
decides, one above decides, and the one in 256 that equals it is settled by 56 further bits. The probability is exact to
2**-64, and most variables cost 8 random bits, which fill the lanes of a vector register eight times as well as 64 would.
"""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir
from numba import types, uint64
from numba.extending import intrinsic

from sim.jit import kernel

GOLD = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_SPREAD = np.uint64(0xD1342543DE82EF95)

LANES = 512  # Bernoulli variables of a row: eight 64-bit words of bits, drawn from 64 words of random bytes
WORDS = LANES // 64
_FULL = 1 << 56


def seed_word(seed: int) -> np.uint64:
    """Return ``seed`` as the 64-bit word that kernels take.

    Raises:
        ValueError: Not an integer from 0 to 2**64 - 1.
    """
    try:
        value = operator.index(seed)
    except TypeError:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, not {seed!r}.") from None
    if not 0 <= value < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, not {value}; see rlaws.seeding.word.")
    return np.uint64(value)


def split_threshold(p) -> tuple[np.ndarray, np.ndarray]:
    """Split probabilities into a top byte and 56 bits, for ``bernoulli_row``.

    Returns:
        ``top`` (uint8) and ``rest`` (uint64, 0 to 2**56) with p = top/2**8 + rest/2**64, exact for every double.
    """
    scaled = np.asarray(p, dtype=np.float64) * 256.0
    top = np.minimum(np.floor(scaled), 255.0)
    return top.astype(np.uint8), np.rint((scaled - top) * float(_FULL)).astype(np.uint64)


# ---------------------------------------------------------------- words
@kernel
def mix64(z):
    """Return the finaliser of splitmix64: a bijection of 64-bit words."""
    z = (z ^ (z >> uint64(30))) * _MIX1
    z = (z ^ (z >> uint64(27))) * _MIX2
    return z ^ (z >> uint64(31))


@kernel
def stream_key(seed, stream, index):
    """Return the key of a stream: 64 bits from (seed, purpose, unit of work)."""
    return mix64(mix64(mix64(uint64(seed) + GOLD) + uint64(stream) * _SPREAD) + uint64(index) * GOLD)


@kernel
def draw(key, i):
    """Return draw i (from 0) of the stream with this key, 64 bits."""
    return mix64(key + (uint64(i) + uint64(1)) * GOLD)


@kernel
def uniform(key, i):
    """Return draw i of the stream as a double in (0, 1): (k + 1/2) 2**-53 would round to 1, so 52 bits."""
    return (np.float64(draw(key, i) >> uint64(12)) + 0.5) * 2.0**-52


@kernel
def fill_words(words, key, first):
    """Write draws ``first``, ``first`` + 1, ... of the stream into ``words`` (uint64)."""
    base = key + (uint64(first) + uint64(1)) * GOLD
    for j in range(words.size):
        words[j] = mix64(base + uint64(j) * GOLD)


# ---------------------------------------------------------------- bits
@intrinsic
def popcount(typingctx, word):
    """Number of ones of a 64-bit word."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), codegen


@intrinsic
def lowest_one(typingctx, word):
    """Position of the lowest one of a 64-bit word that is not zero."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


def vector_at(context, builder, array_type, array, offset, vector_type):
    """Emit the load of a vector of any type from byte ``offset`` of an array's data (no alignment assumed)."""
    data = context.make_array(array_type)(context, builder, array).data
    address = builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [offset])
    return builder.load(builder.bitcast(address, vector_type.as_pointer()), align=1, typ=vector_type)


def _compare_bytes(predicate):
    """Make the intrinsic (words, i, byte) -> bits: ``predicate`` on the 64 bytes of words[8i : 8i + 8]."""

    def typed(typingctx, words, i, byte):
        def codegen(context, builder, signature, args):
            lanes = ir.VectorType(ir.IntType(8), 64)
            offset = builder.mul(args[1], ir.Constant(ir.IntType(64), 64))
            drawn = vector_at(context, builder, signature.args[0], args[0], offset, lanes)
            one = builder.insert_element(ir.Constant(lanes, ir.Undefined), args[2], ir.Constant(ir.IntType(32), 0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
            level = builder.shuffle_vector(one, ir.Constant(lanes, ir.Undefined), zeros)
            return builder.bitcast(builder.icmp_unsigned(predicate, drawn, level), ir.IntType(64))

        return types.uint64(words, types.int64, types.uint8), codegen

    return intrinsic(typed)


bytes_below = _compare_bytes("<")
bytes_equal = _compare_bytes("==")


@kernel
def settle(ties, rest, key, counter):
    """Decide the variables whose byte equalled the threshold's: one more draw for each one of ``ties``.

    Args:
        ties: Bits of the undecided lanes.
        rest: Low 56 bits of the threshold.
        key: Key of the stream of ties.
        counter: Number of the first lane of this word.
    """
    ones = uint64(0)
    while ties:
        lane = lowest_one(ties)
        ones |= uint64((draw(key, counter + lane) >> uint64(8)) < rest) << lane
        ties &= ties - uint64(1)
    return ones


@kernel
def bernoulli_row(out, words, top, rest, tie_key, counter):
    """Turn 64 words of random bytes into 512 Bernoulli bits.

    Args:
        out: uint64 [8], written: bit k of word i is one with probability top/2**8 + rest/2**64.
        words: uint64 [64], random.
        top: Top byte of the probability (``split_threshold``).
        rest: Its low 56 bits.
        tie_key: Key of the stream that settles ties.
        counter: Number of the row in that stream.
    """
    for i in range(WORDS):
        out[i] = bytes_below(words, i, top)
        ties = bytes_equal(words, i, top)
        if ties:
            out[i] |= settle(ties, rest, tie_key, uint64(counter) * uint64(LANES) + uint64(64 * i))
