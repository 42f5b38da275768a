"""Closed forms of the policy world, written from the mathematics.

Two equally right answers, p the share of the first, u = logit p, batches of B, step η, reward 1 and no baseline. An
update has no mean effect on p ("imitate") or on u (the others), and a variance of

    imitate   Δp: η² p(1-p)/B                npg   Δu: η²/(B p(1-p))             pg   Δu: 4 η² p(1-p)/B

The mean time to leave an interval solves (variance/2) t'' = -1 in that coordinate. For npg, Itô turns the driftless u
into dp = v (1 - 2p)/2 dt + sqrt(v p(1-p)) dW with v = η²/B: Wright-Fisher noise *with* mutation at the strength that
makes the stationary density uniform. It never fixates; Kimura's formulas hold for "imitate" alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def replicator(start: ArrayLike, rewards: ArrayLike, time: float) -> Array:
    """Policy under natural gradient after a time: π_a(0) e^{r_a t} / Z."""
    w = np.log(np.asarray(start, dtype=np.float64)) + np.asarray(rewards, dtype=np.float64) * time
    w = np.exp(w - w.max())
    return np.asarray(w / w.sum())


def gibbs(reference: ArrayLike, rewards: ArrayLike, strength: float) -> Array:
    """Optimum of reward - strength KL(π || reference): reference e^{r/strength}/Z; uniform for an entropy bonus."""
    return replicator(reference, rewards, 1.0 / strength)


def semantic_gibbs(rewards: ArrayLike, strength: float) -> Array:
    """Mode masses that maximise reward + strength x semantic entropy: e^{r_m/strength}/Z, whatever the synonyms."""
    r = np.asarray(rewards, dtype=np.float64)
    return gibbs(np.full(r.size, 1.0 / r.size), r, strength)


def kimura_fixation(p: float, selection: float, batch: float) -> float:
    """Chance that an answer of share p takes all: (1 - e^{-2Bsp})/(1 - e^{-2Bs}) (Kimura 1962), p for s = 0."""
    x = 2.0 * batch * selection
    return p if x == 0 else float(np.expm1(-x * p) / np.expm1(-x))


def entropy_two(p: ArrayLike) -> Array:
    """-p log p - (1-p) log(1-p)."""
    x = np.asarray(p, dtype=np.float64)
    return np.asarray(-x * np.log(x) - (1 - x) * np.log1p(-x))


def exit_updates(algorithm: str, batch: int, step: float, p: float, level: float) -> float:
    """Mean number of updates until one of two equal answers holds ``level`` > 1/2, for small steps.

    imitate: (2B/η²) [h(p) - h(level)], h the entropy: Kimura's -2B [p ln p + (1-p) ln(1-p)] for η = 1, level -> 1.
    npg:     (2B/η²) [f(L) - f(u)], f(u) = log(2 cosh(u/2)), f'' = p(1-p), L = logit(level).
    pg:      (B/2η²) [g(L) - g(u)], g(u) = u² + 2 cosh u, g'' = 1/(p(1-p)).
    """
    u, edge = (float(np.log(x / (1 - x))) for x in (p, level))
    if algorithm == "imitate":
        return float(2 * batch / step**2 * (entropy_two(p) - entropy_two(level)))
    if algorithm == "npg":
        return float(2 * batch / step**2 * (np.log(np.cosh(edge / 2)) - np.log(np.cosh(u / 2))))
    if algorithm == "pg":
        return float(batch / (2 * step**2) * (edge**2 + 2 * np.cosh(edge) - u**2 - 2 * np.cosh(u)))
    raise ValueError(f"algorithm = '{algorithm}': possible are imitate, npg and pg.")


def log_ratio_drift(algorithm: str, advantage: float, first: float, second: float) -> float:
    """D log(π_1/π_2)/dt of two answers of equal advantage A: pg A (π_1 - π_2), rich get richer; npg 0, neutral."""
    return advantage * (first - second) if algorithm == "pg" else 0.0


def ema_slowdown(strength: float, alpha: float, time: float) -> float:
    """Time that training with an EMA anchor has effectively covered under natural gradient.

    θ' = r - β(θ - φ), φ' = α(θ - φ): the lag d = θ - φ relaxes to r/(α+β) at the rate α+β, and θ moves along r by
    ∫ (1 - β d/r) dt = t α/(α+β) + β/(α+β)² (1 - e^{-(α+β)t}): delayed by the factor (α+β)/α, never prevented.
    """
    rate = alpha + strength
    return float(time * alpha / rate + strength / rate**2 * -np.expm1(-rate * time))


def distinct(p: ArrayLike, n: ArrayLike) -> Array:
    """Expected number of distinct answers among n samples, sum_i 1 - (1-p_i)^n, [N]."""
    probabilities = np.asarray(p, dtype=np.float64)
    rest = np.log1p(-np.minimum(probabilities, 1 - 1e-16))
    return np.array([float(-np.expm1(k * rest).sum()) for k in np.atleast_1d(np.asarray(n, dtype=np.float64))])
