"""Slow twin of the policy world: score functions enumerated answer by answer, batches drawn one answer at a time."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


def softmax(theta: Sequence[float]) -> list[float]:
    """Probabilities of the answers."""
    top = max(theta)
    weights = [math.exp(t - top) for t in theta]
    return [w / sum(weights) for w in weights]


def objective(
    theta: Sequence[float], rewards: Sequence[float], mode: Sequence[int], kind: str, strength: float,
    anchor: Sequence[float],
) -> float:  # fmt: skip
    """Expected reward plus the entropy bonus, or minus the KL penalty to the anchor's policy."""
    pi, reference = softmax(theta), softmax(anchor)
    value = sum(p * r for p, r in zip(pi, rewards, strict=True))
    if kind == "token":
        value -= strength * sum(p * math.log(p) for p in pi)
    if kind == "semantic":
        masses = [sum(p for p, m in zip(pi, mode, strict=True) if m == k) for k in set(mode)]
        value -= strength * sum(m * math.log(m) for m in masses)
    if kind in ("static", "ema"):
        value -= strength * sum(p * math.log(p / q) for p, q in zip(pi, reference, strict=True))
    return value


def gradient(theta: Sequence[float], *rest: object) -> list[float]:
    """Gradient of the objective by central differences: policy gradient without a score function."""
    out = []
    for a in range(len(theta)):
        sides = []
        for sign in (1.0, -1.0):
            moved = list(theta)
            moved[a] += sign * 1e-5
            sides.append(objective(moved, *rest))  # type: ignore[arg-type]
        out.append((sides[0] - sides[1]) / 2e-5)
    return out


def natural(theta: Sequence[float], grad: Sequence[float]) -> list[float]:
    """Natural gradient: F^+ grad with F = diag(π) - π π^T, so each component is grad_a/π_a, centred."""
    pi = softmax(theta)
    raw = [g / p for g, p in zip(grad, pi, strict=True)]
    return [x - sum(raw) / len(raw) for x in raw]


def batch_update(
    theta: Sequence[float], rewards: Sequence[float], algorithm: str, size: int, step: float, baseline: bool,
    rng: random.Random,
) -> list[float]:  # fmt: skip
    """One update from a batch drawn answer by answer: step x mean of A_i grad log π(a_i); grpo: A_i over its sd."""
    pi = softmax(theta)
    drawn = rng.choices(range(len(pi)), weights=pi, k=size)
    got = [rewards[a] for a in drawn]
    mean = sum(got) / size
    spread = math.sqrt(sum((r - mean) ** 2 for r in got) / size)
    if algorithm == "grpo" and spread < 1e-7:
        return list(theta)
    moved = list(theta) if algorithm != "imitate" else list(pi)
    for a, r in zip(drawn, got, strict=True):
        advantage = (r - (mean if baseline else 0.0)) / (spread if algorithm == "grpo" else 1.0)
        for b in range(len(pi)):
            score = ((1.0 if a == b else 0.0) - pi[b]) if algorithm != "npg" else (1.0 / pi[b] if a == b else 0.0)
            moved[b] += step / size * advantage * score
    return [math.log(m) for m in moved] if algorithm == "imitate" else moved
