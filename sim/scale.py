"""Training as a formula: a policy whose strength is a function of the compute spent on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rlaws.policy import Checkpoint


def at_scales(policy: Any, times: Sequence[float]) -> Iterator[Checkpoint]:
    """Yield a policy with ``times`` times its ``training`` (in C0); nothing is random.

    Raises:
        ValueError: If the times are not positive and rising.
    """
    t = np.asarray(times, dtype=float)
    if not t.size or t[0] <= 0 or np.any(np.diff(t) <= 0):
        raise ValueError(f"times = {list(times)} must be positive and rising.")
    for at in t.tolist():
        yield Checkpoint(at, "C0", replace(policy, training=policy.training * at), {"training": at})
