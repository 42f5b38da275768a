"""Slow twin of the flows: the softmax itself, two logits a prompt, with the gradient enumerated over its two arms."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

Array = NDArray[np.float64]


def softmax(theta: Array) -> Array:
    """Probabilities of the arms."""
    e = np.exp(theta - theta.max())
    return np.asarray(e / e.sum())


def direction(algorithm: str, theta: Array, rewards: Array) -> Array:
    """Right-hand side dtheta/dt: E[score x advantage], the advantage normalised (grpo) or the metric Fisher's (npg)."""
    pi = softmax(theta)
    advantage = rewards - pi @ rewards
    if algorithm == "grpo":
        advantage = advantage / np.sqrt(pi @ advantage**2)
    scores = np.eye(2) - pi  # row a: gradient of log pi(a)
    gradient = (pi * advantage) @ scores
    if algorithm == "npg":
        fisher = (scores * pi[:, None]).T @ scores
        gradient = np.linalg.pinv(fisher, rcond=1e-9) @ gradient
    return np.asarray(gradient)


def integrate(algorithm: str, gap: float, p0: float, times: Sequence[float]) -> Array:
    """Success at each time by an adaptive Runge-Kutta solution of the logits' equations.

    Args:
        algorithm: pg, grpo or npg.
        gap: Reward of the right arm; the wrong one pays 0.
        p0: Initial success.
        times: Rising times.

    Raises:
        RuntimeError: If the integrator fails; its message is passed on.
    """
    rewards = np.array([gap, 0.0])
    start = np.log([p0, 1.0 - p0])
    found = solve_ivp(
        lambda _, theta: direction(algorithm, theta, rewards),
        (0.0, max(times)),
        start,
        t_eval=times,
        method="DOP853",
        rtol=1e-11,
        atol=1e-12,
    )
    if not found.success:
        raise RuntimeError(found.message)
    return np.array([softmax(theta)[0] for theta in found.y.T])


def train_group(
    algorithm: str, gap: float, p0: float, group: int, step: float, updates: int, rng: random.Random
) -> float:
    """Success after ``updates`` updates with sampled groups, arm by arm and rollout by rollout.

    Args:
        algorithm: pg, grpo or npg.
        gap: Reward of the right arm.
        p0: Initial success.
        group: Rollouts an update.
        step: Learning rate.
        updates: Number of updates.
        rng: Source of the arms.
    """
    theta = np.log([p0, 1.0 - p0])
    for _ in range(updates):
        pi = softmax(theta)
        arms = [0 if rng.random() < pi[0] else 1 for _ in range(group)]
        rewards = np.array([gap if arm == 0 else 0.0 for arm in arms])
        advantage = rewards - rewards.mean()
        if algorithm == "grpo" and rewards.std() > 0:
            advantage = advantage / rewards.std()
        scores = np.eye(2) - pi
        gradient = sum((a * scores[arm] for a, arm in zip(advantage, arms, strict=True)), np.zeros(2)) / group
        if algorithm == "npg":
            fisher = (scores * pi[:, None]).T @ scores
            gradient = np.linalg.pinv(fisher, rcond=1e-9) @ gradient
        theta = theta + step * gradient
    return float(softmax(theta)[0])
