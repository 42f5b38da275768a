"""Stop now, or go on to some x? The expected regret of each, from the forecast's draws.

With a cost c per unit of x and a value v per unit of the metric, going on from x_0 to x is worth, in draw d,

    U_d(x) = v (f_d(x) - f_d(x_0)) - c (x - x_0),        U_d(x_0) = 0,

the regret of an option is the best U_d among the options less its own, and the advice is the option of least expected
regret. Without cost and value only a minimal gain can be judged: the chance that going on gains less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.forecast.bands import Forecast
from rlaws.sentences import Said, joined, said

Array = NDArray[np.float64]
CLEAR = 2.0  # an advice is clear if the runner-up's excess regret exceeds this many of its standard errors
SURE = 0.9  # chance of a smaller gain from which stopping is advised, and of a larger one for going on


@dataclass(frozen=True, slots=True)
class Option:
    """Going on until x, or stopping now.

    Attributes:
        x: Where it ends.
        gain: Median gain of the metric towards better.
        gain_low: 5 % quantile of the gain.
        gain_high: 95 % quantile.
        regret: Expected regret; NaN without cost and value.
        regret_low: 5 % quantile of the regret over draws.
        regret_high: 95 % quantile.
        small: Chance that the gain is below the minimal one; NaN without one.
    """

    x: float
    gain: float
    gain_low: float
    gain_high: float
    regret: float
    regret_low: float
    regret_high: float
    small: float


@dataclass(frozen=True, slots=True, eq=False)
class Advice:
    """What to do.

    Attributes:
        stop: Whether to stop now; None if it cannot be said.
        best: x of the option of least expected regret; NaN without cost and value.
        options: Stopping first, then every x that was asked.
        sentence: The advice.
    """

    stop: bool | None
    best: float
    options: tuple[Option, ...]
    sentence: Said


def advise(
    found: Forecast, *, cost: float | None = None, value: float | None = None, minimal_gain: float | None = None
) -> Advice:
    """Compare stopping at the first x of a forecast with going on to each of the others.

    Args:
        found: A forecast whose first x is where the run stands.
        cost: Cost of one unit of x.
        value: Value of one unit of the metric, in the unit of cost.
        minimal_gain: Gain below which going on was not worth it, in the metric.

    Raises:
        InputError: Neither cost and value nor a minimal gain, a negative one, or a forecast of a single x.
    """
    if (cost is None) != (value is None):
        raise InputError("A regret needs both a cost per unit of x and a value per unit of the metric; give both.")
    if cost is None and minimal_gain is None:
        raise InputError("Give cost and value, or minimal_gain: without one, every gain is worth its price.")
    for name, v in (("cost", cost), ("value", value), ("minimal_gain", minimal_gain)):
        if v is not None and not (np.isfinite(v) and v >= 0):
            raise InputError(f"{name} is {v:g}; it must be finite and not negative.")
    if found.at.size < 2:
        raise InputError("A forecast of one x has nothing to choose from; forecast now and the x you may go on to.")
    sign = 1.0 if found.metric.better == "higher" else -1.0
    gain = sign * (found.mean_draws - found.mean_draws[:, :1])
    worth = np.full_like(gain, np.nan)
    if cost is not None and value is not None:
        worth = value * gain - cost * (found.at - found.at[0])
    regret = worth.max(axis=1, keepdims=True) - worth
    options = tuple(_option(found.at[j], gain[:, j], regret[:, j], minimal_gain) for j in range(found.at.size))
    if cost is not None:
        return _by_regret(options, regret)
    return _by_gain(options, minimal_gain or 0.0)


def _option(x: float, gain: Array, regret: Array, minimal: float | None) -> Option:
    low, middle, high = np.quantile(gain, [0.05, 0.5, 0.95])
    regrets = np.quantile(regret, [0.05, 0.95]) if np.isfinite(regret).all() else np.full(2, np.nan)
    small = float("nan") if minimal is None else float(np.mean(gain < minimal))
    return Option(
        float(x), float(middle), float(low), float(high), float(regret.mean()), float(regrets[0]), float(regrets[1]),
        small,
    )  # fmt: skip


def _by_regret(options: tuple[Option, ...], regret: Array) -> Advice:
    best = int(np.argmin([o.regret for o in options]))
    chosen = options[best]
    rival = options[0] if best else min(options[1:], key=lambda o: o.regret)
    excess = regret[:, options.index(rival)] - regret[:, best]
    error = float(excess.std(ddof=1) / np.sqrt(excess.size))
    clear = float(excess.mean()) > CLEAR * error
    what = said("stop_now") if best == 0 else said("go_on_to", x=chosen.x)
    other = said("going_on", x=rival.x) if best == 0 else said("stopping")
    sentence = said("regret", what=what, own=chosen.regret, rival=rival.regret, other=other)
    if not clear:
        sentence = joined([sentence, said("equal")])
    return Advice(best == 0, chosen.x, options, sentence)


def _by_gain(options: tuple[Option, ...], minimal: float) -> Advice:
    """Advise by the chance that the option that gains most often gains less than the minimal gain."""
    likely = min(options[1:], key=lambda o: o.small)
    text = said("small_gain", x=likely.x, minimal=minimal, chance=likely.small)
    if likely.small >= SURE:
        return Advice(True, float("nan"), options, said("stop_small", text=text))
    if likely.small <= 1.0 - SURE:
        return Advice(False, float("nan"), options, said("go_on_small", text=text))
    return Advice(None, float("nan"), options, said("open_small", text=text))
