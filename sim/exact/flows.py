"""Closed forms and quadratures of the policy-gradient flows of ``sim.flows``, written from the mathematics."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import betaln, expit
from scipy.stats import binom

Array = NDArray[np.float64]


def time_between(algorithm: str, gap: float, p0: float, p1: float) -> float:
    """Time from p0 to p1, the integral of dp over dp/dt.

    pg:   1/(2 gap) [2 log(p/(1-p)) - 1/p + 1/(1-p)],   from 1/(p^2 (1-p)^2) = (1/p + 1/(1-p))^2
    grpo: [(2p - 1) / sqrt(p (1-p))],                   from d/dp (2p-1)(p(1-p))^(-1/2) = (p(1-p))^(-3/2) / 2
    npg:  1/gap [log(p/(1-p))]
    """

    def primitive(p: float) -> float:
        if algorithm == "pg":
            return float((2 * np.log(p / (1 - p)) - 1 / p + 1 / (1 - p)) / (2 * gap))
        if algorithm == "grpo":
            return float((2 * p - 1) / np.sqrt(p * (1 - p)))
        return float(np.log(p / (1 - p)) / gap)

    return primitive(p1) - primitive(p0)


def escape_time(algorithm: str, gap: float, p0: float) -> float:
    """Time from p0 to 1/2."""
    return time_between(algorithm, gap, p0, 0.5)


def escape_asymptote(algorithm: str, gap: float, p0: ArrayLike) -> Array:
    """Leading term of the escape time for small p0: 1/(2 gap p0), p0^(-1/2), log(1/p0)/gap."""
    p = np.asarray(p0, dtype=np.float64)
    return np.asarray({"pg": 0.5 / (gap * p), "grpo": p**-0.5, "npg": -np.log(p) / gap}[algorithm])


def late_failure(algorithm: str, gap: float, p0: float, time: ArrayLike) -> Array:
    """Leading term of 1 - p at the end of learning: 1/(2 gap t), t^-2, (1-p0)/p0 exp(-gap t)."""
    t = np.asarray(time, dtype=np.float64)
    return np.asarray({"pg": 0.5 / (gap * t), "grpo": t**-2.0, "npg": (1 - p0) / p0 * np.exp(-gap * t)}[algorithm])


def unsolved_exponent(algorithm: str, alpha: float) -> float:
    """Late exponent of the unsolved mass over p0 ~ Beta(alpha, beta): t^-x (pg, grpo), exp(-x gap t) (npg).

    Hard problems that have not escaped weigh t^-alpha (pg), t^-2alpha (grpo), exp(-alpha gap t) (npg); what escaped
    problems still fail weighs 1/t, t^-2, exp(-gap t). The slower of the two stays: min(alpha, 1), doubled for grpo.
    """
    slower = min(alpha, 1.0)
    return 2.0 * slower if algorithm == "grpo" else slower


def logit_at(algorithm: str, gap: float, u0: float, time: float) -> float:
    """Logit of the success at a time, by bisection of its own equation of motion's primitive."""
    if algorithm == "npg":
        return u0 + gap * time
    half = 2.0 if algorithm == "grpo" else 1.0

    def primitive(u: float) -> float:
        return float(2.0 * np.sinh(u / half)) if algorithm == "grpo" else float(u + np.sinh(u)) / gap

    goal = primitive(u0) + time
    high = u0 + 1.0
    while primitive(high) < goal:
        high += 2.0 * (high - u0)
        high = min(high, 700.0)
    return float(brentq(lambda u: primitive(u) - goal, u0, high, xtol=1e-13, rtol=1e-14))


def unsolved_mass(algorithm: str, gap: float, alpha: float, beta: float, time: float) -> float:
    """1 - R(t) over p0 ~ Beta(alpha, beta), by quadrature over the logit of p0.

    The density of u_0 = logit p0 is expit(u)^alpha expit(-u)^beta / B(alpha, beta).
    """

    def integrand(u: float) -> float:
        weight = np.exp(alpha * np.log(expit(u)) + beta * np.log(expit(-u)) - betaln(alpha, beta))
        return float(weight * expit(-logit_at(algorithm, gap, u, time)))

    turn = _escape_logit(algorithm, gap, time)
    width = 40.0 / min(alpha, beta, 1.0)
    offsets = (-width, -20.0, -5.0, -1.0, 0.0, 1.0, 5.0, 20.0)
    edges = [max(turn + d, -690.0) for d in offsets] + [max(turn, 0.0) + width]
    return float(sum(quad(integrand, *ends, limit=200, epsabs=1e-300, epsrel=1e-9)[0] for ends in pairwise(edges)))


def _escape_logit(algorithm: str, gap: float, time: float) -> float:
    """Logit from which the flow reaches 1/2 at that time; the integrand turns there."""
    return -logit_at(algorithm, gap, 0.0, time)


def group_drift(algorithm: str, gap: float, group: int, p: float) -> float:
    """Mean of du per unit of time with groups of G: the sum over all counts c ~ Binomial(G, p)."""
    share = np.arange(group + 1) / group
    spread = share * (1 - share)
    moved = {"pg": 2 * gap * spread, "grpo": 2 * np.sqrt(spread), "npg": gap * spread / (p * (1 - p))}[algorithm]
    return float(np.sum(binom.pmf(np.arange(group + 1), group, p) * moved))
