"""Closed forms of replay, written from the mathematics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def mean_update(pi: ArrayLike, drawn: ArrayLike, means: ArrayLike, baseline: float, corrected: bool) -> Array:
    """Mean of w (R - b) grad log π(a) over a ~ drawn, by summing over the answers.

    Corrected, w = π/drawn: the gradient of the policy, π_a (r_a - r̄). Uncorrected, w = 1: with v_a = drawn_a (r_a - b),
    v_a - π_a sum v, which is zero where π = v/sum v: training on a fixed buffer ends at the rewarded answers of the old
    policy, not at the best answer.
    """
    p, mu, r = (np.asarray(x, dtype=np.float64) for x in (pi, drawn, means))
    v = (p if corrected else mu) * (r - baseline)
    return np.asarray(v - p * v.sum())


def interference(features: ArrayLike, trained: int, moved: float) -> Array:
    """Change of every task's logit when training moves that of one task by ``moved``: the Gram matrix's column."""
    phi = np.asarray(features, dtype=np.float64)
    return np.asarray(phi @ phi[trained] / (phi[trained] @ phi[trained]) * moved)
