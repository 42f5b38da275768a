"""Weights over laws from what each forecast at earlier origins: no law wins, the mixture is chosen.

At an origin every member is fitted to the points up to a cut and gives a predictive density to each point after it,
at all distances. The weights maximise the log density of the mixture,

    sum over origins o of c mean over points j of log sum_k w_k p_k(y_oj)  +  a sum_k pi_k log w_k,

the stacking of predictive distributions (Yao et al. 2018, eq. 3; arXiv 1704.02030) with a Dirichlet prior around equal
weights pi. The points after an origin share one error, so an origin counts as c = 1 point, however many follow it. With
too few points for an origin the weights stay equal, and the forecast says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.forecast.curves import Runs, Scale
from rlaws.forecast.members import Member
from rlaws.forecast.posterior import Sample, sample
from rlaws.forecast.wandering import Wandering

Array = NDArray[np.float64]
AnyMember = Member | Wandering

SHARES = (0.3, 0.45, 0.6, 0.75, 0.9)
FIRST = 5  # fewest points before an origin
SCORED = 24  # most points scored after one origin
COUNTS = 1.0  # points that an origin is worth: what follows it shares one error
PRIOR = 1.0  # points that the prior of equal weights is worth
STEPS = 300
DRAWS = 300


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What the members forecast at one origin.

    Attributes:
        cut: Last x that was fitted.
        log_density: Log predictive density of each scored point under each member, [K, J]; -inf where it gave none.
        observed: The scored points on the scale of the fit, [J].
        mean: Mean of the next points in every draw of each member, [K, D, J], NaN where it gave none.
        sd: Their standard deviation around it, [K, D, J].
    """

    cut: float
    log_density: Array
    observed: Array
    mean: Array
    sd: Array


def draw(member: AnyMember, runs: Runs, scale: Scale, at: Array, draws: int, rng: np.random.Generator) -> Sample | None:
    """Return draws of a member of either kind; see ``posterior.sample``."""
    if isinstance(member, Wandering):
        return member.sample(runs, scale, at, draws, rng)
    return sample(member, runs, scale, at, draws, rng)


def gaps_after(runs: Runs, at: Array) -> Array:
    """Return how many points after the last one each x of ``at`` lies, [X], from the spacing of the data.

    Runs are spaced evenly in x or in log x, whichever fits better; the last spacing goes on.
    """
    x = runs.x[runs.starts[-2] :]
    if x.size < 3:
        return np.arange(1.0, at.size + 1)
    even, logs = (float(np.std(d) / np.mean(d)) for d in (np.diff(x), np.diff(np.log(x))))
    ahead = (at - x[-1]) / np.median(np.diff(x)[-10:])
    if logs < even:
        ahead = np.log(at / x[-1]) / np.median(np.diff(np.log(x))[-10:])
    return np.asarray(np.maximum(ahead, 0.0))


def origins_of(
    members: Sequence[AnyMember], runs: Runs, scale: Scale, rng: np.random.Generator, shares: Sequence[float] = SHARES
) -> list[Origin]:
    """Return what every member forecast at the rolling origins."""
    places = np.unique(runs.x)
    found = []
    for m in sorted({round(share * places.size) for share in shares}):
        if m < FIRST or m >= places.size:
            continue
        found.append(_origin(members, runs, scale, float(places[m - 1]), rng))
    return found


def _origin(members: Sequence[AnyMember], runs: Runs, scale: Scale, cut: float, rng: np.random.Generator) -> Origin:
    past = runs.until(cut)
    after = np.flatnonzero(runs.x > cut)
    after = after[np.unique(np.linspace(0, after.size - 1, min(after.size, SCORED)).round().astype(int))]
    at, inverse = np.unique(runs.x[after], return_inverse=True)
    observed = runs.z[after]
    gaps = gaps_after(past, at)
    mean = np.full((len(members), DRAWS, observed.size), np.nan)
    sd = np.full_like(mean, np.nan)
    for k, member in enumerate(members):
        drawn = draw(member, past, scale, at, DRAWS, rng)
        if drawn is not None:
            middle, spread = drawn.next_points(gaps)
            mean[k], sd[k] = middle[:, inverse], spread[:, inverse]
    return Origin(cut, _log_density(observed, mean, sd), observed, mean, sd)


def _log_density(observed: Array, mean: Array, sd: Array) -> Array:
    """Return the log of the average normal density over draws, [K, J]; -inf for a member without draws."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = -0.5 * ((observed - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2.0 * np.pi)
        logs = np.where(np.isfinite(logs), logs, -np.inf)
        top = np.maximum(logs.max(axis=1), -1e300)
        return np.asarray(top + np.log(np.mean(np.exp(logs - top[:, None]), axis=1)))


def stack(origins: Sequence[Origin], prior: Array) -> Array:
    """Return the weights [K] that maximise the mixture's held-out score under the prior weights pi [K]."""
    weight = np.asarray(prior / prior.sum())
    if not origins:
        return weight
    rows, value = [], []
    for origin in origins:
        top = np.maximum(origin.log_density.max(axis=0), -1e300)
        rows.append(np.exp(origin.log_density - top))
        value.append(np.full(top.size, COUNTS / top.size))
    density, count = np.concatenate(rows, axis=1), np.concatenate(value)
    pi = PRIOR * prior / prior.sum()
    for _ in range(STEPS):
        share = weight[:, None] * density
        share = share / np.maximum(share.sum(axis=0), 1e-300)
        weight = share @ count + pi
        weight = weight / weight.sum()
    return np.asarray(weight)
