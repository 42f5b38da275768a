"""Curves change their course: a plateau ends, a rise stops, a run goes wrong. No law fitted before tells when.

How often? The observed part shows no change over L = log(x_n / x_1). A constant hazard per unit of log x with Jeffreys'
prior then survives the next stretch D = log(x / x_n) with probability

    S(D) = (L / (L + D))^(1/2),

which needs no setting: a forecast over a stretch as long as the past meets a change in 29 of 100 cases. Where to? After
a change the curve moves towards a new level, up or down with even chance, uniform between where it is and the end of
the metric's range on the better side, or its worst observed level on the other, and covers the way as 1 - (x / x_c)^-r
with r log-uniform between 1/3 and 3.

Source: Jeffreys' prior for a Poisson rate, p(h) ~ h^-1/2 (Jeffreys 1961, section 3.3); the same argument with 1/h is
Gott's, Nature 363 (1993) 315.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlaws.forecast.curves import Runs, Scale

Array = NDArray[np.float64]

POWER = 0.5  # Jeffreys' exponent
SLOWEST, FASTEST = 1.0 / 3.0, 3.0


def survival(x: Array, first: float, last: float) -> Array:
    """Return the chance that no change has come until x >= last, having seen none between first and last."""
    seen = np.log(last / first)
    return np.asarray((seen / (seen + np.log(np.maximum(x / last, 1.0)))) ** POWER)


def changed(curve: Array, runs: Runs, scale: Scale, at: Array, rng: np.random.Generator) -> Array:
    """Return curves [D, X] of which some change their course after the data.

    Args:
        curve: Drawn curves at ``at``, on the scale of the fit, [D, X].
        runs: The data, for the stretch that was seen and the worst level.
        scale: The range, and which side is better.
        at: x of the forecast, [X].
        rng: Source of the changes.
    """
    number = len(curve)
    last = float(runs.x.max())
    seen = float(np.log(last / runs.x.min()))
    wait = seen * (rng.random(number) ** (-1.0 / POWER) - 1.0)
    ahead = np.log(np.maximum(at / last, 1.0))
    elapsed = ahead[None] - wait[:, None]
    rate = SLOWEST * (FASTEST / SLOWEST) ** rng.random(number)
    way = -np.expm1(-rate[:, None] * np.maximum(elapsed, 0.0))
    start = np.array([np.interp(w, ahead, row) for w, row in zip(wait, curve, strict=True)])
    up, down = _ends(runs, scale)
    target = np.where(rng.random(number) < 0.5, up, down)
    target = start + (target - start) * rng.random(number)
    return np.where(elapsed > 0, start[:, None] + (target - start)[:, None] * way, curve)


def _ends(runs: Runs, scale: Scale) -> tuple[float, float]:
    """Return the best possible and the worst observed level, on the scale of the fit."""
    if scale.metric.better == "higher":
        return scale.high, float(runs.z.min())
    return scale.low, float(runs.z.max())
