"""The temperature world by other means: adaptive quadrature over the margin, and votes by enumeration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
from scipy.integrate import quad
from scipy.special import ndtr


def right(margin: float, temperature: float, answers: int, gap: float) -> float:
    """Probability of the right answer by the softmax over all K logits: m, 0, and K - 2 times -gap."""
    logits = np.array([margin, 0.0] + [-gap] * (answers - 2)) / temperature
    weights = np.exp(logits - logits.max())
    return float(weights[0] / weights.sum())


def mean_over_margins(f: Callable[[float], float], mean: float, spread: float) -> float:
    """E[f(m)] over m ~ N(mean, spread^2) by adaptive quadrature, split where f bends (m = 0)."""

    def integrand(m: float) -> float:
        z = (m - mean) / spread
        return float(f(m) * np.exp(-z * z / 2) / (spread * np.sqrt(2 * np.pi)))

    edges = sorted({mean - 9 * spread, -1.0, 0.0, 1.0, mean, mean + 9 * spread})
    inside = [e for e in edges if mean - 9 * spread <= e <= mean + 9 * spread]
    return float(sum(quad(integrand, a, b, limit=400, epsabs=1e-13)[0] for a, b in pairwise(inside)))


def greedy(mean: float, spread: float) -> float:
    """Success of greedy decoding, P(m > 0)."""
    return float(ndtr(mean / spread))


def vote(shares: list[float], n: int) -> float:
    """Probability that answer 0 wins a vote of n, by enumerating all sequences; equals share the win."""
    total = 0.0
    for votes in product(range(len(shares)), repeat=n):
        counts = [votes.count(k) for k in range(len(shares))]
        if counts[0] == max(counts):
            total += float(np.prod([shares[v] for v in votes])) / counts.count(max(counts))
    return total
