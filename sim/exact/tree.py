"""Closed forms of the reasoning tree, written from the mathematics.

P = p^d is the success of one sample. Verifiers are judged on trees with so many leaves that two wrong samples are never
the same leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad
from scipy.special import ndtr

Array = NDArray[np.float64]


def best_of_n_failure(p: float, depth: int, n: ArrayLike) -> Array:
    """Best-of-n with an oracle fails with (1 - p^d)^n."""
    return np.asarray(np.exp(np.asarray(n, dtype=float) * np.log1p(-(p**depth))))


def secant_exponent(high: float, low: float) -> float:
    """Exponent -d log P_fail / d log N of best-of-n on one difficulty, between P_fail = ``high`` and ``low``.

    (1 - P)^N = f gives N proportional to log(1/f), so the secant is log(high / low) / log(log(1/low) / log(1/high)):
    1.574 between 0.5 and 0.05, whatever P.
    """
    return float(np.log(high / low) / np.log(np.log(low) / np.log(high)))


def median_compute(p: float, depth: int) -> float:
    """Expansions of best-of-n (as a real number of samples) at which half of the problems are solved."""
    return float(1 + depth * np.log(0.5) / np.log1p(-(p**depth)))


def accepted(success: float, n: ArrayLike, false_positive: float, false_negative: float) -> Array:
    """Success of best-of-n that answers its first accepted sample, else its first sample.

    The verifier errs once and for all about the one right leaf. If it takes it (1 - fn), a sample is accepted with
    a = P + (1 - P) fp and P / a of the accepted ones are right; if not (fn), the answer is right only when nothing is
    accepted and the first sample happened to be right.
    """
    n = np.asarray(n, dtype=float)
    wrong = (1 - success) * false_positive
    takes = success / (success + wrong) * (1 - (1 - success - wrong) ** n)
    refuses = success * (1 - wrong) ** (n - 1)
    return np.asarray((1 - false_negative) * takes + false_negative * refuses)


def heavy_cdf(x: ArrayLike) -> Array:
    """Distribution function of Student's t with two degrees of freedom."""
    x = np.asarray(x, dtype=float)
    return np.asarray(0.5 + x / (2 * np.sqrt(2 + x * x)))


def heavy_pdf(x: ArrayLike) -> Array:
    """Density of Student's t with two degrees of freedom."""
    return np.asarray((2 + np.asarray(x, dtype=float) ** 2) ** -1.5)


def scored(success: float, n: int, noise: float, law: str) -> float:
    """Success of best-of-n that answers the sample of highest score 1[right] + noise z'.

    With F the law of z' and t = z' + 1/noise the level that wrong samples must stay below,
    E[(P + (1 - P) F(t))^n - ((1 - P) F(t))^n]: all samples right or low, but not all wrong.
    """
    cdf, pdf = _law(law)

    def integrand(z: float) -> float:
        low = (1 - success) * float(cdf(z + 1 / noise))
        return float(pdf(z)) * ((success + low) ** n - low**n)

    edges = (-50.0, -8.0, 0.0, 8.0, 50.0, 1e3, 1e6) if law == "heavy" else (-12.0, -4.0, 0.0, 4.0, 12.0)
    return float(sum(quad(integrand, a, b, limit=400)[0] for a, b in pairwise(edges)))


def greedy_step(branching: int, noise: float) -> float:
    """Probability that the right child has the highest value among b: E[F(z + 1/noise)^(b-1)], normal law.

    A beam of width 1 succeeds with this to the power d: values of different levels are independent.
    """

    def integrand(z: float) -> float:
        return float(np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * ndtr(z + 1 / noise) ** (branching - 1))

    return float(quad(integrand, -12, 12)[0])


def _law(law: str) -> tuple[Callable[[ArrayLike], Array], Callable[[ArrayLike], Array]]:
    """Return (distribution function, density) of z'."""
    if law == "heavy":
        return heavy_cdf, heavy_pdf
    if law == "normal":
        return lambda z: np.asarray(ndtr(z)), lambda z: np.asarray(np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi))
    if law == "uniform":
        return (
            lambda z: np.clip((np.asarray(z, dtype=float) + 1) / 2, 0.0, 1.0),
            lambda z: np.where(np.abs(z) <= 1, 0.5, 0.0),
        )
    raise ValueError(f"law = '{law}': possible are uniform, normal and heavy.")


def plurality(classes: Sequence[float], n: int) -> float:
    """Probability that class 0 wins a vote of n, by enumerating all sequences; the earliest of equals wins.

    Args:
        classes: Probability of each class, summing to 1.
        n: Votes; classes^n sequences are enumerated.
    """
    total = 0.0
    for votes in product(range(len(classes)), repeat=n):
        winner = max(votes, key=lambda v: (votes.count(v), -votes.index(v)))
        total += float(np.prod([classes[v] for v in votes])) if winner == 0 else 0.0
    return total


def best_of_n_pick(probabilities: ArrayLike, scores: ArrayLike, n: int) -> Array:
    """Probability that best-of-n answers each leaf of a tree that is known in full: F_i^n - F_{i-1}^n by rising score.

    Args:
        probabilities: Policy's probability of each leaf, [leaves].
        scores: The verifier's fixed score of each leaf, all different, [leaves].
        n: Samples.
    """
    prob, order = np.asarray(probabilities, dtype=float), np.argsort(scores)
    upto = np.concatenate([[0.0], np.cumsum(prob[order])])
    out = np.empty(prob.size)
    out[order] = np.diff(upto**n)
    return out


def gibbs_success(success: float, temperature: float) -> float:
    """Success of the Gibbs tilt pi0 e^(R/T) / Z for R = 1[right]: P e^(1/T) / (1 - P + P e^(1/T))."""
    odds = success / (1 - success) * np.exp(1 / temperature)
    return float(odds / (1 + odds))


def free_energy(success: float, temperature: float) -> float:
    """F = -T log Z with Z = 1 - P + P e^(1/T)."""
    return float(-temperature * np.log1p(success * np.expm1(1 / temperature)))


def binary_kl(q: float, p: float) -> float:
    """KL of Bernoulli(q) from Bernoulli(p), in nats."""
    return float(sum(a * np.log(a / b) for a, b in ((q, p), (1 - q, 1 - p)) if a > 0))


def best_of_n_kl_bound(n: ArrayLike) -> Array:
    """KL(best-of-n || policy) <= log n - (n - 1) / n (arXiv 2401.01879), equal where scores have no ties."""
    n = np.asarray(n, dtype=float)
    return np.asarray(np.log(n) - (n - 1) / n)
