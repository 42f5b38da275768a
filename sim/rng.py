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
``bernoulli_rows`` (rows of 512 Bernoulli variables as bits), ``fill_exponentials`` and ``fill_normals`` (vectorised).

Bernoulli variables are packed 64 to a word and drawn from one random *byte* each. A byte below the threshold's top byte
decides, one above decides, and the one in 256 that equals it is settled by a second byte and, if need be, 48 more bits.
The probability is exact to 2**-64, and most variables cost 8 random bits, of which a vector register holds 64.
"""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir
from numba import types, uint64
from numba.extending import intrinsic
from numpy.typing import ArrayLike, NDArray

from sim.jit import kernel

GOLD = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_SPREAD = np.uint64(0xD1342543DE82EF95)

LANES = 512  # Bernoulli variables of a row: eight 64-bit words of bits, drawn from 64 words of random bytes
WORDS = LANES // 64


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


def split_threshold(p: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Split probabilities into two bytes and 48 bits, for ``bernoulli_rows``.

    Returns:
        ``levels`` (uint8 [..., 2]) and ``rest`` (uint64, 0 to 2**48) with
        p = levels[..., 0]/2**8 + levels[..., 1]/2**16 + rest/2**64, exact for every double of at least 2**-11.
    """
    first = np.asarray(p, dtype=np.float64) * 256.0
    top = np.minimum(np.floor(first), 255.0)
    second = (first - top) * 256.0
    following = np.minimum(np.floor(second), 255.0)
    levels = np.stack([top, following], axis=-1).astype(np.uint8)
    return levels, np.rint((second - following) * 2.0**48).astype(np.uint64)


# ---------------------------------------------------------------- words
@kernel
def mix64(z):
    """Return the finaliser of splitmix64: a bijection of 64-bit words."""
    z = uint64(z)
    z = (z ^ (z >> uint64(30))) * _MIX1
    z = (z ^ (z >> uint64(27))) * _MIX2
    return z ^ (z >> uint64(31))


@kernel
def stream_key(seed, stream, index):
    """Return the key of a stream: 64 bits from (seed, purpose, unit of work).

    Called from Python it comes back as a plain integer, which the functions below take as well.
    """
    return mix64(mix64(mix64(uint64(seed) + GOLD) + uint64(stream) * _SPREAD) + uint64(index) * GOLD)


@kernel
def draw(key, i):
    """Return draw i (from 0) of the stream with this key, 64 bits."""
    return mix64(uint64(key) + (uint64(i) + uint64(1)) * GOLD)


@kernel
def uniform(key, i):
    """Return draw i of the stream as a double in (0, 1): (k + 1/2) 2**-53 would round to 1, so 52 bits."""
    return (np.float64(draw(key, i) >> uint64(12)) + 0.5) * 2.0**-52


@kernel
def fill_words(words, key, first):
    """Write draws ``first``, ``first`` + 1, ... of the stream into ``words`` (uint64)."""
    base = uint64(key) + (uint64(first) + uint64(1)) * GOLD
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
    """Decide variables that random bytes left open, with one more draw for each one of ``ties``.

    Args:
        ties: Bits of the undecided lanes.
        rest: Probability that an undecided bit is one, times 2**56.
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
def bernoulli_rows(out, levels, rests, key, tie_key):
    """Fill rows of 512 Bernoulli bits with probabilities from ``split_threshold``, almost without branches.

    A row has some two ties on the top byte. They are looked up in one second vector of 64 random bytes that the eight
    words share, which is sound as long as no two ties of the row fall on the same lane of their words; where two do
    (3 % of the rows), or the second byte ties again (1 %), lanes are settled one by one. Read ``out`` only after this
    returns: a vector load that follows the narrow stores of its own row stalls.

    Args:
        out: uint64 [T, 8], written.
        levels: uint8 [T, 2], top and second byte of the probability.
        rests: uint64 [T], what is left, times 2**64.
        key: Key of the stream of bytes.
        tie_key: Key of the stream that settles ties.
    """
    words = np.empty(LANES // 8 + 8, np.uint64)
    ties = np.empty(WORDS, np.uint64)
    for t in range(rests.size):
        fill_words(words, key, t * words.size)
        row, top = out[t], levels[t, 0]
        seen, clash = uint64(0), uint64(0)
        for i in range(WORDS):
            row[i] = bytes_below(words, i, top)
            tie = bytes_equal(words, i, top)
            clash |= seen & tie
            seen |= tie
            ties[i] = tie
        low, again = bytes_below(words, WORDS, levels[t, 1]), bytes_equal(words, WORDS, levels[t, 1])
        if clash:
            rest = (uint64(levels[t, 1]) << uint64(48)) + rests[t]
            for i in range(WORDS):
                row[i] |= settle(ties[i], rest, tie_key, uint64(t * LANES + 64 * i))
        else:
            for i in range(WORDS):
                row[i] |= ties[i] & low
            if seen & again:
                for i in range(WORDS):
                    row[i] |= settle(ties[i] & again, rests[t] << uint64(8), tie_key, uint64(t * LANES + 64 * i))


# ---------------------------------------------------------------- exponential and normal
@intrinsic
def float_parts(typingctx, x):
    """Split a positive normal double x = m 2**e with m in [sqrt(1/2), sqrt(2)); returns (m, e) as doubles."""

    def codegen(context, builder, signature, args):
        return _split(context, builder, signature, args[0], ir.IntType(64), 52, 0x3FE6A09E667F3BCD)

    return types.UniTuple(types.float64, 2)(types.float64), codegen


@intrinsic
def float32_parts(typingctx, x):
    """Split a positive normal float32 like ``float_parts``; numba would widen its 32-bit integers to 64."""

    def codegen(context, builder, signature, args):
        return _split(context, builder, signature, args[0], ir.IntType(32), 23, 0x3F3504F3)

    return types.UniTuple(types.float32, 2)(types.float32), codegen


def _split(context, builder, signature, x, integer, bits, root_half):
    """Emit m and e of x = m 2**e, where ``root_half`` is the bit pattern of sqrt(1/2)."""
    shifted = builder.sub(builder.bitcast(x, integer), ir.Constant(integer, root_half))
    exponent = builder.sitofp(builder.ashr(shifted, ir.Constant(integer, bits)), x.type)
    kept = builder.and_(shifted, ir.Constant(integer, (1 << bits) - 1))
    mantissa = builder.bitcast(builder.add(kept, ir.Constant(integer, root_half)), x.type)
    return context.make_tuple(builder, signature.return_type, [mantissa, exponent])


@kernel(fastmath={"contract"})
def fill_exponentials(out, words, key, first):
    """Write draws of the unit exponential, -log(u), without a call to log, so that the loop vectorises.

    log m = 2 artanh((m - 1)/(m + 1)) by its series to s**19, below 1e-15 on [sqrt(1/2), sqrt(2)).

    Args:
        out: float64 [n], written.
        words: uint64 [n], scratch.
        key: Key of the stream.
        first: Number of the first draw.
    """
    fill_words(words, key, first)
    for j in range(out.size):
        m, e = float_parts((np.float64(words[j] >> uint64(12)) + 0.5) * 2.0**-52)
        s = (m - 1.0) / (m + 1.0)
        q = s * s
        tail = 1 / 11 + q * (1 / 13 + q * (1 / 15 + q * (1 / 17 + q * (1 / 19))))
        series = 1.0 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * tail))))
        out[j] = -(e * 0.6931471805599453 + 2.0 * s * series)


_f = np.float32
_LN2, _TWO, _ONE, _ZERO = _f(np.log(2.0)), _f(2.0), _f(1.0), _f(0.0)
_TO_UNIT, _TO_HALF_TURN = _f(2.0**-32), _f(2.0**-31)
_L3, _L5, _L7, _L9 = _f(1 / 3), _f(1 / 5), _f(1 / 7), _f(1 / 9)
_H = np.pi / 2
_S1, _S3, _S5 = _f(_H), _f(-(_H**3) / 6), _f(_H**5 / 120)
_S7, _S9, _S11 = _f(-(_H**7) / 5040), _f(_H**9 / 362880), _f(-(_H**11) / 39916800)
_C2, _C4, _C6 = _f(-(_H**2) / 2), _f(_H**4 / 24), _f(-(_H**6) / 720)
_C8, _C10, _C12 = _f(_H**8 / 40320), _f(-(_H**10) / 3628800), _f(_H**12 / 479001600)


@kernel(fastmath={"contract"})
def fill_normals(out, words, key, first):
    """Write standard normal draws (float32) by Box and Muller (1958), in arithmetic that vectorises.

    Two draws from one 64-bit word: 32 bits for the radius sqrt(-2 log u) (so |x| <= 6.8), 32 for the angle pi v, whose
    sine and cosine come from those of the half angle (Taylor to order 11 and 12, below 6e-8).

    Args:
        out: float32 [2 n], written.
        words: uint64 [n], scratch.
        key: Key of the stream.
        first: Number of the first word.
    """
    fill_words(words, key, first)
    n = words.size
    for_radius = words.view(np.uint32)[:n]
    for_angle = words.view(np.int32)[n:]
    cosines = out[:n]
    sines = out[n:]
    for j in range(n):
        m, e = float32_parts(np.float32(for_radius[j]) * _TO_UNIT + _TO_UNIT / _TWO)
        s = (m - _ONE) / (m + _ONE)
        q = s * s
        log_u = e * _LN2 + _TWO * s * (_ONE + q * (_L3 + q * (_L5 + q * (_L7 + q * _L9))))
        radius = np.sqrt(max(-_TWO * log_u, _ZERO))
        v = np.float32(for_angle[j]) * _TO_HALF_TURN
        h = v * v
        sine = v * (_S1 + h * (_S3 + h * (_S5 + h * (_S7 + h * (_S9 + h * _S11)))))
        cosine = _ONE + h * (_C2 + h * (_C4 + h * (_C6 + h * (_C8 + h * (_C10 + h * _C12)))))
        cosines[j] = radius * (_ONE - _TWO * sine * sine)
        sines[j] = radius * _TWO * sine * cosine
