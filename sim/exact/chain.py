"""Closed forms of the credit-assignment chain (symbols in ``sim/chain.py``), from its two-state recursion.

Forward: s_t = P(z_t = 1), s_0 = 1, s_t = a_t s_{t-1} + r (1 - s_{t-1}), a_t = (1 - e)(p_t + (1 - p_t) f).
Backward: W_t(z) = P(R = 1 | z_t = z), W_L(1) = 1 - fn, W_L(0) = fp,
W_{t-1}(1) = a_t W_t(1) + (1 - a_t) W_t(0), W_{t-1}(0) = r W_t(1) + (1 - r) W_t(0).
Both meet at a step: with u_1 = 1 - e and u_0 = f (1 - e),
Q_t(c) = P(R = 1 | c_t = c) = s_{t-1} [u_c W_t(1) + (1 - u_c) W_t(0)] + (1 - s_{t-1}) W_{t-1}(0).

Then for a baseline of mean m and variance v that does not depend on the rollout itself, and with the noise
n_t = s^2 (L - t + 1) of the return from t,
E[g_t] = p_t (1 - p_t)(Q_t(1) - Q_t(0))
       = p_t (1 - p_t)(1 - e)(1 - f) s_{t-1} (l_{t+1} ... l_L)(1 - fp - fn), l_t = a_t - r,
E[g_t^2] = p_t (1 - p_t)^2 D(1) + (1 - p_t) p_t^2 D(0), D(c) = Q_t(c)(1 - 2 m) + m^2 + v + n_t.
A constant baseline has v = 0. The mean of the other G - 1 rollouts of a group has m = E[R] and
v = (P(1 - P) + n_t) / (G - 1), P = E[R].

Every function takes a ``ChainWorld``; arrays over steps have index t - 1. Source: the score-function estimator
(Williams 1992) on this chain; derived here and held against simulation at every step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from sim.chain import ChainWorld

Array = NDArray[np.float64]
ENUMERATED = 16  # longest chain whose 2^L patterns are listed


class Moments(NamedTuple):
    """Mean and second moment of g_t, [L] each."""

    mean: Array
    second: Array

    @property
    def std(self) -> Array:
        """Standard deviation of g_t."""
        return np.asarray(np.sqrt(np.maximum(self.second - self.mean**2, 0.0)))

    @property
    def snr(self) -> Array:
        """Mean over standard deviation; NaN where g_t never varies."""
        std = self.std
        return np.divide(self.mean, std, out=np.full_like(std, np.nan), where=std > 0)


def persistence(world: ChainWorld) -> Array:
    """Return a_t = P(z_t = 1 | z_{t-1} = 1), [L]."""
    p = world.right
    return np.asarray((1.0 - world.slip) * (p + (1.0 - p) * world.forgiveness))


def eigenvalue(world: ChainWorld) -> Array:
    """Return l_t = a_t - r, the second eigenvalue of step t's transition: what it keeps of a difference, [L]."""
    return persistence(world) - world.recovery


def on_track(world: ChainWorld) -> Array:
    """Return P(z_t = 1) for t = 0 ... L, [L + 1]."""
    s = np.empty(world.length + 1)
    s[0] = 1.0
    if world.strict:
        s[1:] = np.cumprod(world.right)
        return s
    now, r = 1.0, world.recovery
    for t, a in enumerate(persistence(world).tolist(), 1):
        now = a * now + r * (1.0 - now)
        s[t] = now
    return s


def stationary(world: ChainWorld) -> float:
    """Return the stationary P(z = 1) = r / (1 - l) of a chain with one p.

    Raises:
        ValueError: If p differs between steps, or nothing ever moves (l = 1), where no stationary law is singled out.
    """
    l = eigenvalue(world)  # noqa: E741
    if np.any(l != l[0]):
        raise ValueError("a stationary distribution needs the same p at every step.")
    if l[0] == 1.0:
        raise ValueError("with p = 1 and no slip or recovery every state stays: the stationary law is not unique.")
    return float(world.recovery / (1.0 - l[0]))


def outlook(world: ChainWorld) -> Array:
    """Return W_t(z) = P(R = 1 | z_t = z) for t = 0 ... L, [L + 1, 2]."""
    w = np.empty((world.length + 1, 2))
    off, on = world.false_positive, 1.0 - world.false_negative
    w[-1] = off, on
    r, a = world.recovery, persistence(world).tolist()
    for t in range(world.length, 0, -1):
        off, on = r * on + (1.0 - r) * off, a[t - 1] * on + (1.0 - a[t - 1]) * off
        w[t - 1] = off, on
    return w


def success_probability(world: ChainWorld) -> float:
    """Return P(R = 1) = fp + (1 - fp - fn) P(z_L = 1)."""
    last = float(np.prod(world.right)) if world.strict else float(on_track(world)[-1])
    return world.false_positive + (1.0 - world.false_positive - world.false_negative) * last


def success_given_step(world: ChainWorld) -> Array:
    """Return Q_t(c) = P(R = 1 | c_t = c), [L, 2] with the wrong step first."""
    s, w = on_track(world)[:-1], outlook(world)
    stays = np.array([world.forgiveness, 1.0]) * (1.0 - world.slip)
    from_on = stays * w[1:, 1:] + (1.0 - stays) * w[1:, :1]
    from_off = world.recovery * w[1:, 1] + (1.0 - world.recovery) * w[1:, 0]
    return np.asarray(s[:, None] * from_on + ((1.0 - s) * from_off)[:, None])


def return_noise(world: ChainWorld) -> Array:
    """Return the variance s^2 (L - t + 1) that dense noise adds to the return from t, [L]."""
    return world.dense_noise**2 * np.arange(world.length, 0, -1.0)


def gradient_mean(world: ChainWorld) -> Array:
    """Return E[g_t], [L], as a product: exact far from the reward too, where Q_t(1) - Q_t(0) is lost in rounding.

    A step of the backward recursion takes W_t(1) - W_t(0) to l_t times it, and Q_t(1) - Q_t(0) is
    s_{t-1} (1 - e)(1 - f) times that difference.
    """
    p, l = world.right, eigenvalue(world)  # noqa: E741
    after = np.append(np.cumprod(l[:0:-1])[::-1], 1.0)
    seen = (1.0 - world.slip) * (1.0 - world.forgiveness) * (1.0 - world.false_positive - world.false_negative)
    return np.asarray(p * (1.0 - p) * seen * on_track(world)[:-1] * after)


def gradient_moments(world: ChainWorld, baseline: str | float = "mean", groups: int = 1) -> Moments:
    """Return mean and second moment of g_t = (c_t - p_t)(G_t - b).

    Args:
        world: The chain.
        baseline: "mean" (E[R]), "zero", or a number.
        groups: Above 1, b is the mean return from t of the other rollouts of a group of this size.
    """
    p, q, noise = world.right, success_given_step(world), return_noise(world)
    total = success_probability(world)
    m = total if baseline == "mean" else 0.0 if baseline == "zero" else float(baseline)
    v = (total * (1.0 - total) + noise) / (groups - 1) if groups > 1 else 0.0
    off, on = (q[:, c] * (1.0 - 2.0 * m) + m**2 + v + noise for c in (0, 1))
    return Moments(gradient_mean(world), p * (1.0 - p) ** 2 * on + (1.0 - p) * p**2 * off)


def linear_moments(world: ChainWorld, weights: ArrayLike, noise: float) -> Moments:
    """Return the moments of g_t for R = sum_t w_t c_t + noise N(0, 1) with b = E[R].

    Given c_t the rest of R - b has mean w_t (c_t - p_t) and variance noise^2 + sum_{u != t} w_u^2 p_u (1 - p_u).
    """
    p, w = world.right, np.asarray(weights, dtype=np.float64)
    each = w**2 * p * (1.0 - p)
    rest = noise**2 + each.sum() - each
    on, off = rest + (w * (1.0 - p)) ** 2, rest + (w * p) ** 2
    return Moments(p * (1.0 - p) * w, p * (1.0 - p) ** 2 * on + (1.0 - p) * p**2 * off)


def strict_snr(q: float, length: int, baseline: float = 0.0) -> float:
    """Return the SNR of g_t, the same at every t, in the strict chain with p_t = q at each of ``length`` steps.

    With P = q^L: E[g] = P (1 - q) and E[g^2] = (1-q)^2 P (1-2b) + q (1-q) b^2. Without a baseline this is
    sqrt(P / (1 - P)).
    """
    total = q**length
    second = (1.0 - q) ** 2 * total * (1.0 - 2.0 * baseline) + q * (1.0 - q) * baseline**2
    mean = total * (1.0 - q)
    return float(mean / np.sqrt(second - mean**2))


# ---------------------------------------------------------------- information
def binary_entropy(x: ArrayLike) -> Array:
    """Return -x log2 x - (1-x) log2(1-x) in bits, 0 at 0 and 1."""
    values = np.clip(np.asarray(x, dtype=np.float64), 0.0, 1.0)
    parts = [np.where(v > 0, -v * np.log2(np.where(v > 0, v, 1.0)), 0.0) for v in (values, 1.0 - values)]
    return np.asarray(parts[0] + parts[1])


def state_information(world: ChainWorld) -> Array:
    """Return I(z_{t-1}; z_t) in bits for t = 1 ... L: H(z_t) - H(z_t | z_{t-1})."""
    s = on_track(world)
    given = s[:-1] * binary_entropy(persistence(world)) + (1.0 - s[:-1]) * binary_entropy(world.recovery)
    return np.asarray(binary_entropy(s[1:]) - given)


def stationary_information(world: ChainWorld) -> float:
    """Return I(z_t; z_{t+1}) in bits when z_t has the stationary law."""
    s = stationary(world)
    kept = s * binary_entropy(persistence(world)[0]) + (1.0 - s) * binary_entropy(world.recovery)
    return float(binary_entropy(s) - kept)


def success_given_steps(world: ChainWorld, right: ArrayLike) -> Array:
    """Return P(R = 1 | c_1 ... c_L) for rows of steps [M, L], by the recursion of P(z_t = 1 | c_1 ... c_t)."""
    c = np.asarray(right)
    on = np.ones(c.shape[0])
    stays = (1.0 - world.slip) * np.where(c > 0, 1.0, world.forgiveness)
    for t in range(world.length):
        on = stays[:, t] * on + world.recovery * (1.0 - on)
    return np.asarray(world.false_positive + (1.0 - world.false_positive - world.false_negative) * on)


def step_information(world: ChainWorld) -> Array:
    """Return I(R; c_t) in bits, what the outcome says of one step alone, [L]."""
    p, q = world.right, success_given_step(world)
    given = p * binary_entropy(q[:, 1]) + (1.0 - p) * binary_entropy(q[:, 0])
    return np.asarray(binary_entropy(success_probability(world)) - given)


def outcome_information(world: ChainWorld) -> float:
    """Return I(R; c_1 ... c_L) in bits, H(R) - E[h(P(R = 1 | c))], over all 2^L patterns.

    Raises:
        ValueError: For more than 16 steps; ``outcome_information_sampled`` has no such limit.
    """
    if world.length > ENUMERATED:
        raise ValueError(
            f"2^{world.length} patterns are too many to list (at most 2^{ENUMERATED}); use outcome_information_sampled."
        )
    right = (np.arange(1 << world.length)[:, None] >> np.arange(world.length)) & 1
    p = world.right
    chance = np.where(right > 0, p, 1.0 - p).prod(1)
    left = float(chance @ binary_entropy(success_given_steps(world, right)))
    return float(binary_entropy(success_probability(world))) - left


def outcome_information_sampled(world: ChainWorld, right: ArrayLike) -> tuple[float, float]:
    """Estimate I(R; c_1 ... c_L) in bits from sampled steps, with its standard error.

    Only the steps are sampled; P(R = 1 | c) and H(R) are exact (Rao and Blackwell), so that a chain whose outcome
    follows from the steps has no error at all.

    Args:
        world: The chain.
        right: Rows of steps drawn from the world, [M, L], M >= 2.
    """
    given = binary_entropy(success_given_steps(world, right))
    error = float(given.std(ddof=1) / np.sqrt(given.size))
    return float(binary_entropy(success_probability(world)) - given.mean()), error


def outcome_entropy(world: ChainWorld) -> float:
    """Return H(R) in bits, the most that one outcome can tell."""
    return float(binary_entropy(success_probability(world)))
