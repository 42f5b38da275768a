"""What probes that compare a policy with itself at several sizes share: rows of quantity, problem and size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rlaws.measurement import Measurement
from rlaws.policy import Array
from rlaws.problems import ProblemSet
from rlaws.seeding import child

Told = Callable[[Any, np.random.SeedSequence], Array]
"""Policy and seed -> quantities of every problem, [Q, P]."""


def against_size(
    told: Told,
    quantities: Sequence[str],
    policies: Sequence[tuple[float, Any]],
    problems: ProblemSet,
    seed: np.random.SeedSequence,
    x: str,
    response: str,
    samples: int,
) -> Measurement:
    """Ask every size about the same problems; return one row a quantity, problem and size.

    Args:
        told: What is asked; the i-th size uses the i-th child of the seed.
        quantities: Names of what is told, [Q]; they are the regime.
        policies: Sizes and policies (``rlaws.vary.along``).
        problems: The problems, which are the clusters.
        seed: Seed.
        x: Name of the column of sizes.
        response: What the response is, in words.
        samples: Samples that one size takes in all.
    """
    found = np.stack([told(policy, child(seed, i)) for i, (_, policy) in enumerate(policies)], axis=2)
    quantity, problem, at = (index.ravel() for index in np.indices(found.shape))
    return Measurement(
        columns={
            "quantity": np.array(quantities)[quantity],
            "cluster": problems.ids[problem],
            x: np.array([size for size, _ in policies])[at],
            "total": found.ravel(),
            "weight": np.ones(found.size),
        },
        units={"quantity": "name", x: "parameters", "total": "1", "weight": "1"},
        x=(x,),
        statistic="mean",
        response=response,
        response_unit="1",
        regime=("quantity",),
        provenance={"problems": dict(problems.settings), "cost": {"samples": samples * len(policies)}},
    )
