"""The chain against its closed forms: moments of g_t at every step, in every regime, and the limits of the formulas.

False alarms: each Monte Carlo test compares k numbers by |z| with the normal quantile for 1e-6 / k two-sided
(Bonferroni), so that a right simulator fails a test with probability 1e-6; seeds are fixed besides.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from sim.chain import ChainWorld, LinearReward, gradient_sums, sample, state_counts
from sim.exact import chain as exact

ROLLOUTS = 2_000_000
ALARM = 1e-6
RISING = np.linspace(0.8, 0.985, 24)

REGIMES = {
    "plain": {},
    "recovery": {"recovery": 0.15},
    "slip": {"slip": 0.06},
    "forgiveness": {"forgiveness": 0.4},
    "false_positive": {"false_positive": 0.2},
    "false_negative": {"false_negative": 0.3},
    "verifier": {"false_positive": 0.1, "false_negative": 0.25},
    "dense_noise": {"dense_noise": 0.2},
    "all_state": {"recovery": 0.2, "slip": 0.05, "forgiveness": 0.3, "false_positive": 0.05, "false_negative": 0.1},
    "all": {"recovery": 0.2, "slip": 0.05, "forgiveness": 0.3, "false_positive": 0.05, "dense_noise": 0.1},
}
BASELINES = {
    "mean": ("mean", 1),
    "zero": ("zero", 1),
    "number": (0.7, 1),
    "group_4": ("mean", 4),
    "group_50": ("mean", 50),
}


def limit(comparisons: int) -> float:
    """|z| that a right simulator exceeds anywhere with probability ALARM."""
    return float(stats.norm.isf(ALARM / comparisons / 2))


def pattern_moments(world: ChainWorld, baseline: float) -> tuple[np.ndarray, np.ndarray]:
    """E[g] and E[g^2] by listing every path (c, z) and R: no recursion, no formula."""
    first, second = np.zeros(world.length), np.zeros(world.length)
    p = world.right
    for c in itertools.product((0, 1), repeat=world.length):
        for z in itertools.product((0, 1), repeat=world.length):
            chance, before = 1.0, 1
            for t in range(world.length):
                keep = (1 - world.slip) * (1.0 if c[t] else world.forgiveness)
                up = keep if before else world.recovery
                chance *= (p[t] if c[t] else 1 - p[t]) * (up if z[t] else 1 - up)
                before = z[t]
            for r in (0, 1):
                one = 1 - world.false_negative if before else world.false_positive
                g = (np.array(c) - p) * (r - baseline)
                first += chance * (one if r else 1 - one) * g
                second += chance * (one if r else 1 - one) * g**2
    return first, second


def z_scores(world: ChainWorld, expected: exact.Moments, sums) -> np.ndarray:
    """Both moments at every step, as z; the error of a mean of squares is estimated from the spread over clusters."""
    n = sums.n.sum()
    first = (sums.mean - expected.mean) / np.sqrt((expected.second - expected.mean**2) / n)
    each = sums.s2 / sums.n[:, None]
    second = (each.mean(0) - expected.second) / (each.std(0, ddof=1) / np.sqrt(len(each)))
    return np.concatenate([first, second])


def groups_error(world: ChainWorld, expected: exact.Moments, sums) -> np.ndarray:
    """Means as z with the error from the spread over clusters (rollouts of a group are not independent)."""
    scores = []
    for per, right in ((sums.s1, expected.mean), (sums.s2, expected.second)):
        each = per / sums.n[:, None]
        scores.append((each.mean(0) - right) / (each.std(0, ddof=1) / np.sqrt(len(each))))
    return np.concatenate(scores)


def compare(world, truth, baseline, groups, seed=20):
    """Largest |z| of a simulation of ``world`` against the closed form of ``truth``."""
    clusters = 400
    sums = gradient_sums(
        world, ROLLOUTS // clusters, seed, baseline=baseline, groups=groups, clusters=clusters, method="dense"
    )
    b = sums.baseline if groups == 1 and baseline == "mean" else baseline
    expected = exact.gradient_moments(truth, b, groups)
    score = z_scores if groups == 1 else groups_error
    return float(np.abs(score(world, expected, sums)).max())


# t quantiles with 399 degrees of freedom stand for the normal where the error is estimated from 400 clusters
LEVEL = float(stats.t.isf(ALARM / (2 * RISING.size) / 2, df=399))


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("kind", BASELINES)
def test_both_moments_at_every_step(regime, kind):
    baseline, groups = BASELINES[kind]
    world = ChainWorld(RISING.size, RISING, **REGIMES[regime])
    assert compare(world, world, baseline, groups) < LEVEL


@pytest.mark.parametrize(
    ("regime", "change"),
    [
        ("recovery", {"recovery": 0.16}),
        ("slip", {"slip": 0.067}),
        ("forgiveness", {"forgiveness": 0.45}),
        ("verifier", {"false_positive": 0.11}),
        ("verifier", {"false_negative": 0.3}),
        ("dense_noise", {"dense_noise": 0.21}),
        ("all_state", {"slip": 0.06}),
    ],
)
@pytest.mark.parametrize("kind", ["mean", "group_4"])
def test_a_wrong_parameter_is_noticed(regime, change, kind):
    """Negative control: the closed form of a nearby world must not pass."""
    baseline, groups = BASELINES[kind]
    world = ChainWorld(RISING.size, RISING, **REGIMES[regime])
    nearby = ChainWorld(RISING.size, RISING, **{**REGIMES[regime], **change})
    assert compare(world, nearby, baseline, groups) > LEVEL


def test_a_wrong_group_is_noticed():
    world = ChainWorld(RISING.size, RISING, recovery=0.2)
    sums = gradient_sums(world, 4000, 1, groups=4, clusters=400)
    assert np.abs(groups_error(world, exact.gradient_moments(world, "mean", 5), sums)).max() > LEVEL


@pytest.mark.parametrize("regime", [name for name in REGIMES if "noise" not in name and name != "all"])
def test_closed_form_equals_the_sum_over_all_paths(regime):
    world = ChainWorld(4, [0.6, 0.9, 0.3, 0.75], **REGIMES[regime])
    for baseline in (0.0, 0.45):
        expected = exact.gradient_moments(world, baseline)
        first, second = pattern_moments(world, baseline)
        np.testing.assert_allclose(expected.mean, first, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(expected.second, second, rtol=1e-12)


@pytest.mark.parametrize("regime", REGIMES)
def test_mean_is_the_difference_that_a_step_makes(regime):
    world = ChainWorld(RISING.size, RISING, **REGIMES[regime])
    q = exact.success_given_step(world)
    np.testing.assert_allclose(exact.gradient_mean(world), RISING * (1 - RISING) * (q[:, 1] - q[:, 0]), atol=1e-15)
    np.testing.assert_allclose(RISING * q[:, 1] + (1 - RISING) * q[:, 0], exact.success_probability(world), rtol=1e-12)


def test_a_large_group_has_the_mean_as_its_baseline():
    world = ChainWorld(RISING.size, RISING, recovery=0.1, dense_noise=0.3)
    far = exact.gradient_moments(world, "mean", 10**9)
    np.testing.assert_allclose(far.second, exact.gradient_moments(world, "mean").second, rtol=1e-8)


def test_group_variance_is_a_factor_of_the_spread_of_the_baseline():
    """Leave-one-out: E[(R - b)^2] = Var(R) G / (G - 1) where the step tells nothing (its p is 1/2, e = 1)."""
    world = ChainWorld(1, 0.5, slip=1.0, false_positive=0.3)
    for groups in (2, 8, 64):
        second = exact.gradient_moments(world, "mean", groups).second[0]
        assert second == pytest.approx(0.25 * 0.3 * 0.7 * groups / (groups - 1), rel=1e-12)


# ---------------------------------------------------------------- limits
@pytest.mark.parametrize("length", [1, 2, 20, 100])
def test_strict_snr_is_the_same_at_every_step(length):
    q = 0.9
    snr = exact.gradient_moments(ChainWorld(length, q), "zero").snr
    total = q**length
    np.testing.assert_allclose(snr, math.sqrt(total / (1 - total)), rtol=1e-9)
    assert exact.strict_snr(q, length) == pytest.approx(math.sqrt(total / (1 - total)), rel=1e-9)


@pytest.mark.parametrize(
    ("length", "snr"), [(2, 0.372), (5, 0.361), (10, 0.336), (20, 0.265), (50, 0.0707), (100, 0.0052)]
)
def test_strict_snr_with_the_mean_baseline(length, snr):
    """Values from an independent derivation, three figures."""
    value = exact.strict_snr(0.9, length, 0.9**length)
    assert value == pytest.approx(snr, rel=0.01)
    np.testing.assert_allclose(exact.gradient_moments(ChainWorld(length, 0.9)).snr, value, rtol=1e-9)


def test_recovery_makes_the_signal_fall_by_the_eigenvalue_a_step():
    world = ChainWorld(400, 0.9, recovery=0.3)
    snr = exact.gradient_moments(world).snr[100:370]  # past the start, before the end
    np.testing.assert_allclose(snr[:-1] / snr[1:], 0.6, rtol=1e-3)


def test_dense_noise_makes_the_signal_fall_as_the_root_of_the_distance():
    snr = exact.gradient_moments(ChainWorld(2000, 0.9999, dense_noise=50.0)).snr
    distance = np.arange(2000, 0, -1)
    np.testing.assert_allclose(snr * np.sqrt(distance) / snr[-1], 1.0, atol=0.01)


def test_certain_steps_carry_no_gradient():
    world = ChainWorld(5, [1.0, 0.5, 1.0, 0.0, 1.0], recovery=0.4)
    sums = gradient_sums(world, 3000, 3)
    moments = exact.gradient_moments(world)
    for t in (0, 2, 3, 4):
        assert sums.s1[0, t] == pytest.approx(0.0, abs=1e-9)
        assert moments.mean[t] == 0.0
    assert abs(sums.s1[0, 1]) > 1.0


def test_one_step():
    world = ChainWorld(1, 0.3)
    moments = exact.gradient_moments(world)
    assert moments.mean[0] == pytest.approx(0.3 * 0.7)
    assert moments.second[0] == pytest.approx(0.3 * 0.7**4 + 0.7 * 0.3**4)
    sums = gradient_sums(world, 100_000, 5)
    assert abs(sums.mean[0] - 0.21) < limit(1) * moments.std[0] / math.sqrt(100_000)


def test_near_certainty_is_simulated_to_the_last_digits():
    """p = 1 - 1e-7: errors are counted, not rounded away; expected 4096 wrong steps, both forms, Poisson to 1e-6."""
    length, rollouts = 64, 640_000_000
    for method, cut in (("events", 1), ("dense", 16)):
        sums = gradient_sums(ChainWorld(length, 1 - 1e-7), rollouts // cut, 11, baseline="zero", method=method)
        failed = sums.n.sum() - sums.hits.sum()
        expected = rollouts // cut * -math.expm1(length * math.log1p(-1e-7))
        assert abs(failed - expected) < limit(2) * math.sqrt(expected)


# ---------------------------------------------------------------- states, rewards, information
@pytest.mark.parametrize("regime", REGIMES)
def test_states_and_rewards(regime):
    world = ChainWorld(RISING.size, RISING, **REGIMES[regime])
    counts = state_counts(world, 10_007, 8, clusters=9)
    n = counts.n.sum()
    total = counts.transitions.sum(0)
    assert (total.sum((1, 2)) == n).all()
    assert (total[1:].sum(2) == total[:-1].sum(1)).all(), "states leave where they arrived"
    share = np.append(total[:, :, 1].sum(1) / n, counts.hits.sum() / n)
    right = np.append(exact.on_track(world)[1:], exact.success_probability(world))
    z = (share - right) / np.sqrt(right * (1 - right) / n)
    assert np.abs(z).max() < limit(z.size)
    wrong = np.append(exact.on_track(ChainWorld(RISING.size, RISING, recovery=0.25))[1:], 0.5)
    assert np.abs((share - wrong) / np.sqrt(wrong * (1 - wrong) / n)).max() > limit(z.size)


def test_stationary_state_and_eigenvalue():
    world = ChainWorld(300, 0.8, recovery=0.25, slip=0.1, forgiveness=0.2)
    s = exact.stationary(world)
    assert exact.on_track(world)[-1] == pytest.approx(s, abs=1e-12)
    a = 0.9 * (0.8 + 0.2 * 0.2)
    assert exact.eigenvalue(world)[0] == pytest.approx(a - 0.25)
    matrix = np.array([[1 - 0.25, 0.25], [1 - a, a]])
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(matrix)), [a - 0.25, 1.0], atol=1e-12)
    np.testing.assert_allclose(np.array([1 - s, s]) @ matrix, [1 - s, s], atol=1e-15)


def test_state_information_from_counts():
    """Plug-in estimate from counts against the closed form at the last step: error below 0.005 bit, control 0.02."""
    world = ChainWorld(40, 0.8, recovery=0.25, slip=0.1)
    joint = state_counts(world, 200_000, 2).transitions[0, -1] / 200_000
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    estimate = float((joint * np.log2(joint / apart)).sum())
    assert estimate == pytest.approx(exact.state_information(world)[-1], abs=0.005)
    assert exact.state_information(world)[-1] == pytest.approx(exact.stationary_information(world), abs=1e-9)
    assert abs(estimate - exact.stationary_information(ChainWorld(40, 0.8, recovery=0.35, slip=0.1))) > 0.02


def test_information_of_the_outcome():
    strict = ChainWorld(10, 0.9)
    assert exact.outcome_information(strict) == pytest.approx(exact.outcome_entropy(strict), rel=1e-12)
    blurred = ChainWorld(10, 0.9, recovery=0.2, slip=0.1, false_positive=0.1)
    bits = exact.outcome_information(blurred)
    assert exact.step_information(blurred).max() < bits < exact.outcome_entropy(blurred) <= 1.0
    deaf = ChainWorld(6, 0.9, slip=1.0, false_positive=0.4)
    assert exact.outcome_information(deaf) == pytest.approx(0.0, abs=1e-12)


def test_information_from_sampled_steps():
    world = ChainWorld(12, 0.85, recovery=0.2, slip=0.05, false_negative=0.1)
    c, _, reward = sample(world, 50_000, 4)
    estimate, error = exact.outcome_information_sampled(world, c)
    assert abs(estimate - exact.outcome_information(world)) < limit(1) * error
    assert 0.0 < error < 0.005
    given = exact.success_given_steps(world, c)
    z = (reward - given).sum() / math.sqrt((given * (1 - given)).sum())
    assert abs(z) < limit(1), "P(R = 1 | c) is calibrated"
    other = exact.success_given_steps(ChainWorld(12, 0.85, recovery=0.25, slip=0.05, false_negative=0.1), c)
    assert abs((reward - other).sum() / math.sqrt((other * (1 - other)).sum())) > limit(1)


def test_information_of_long_chains_is_not_listed():
    with pytest.raises(ValueError, match="outcome_information_sampled"):
        exact.outcome_information(ChainWorld(40, 0.9))


# ---------------------------------------------------------------- linear reward
def test_linear_reward():
    length = 30
    p, weights = np.linspace(0.3, 0.9, length), np.linspace(-1.0, 2.0, length) / length
    world = ChainWorld(length, p)
    clusters = 400
    sums = gradient_sums(world, 1000, 6, reward=LinearReward(weights, 0.1), clusters=clusters)
    level = float(stats.t.isf(ALARM / (2 * length) / 2, df=clusters - 1))
    assert np.abs(groups_error(world, exact.linear_moments(world, weights, 0.1), sums)).max() < level
    assert np.abs(groups_error(world, exact.linear_moments(world, weights, 0.11), sums)).max() > level
    assert sums.hits.sum() / sums.n.sum() == pytest.approx(float(weights @ p), abs=0.003)
