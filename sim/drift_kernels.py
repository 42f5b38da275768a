# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"
"""Loops of the policy world: softmax policies over a few answers, trained with finite batches.

Streams of ``sim.rng``: 32 answers drawn, 33 verifier errors. Every run has its own index, every draw its own number, so
results do not depend on how updates are cut into calls.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.jit import kernel
from sim.rng import stream_key, uniform

ANSWERS, ERRORS = 32, 33
PG, GRPO, NPG, IMITATE = 0, 1, 2, 3


class Batches(NamedTuple):
    """How a run is trained.

    algorithm code, answers in a batch, step size, 1 to subtract the batch's mean reward, chance that the verifier errs,
    mode mass that counts as fixed, number of updates, number of the first update.
    """

    algorithm: int
    batch: int
    step: float
    baseline: int
    flip: float
    level: float
    updates: int
    first: int


@kernel
def softmax(theta, pi):
    """Write the probabilities of the answers."""
    top = theta.max()
    total = 0.0
    for a in range(theta.size):
        pi[a] = np.exp(theta[a] - top)
        total += pi[a]
    for a in range(theta.size):
        pi[a] /= total


@kernel
def draw_batch(pi, rewards, how, keys, number, seen):
    """Draw the answers of update ``number``; seen [3, A] gets their counts, sums of rewards and of squares."""
    seen[:] = 0.0
    for i in range(how.batch):
        place = number * how.batch + i
        u = uniform(keys[0], place)
        a = 0
        u -= pi[0]
        while u > 0.0 and a < pi.size - 1:
            a += 1
            u -= pi[a]
        reward = rewards[a]
        if how.flip > 0.0 and uniform(keys[1], place) < how.flip:
            reward = 1.0 - reward
        seen[0, a] += 1.0
        seen[1, a] += reward
        seen[2, a] += reward * reward


@kernel
def update(theta, pi, seen, how):
    """Move the logits by one batch.

    With A_i = R_i - b (b the batch mean or 0; under GRPO divided by the batch's standard deviation) and means over the
    batch: pg, grpo: step (mean A 1[a] - π_a mean A); npg: step mean A 1[a] / π_a; imitate: π + step (mean A 1[a] - π_a
    mean A), a move of the probabilities themselves.
    """
    n = how.batch
    mean = seen[1].sum() / n
    base = mean if how.baseline else 0.0
    scale = how.step / n
    if how.algorithm == GRPO:
        variance = seen[2].sum() / n - mean * mean
        if variance <= 1e-14:
            return
        scale /= np.sqrt(variance)
    total = seen[1].sum() - base * n
    for a in range(theta.size):
        own = seen[1, a] - base * seen[0, a]
        if how.algorithm == NPG:
            theta[a] += scale * own / pi[a] if own != 0.0 else 0.0
        elif how.algorithm == IMITATE:
            theta[a] = np.log(max(pi[a] + scale * (own - pi[a] * total), 1e-300))
        else:
            theta[a] += scale * (own - pi[a] * total)


@kernel
def largest_mode(pi, mode, mass):
    """Return the probability of the likeliest mode; mass [K] is written."""
    mass[:] = 0.0
    for a in range(pi.size):
        mass[mode[a]] += pi[a]
    return mass.max()


@kernel
def train_runs(theta, rewards, mode, how, seed, fixed):
    """Train independent runs, each until its updates are done or a mode holds ``level`` of the mass.

    Args:
        theta: Logits, [runs, A]; overwritten.
        rewards: Reward of each answer, [runs, A].
        mode: Mode of each answer, [A].
        how: Settings.
        seed: 64-bit word.
        fixed: Update after which a run was fixed, [runs]; 0 for not yet. A fixed run is not trained further.
    """
    answers = theta.shape[1]
    pi = np.empty(answers)
    mass = np.empty(mode.max() + 1)
    seen = np.empty((3, answers))
    for run in range(theta.shape[0]):
        keys = (stream_key(seed, ANSWERS, run), stream_key(seed, ERRORS, run))
        for k in range(how.first, how.first + how.updates):
            if fixed[run] > 0:
                break
            softmax(theta[run], pi)
            draw_batch(pi, rewards[run], how, keys, k, seen)
            update(theta[run], pi, seen, how)
            softmax(theta[run], pi)
            if how.level < 1.0 and largest_mode(pi, mode, mass) >= how.level:
                fixed[run] = k + 1
