"""Searches against sampling at the same expansions: closed forms, and null worlds in which nothing is gained.

Statistical tests use z = 4.4: false alarm 1.1e-5 each (two-sided), fixed seeds.
"""

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.policy import refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.probes.method_gain import MethodGain
from rlaws.search import METHODS, Search
from sim.bernoulli import BernoulliPolicy
from sim.exact import tree as exact
from sim.tree import TreePolicy, TreeProblems

Z = 4.4
QUICK = Budget("quick", 1.0, 400)
GUIDED = [m for m in METHODS if m != "best_of_n"]
BLIND = {"value_right": 0.0, "value_wrong": 0.0, "value_noise": 1.0}


def seed(n):
    return np.random.SeedSequence(20260401, spawn_key=(n,))


def measure(probe, policy, step=0.5, size=4000, stream=0):
    return probe.measure(policy, TreeProblems(step, size).draw(seed(0)), QUICK, seed(stream))


def gains(m):
    """Mean gain at each budget and its standard error over clusters."""
    y = (m.columns["total"] / m.columns["weight"]).reshape(-1, np.unique(m.columns["expansions"]).size)
    return y.mean(axis=0), np.maximum(y.std(axis=0, ddof=1) / np.sqrt(y.shape[0]), 1e-12)


# ------------------------------------------------------------------------------------------------- closed forms
@pytest.mark.parametrize("method", ["lookahead", "beam"])
def test_gain_over_sampling_is_the_closed_form_without_noise(method):
    """Exact values solve every problem within one answer's expansions, d + 1; sampling fails with (1 - p^d)^n."""
    probe = MethodGain(method, answers=(1, 2, 4, 8, 16))
    m = measure(probe, TreePolicy(depth=5, value_noise=0.0), step=0.5)
    got, stderr = gains(m)
    assert np.all(np.abs(got - exact.best_of_n_failure(0.5, 5, np.array(probe.answers))) < Z * stderr)
    np.testing.assert_array_equal(np.unique(m.columns["expansions"]), 1 + 5 * np.array(probe.answers))


def test_lookahead_without_noise_needs_depth_plus_one_expansions_and_no_fewer():
    policy, problems = TreePolicy(depth=7, value_noise=0.0), TreeProblems(0.4, 500).draw(seed(0))
    done = policy.branch(problems, Search("lookahead", (7, 8, 100)), seed(1))
    assert not done.found[:, 0].any()
    assert done.found[:, 1].all()
    np.testing.assert_array_equal(done.expansions[:, 2], 8)


def test_gain_is_the_difference_problem_by_problem():
    """Batches of one problem take the values -1, 0, 1 of the two searches run apart."""
    policy, problems = TreePolicy(depth=4, value_noise=0.8), TreeProblems(0.5, 300).draw(seed(0))
    m = MethodGain("mcts", answers=(2, 8), batch=1).measure(policy, problems, QUICK, seed(3))
    apart = [policy.branch(problems, Search(x, (9, 33)), seed(3)).right.astype(int) for x in ("mcts", "best_of_n")]
    np.testing.assert_array_equal(m.columns["total"].reshape(300, 2), apart[0] - apart[1])
    assert set(m.columns["total"]) == {-1.0, 0.0, 1.0}


# ------------------------------------------------------------------------------------------------- null worlds
@pytest.mark.parametrize("method", METHODS)
def test_a_method_gains_nothing_over_itself(method):
    """Null world, exact: the same trees, value errors and samples give the same answers."""
    m = measure(MethodGain(method, baseline=method), TreePolicy(), size=400)
    assert not m.columns["total"].any()


@pytest.mark.parametrize("method", GUIDED)
def test_values_of_pure_noise_gain_nothing_over_a_policy_that_knows(method):
    """Null world: values that tell nothing. With informative ones the same method gains at the same budgets."""
    probe = MethodGain(method, answers=(4, 16, 64))
    got, stderr = gains(measure(probe, TreePolicy(depth=6, **BLIND), step=0.6, size=2000))
    assert np.all(got < Z * stderr)
    seeing, error = gains(measure(probe, TreePolicy(depth=6, value_noise=0.3), step=0.6, size=2000))
    assert np.all(seeing[:2] > Z * error[:2])


def test_what_blind_lookahead_gains_over_a_blind_policy_is_that_it_never_repeats():
    """Both blind: lookahead finds with probability L / b^d, L the leaves it opened; n samples with 1 - (1 - b^-d)^n."""
    policy = TreePolicy(branching=3, depth=4, unevenness=0.0, **BLIND)
    probe = MethodGain("lookahead", select="verifier", answers=(8, 15), batch=100)
    problems = TreeProblems(1 / 3, 20_000).draw(seed(0))
    got, stderr = gains(probe.measure(policy, problems, QUICK, seed(1)))
    opened = policy.branch(problems, Search("lookahead", (33, 61), "verifier"), seed(1)).answers
    given = np.maximum(opened, 1).mean(axis=0)  # where no leaf is complete, one sample is answered
    want = given / 81 - 1 + exact.best_of_n_failure(1 / 3, 4, np.array([8, 15]))
    assert np.all(np.abs(got - want) < Z * stderr)


# ------------------------------------------------------------------------------------------------- refusals
def test_a_policy_that_cannot_branch_is_refused():
    with pytest.raises(InputError, match="BRANCH"):
        refuse_unless_able(BernoulliPolicy(), MethodGain.REQUIRES, MethodGain.NAME)
    refuse_unless_able(TreePolicy(), MethodGain.REQUIRES, MethodGain.NAME)
    with pytest.raises(InputError, match="problems"):
        MethodGain().measure(TreePolicy(), None, QUICK, seed(1))


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"method": "mtcs"}, "mcts"), ({"baseline": "best_of"}, "best_of_n"), ({"select": "oracel"}, "oracle"),
     ({"answers": (4,)}, "two or more"), ({"answers": (4, 4)}, "rising"), ({"answers": (0, 4)}, "at least 1")],
)  # fmt: skip
def test_bad_settings_are_refused(settings, named):
    with pytest.raises(InputError, match=named):
        MethodGain(**settings)


def test_units_and_ranges():
    m = measure(MethodGain("beam"), TreePolicy(), size=400)
    assert set(m.units) == {"expansions", "total", "weight"}
    assert np.all(np.abs(m.columns["total"]) <= m.columns["weight"])
    assert m.columns["weight"].sum() == 400 * 7
    assert set(MethodGain.UNITS) == {"method", "baseline", "select", "answers", "batch"}
    with pytest.raises(InputError, match="batch = 7"):
        measure(MethodGain(batch=7), TreePolicy(), size=400)
