"""Probes of search: closed forms where there are any, and a null world for each in which it must find nothing.

Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds.
"""

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.policy import refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.probes.chosen_success import ChosenSuccess
from rlaws.probes.search_failure import SearchFailure, crossing
from rlaws.probes.search_work import SearchWork, gibbs_optimum
from rlaws.probes.think_time import ThinkTime
from rlaws.probes.train_or_search import TrainOrSearch
from rlaws.search import Search
from sim.bernoulli import BernoulliPolicy
from sim.exact import tree as exact
from sim.tree import TreePolicy, TreeProblems

Z = 4.4
QUICK = Budget("quick", 1.0, 400)


def seed(n):
    return np.random.SeedSequence(20260401, spawn_key=(n,))


def measure(probe, policy, step=0.5, size=4000, stream=0):
    return probe.measure(policy, TreeProblems(step, size).draw(seed(0)), QUICK, seed(stream))


def mean_at(m, name, value):
    """Mean response and its standard error over clusters, at one value of a design variable."""
    rows = m.columns[name] == value
    y = m.columns["total"][rows] / m.columns["weight"][rows]
    return y.mean(), max(y.std(ddof=1) / np.sqrt(y.size), 1e-12)


# ------------------------------------------------------------------------------------------------- search_failure
def test_failure_of_best_of_n_and_its_window():
    probe = SearchFailure(methods=("best_of_n",), most=4096)
    m = measure(probe, TreePolicy(depth=5, unevenness=0.0), step=0.5)
    budgets = np.unique(m.columns["expansions"])
    assert budgets.size == 9
    for c in budgets:
        got, stderr = mean_at(m, "expansions", c)
        assert abs(got - exact.best_of_n_failure(0.5, 5, (c - 1) // 5)) < Z * stderr
    first, last = mean_at(m, "expansions", budgets[0])[0], mean_at(m, "expansions", budgets[-1])[0]
    assert first == pytest.approx(0.5, abs=0.07)
    assert last == pytest.approx(0.05, abs=0.025)
    secant = np.log(first / last) / np.log(budgets[-1] / budgets[0])
    assert secant == pytest.approx(exact.secant_exponent(0.5, 0.05), abs=0.2)


def test_values_without_information_find_nothing():
    """Null world: no value tells right from wrong, so each of the L leaves is opened as soon as any other."""
    blind = TreePolicy(branching=3, depth=4, value_right=0.0, value_wrong=0.0, value_noise=1.0)
    done = blind.branch(TreeProblems(1 / 3, 8000).draw(seed(0)), Search("lookahead", (60,), "verifier"), seed(1))
    opened = done.answers[:, 0].mean() / 81
    got = done.found.mean()
    assert abs(got - opened) < Z * np.sqrt(opened * (1 - opened) / 8000)
    seeing = TreePolicy(branching=3, depth=4, value_noise=1.0)
    problems = TreeProblems(1 / 3, 8000).draw(seed(0))
    assert seeing.branch(problems, Search("lookahead", (60,)), seed(1)).found.mean() > 2 * got


def test_a_method_that_never_arrives_is_measured_over_its_last_factor_of_ten():
    m = measure(SearchFailure(methods=("best_of_n",), most=600), TreePolicy(depth=6), step=0.3, size=400)
    assert m.columns["expansions"].min() >= 54
    assert m.columns["expansions"].max() <= 600


def test_a_window_without_room_is_refused():
    with pytest.raises(InputError, match="too few"):
        measure(SearchFailure(methods=("lookahead",)), TreePolicy(depth=6, value_noise=0.0), size=400)


def test_crossing_interpolates_in_logarithms():
    budgets = (10, 100, 1000)
    assert crossing(budgets, np.array([1.0, 0.1, 0.01]), 0.1) == pytest.approx(100)
    assert crossing(budgets, np.array([1.0, 0.1, 0.01]), 10**-1.5) == pytest.approx(10**2.5)
    assert crossing(budgets, np.array([0.2, 0.1, 0.01]), 0.5) == 10
    assert crossing(budgets, np.array([1.0, 1.0, 0.9]), 0.5) is None


# ----------------------------------------------------------------------------------------------------- think_time
def test_think_time_without_noise_is_a_straight_line():
    """Null world for exponential growth: with exact values the time is d + 1."""
    for depth in (3, 10, 30):
        m = measure(ThinkTime(method="lookahead"), TreePolicy(depth=depth, value_noise=0.0), size=400)
        np.testing.assert_allclose(m.columns["total"], depth + 1)
        assert np.all(m.columns["depth"] == depth)


def test_think_time_of_sampling_is_the_closed_form():
    m = measure(ThinkTime(method="best_of_n", batch=400), TreePolicy(depth=6), step=0.5, size=8000)
    got, stderr = mean_at(m, "depth", 6)
    want = exact.median_compute(0.5, 6)
    assert abs(got - want) < Z * stderr + 6  # a sample more or less
    assert stderr < 0.05 * want


def test_think_time_beyond_the_budget_is_refused():
    with pytest.raises(InputError, match="raise 'most'"):
        measure(ThinkTime(method="best_of_n", most=50), TreePolicy(depth=6), step=0.4, size=200)


# ------------------------------------------------------------------------------------------------ train_or_search
def test_exchange_is_the_closed_form_of_sampling():
    probe = TrainOrSearch(answers=8, scales=(1.0, 4.0, 16.0))
    m = measure(probe, TreePolicy(depth=6, gamma=0.4), step=0.5, size=20_000)
    for c in probe.scales:
        now, trained = (1 - 0.5 * s**-0.4 for s in (c, 2 * c))
        want = exact.best_of_n_failure(trained, 6, 8) - exact.best_of_n_failure(now, 6, 16)
        got, stderr = mean_at(m, "training", c)
        assert abs(got - want) < Z * stderr


def test_no_training_and_no_search_exchange_nothing():
    """Null world: gamma = 0 and so large a load that the money buys no further answer."""
    m = measure(TrainOrSearch(load=1e9), TreePolicy(gamma=0.0), size=400)
    assert not m.columns["total"].any()


# ---------------------------------------------------------------------------------------------------- search_work
def test_gibbs_optimum_inverts_the_divergence():
    for success, s in ((0.01, 0.3), (0.4, 0.41), (0.2, 0.999)):
        assert gibbs_optimum(success, exact.binary_kl(s, success)) == pytest.approx(s, abs=1e-9)
    assert gibbs_optimum(0.3, 0.0) == 0.3
    assert gibbs_optimum(0.3, -np.log(0.3)) == 1.0


def test_best_of_n_with_an_exact_verifier_is_in_equilibrium():
    """For a reward of right or wrong, best-of-n is a Gibbs tilt: efficiency 1, divergence that of two Bernoullis."""
    policy, success = TreePolicy(depth=4, unevenness=0.0), 0.5**4
    work = measure(SearchWork(answers=(4, 16)), policy, size=20_000)
    slack = measure(SearchWork(answers=(4, 16), quantity="kl_slack"), policy, size=20_000)
    for n in (4, 16):
        got, stderr = mean_at(work, "answers", n)
        assert abs(got - 1) < Z * stderr + 0.01  # plug-in bias d / (2 batch) = 0.002 nats, of 0.15 to 1.2
        want = exact.best_of_n_kl_bound(n) - exact.binary_kl(1 - (1 - success) ** n, success)
        got, stderr = mean_at(slack, "answers", n)
        assert abs(got - want) < Z * stderr + 0.005


def test_a_verifier_that_sees_nothing_does_no_work():
    """Null world: every answer is accepted, so selection moves nothing but noise."""
    policy = TreePolicy(depth=4, verifier="accept", false_positive=1.0)
    m = measure(SearchWork(answers=(8,), quantity="kl_slack", batch=2000), policy, size=20_000)
    got, _ = mean_at(m, "answers", 8)
    assert got == pytest.approx(exact.best_of_n_kl_bound(8), abs=0.005)


# -------------------------------------------------------------------------------------------------- chosen_success
@pytest.mark.parametrize(("fp", "fn"), [(0.05, 0.0), (0.02, 0.3)])
def test_chosen_success_is_the_closed_form(fp, fn):
    policy = TreePolicy(depth=12, verifier="accept", false_positive=fp, false_negative=fn)
    m = measure(ChosenSuccess(n_largest=64), policy, step=0.8, size=20_000)
    for n in (2, 8, 64):
        got, stderr = mean_at(m, "n", n)
        want = exact.accepted(0.8**12, n, fp, fn) - 0.8**12
        assert abs(got - want) < Z * stderr + 0.002  # a wrong leaf met twice, see tests/exact/test_tree.py


def test_a_verifier_that_accepts_everything_gains_nothing():
    """Null world, exact: the first sample is answered whatever n."""
    m = measure(ChosenSuccess(n_largest=64), TreePolicy(verifier="accept", false_positive=1.0), size=400)
    assert not m.columns["total"].any()


# --------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize("probe", [SearchFailure(), ThinkTime(), TrainOrSearch(), SearchWork(), ChosenSuccess()])
def test_a_policy_that_cannot_branch_is_refused(probe):
    with pytest.raises(InputError, match="BRANCH"):
        refuse_unless_able(BernoulliPolicy(), probe.REQUIRES, probe.NAME)
    refuse_unless_able(TreePolicy(), probe.REQUIRES, probe.NAME)
    with pytest.raises(InputError, match="problems"):
        probe.measure(TreePolicy(), None, QUICK, seed(1))


@pytest.mark.parametrize(
    ("make", "named"),
    [(lambda: SearchFailure(high=0.05, low=0.5), "high"), (lambda: ThinkTime(most=3), "most"),
     (lambda: TrainOrSearch(load=0.0), "load"), (lambda: SearchWork(quantity="work"), "kl_slack"),
     (lambda: ChosenSuccess(n_largest=1), "n_largest")],
)  # fmt: skip
def test_bad_settings_are_refused(make, named):
    with pytest.raises(InputError, match=named):
        make()
