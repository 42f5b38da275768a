"""Best-of-N against closed forms. Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds."""

from fractions import Fraction
from itertools import pairwise
from math import comb

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betaln, expit

from rlaws.estimators import pass_at_k
from rlaws.problems import BetaProblems, SingleDifficulty
from sim.bernoulli import BernoulliPolicy, KnownSuccess
from sim.exact import bernoulli as exact

Z = 4.4


def seed(n):
    return np.random.SeedSequence(20260401, spawn_key=(n,))


@pytest.mark.parametrize("p", [Fraction(1, 7), Fraction(1, 2), Fraction(99, 100)])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (8, 1), (8, 3), (8, 8), (40, 17)])
def test_pass_at_k_is_unbiased_by_enumeration(p, n, k):
    weights = [comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    estimates = pass_at_k(np.full(n + 1, n), np.arange(n + 1), np.array([k]))[:, 0]
    mean = float(sum(float(w) * e for w, e in zip(weights, estimates, strict=True)))
    assert mean == pytest.approx(float(1 - (1 - p) ** k), abs=1e-13)


def test_plugging_in_the_share_is_biased_and_the_enumeration_sees_it():
    """Negative control of the test above: 1 - (1 - c/n)^k misses by far more than its tolerance."""
    n, k, p = 8, 3, Fraction(1, 7)
    mean = sum(float(comb(n, c) * p**c * (1 - p) ** (n - c)) * (1 - (1 - c / n) ** k) for c in range(n + 1))
    assert abs(mean - float(1 - (1 - p) ** k)) > 1e-2


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("beta", [0.7, 2.0, 25.0])
@pytest.mark.parametrize("n", [1, 16, 1000])
def test_beta_failure_is_the_integral(alpha, beta, n):
    def integrand(u):  # u = logit p has no poles; failure and density bend near p = 1/n
        weight = np.exp(alpha * np.log(expit(u)) + beta * np.log(expit(-u)) - betaln(alpha, beta))
        return exact.failure(expit(u), n) * weight

    ends = (-60 / alpha, -np.log(n) - 6, -np.log(n) + 6, 12, 36)
    value = sum(quad(integrand, *pair, limit=200, epsabs=0)[0] for pair in pairwise(ends))
    assert exact.beta_failure(alpha, beta, n) == pytest.approx(value, rel=1e-6)


def test_alpha_one_is_a_hyperbola():
    n = np.array([1.0, 5.0, 1e4])
    np.testing.assert_allclose(exact.beta_failure(1.0, 3.0, n), 3.0 / (3.0 + n), rtol=1e-11)


def test_tail_has_exponent_alpha():
    for alpha in (0.3, 1.0, 2.0):
        ratio = exact.beta_failure(alpha, 2.0, 1e6) / exact.beta_tail(alpha, 2.0, 1e6)
        assert ratio == pytest.approx(1.0, abs=1e-5)
        assert exact.beta_local_exponent(alpha, 2.0, 1e5) == pytest.approx(alpha, abs=1e-4)


def test_local_exponent_is_the_derivative():
    up, down = exact.beta_failure(1.5, 5.0, 32 * 1.0001), exact.beta_failure(1.5, 5.0, 32 / 1.0001)
    slope = -np.log(up / down) / (2 * np.log(1.0001))
    assert exact.beta_local_exponent(1.5, 5.0, 32) == pytest.approx(slope, rel=1e-6)


def _mean_failure(alpha, beta, k, stream):
    problems = BetaProblems(alpha, beta, 20_000).draw(seed(stream))
    n, c = BernoulliPolicy().count(problems, 512, seed(stream + 1))
    failure = 1 - pass_at_k(n, c, np.array([k]))[:, 0]
    return failure.mean(), failure.std() / np.sqrt(failure.size)


@pytest.mark.parametrize(("alpha", "k"), [(0.3, 64), (1.0, 64), (2.0, 16)])
def test_simulated_best_of_n_meets_the_closed_form(alpha, k):
    mean, stderr = _mean_failure(alpha, 2.0, k, 10)
    assert abs(mean - exact.beta_failure(alpha, 2.0, k)) < Z * stderr


def test_the_comparison_tells_a_wrong_alpha():
    """Negative control: an alpha off by a tenth is refused at the same z."""
    mean, stderr = _mean_failure(1.1, 2.0, 64, 10)
    assert abs(mean - exact.beta_failure(1.0, 2.0, 64)) > Z * stderr


def test_strength_is_worth_samples():
    problems = BetaProblems(0.5, 2.0, 1000).draw(seed(1))
    three = BernoulliPolicy(3.0).success(problems)
    np.testing.assert_allclose(1 - three, exact.failure(problems.difficulty["p"], 3), rtol=1e-9)


def test_counts_and_rollouts_have_one_law():
    problems = SingleDifficulty(0.3, 400).draw(seed(2))
    policy = BernoulliPolicy()
    counted = policy.count(problems, 50, seed(3))[1]
    rolled = policy.sample(problems, 50, seed(4)).counts(400)[1]
    stderr = np.sqrt(0.3 * 0.7 / (50 * 400))
    for right in (counted, rolled):
        assert abs(right.sum() / (50 * 400) - 0.3) < Z * stderr
        assert right.var() == pytest.approx(50 * 0.3 * 0.7, rel=Z * np.sqrt(2 / 400))
    assert not np.array_equal(counted, rolled)


def test_impossible_and_sure_problems():
    problems = KnownSuccess.of([0.0, 1.0])
    two = SingleDifficulty(0.5, 2).draw(seed(5))
    assert problems.count(two, 100, seed(6))[1].tolist() == [0, 100]
    for p in (0.0, 1.0):
        assert BernoulliPolicy(2.0).success(SingleDifficulty(p, 1).draw(seed(5))).tolist() == [p]


@pytest.mark.parametrize("strength", [0.0, -1.0, np.inf, np.nan])
def test_bad_strength_is_refused(strength):
    with pytest.raises(ValueError, match="strength"):
        BernoulliPolicy(strength)


def test_known_success_refuses_other_problems_and_non_probabilities():
    with pytest.raises(ValueError, match="Row 1"):
        KnownSuccess.of([0.5, 1.5])
    with pytest.raises(ValueError, match="3 problems asked"):
        KnownSuccess.of([0.5]).success(SingleDifficulty(0.5, 3).draw(seed(7)))
