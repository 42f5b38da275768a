# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"
"""Loops of training with replay: a bandit that reuses its samples, and tasks that share features.

Streams of ``sim.rng``: 144 answers and rewards, 145 draws from the buffer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.drift_kernels import softmax
from sim.jit import kernel
from sim.rng import stream_key, uniform

FRESH, REPLAYED = 144, 145


class Bandit(NamedTuple):
    """Updates for each fresh sample, step, samples kept, largest importance weight (0 for no correction), samples."""

    ratio: int
    step: float
    capacity: int
    weight: float
    samples: int


@kernel
def pull(pi, theta, arm, advantage, step):
    """Move the logits along advantage x grad log π(arm)."""
    for a in range(theta.size):
        theta[a] += step * advantage * ((1.0 if a == arm else 0.0) - pi[a])


@kernel
def draw_arm(pi, u):
    """Return the arm that a uniform number picks."""
    arm = 0
    u -= pi[0]
    while u > 0.0 and arm < pi.size - 1:
        arm += 1
        u -= pi[arm]
    return arm


@kernel
def bandit_run(means, how, keys, marks, out):
    """Train one run; write the expected reward after each number of samples in ``marks`` (rising) into ``out``.

    Every fresh sample is used once, then ratio - 1 samples drawn from the last ``capacity`` ones. The baseline is the
    mean reward so far.
    """
    theta, pi = np.zeros(means.size), np.empty(means.size)
    arms, rewards, chances = np.empty(how.capacity, np.int64), np.empty(how.capacity), np.empty(how.capacity)
    total, mark = 0.0, 0
    for s in range(how.samples):
        softmax(theta, pi)
        arm = draw_arm(pi, uniform(keys[0], 2 * s))
        reward = 1.0 if uniform(keys[0], 2 * s + 1) < means[arm] else 0.0
        base = total / s if s else 0.5
        total += reward
        place = s % how.capacity
        arms[place], rewards[place], chances[place] = arm, reward, pi[arm]
        pull(pi, theta, arm, reward - base, how.step)
        for r in range(1, how.ratio):
            j = int(uniform(keys[1], s * how.ratio + r) * min(s + 1, how.capacity))
            softmax(theta, pi)
            weight = min(pi[arms[j]] / chances[j], how.weight) if how.weight > 0.0 else 1.0
            pull(pi, theta, arms[j], weight * (rewards[j] - base), how.step)
        while mark < marks.size and marks[mark] == s + 1:
            softmax(theta, pi)
            out[mark] = (pi * means).sum()
            mark += 1


@kernel
def bandit_runs(means, how, seed, marks, out):
    """Train independent runs; means [runs, A], out [runs, M]."""
    for run in range(means.shape[0]):
        keys = (stream_key(seed, FRESH, run), stream_key(seed, REPLAYED, run))
        bandit_run(means[run], how, keys, marks, out[run])


class Tour(NamedTuple):
    """Updates before the next task, share of updates on replayed wrong answers, step, baseline, solved, lost."""

    stay: int
    share: float
    step: float
    baseline: float
    solved: float
    lost: float


@kernel
def tour_run(features, theta, state, tour, keys, span):
    """Train one run on tasks visited in turn; return how many solved tasks were lost.

    Task k is right with probability σ(θ · features[k]). An update is on the current task (its answer drawn), or, with
    probability ``share``, on a wrong answer that was given to a task before. state [2, K]: whether a wrong answer of
    the task is kept, whether the task counts as solved.
    """
    tasks = features.shape[0]
    losses = 0
    for k in range(span[0], span[1]):
        task = (k // tour.stay) % tasks
        u = uniform(keys[0], 2 * k)
        replayed = uniform(keys[1], 2 * k) < tour.share
        if replayed:
            task = int(uniform(keys[1], 2 * k + 1) * tasks)
            if state[0, task] == 0.0:
                continue
        p = 1.0 / (1.0 + np.exp(-(features[task] * theta).sum()))
        right = (not replayed) and u < p
        if not right:
            state[0, task] = 1.0
        push = tour.step * ((1.0 if right else 0.0) - tour.baseline) * ((1.0 if right else 0.0) - p)
        for f in range(theta.size):
            theta[f] += push * features[task, f]
        for other in range(tasks):
            p = 1.0 / (1.0 + np.exp(-(features[other] * theta).sum()))
            if p >= tour.solved:
                state[1, other] = 1.0
            elif p <= tour.lost and state[1, other] == 1.0:
                state[1, other] = 0.0
                losses += 1
    return losses


@kernel
def tour_runs(features, theta, state, tour, seed, span, losses):
    """Train independent runs from update span[0] to span[1]; losses [runs] grows."""
    for run in range(features.shape[0]):
        keys = (stream_key(seed, FRESH, run), stream_key(seed, REPLAYED, run))
        losses[run] += tour_run(features[run], theta[run], state[run], tour, keys, span)
