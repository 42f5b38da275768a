"""The credit-assignment chain one step at a time in plain Python, from the equations in ``sim/chain.py``.

It shares nothing with the kernels: Python's own generator, one rollout after the other, no bits, no sums over wrong
steps. It is thousands of times slower and serves to check them.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sim.chain import ChainWorld, LinearReward


class Rollout(NamedTuple):
    """One rollout: steps c_1 ... c_L, states z_1 ... z_L, reward R, and the return G_t from every step."""

    c: list[int]
    z: list[int]
    reward: float
    returns: list[float]


class SlowSums(NamedTuple):
    """Sums of g_t and g_t^2 over n rollouts, one number a step, and the sum of R."""

    n: int
    s1: list[float]
    s2: list[float]
    hits: float


def next_state(world: ChainWorld, z: int, c: int, rng: random.Random) -> int:
    """Return z_t given z_{t-1} and c_t."""
    if z == 0:
        return int(rng.random() < world.recovery)
    if c == 0 and not rng.random() < world.forgiveness:
        return 0
    return int(rng.random() < 1.0 - world.slip)


def outcome(world: ChainWorld, z: int, rng: random.Random) -> int:
    """Return R, the last state seen through the verifier."""
    if z == 1:
        return int(not rng.random() < world.false_negative)
    return int(rng.random() < world.false_positive)


def rollout(world: ChainWorld, rng: random.Random, reward: LinearReward | None = None) -> Rollout:
    """Run the chain once.

    Args:
        world: The chain.
        rng: Where chance comes from.
        reward: A linear reward in place of the outcome.
    """
    c, z, state = [], [], 1
    for p in world.right.tolist():
        step = int(rng.random() < p)
        state = next_state(world, state, step, rng)
        c.append(step)
        z.append(state)
    if reward is None:
        r = float(outcome(world, state, rng))
    else:
        r = sum(w * step for w, step in zip(reward.weights, c, strict=True)) + rng.gauss(0.0, reward.noise)
    noise = [rng.gauss(0.0, world.dense_noise) for _ in c]
    return Rollout(c, z, r, [r + sum(noise[t:]) for t in range(len(c))])


def gradient_sums(
    world: ChainWorld,
    rollouts: int,
    seed: int,
    baseline: float = 0.0,
    groups: int = 1,
    reward: LinearReward | None = None,
) -> SlowSums:
    """Sum g_t = (c_t - p_t)(G_t - b) and its square; in groups, b is the mean return from t of the others."""
    rng = random.Random(seed)
    p = world.right.tolist()
    s1, s2, hits = [0.0] * world.length, [0.0] * world.length, 0.0
    for _ in range(rollouts // groups):
        group = [rollout(world, rng, reward) for _ in range(groups)]
        for i, one in enumerate(group):
            hits += one.reward
            for t in range(world.length):
                others = [other.returns[t] for j, other in enumerate(group) if j != i]
                b = float(np.mean(others)) if others else baseline
                g = (one.c[t] - p[t]) * (one.returns[t] - b)
                s1[t] += g
                s2[t] += g * g
    return SlowSums(rollouts, s1, s2, hits)
