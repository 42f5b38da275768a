"""Will the run reach a target, and when? Read off the forecast's draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.forecast.bands import Forecast
from rlaws.sentences import Said, joined, said

Array = NDArray[np.float64]
PARTS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """When a curve reaches a target.

    Attributes:
        target: The target, in the metric.
        budget: x by which it is asked.
        chance: Chance that the mean curve has reached it at some x of the forecast up to the budget.
        error: Monte-Carlo standard error of the chance.
        chance_by: The same at every x of the forecast, [X].
        at: Those x, [X].
        quantiles: Share -> x by which that share of all draws has reached it; infinite where it is not reached within
            the forecast.
        sentence: The finding.
    """

    target: float
    budget: float
    chance: float
    error: float
    chance_by: Array
    at: Array
    quantiles: dict[float, float]
    sentence: Said


def reach(found: Forecast, target: float, budget: float | None = None) -> Reach:
    """Return the chance that the mean curve reaches a target by a budget, and the distribution of the x at which.

    The mean curve counts, not its scatter: a noisy point above the target by luck is no success.

    Args:
        found: The forecast; its x decide how finely the crossing is seen.
        target: The target, in the metric.
        budget: x by which; default: the last x of the forecast.

    Raises:
        InputError: A target outside the metric's range, or a budget outside the forecast.
    """
    found.metric.check(target, "The target")
    end = float(found.at[-1]) if budget is None else float(budget)
    if not found.at[0] <= end <= found.at[-1]:
        raise InputError(said("outside", end=end, low=float(found.at[0]), high=float(found.at[-1])))
    sign = 1.0 if found.metric.better == "higher" else -1.0
    first = crossing(found.at, sign * found.mean_draws, sign * target)
    chance_by = np.array([float(np.mean(first <= x)) for x in found.at])
    chance = float(np.mean(first <= end))
    error = float(np.sqrt(max(chance * (1.0 - chance), 0.25 / first.size) / first.size))
    ordered = np.sort(first)
    quantiles = {p: float(ordered[min(int(np.ceil(p * first.size)) - 1, first.size - 1)]) for p in PARTS}
    side = said("at_least" if sign > 0 else "at_most")
    first_part = said("reach", metric=found.metric.name, side=side, target=target, end=end, chance=chance)
    there = bool(np.isfinite(quantiles[0.5]))
    when = said("half", x=quantiles[0.5]) if there else said("not_there", x=float(found.at[-1]))
    sentence = joined([first_part, when])
    return Reach(target, end, chance, error, chance_by, found.at, quantiles, sentence)


def crossing(at: Array, curves: Array, target: float) -> Array:
    """Return where curves [D, X] first reach a target from below, [D], by lines in log x; infinite where they do not.

    A curve that is there from the start crosses at the first x.
    """
    above = curves >= target
    j = above.argmax(axis=1)
    rows = np.arange(len(curves))
    before = np.maximum(j - 1, 0)
    low, high = curves[rows, before], curves[rows, j]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(j > 0, (target - low) / (high - low), 1.0)
    x = np.exp(np.log(at[before]) + share * (np.log(at[j]) - np.log(at[before])))
    return np.where(above.any(axis=1), np.minimum(x, at[j]), np.inf)
