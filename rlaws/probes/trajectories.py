"""What several probes of training share: curves of many problems, and when they cross a level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlaws.errors import InputError
from rlaws.policy import Array
from rlaws.problems import ProblemSet
from rlaws.vary import needs


def follow(
    policy: Any,
    problems: ProblemSet,
    times: Sequence[float],
    seed: np.random.SeedSequence,
    methods: tuple[str, ...],
    probe: str,
) -> tuple[dict[str, Array], str, Mapping[str, Any]]:
    """Train, and ask each checkpoint's policy the same questions.

    Args:
        policy: A trainer.
        problems: The problems.
        times: Rising times.
        seed: Seed of the training.
        methods: Methods of the checkpoint's policy; each returns a value for every problem.
        probe: Name of the probe, for messages.

    Returns:
        Method -> values [T, P], the unit of time, and the cost.
    """
    told: dict[str, list[Array]] = {m: [] for m in methods}
    unit, cost = "time", {}
    for step in policy.train(problems, list(times), seed):
        needs(step.policy, methods, probe)
        for method in methods:
            told[method].append(np.asarray(getattr(step.policy, method)(problems), dtype=np.float64))
        unit, cost = step.unit, dict(step.cost)
    return {m: np.array(v) for m, v in told.items()}, unit, cost


def crossed(times: Array, values: Array, level: Array) -> Array:
    """Return when each problem's value first falls to its level, [P]; NaN where it does not.

    Between two times the crossing is interpolated linearly in (log time, value).

    Args:
        times: Rising and positive, [T].
        values: [T, P].
        level: [P].
    """
    below = values <= level
    at = np.argmax(below, axis=0)
    out = np.full(values.shape[1], np.nan)
    for p in np.flatnonzero(below.any(axis=0)):
        i = at[p]
        if i == 0:
            out[p] = times[0]
            continue
        high, low = values[i - 1, p], values[i, p]
        share = (high - level[p]) / (high - low)
        out[p] = float(np.exp(np.log(times[i - 1]) + share * np.log(times[i] / times[i - 1])))
    return out


def at_level(along: Array, values: Array, level: Array) -> Array:
    """Return the values where a rising curve first passes a level, [P]; NaN where it does not pass it.

    Args:
        along: The curve that passes the level, [T, P], rising where it does.
        values: What is read off, [T, P].
        level: [P].
    """
    above = along >= level
    at = np.argmax(above, axis=0)
    out = np.full(along.shape[1], np.nan)
    for p in np.flatnonzero(above.any(axis=0) & (at > 0)):
        i = at[p]
        share = (level[p] - along[i - 1, p]) / (along[i, p] - along[i - 1, p])
        out[p] = values[i - 1, p] + share * (values[i, p] - values[i - 1, p])
    return out


def all_found(values: Array, what: str, remedy: str) -> Array:
    """Return the values, all of which must have been found.

    Raises:
        InputError: If one is NaN: leaving out those that took too long would bias what is left.
    """
    lost = int(np.isnan(values).sum())
    if lost:
        raise InputError(f"{lost} of {values.size} problems {what}; {remedy}.")
    return values
