"""The temperature world by sampling answers one at a time: the definition, without any formula for p."""

from __future__ import annotations

import math
import random

from sim.temperature import TemperaturePolicy


def answer(policy: TemperaturePolicy, z: float, rng: random.Random) -> int:
    """Sample one answer: 0 right, 1 the strongest wrong one, 2 ... K - 1 the tail (Gumbel's trick; greedy at tau 0)."""
    scale = policy.training**policy.sharpening
    margin = scale * (policy.margin + policy.rise * math.log(policy.training) + policy.spread * z)
    logits = [margin, 0.0] + [-scale * policy.gap] * (policy.answers - 2)
    noisy = [x - policy.temperature * math.log(-math.log(rng.random())) for x in logits]
    return noisy.index(max(noisy))


def verdicts(
    policy: TemperaturePolicy, z: float, n: int, rates: tuple[float, float], rng: random.Random
) -> tuple[bool, bool, bool]:
    """Sample n answers and return (any right, right wins the vote, first accepted is right), each drawn once.

    Args:
        policy: The policy.
        z: The problem.
        n: Samples.
        rates: False-positive and false-negative rate of the verifier.
        rng: Source of randomness.
    """
    given = [answer(policy, z, rng) for _ in range(n)]
    most = max(given.count(a) for a in set(given))
    winner = rng.choice([a for a in sorted(set(given)) if given.count(a) == most])
    taken = [a for a in given if rng.random() < (1 - rates[1] if a == 0 else rates[0])]
    chosen = taken[0] if taken else given[0]
    return 0 in given, winner == 0, chosen == 0
