"""Policy-gradient flows against closed forms, a slow twin, and the numbers of the population law.

Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds.
"""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from rlaws.problems import BetaProblems, ProblemSet, SingleDifficulty
from sim.exact import flows as exact
from sim.flows import ALGORITHMS, FlowPolicy, GroupFlowPolicy, flow, solve_sinh
from sim.slow import flows as slow

Z = 4.4


def seed(n):
    return np.random.SeedSequence(20260402, spawn_key=(n,))


# ------------------------------------------------------------------------------------------------ the exact flow
@given(st.floats(-600, 600, allow_nan=False))
def test_solve_sinh_inverts(u):
    assert float(solve_sinh(u + np.sinh(u))) == pytest.approx(u, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("p0", [1e-9, 1e-3, 0.2, 0.9])
def test_time_to_where_the_flow_stands_is_the_time(algorithm, p0):
    for time in (0.01, 1.0, 30.0):
        p = float(flow(algorithm, 0.7, p0, time))
        if p < 1 - 1e-4:
            assert exact.time_between(algorithm, 0.7, p0, p) == pytest.approx(time, rel=1e-6, abs=1e-6 / p0 * 1e-3)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_flow_is_the_gradient_of_the_softmax(algorithm):
    times = [0.5, 2.0, 10.0, 40.0]
    for p0, gap in ((0.02, 1.0), (0.3, 0.6)):
        found = [float(flow(algorithm, gap, p0, t)) for t in times]
        np.testing.assert_allclose(found, slow.integrate(algorithm, gap, p0, times), rtol=1e-7)


def test_the_factor_two_of_plain_policy_gradient():
    """Two logits move apart at twice the speed of one: without the 2 the flow would be late by a factor 2."""
    assert slow.integrate("pg", 1.0, 0.02, [20.0])[0] == pytest.approx(float(flow("pg", 1.0, 0.02, 20.0)), rel=1e-7)
    assert slow.integrate("pg", 1.0, 0.02, [20.0])[0] > 1.5 * float(flow("pg", 1.0, 0.02, 10.0))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_flow_composes_and_mirrors(algorithm):
    p = np.array([1e-6, 0.01, 0.4, 0.8])
    twice = flow(algorithm, 1.3, flow(algorithm, 1.3, p, 2.0), 3.0)
    np.testing.assert_allclose(twice, flow(algorithm, 1.3, p, 5.0), rtol=1e-9)
    back = 1 - flow(algorithm, 1.3, 1 - flow(algorithm, 1.3, p, 2.0), 2.0)
    np.testing.assert_allclose(back, p, rtol=1e-6)


def test_normalised_advantage_does_not_know_the_gap():
    assert flow("grpo", 0.1, 0.02, 7.0) == flow("grpo", 5.0, 0.02, 7.0)


def test_the_ends_stay_and_the_extremes_do_not_overflow():
    for algorithm in ALGORITHMS:
        ends = flow(algorithm, 1.0, [0.0, 1.0, 1e-308, 1e-300], 1e6)
        assert ends[0] == 0
        assert ends[1] == 1
        assert np.all(np.isfinite(ends))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_escape_time_has_its_asymptote(algorithm):
    for p0 in (1e-6, 1e-8):
        assert float(flow(algorithm, 1.0, p0, exact.escape_time(algorithm, 1.0, p0))) == pytest.approx(0.5, abs=1e-6)
    ratio = exact.escape_time(algorithm, 1.0, 1e-8) / float(exact.escape_asymptote(algorithm, 1.0, 1e-8))
    assert ratio == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("algorithm", "time"), [("pg", 1e6), ("grpo", 1e4), ("npg", 20.0)])
def test_end_of_learning(algorithm, time):
    failure = 1 - float(flow(algorithm, 1.0, 0.05, time))
    assert failure == pytest.approx(float(exact.late_failure(algorithm, 1.0, 0.05, time)), rel=1e-2)


# ------------------------------------------------------------------------------------------------ populations
def slopes(algorithm, alpha, times, beta=2.0):
    mass = np.array([exact.unsolved_mass(algorithm, 1.0, alpha, beta, t) for t in times])
    return -np.diff(np.log(mass)) / np.diff(np.log(times))


def test_quadrature_knows_the_mean_of_the_beta():
    for alpha, beta in ((0.3, 2.0), (1.5, 0.7)):
        assert exact.unsolved_mass("pg", 1.0, alpha, beta, 0.0) == pytest.approx(beta / (alpha + beta), rel=1e-8)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("alpha", [0.3, 1.5])
def test_population_of_flows_meets_the_quadrature(algorithm, alpha):
    problems = BetaProblems(alpha, 2.0, 40_000).draw(seed(1))
    for time in (3.0, 100.0 if algorithm == "pg" else 8.0):
        failure = 1 - FlowPolicy(algorithm, time=time).success(problems)
        mean, stderr = failure.mean(), failure.std() / np.sqrt(failure.size)
        assert abs(mean - exact.unsolved_mass(algorithm, 1.0, alpha, 2.0, time)) < Z * stderr
        other = exact.unsolved_mass(algorithm, 1.0, alpha * 1.2, 2.0, time)  # negative control
        assert abs(mean - other) > Z * stderr


def test_published_decade_slopes_of_the_population():
    """At alpha = .3 decade-wise slopes -.31, -.30 (pg) and -.63, -.58 (grpo) were found by sampling.

    The exact values are .311 and .303 for pg in the decades from 100; grpo has .613 from 10 and .600 from 100, so its
    printed pair scatters by .02 around the exact one, as a sample of some thousand prompts does.
    """
    decades = np.array([10.0, 100.0, 1e3, 1e4])
    np.testing.assert_allclose(slopes("pg", 0.3, decades)[1:], [0.31, 0.30], atol=0.005)
    exact_grpo = slopes("grpo", 0.3, decades)[:2]
    np.testing.assert_allclose(exact_grpo, [0.613, 0.600], atol=0.002)
    np.testing.assert_allclose(exact_grpo, [0.63, 0.58], atol=0.025)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
def test_hard_problems_set_the_late_exponent_below_one(alpha):
    late = np.array([1e8, 1e9])
    assert slopes("pg", alpha, late)[0] == pytest.approx(alpha, abs=0.01)
    assert slopes("grpo", alpha, np.array([1e4, 1e5]))[0] == pytest.approx(2 * alpha, abs=0.01)
    rate = -np.log(
        exact.unsolved_mass("npg", 1.0, alpha, 2.0, 41.0) / exact.unsolved_mass("npg", 1.0, alpha, 2.0, 40.0)
    )
    assert rate == pytest.approx(alpha, abs=0.01)


def test_above_one_the_population_no_longer_sets_the_exponent():
    """The law 1 - R ~ t^-alpha (t^-2alpha) ends at alpha = 1: there solved prompts' own 1/t (t^-2) is slower."""
    assert slopes("pg", 1.5, np.array([1e5, 1e6]))[0] == pytest.approx(1.0, abs=0.01)
    assert slopes("grpo", 1.5, np.array([1e3, 1e4]))[0] == pytest.approx(2.0, abs=0.01)
    for algorithm in ("pg", "grpo"):
        assert exact.unsolved_exponent(algorithm, 1.5) == exact.unsolved_exponent(algorithm, 1.0)
        assert exact.unsolved_exponent(algorithm, 0.5) == exact.unsolved_exponent(algorithm, 1.0) / 2


# ------------------------------------------------------------------------------------------------ finite groups
def final_logits(algorithm, group, step, p0, time, runs, stream):
    policy = GroupFlowPolicy(algorithm, 1.0, group, step)
    problems = SingleDifficulty(p0, runs).draw(seed(0))
    (last,) = policy.train(problems, [time], seed(stream))
    return logit(last.policy.success(problems))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("group", "p0"), [(2, 0.5), (8, 0.05), (8, 0.9), (64, 0.3)])
def test_first_update_has_the_enumerated_mean(algorithm, group, p0):
    step = 0.01
    moved = (final_logits(algorithm, group, step, p0, step, 40_000, 3) - logit(p0)) / step
    stderr = moved.std() / np.sqrt(moved.size)
    assert abs(moved.mean() - exact.group_drift(algorithm, 1.0, group, p0)) < Z * stderr
    control = exact.group_drift(algorithm, 1.0, group, p0) * (1 + 10 * stderr / moved.mean())
    assert abs(moved.mean() - control) > Z * stderr


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_skipping_dead_groups_changes_no_law(algorithm):
    """Against the rollout-by-rollout twin: mean and quartiles of the logit after 60 updates at p0 = .08, groups of 4.

    Logits are cut at 5: near p = 1 one natural-gradient update may throw them to hundreds.
    """
    fast = np.minimum(final_logits(algorithm, 4, 0.3, 0.08, 18.0, 20_000, 4), 5.0)
    rng = random.Random(7)
    twin = np.minimum(logit([slow.train_group(algorithm, 1.0, 0.08, 4, 0.3, 60, rng) for _ in range(250)]), 5.0)
    stderr = np.hypot(fast.std() / np.sqrt(fast.size), twin.std() / np.sqrt(twin.size))
    assert abs(fast.mean() - twin.mean()) < Z * stderr
    low, high = np.quantile(fast, [0.25, 0.75])
    for share, cut in ((0.25, low), (0.75, high)):
        assert abs((twin <= cut + 1e-9).mean() - (fast <= cut + 1e-9).mean()) < Z * np.sqrt(share * (1 - share) / 250)
    late = np.minimum(final_logits(algorithm, 4, 0.3, 0.08, 27.0, 20_000, 4), 5.0)  # negative control: 90 updates
    assert abs(late.mean() - twin.mean()) > Z * stderr


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_large_groups_and_small_steps_are_the_flow(algorithm):
    time = 0.7 * exact.escape_time(algorithm, 1.0, 0.02)
    u = final_logits(algorithm, 1 << 17, 0.01, 0.02, time, 4, 5)
    assert u.mean() == pytest.approx(float(logit(flow(algorithm, 1.0, 0.02, time))), abs=0.02)


def test_success_only_rises_and_extremes_stay_finite():
    problems = ProblemSet(np.array(["a", "b", "c", "d"]), {"p": np.array([0.0, 1e-12, 1 - 1e-12, 1.0])})
    for algorithm in ALGORITHMS:
        before = problems.difficulty["p"]
        for step in GroupFlowPolicy(algorithm, 1.0, 8, 1.0).train(problems, [1.0, 1e3, 1e13], seed(6)):
            now = step.policy.success(problems)
            assert np.all(np.isfinite(now))
            assert np.all(now >= before - 1e-15)
            before = now
        assert before[0] == 0
        assert before[3] == 1


# ------------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: FlowPolicy("ppo"), "algorithm = 'ppo'"),
        (lambda: FlowPolicy("pg", gap=0.0), "gap = 0"),
        (lambda: FlowPolicy("pg", time=-1.0), "time = -1"),
        (lambda: GroupFlowPolicy(group=1), "group = 1"),
        (lambda: GroupFlowPolicy(step=0.0), "step = 0"),
        (lambda: flow("pg", 1.0, 1.5, 1.0), "p0 must lie"),
        (lambda: list(FlowPolicy().train(SingleDifficulty(0.1, 1).draw(seed(0)), [2.0, 1.0], seed(0))), "rise"),
    ],
)
def test_what_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
