"""The probe of group means: closed forms on Bernoulli rewards, and no law where rewards are not independent.

Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds.
"""

from dataclasses import dataclass, fields

import numpy as np
import pytest
from scipy.stats import binom

from rlaws.errors import InputError
from rlaws.probes.base import Budget
from rlaws.probes.group_baseline import QUANTITIES, GroupBaseline, rewards, sums
from rlaws.problems import BetaProblems, SingleDifficulty
from rlaws.resampling import to_points
from rlaws.seeding import child
from sim.bernoulli import BernoulliPolicy

Z = 4.4
QUICK = Budget("quick", 1.0, 400)


def seed(n):
    return np.random.SeedSequence(20261121, spawn_key=(n,))


def points(policy, problems, quantity, **settings):
    m = GroupBaseline(quantities=(quantity,), **settings).measure(policy, problems.draw(seed(1)), QUICK, seed(2))
    return to_points(m, np.random.default_rng(3), 400)


def exponent(found):
    """Least-squares exponent b of y = a G^-b and its standard error over the resampled problems."""
    x = np.log(found.x["group_size"])
    x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return -np.log(found.y) @ x, (np.log(found.draws) @ x).std()


def expected_divided(p, size):
    """E A (R - V) of (R - mean)/std in a group of G rewards of success p, summed over the binomial."""
    right = np.arange(size + 1)
    share = right / size
    std = np.sqrt(share * (1 - share) * size / (size - 1))
    return np.sum(binom.pmf(right, size, p) * np.divide(share * (1 - share), std, where=std > 0, out=0 * std))


@dataclass(frozen=True)
class Counting:
    """Counts, and nothing else."""

    def count(self, problems, n, seed_):
        return BernoulliPolicy().count(problems, n, seed_)


@dataclass(frozen=True)
class Stuck:
    """Says the same 64 times in a row: its rewards are no independent draws, so a group of them averages nothing."""

    def sample(self, problems, n, seed_):
        drawn = BernoulliPolicy().sample(problems, n, seed_)
        first = drawn.correct.reshape(len(problems), n)[:, ::64]
        return type(drawn)(drawn.problem, drawn.sample, np.repeat(first, 64, axis=1).ravel(), drawn.length)


@pytest.mark.parametrize("policy", [BernoulliPolicy(), Counting()], ids=["samples", "counts"])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_squared_error_is_the_variance_over_g(policy, p):
    found = points(policy, SingleDifficulty(p, 1000), "error")
    assert np.all(np.abs(found.y - p * (1 - p) / found.x["group_size"]) < Z * found.stderr)
    b, stderr = exponent(found)
    assert abs(b - 1.0) < Z * stderr
    assert stderr < 0.01


def test_no_exponent_where_rewards_are_not_independent():
    """What is left is not 1/G: 8 blocks behind means counted as 256, which makes b = -log(8/7)/log 32 at G = 64."""
    b, _ = exponent(points(Stuck(), SingleDifficulty(0.3, 1000), "error"))
    assert abs(b) < 0.05


@pytest.mark.parametrize("quantity", ["variance", "length"])
def test_leave_one_out_and_self_including_advantages_have_their_closed_forms(quantity):
    found = points(BernoulliPolicy(), BetaProblems(0.5, 2.0, 1000), quantity)
    assert np.all(np.abs(found.y - 1.0) < Z * found.stderr + 1e-12)
    assert found.stderr.max() < 0.02


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_division_by_the_std_has_its_expectation(p):
    found = points(BernoulliPolicy(), SingleDifficulty(p, 1000), "divided", samples=2048)
    truth = [expected_divided(p, int(g)) / np.sqrt(p * (1 - p)) for g in found.x["group_size"]]
    bias = 1 / (8 * 2048 * p * (1 - p))  # of the root of an unbiased variance, times (1 - 4 p (1 - p)) at most 1
    assert np.all(np.abs(found.y - truth) < Z * found.stderr + bias)
    assert truth[0] < 0.8


def test_quantities_are_those_of_the_definitions():
    """One problem, one group of each size, against sums over the samples written out."""
    drawn = np.array([[1, 0, 0, 1, 1, 0, 1, 1]], dtype=bool)
    group = drawn[0, :4].astype(float), drawn[0, 4:].astype(float)
    n, v = 8, drawn.mean()
    variance = v * (1 - v) * n / (n - 1)
    loo = [np.mean([(g[i] - np.delete(g, i).mean()) ** 2 for i in range(4)]) for g in group]
    own = [np.mean([(r - g.mean()) * (r - v) for r in g]) for g in group]
    std = [np.mean([(r - g.mean()) / g.std(ddof=1) * (r - v) for r in g]) for g in group]
    assert np.allclose(sums(drawn, 4, "variance")[:, 0], [np.mean(loo), variance * 4 / 3])
    assert np.allclose(sums(drawn, 4, "length")[:, 0], [np.mean(own), variance * 3 / 4])
    assert np.allclose(sums(drawn, 4, "divided")[:, 0], [np.mean(std), np.sqrt(variance)])
    assert np.allclose(sums(drawn, 4, "error")[:, 0], [np.var([g.mean() for g in group], ddof=1), 1.0])


def test_counted_rewards_keep_their_number():
    problems = SingleDifficulty(0.3, 50).draw(seed(4))
    _, right = Counting().count(problems, 64, child(seed(5), 0))
    assert rewards(Counting(), problems, 64, seed(5)).sum(axis=1).tolist() == right.tolist()


def test_settings_are_checked_and_the_budget_adds_rounds():
    assert set(GroupBaseline.UNITS) == {f.name for f in fields(GroupBaseline)}
    with pytest.raises(InputError, match="quantity 'eror' is not known"):
        GroupBaseline(quantities=("eror",))
    with pytest.raises(InputError, match="at most half of 64"):
        GroupBaseline(samples=64, groups=(2, 64))
    problems, probe = SingleDifficulty(0.3, 20).draw(seed(6)), GroupBaseline(samples=64, groups=(2, 8))
    quick, full = (probe.measure(BernoulliPolicy(), problems, Budget("b", k, 100), seed(7)) for k in (1.0, 4.0))
    assert full.provenance["cost"]["samples"] == 4 * quick.provenance["cost"]["samples"] == 4 * 64 * 20
    assert full.rows == quick.rows == len(QUANTITIES) * 2 * 20
