# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"
"""Loops of the density world: hop rates, tridiagonal solves, time steps, direction splitting, particles.

On a line of N cells the equation becomes dp_i/dt = r_{i-1} p_{i-1} + l_i p_{i+1} - (r_i + l_{i-1}) p_i, with hop rates
r_i (from cell i to i+1) and l_i (back) over each inner face. In matrix form dp/dt = A p, columns of A sum to zero, and
I - hA has positive inverse for every h.

Elimination without subtraction. Because the columns of I - hA sum to one, the pivot of row i is s_i + h r_i with
s_0 = 1 and s_i = 1 + h l_{i-1} s_{i-1} / pivot_{i-1}. All terms are positive, so every pivot is accurate to rounding
and mass is kept to rounding. The lower half of the line is eliminated upwards and the upper half downwards: two
independent chains hide each other's latency. A factorisation is three rows: with y the swept right-hand side,

    y_i = p_i gain_i + y_{i-1} feed_i,     x_i = y_i + back_i x_{i+1}      (lower half; mirrored in the upper half)

Streams of ``sim.rng``: 16 particles' noise, 17 particles' start.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.jit import kernel
from sim.rng import fill_normals, stream_key

NOISE, START = 16, 17
ROOT2 = float(np.sqrt(2.0))
GAMMA = 1.0 - 1.0 / ROOT2  # the diagonal of the two-solve SDIRK method: (1 + √2) S² - √2 S with S = (I - γhA)^-1
FAST = {"contract", "reassoc", "nsz", "arcp"}
TINY = 1e-250
ROUNDING = 1e-15  # L1 distances below this are not seen
MOST_STEPS = 1_000_000
TILE = 128  # lines solved together in two dimensions: fewer starts of inner loops beat a better fit in the cache
PAD = 8  # a row length that is a power of two would put the lines of a tile on few cache sets

_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693147180369123816490, 1.90821492927058770002e-10


@kernel(inline=True)
def exponential(x):
    """Return e^x for |x| <= 700 to about one rounding, without a branch, so that loops over it vectorise.

    x = n ln 2 + t with |t| <= ln(2)/2; e^t by its Taylor polynomial to t^13, 2^n written into the exponent bits.
    """
    n = np.floor(x * _LOG2E + 0.5)
    t = (x - n * _LN2_HIGH) - n * _LN2_LOW
    q = 1 / 39916800 + t * (1 / 479001600 + t * (1 / 6227020800))
    q = 1 / 40320 + t * (1 / 362880 + t * (1 / 3628800 + t * q))
    q = 1 / 120 + t * (1 / 720 + t * (1 / 5040 + t * q))
    q = 1.0 + t * (1.0 + t * (0.5 + t * (1 / 6 + t * (1 / 24 + t * q))))
    return q * np.int64((np.int64(n) + np.int64(1023)) << np.int64(52)).view(np.float64)


@kernel(inline=True)
def bernoulli(w):
    """Return w / (e^w - 1) for w >= 0, the weight of exponential fitting; a series below 1/16 (error below 1e-17)."""
    q = w * w
    series = 1.0 - 0.5 * w + q * (1 / 12 - q * (1 / 720 - q * (1 / 30240 - q * (1 / 1209600))))
    small = w < 0.0625
    z = 1.0 if small else min(w, 700.0)
    return series if small else w / (exponential(z) - 1.0)


@kernel(fastmath=FAST)
def hop_rates(peclet, conductance, right, left):
    """Write the exponentially fitted hop rates over each face.

    Args:
        peclet: w = -drift x width / diffusion at each face, [F] (the rise of the potential over D).
        conductance: diffusion / width² at each face, [F].
        right: [F], written: conductance B(w).
        left: [F], written: conductance B(-w). The larger of the two is the smaller plus |w|, never a difference.
    """
    for i in range(right.size):
        w = peclet[i]
        less = conductance[i] * bernoulli(abs(w))
        more = less + conductance[i] * abs(w)
        right[i] = less if w > 0.0 else more
        left[i] = more if w > 0.0 else less


# ---------------------------------------------------------------- one dimension
@kernel(fastmath=FAST)
def factor(h, right, left, gain, feed, back):
    """Eliminate I - hA from both ends (see the head of this file); gain, feed, back [N] are written."""
    n = gain.size
    m = n // 2
    low = high = 1.0
    pivot_low = pivot_high = 0.0
    for k in range(max(m, n - 1 - m)):
        if k < m:
            low = 1.0 + (h * left[k - 1] * low * pivot_low if k else 0.0)
            pivot_low = 1.0 / (low + h * right[k])
            gain[k] = pivot_low
            feed[k] = h * right[k - 1] * pivot_low if k else 0.0
            back[k] = h * left[k] * pivot_low
        j = n - 1 - k
        if j > m:
            high = 1.0 + (h * right[j] * high * pivot_high if k else 0.0)
            pivot_high = 1.0 / (high + h * left[j - 1])
            gain[j] = pivot_high
            feed[j] = h * left[j] * pivot_high if k else 0.0
            back[j] = h * right[j - 1] * pivot_high
    middle = 1.0
    if m > 0:
        middle += h * left[m - 1] * low * pivot_low
    if m < n - 1:
        middle += h * right[m] * high * pivot_high
    gain[m] = 1.0 / middle
    feed[m] = h * right[m - 1] * gain[m] if m > 0 else 0.0
    back[m] = h * left[m] * gain[m] if m < n - 1 else 0.0


@kernel(fastmath=FAST)
def solve(gain, feed, back, p, x):
    """Solve (I - hA) x = p with a factorisation; ``x`` must not be ``p``."""
    n = p.size
    m = n // 2
    up = down = 0.0
    for k in range(m):
        up = p[k] * gain[k] + feed[k] * up
        x[k] = up
        j = n - 1 - k
        if j > m:
            down = p[j] * gain[j] + feed[j] * down
            x[j] = down
    middle = p[m] * gain[m] + feed[m] * up + back[m] * down
    x[m] = middle
    up = down = middle
    for k in range(1, m + 1):
        up = x[m - k] + back[m - k] * up
        x[m - k] = up
        if m + k < n:
            down = x[m + k] + back[m + k] * down
            x[m + k] = down


@kernel(fastmath=FAST)
def combine(x, y, p):
    """Write (1 + √2) y - √2 x, the second-order step, into p."""
    for i in range(p.size):
        p[i] = (1.0 + ROOT2) * y[i] - ROOT2 * x[i]


@kernel(fastmath=FAST)
def fixed_steps(right, left, h, steps, order, p):
    """Advance p by ``steps`` equal steps of backward Euler (order 1) or the two-solve SDIRK method (order 2)."""
    work = np.empty((5, p.size))
    factor(h if order == 1 else GAMMA * h, right, left, work[0], work[1], work[2])
    x = work[3]
    y = work[4]
    for _ in range(steps):
        solve(work[0], work[1], work[2], p, x)
        if order == 1:
            p[:] = x
        else:
            solve(work[0], work[1], work[2], x, y)
            combine(x, y, p)


@kernel
def sdirk_step(right, left, h, fac, p, out):
    """Write one second-order step of length h from p into ``out``; fac [5, N] is factored here."""
    factor(GAMMA * h, right, left, fac[0], fac[1], fac[2])
    solve(fac[0], fac[1], fac[2], p, fac[3])
    solve(fac[0], fac[1], fac[2], fac[3], fac[4])
    combine(fac[3], fac[4], out)


class StepControl(NamedTuple):
    """Time to cover, L1 error allowed over it, first step, cell width."""

    time: float
    tolerance: float
    first: float
    width: float


@kernel
def adaptive_steps(right, left, control, p, report):
    """Advance p over ``control.time`` with steps whose L1 errors add up to no more than the tolerance.

    Half of the tolerance is spread evenly over the time, half over its logarithm, for a narrow start relaxes fast. A
    step is compared with two half steps, whose result is kept; a third of the distance between them is the error of
    what is kept. A step whose result is negative anywhere is rejected, too (below -TINY: denormal numbers have no sign
    to trust, and become 0). The exact evolution contracts L1 distances, so the sum of the local errors, ``report[2]``,
    bounds the error at the end.

    Args:
        right: Hop rates upwards, [F]; ``left`` downwards.
        left: See above.
        control: Time, tolerance, first step, cell width.
        p: Cell averages, [N]; overwritten by the result.
        report: [4], written: steps taken, steps rejected, sum of local errors, time covered.
    """
    fac = np.empty((5, p.size))
    coarse, half, fine = np.empty(p.size), np.empty(p.size), np.empty(p.size)
    done, h = 0.0, min(control.first, control.time)
    report[:] = 0.0
    octaves = np.log1p(control.time / control.first)
    while done < control.time * (1.0 - 1e-14) and report[0] + report[1] < MOST_STEPS:
        h = min(h, control.time - done)
        sdirk_step(right, left, h, fac, p, coarse)
        sdirk_step(right, left, 0.5 * h, fac, p, half)
        solve(fac[0], fac[1], fac[2], half, fac[3])
        solve(fac[0], fac[1], fac[2], fac[3], fac[4])
        combine(fac[3], fac[4], fine)
        error = np.abs(fine - coarse).sum() * control.width / 3.0
        share = 0.5 * h / control.time + 0.5 * np.log1p(h / (done + control.first)) / octaves
        allowed = max(control.tolerance * share, ROUNDING)
        negative = fine.min() < -TINY
        if error <= allowed and not negative:
            p[:] = np.maximum(fine, 0.0)
            done += h
            report[0] += 1.0
            report[2] += error
        else:
            report[1] += 1.0
        grow = 0.9 * np.sqrt(allowed / max(error, 1e-3 * allowed))
        h *= 0.5 if negative else min(4.0, max(0.2, grow))
    report[3] = done


@kernel(fastmath=FAST)
def moving_steps(fixed, moved, amplitude, conductance, h, order, p):
    """Advance p by one step for each amplitude, with a drift that changes: Péclet numbers fixed + amplitude x moved.

    Rates and factors are made afresh in every step, at the amplitude given for it.

    Args:
        fixed: Péclet numbers of the constant part of the drift at the faces, [F].
        moved: The same of the part that is multiplied, [F].
        amplitude: Its factor in each step, [steps].
        conductance: diffusion / width² at each face, [F].
        h: Length of a step.
        order: 1 for backward Euler, 2 for SDIRK.
        p: Cell averages, [N]; overwritten.
    """
    work = np.empty((8, p.size))
    right = work[5, : p.size - 1]
    left = work[6, : p.size - 1]
    peclet = work[7, : p.size - 1]
    for k in range(amplitude.size):
        for i in range(peclet.size):
            peclet[i] = fixed[i] + amplitude[k] * moved[i]
        hop_rates(peclet, conductance, right, left)
        factor(h if order == 1 else GAMMA * h, right, left, work[0], work[1], work[2])
        solve(work[0], work[1], work[2], p, work[3])
        if order == 1:
            p[:] = work[3]
        else:
            solve(work[0], work[1], work[2], work[3], work[4])
            combine(work[3], work[4], p)


@kernel(fastmath=FAST)
def shifted_solve(right, left, theta, time, p, z):
    """Solve (tA - θ) x = p for one complex θ; z [4, N] holds the real and imaginary parts of x in rows 0 and 1.

    Real and imaginary parts are written out: numba's complex division is a call that checks for overflow.
    """
    n = p.size
    gain_re = gain_im = x_re = x_im = rate = below = 0.0
    for i in range(n):
        here = right[i] if i < n - 1 else 0.0
        d_re = theta.real + time * (here + below) - rate * gain_re
        d_im = theta.imag - rate * gain_im
        q = 1.0 / (d_re * d_re + d_im * d_im)
        s_re = rate * x_re - p[i]
        s_im = rate * x_im
        x_re, x_im = (s_re * d_re + s_im * d_im) * q, (s_im * d_re - s_re * d_im) * q
        below = left[i] if i < n - 1 else 0.0
        gain_re, gain_im = time * below * d_re * q, -time * below * d_im * q
        z[0, i], z[1, i], z[2, i], z[3, i] = x_re, x_im, gain_re, gain_im
        rate = time * here
    for i in range(n - 2, -1, -1):
        x_re, x_im = (
            z[0, i] + z[2, i] * x_re - z[3, i] * x_im,
            z[1, i] + z[2, i] * x_im + z[3, i] * x_re,
        )
        z[0, i], z[1, i] = x_re, x_im


@kernel(fastmath=FAST)
def rational_exponential(right, left, time, alphas, thetas, p):
    """Apply exp(tA) by a rational approximation: p += 2 Re(α (tA - θ)^-1 p) for each pole.

    Then restore sign and mass, which complex solves miss by some 1e-14.
    """
    z = np.empty((4, p.size))
    mass = p.sum()
    for k in range(alphas.size):
        shifted_solve(right, left, thetas[k], time, p, z)
        twice_re = 2.0 * alphas[k].real
        twice_im = 2.0 * alphas[k].imag
        for i in range(p.size):
            p[i] += twice_re * z[0, i] - twice_im * z[1, i]
    for i in range(p.size):
        p[i] = max(p[i], 0.0)
    scale = mass / p.sum()
    for i in range(p.size):
        p[i] *= scale


class Climb(NamedTuple):
    """Temperature, cell width, time, steps, order: 1 backward Euler, 2 SDIRK, 0 the rational exponential."""

    temperature: float
    width: float
    time: float
    steps: int
    order: int


@kernel
def climb_steps(reward, climb, alphas, thetas, p):
    """Advance p up a reward known at the centres: rates and steps in one call. False if p is negative or not finite."""
    for i in range(p.size):
        if not (p[i] >= 0.0 and p[i] < np.inf):
            return False
    rates = np.empty((4, p.size - 1))
    for i in range(p.size - 1):
        rates[0, i] = (reward[i] - reward[i + 1]) / climb.temperature
        rates[1, i] = climb.temperature / (climb.width * climb.width)
    hop_rates(rates[0], rates[1], rates[2], rates[3])
    if climb.order == 0:
        rational_exponential(rates[2], rates[3], climb.time, alphas, thetas, p)
    else:
        fixed_steps(rates[2], rates[3], climb.time / climb.steps, climb.steps, climb.order, p)
    return True


# ---------------------------------------------------------------- two dimensions
@kernel(fastmath=FAST)
def factor_lines(h, right, left, gain, feed, back):
    """Eliminate I - hA along the first index, for every line (second index) at once.

    Args:
        h: Step.
        right: Hop rates [N - 1, M] along the first index; ``left`` back.
        left: See above.
        gain: [N, M + PAD], written; ``feed`` and ``back`` likewise.
        feed: See above.
        back: See above.
    """
    n = gain.shape[0]
    lines = right.shape[1]
    s = np.ones(lines)
    none = np.zeros(lines)
    for i in range(n):
        out = right[i] if i < n - 1 else none
        into = left[i] if i < n - 1 else none
        before = right[i - 1] if i else none
        gain_i = gain[i, :lines]
        feed_i = feed[i, :lines]
        back_i = back[i, :lines]
        if i:
            drop = left[i - 1]
            gain_before = gain[i - 1, :lines]
            for j in range(s.size):
                s[j] = 1.0 + h * drop[j] * s[j] * gain_before[j]
        for j in range(s.size):
            pivot = 1.0 / (s[j] + h * out[j])
            gain_i[j] = pivot
            feed_i[j] = h * before[j] * pivot
            back_i[j] = h * into[j] * pivot


@kernel(fastmath=FAST)
def sweep_lines(gain, feed, p, x, start, stop):
    """Eliminate lines start..stop of p into x. Loops run over slices from 0, which need no sign test of the index."""
    here = x[0, start:stop]
    p_i = p[0, start:stop]
    gain_i = gain[0, start:stop]
    for j in range(here.size):
        here[j] = p_i[j] * gain_i[j]
    for i in range(1, gain.shape[0]):
        before = x[i - 1, start:stop]
        here = x[i, start:stop]
        p_i = p[i, start:stop]
        gain_i = gain[i, start:stop]
        feed_i = feed[i, start:stop]
        for j in range(here.size):
            here[j] = p_i[j] * gain_i[j] + feed_i[j] * before[j]


@kernel(fastmath=FAST)
def advance_tile(fac, p, x, y, start, stop):
    """Advance lines start..stop of p by one second-order step; fac [3, N, M + PAD], x and y are scratch.

    The way back of the second solve writes (1 + √2) y - √2 x at once: a pass over memory less.
    """
    back = fac[2]
    last = back.shape[0] - 1
    sweep_lines(fac[0], fac[1], p, x, start, stop)
    for i in range(last - 1, -1, -1):
        after = x[i + 1, start:stop]
        here = x[i, start:stop]
        back_i = back[i, start:stop]
        for j in range(here.size):
            here[j] += back_i[j] * after[j]
    sweep_lines(fac[0], fac[1], x, y, start, stop)
    for i in range(last, -1, -1):
        after = y[min(i + 1, last), start:stop]
        here = y[i, start:stop]
        x_i = x[i, start:stop]
        p_i = p[i, start:stop]
        back_i = back[i, start:stop]  # zero in the last row
        for j in range(here.size):
            here[j] += back_i[j] * after[j]
            p_i[j] = (1.0 + ROOT2) * here[j] - ROOT2 * x_i[j]


@kernel(fastmath=FAST)
def advance_lines(fac, p, x, y, lines):
    """Advance every line along the first index by one second-order step."""
    for tile in range((lines + TILE - 1) // TILE):
        advance_tile(fac, p, x, y, tile * TILE, min(lines, (tile + 1) * TILE))


@kernel(fastmath=FAST)
def transpose(a, b, rows, columns):
    """Write a [rows, columns] into b [columns, rows], by blocks of 16."""
    for i0 in range(0, rows, 16):
        for j0 in range(0, columns, 16):
            source = a[i0 : min(i0 + 16, rows), j0 : min(j0 + 16, columns)]
            target = b[j0 : min(j0 + 16, columns), i0 : min(i0 + 16, rows)]
            for j in range(target.shape[0]):
                for i in range(target.shape[1]):
                    target[j, i] = source[i, j]


@kernel(fastmath=FAST)
def split_steps(x_rates, y_rates, h, steps, p0):
    """Advance p0 [Nx, Ny] by Strang splitting: half a step in x, one in y, half in x; neighbouring halves are merged.

    Args:
        x_rates: Hop rates along x, [2, Nx - 1, Ny]: up, down.
        y_rates: Hop rates along y with y as first index, [2, Ny - 1, Nx].
        h: Length of a step.
        steps: Number of steps.
        p0: Cell averages; overwritten.
    """
    nx, ny = p0.shape
    along_x = np.empty((6, nx, ny + PAD))
    half_x = np.empty((3, nx, ny + PAD))
    along_y = np.empty((6, ny, nx + PAD))
    factor_lines(GAMMA * h, x_rates[0], x_rates[1], along_x[0], along_x[1], along_x[2])
    factor_lines(GAMMA * 0.5 * h, x_rates[0], x_rates[1], half_x[0], half_x[1], half_x[2])
    factor_lines(GAMMA * h, y_rates[0], y_rates[1], along_y[0], along_y[1], along_y[2])
    p = along_x[3]
    q = along_y[3]
    p[:, :ny] = p0
    advance_lines(half_x, p, along_x[4], along_x[5], ny)
    for k in range(steps):
        transpose(p, q, nx, ny)
        advance_lines(along_y, q, along_y[4], along_y[5], nx)
        transpose(q, p, ny, nx)
        advance_lines(along_x if k + 1 < steps else half_x, p, along_x[4], along_x[5], ny)
    p0[:, :] = p[:, :ny]


# ---------------------------------------------------------------- particles
class Walk(NamedTuple):
    """Ends of the domain, table entries per unit of x, step, noise sqrt(2 T h), steps, number of the first."""

    low: float
    high: float
    per_unit: float
    step: float
    noise: float
    steps: int
    first: int


@kernel(inline=True)
def force_at(table, low, per_unit, x):
    """Return the drift at x by linear interpolation in a table of equal spacing."""
    place = (x - low) * per_unit
    i = min(max(int(place), 0), table.size - 2)
    share = place - i
    return table[i] + share * (table[i + 1] - table[i])


@kernel(inline=True)
def folded(x, low, high):
    """Return x reflected at the ends of the domain."""
    x = low + abs(x - low)
    return high - abs(high - x)


@kernel
def walk_block(x, table, walk, seed, index):
    """Move one block of particles by ``walk.steps`` Heun steps; block ``index`` has its own stream of noise.

    predictor x' = x + h f(x) + s, corrector x + h (f(x) + f(x'))/2 + s, s = sqrt(2 T h) N(0, 1): weak order 2 for noise
    that does not depend on x (Kloeden and Platen 1992, section 15.1), order 1 where particles meet a wall.
    """
    words = np.empty((x.size + 1) // 2, np.uint64)
    normals = np.empty(2 * words.size, np.float32)
    key = stream_key(seed, NOISE, index)
    for k in range(walk.steps):
        fill_normals(normals, words, key, (walk.first + k) * words.size)
        for i in range(x.size):
            kick = walk.noise * np.float64(normals[i])
            force = force_at(table, walk.low, walk.per_unit, x[i])
            guess = folded(x[i] + walk.step * force + kick, walk.low, walk.high)
            force = 0.5 * (force + force_at(table, walk.low, walk.per_unit, guess))
            x[i] = folded(x[i] + walk.step * force + kick, walk.low, walk.high)


@kernel
def walk_blocks(x, table, walk, seed):
    """Move blocks of particles [blocks, particles]."""
    for b in range(x.shape[0]):
        walk_block(x[b], table, walk, seed, b)
