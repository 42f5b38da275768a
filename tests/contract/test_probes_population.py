"""The probes of populations: what they find where the truth is known, and that they find nothing where nothing is.

Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds. Every probe has a negative control.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.policy import Capability, Checkpoint, lacks, success_rates
from rlaws.probes.base import Budget
from rlaws.probes.escape_time import EscapeTime
from rlaws.probes.pass_at_k import PassAtK, carried, sample_grid
from rlaws.probes.step_accuracy import QUANTITIES, StepAccuracy
from rlaws.probes.tail_and_training import TailAndTraining
from rlaws.problems import ArithmeticChain, BetaProblems, SingleDifficulty
from rlaws.resampling import to_points
from rlaws.rollouts import Rollouts
from sim.bernoulli import BernoulliPolicy, KnownSuccess
from sim.exact import bernoulli as exact
from sim.exact import flows
from sim.flows import FlowPolicy, GroupFlowPolicy
from sim.uniform import UniformPolicy

Z = 4.4
QUICK = Budget("quick", 1.0, 200)


def seed(n):
    return np.random.SeedSequence(20260404, spawn_key=(n,))


def slope(x, y, draws):
    """Least-squares exponent -d log y / d log x and its standard error over the resampled clusters."""
    lx = np.log(x) - np.log(x).mean()
    of = lambda values: -(np.log(values) @ lx) / (lx @ lx)  # noqa: E731
    return of(y), of(draws).std()


def exponent(measured, x="k", low=0.0, **where):
    points = to_points(measured, np.random.default_rng(5), 200)
    keep = points.x[x] >= low
    for name, value in where.items():
        keep &= points.x[name] == value
    kept = points.take(keep)
    return (kept.x[x], *slope(kept.x[x], kept.y, kept.draws))


# ------------------------------------------------------------------------------------------------ pass_at_k
@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("batch", [1, 50])
def test_pass_at_k_finds_the_exponent_of_the_finite_grid(alpha, batch):
    problems = BetaProblems(alpha, 2.0, 4000).draw(seed(1))
    measured = PassAtK(k_largest=256, batch=batch).measure(BernoulliPolicy(), problems, QUICK, seed(2))
    ks, found, stderr = exponent(measured, low=16)
    truth = slope(ks, exact.beta_failure(alpha, 2.0, ks), exact.beta_failure(alpha, 2.0, ks)[None])[0]
    assert abs(found - truth) < Z * stderr
    assert stderr < 0.1
    assert measured.statistic == "share"


@dataclass(frozen=True)
class Greedy:
    """Gives the same answer however often it is asked."""

    def count(self, problems, n, seed_):
        right = np.random.default_rng(7).random(len(problems)) < 0.4
        return np.full(len(problems), n), np.where(right, n, 0)


def test_no_law_in_a_policy_that_repeats_itself():
    """Negative control: failure does not fall with k, exactly."""
    problems = SingleDifficulty(0.4, 500).draw(seed(3))
    measured = PassAtK(samples=64, k_largest=64).measure(Greedy(), problems, QUICK, seed(4))
    _, found, stderr = exponent(measured)
    assert abs(found) < 1e-12
    assert stderr < 1e-12


def test_one_difficulty_is_no_power_law():
    """Negative control: the local exponent of (1 - p)^k grows in proportion to k, so there is no power law."""
    problems = SingleDifficulty(0.02, 2000).draw(seed(5))
    measured = PassAtK(k_largest=256).measure(BernoulliPolicy(), problems, QUICK, seed(6))
    points = to_points(measured, np.random.default_rng(1), 200)
    local = -np.diff(np.log(points.y)) / np.diff(np.log(points.x["k"]))
    middle = np.sqrt(points.x["k"][1:] * points.x["k"][:-1])
    assert local[-1] > 5 * local[3]
    np.testing.assert_allclose(local[3:] / middle[3:], 0.0202 / np.log(2) / np.sqrt(2), rtol=0.1)


def test_points_that_few_problems_carry_are_left_out():
    failure = np.zeros((100, 4))
    failure[:, 0] = 0.5
    failure[:21, 1] = 1.0
    failure[:19, 2] = 1.0
    failure[:, 3] = 1e-3
    assert carried(failure, 20).tolist() == [True, True, False, False]
    assert carried(failure, 19).all()
    problems = BetaProblems(3.0, 2.0, 500).draw(seed(7))
    measured = PassAtK().measure(BernoulliPolicy(), problems, QUICK, seed(8))
    assert measured.columns["k"].max() < 1024
    assert measured.provenance["left_out"][-1] == 1024
    with pytest.raises(InputError, match="at no k do 20 problems carry"):
        PassAtK().measure(BernoulliPolicy(), SingleDifficulty(1.0, 50).draw(seed(9)), QUICK, seed(9))


def test_batches_keep_the_sums_and_the_budget_sets_the_samples():
    problems = BetaProblems(0.5, 2.0, 200).draw(seed(10))
    probes = (PassAtK(samples=100, k_largest=64, batch=b) for b in (1, 20))
    single, batched = (p.measure(BernoulliPolicy(), problems, QUICK, seed(11)) for p in probes)
    one, many = (to_points(m, np.random.default_rng(1), 200) for m in (single, batched))
    np.testing.assert_allclose(one.y, many.y, rtol=1e-12)
    assert (one.clusters, many.clusters) == (200, 10)
    for scale, samples in ((1.0, 100), (3.0, 300), (0.1, 64)):
        measured = PassAtK(samples=100, k_largest=64).measure(
            BernoulliPolicy(), problems, Budget("b", scale, 100), seed(12)
        )
        assert measured.provenance["cost"]["samples"] == 200 * samples
    with pytest.raises(InputError, match="batch = 30"):
        PassAtK(batch=30).measure(BernoulliPolicy(), problems, QUICK, seed(13))


def test_sample_grid():
    assert sample_grid(16, 1).tolist() == [1, 2, 4, 8, 16]
    assert sample_grid(10, 2).tolist() == [1, 2, 3, 4, 6, 8]


# ------------------------------------------------------------------------------------------------ escape_time
def escapes(policy, grid, size=60, **settings):
    return [
        EscapeTime(**settings).measure(policy, SingleDifficulty(p, size).draw(seed(0)), QUICK, seed(20)) for p in grid
    ]


@pytest.mark.parametrize(("algorithm", "predicted"), [("pg", 1.0), ("grpo", 0.5)])
def test_escape_exponents_of_large_groups(algorithm, predicted):
    grid = np.array([0.01, 0.003, 0.001])
    policy = GroupFlowPolicy(algorithm, 1.0, 1 << 15, 0.05)
    times = np.array([m.columns["total"].mean() for m in escapes(policy, grid, 20)])
    truth = np.array([flows.escape_time(algorithm, 1.0, p) for p in grid])
    np.testing.assert_allclose(times, truth, rtol=0.03)
    assert -np.polyfit(np.log(grid), np.log(times), 1)[0] == pytest.approx(predicted, abs=0.05)


def test_small_groups_wait_for_a_first_success():
    """Below p0 = 1/G every algorithm needs 1/(G p0) groups to see a success: GRPO's exponent 1/2 becomes 1."""
    grid = np.array([0.002, 0.0005, 0.000125])
    times = [m.columns["total"] for m in escapes(GroupFlowPolicy("grpo", 1.0, 8, 0.5), grid, 200)]
    logs = np.array([np.log(t.mean()) for t in times])
    stderr = np.array([t.std() / t.mean() / np.sqrt(t.size) for t in times])
    found = -np.polyfit(np.log(grid), logs, 1)[0]
    assert abs(found - 1.0) < Z * np.hypot(stderr[0], stderr[2]) / np.log(16) + 0.02
    assert found > 0.8


@dataclass(frozen=True)
class Clock:
    """Escapes when its time has come, wherever it started."""

    at: float

    def train(self, problems, times, seed_):
        late = self.at * np.exp(0.1 * np.random.default_rng(seed_).standard_normal(len(problems)))
        for t in times:
            yield Checkpoint(t, "updates", KnownSuccess.of(np.where(t >= late, 0.9, 0.001)), {})


def test_no_escape_law_in_a_clock():
    """Negative control: the exponent is 0 within its standard error, and the time within one spacing."""
    grid = np.array([0.01, 0.003, 0.001, 0.0003])
    found = escapes(Clock(50.0), grid)
    times = np.array([m.columns["total"].mean() for m in found])
    assert abs(np.polyfit(np.log(grid), np.log(times), 1)[0]) < Z * 0.1 / np.sqrt(60 * 4) / 1.3
    np.testing.assert_allclose(times, 50.0, rtol=0.06)
    assert found[0].provenance["runs"] == 60
    assert found[0].x == ("p", "attempts")


def test_a_policy_that_learns_nothing_has_no_escape_time():
    """Negative control: learning rate 0. A censored mean is refused rather than reported."""
    with pytest.raises(InputError, match="60 of 60 runs had not escaped by last = 100"):
        escapes(Clock(1e9), [0.01], last=100.0)


def test_escape_time_refuses_what_it_cannot_time():
    with pytest.raises(InputError, match="escaped by first"):
        escapes(GroupFlowPolicy("npg", 1.0, 64, 0.5), [0.1], first=1e3)
    with pytest.raises(InputError, match=r"success starts at 0\.6"):
        escapes(GroupFlowPolicy(), [0.6])
    with pytest.raises(InputError, match="level = 2"):
        EscapeTime(level=2.0)


def test_success_is_sampled_where_it_is_not_known():
    problems = SingleDifficulty(0.3, 400).draw(seed(21))
    rates = success_rates(OnlySamples(), problems, 100, seed(22))
    assert abs(rates.mean() - 0.3) < Z * np.sqrt(0.21 / 40_000)
    assert rates.std() > 0


@dataclass(frozen=True)
class OnlySamples:
    def sample(self, problems, n, seed_):
        return BernoulliPolicy().sample(problems, n, seed_)


# ------------------------------------------------------------------------------------------------ tail_and_training
TAIL = TailAndTraining(k_largest=1024, per_octave=2, time_last=1000.0, per_decade=8, batch=20)


@pytest.mark.parametrize(("algorithm", "alpha"), [("pg", 0.5), ("grpo", 0.5), ("pg", 1.5)])
def test_both_exponents_meet_the_closed_forms(algorithm, alpha):
    problems = BetaProblems(alpha, 2.0, 20_000).draw(seed(30))
    measured = TAIL.measure(FlowPolicy(algorithm), problems, QUICK, seed(31))
    ks, tail, tail_error = exponent(measured, "x", 20.0, kind=0.0)
    times, late, late_error = exponent(measured, "x", 20.0, kind=1.0)
    y = exact.beta_failure(alpha, 2.0, ks)
    assert abs(tail - slope(ks, y, y[None])[0]) < Z * tail_error
    y = np.array([flows.unsolved_mass(algorithm, 1.0, alpha, 2.0, t) for t in times])
    assert abs(late - slope(times, y, y[None])[0]) < Z * late_error
    expected = flows.unsolved_exponent(algorithm, alpha) / alpha
    assert late / tail == pytest.approx(expected, rel=0.25)


def test_natural_gradient_is_exponential_at_the_rate_alpha():
    problems = BetaProblems(0.5, 2.0, 20_000).draw(seed(32))
    measured = replace(TAIL, time_last=12.0, per_decade=20).measure(FlowPolicy("npg"), problems, QUICK, seed(33))
    points = to_points(measured, np.random.default_rng(1), 200)
    keep = (points.x["kind"] == 1) & (points.x["x"] > 8)
    t, logs = points.x["x"][keep], np.log(points.draws[:, keep])
    rates = [-np.polyfit(t, row, 1)[0] for row in logs]
    assert abs(np.mean(rates) - 0.5) < Z * np.std(rates) + 0.02


@dataclass(frozen=True)
class Untrained(BernoulliPolicy):
    """Training that changes nothing."""

    def train(self, problems, times, seed_):
        for t in times:
            yield Checkpoint(t, "updates", self, {})


def test_no_training_law_without_training():
    """Negative control: learning rate 0. The tail has its exponent, the training curve exactly none."""
    problems = BetaProblems(0.5, 2.0, 4000).draw(seed(34))
    measured = TAIL.measure(Untrained(), problems, QUICK, seed(35))
    assert exponent(measured, "x", 20.0, kind=0.0)[1] > 0.3
    assert abs(exponent(measured, "x", 20.0, kind=1.0)[1]) < 1e-12


def test_tail_and_training_refuses_too_few_problems():
    problems = BetaProblems(0.5, 2.0, 10).draw(seed(36))
    with pytest.raises(InputError, match="fewer than two values"):
        replace(TAIL, batch=1).measure(FlowPolicy(), problems, QUICK, seed(37))


# ------------------------------------------------------------------------------------------------ step_accuracy
@dataclass(frozen=True)
class CreditChain:
    """Steps right with probability p; once off the track, back with probability r a step. Written for the tests."""

    p: float
    r: float
    length: int = 8

    def sample(self, problems, n, seed_):
        rng = np.random.default_rng(seed_)
        rows = np.repeat(np.arange(len(problems)), n)
        right = rng.random((rows.size, self.length)) < self.p
        on = np.ones(rows.size, dtype=bool)
        for t in range(self.length):
            on = np.where(on, right[:, t], rng.random(rows.size) < self.r)
        return Rollouts(rows, np.tile(np.arange(n), len(problems)), on, np.full(rows.size, self.length), right)


def closed_form(quantity, x, p, r):
    l = p - r  # noqa: E741
    return {
        "accuracy": p + 0 * x,
        "intact": p**x,
        "first_error": 1 - p + 0 * x,
        "recovery": r * (1 - l**x) / (1 - l),
    }[quantity]


@pytest.mark.parametrize("quantity", list(QUANTITIES))
def test_steps_of_the_credit_chain(quantity):
    problems = SingleDifficulty(0.5, 50).draw(seed(40))
    measured = StepAccuracy(quantity, samples=400).measure(CreditChain(0.8, 0.3), problems, QUICK, seed(41))
    points = to_points(measured, np.random.default_rng(1), 200)
    x = points.x[measured.x[0]]
    expected = closed_form(quantity, x, 0.8, 0.3)
    sure = points.stderr == 0
    assert np.all(np.abs(points.y - expected)[~sure] < Z * points.stderr[~sure])
    np.testing.assert_allclose(points.y[sure], expected[sure], atol=1e-12)
    wrong = closed_form(quantity, x, 0.75, 0.35)  # negative control
    assert np.any(np.abs(points.y - wrong)[~sure] > Z * points.stderr[~sure])


@pytest.mark.parametrize("quantity", list(QUANTITIES))
def test_no_skill_in_the_uniform_policy(quantity):
    """Negative control: every step and every answer is right by chance alone, 1/m."""
    problems = ArithmeticChain(6, 7, 0.2, 60).draw(seed(42))
    measured = StepAccuracy(quantity, samples=300).measure(UniformPolicy(), problems, QUICK, seed(43))
    x = measured.columns[measured.x[0]]
    for value in np.unique(x):
        rows = x == value
        n, hits = measured.columns["n_trials"][rows].sum(), measured.columns["n_hits"][rows].sum()
        chance = {"accuracy": 1 / 7, "intact": 7.0**-value, "first_error": 6 / 7, "recovery": 1 / 7}[quantity]
        chance = 0.0 if quantity == "recovery" and value == 0 else chance
        assert abs(hits - n * chance) <= Z * np.sqrt(n * chance * (1 - chance)) + 0.5


def test_steps_past_the_end_of_a_solution_are_not_counted():
    right = np.array([[True, False, False], [False, True, True]])
    short = Rollouts(
        np.array([0, 0]), np.array([0, 1]), np.array([False, True]), np.array([2, 3]), right
    )  # fmt: skip

    @dataclass(frozen=True)
    class Given:
        def sample(self, problems, n, seed_):
            return short

    problems = SingleDifficulty(0.5, 1).draw(seed(44))
    by = {q: StepAccuracy(q).measure(Given(), problems, QUICK, seed(45)).columns for q in QUANTITIES}
    assert by["accuracy"]["n_trials"].tolist() == [2, 2, 1]
    assert by["accuracy"]["n_hits"].tolist() == [1, 1, 1]
    assert by["intact"]["n_hits"].tolist() == [1, 0, 0]
    assert by["first_error"]["n_trials"].tolist() == [2, 1]
    assert by["first_error"]["n_hits"].tolist() == [1, 1]
    assert by["recovery"]["distance"].tolist() == [0, 2]
    assert by["recovery"]["n_hits"].tolist() == [0, 1]


def test_step_accuracy_refuses_solutions_without_steps():
    with pytest.raises(InputError, match="shows none"):
        StepAccuracy().measure(BernoulliPolicy(), SingleDifficulty(0.5, 5).draw(seed(46)), QUICK, seed(47))
    with pytest.raises(InputError, match="Did you mean 'recovery'"):
        StepAccuracy("recovry")


# ------------------------------------------------------------------------------------------------ the contract
PROBES = [PassAtK(), StepAccuracy(), EscapeTime(), TailAndTraining()]


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.NAME)
def test_every_probe_runs_on_the_uniform_policy_or_says_what_it_lacks(probe):
    problems = ArithmeticChain(5, 3, 0.2, 40).draw(seed(50))
    if lacks(UniformPolicy(), probe.REQUIRES):
        with pytest.raises(InputError, match=r"needs TRAIN; UniformPolicy offers SAMPLE, COUNT, SUCCESS"):
            probe.measure(UniformPolicy(), problems, QUICK, seed(51))
    else:
        measured = probe.measure(UniformPolicy(), problems, QUICK, seed(51))
        assert measured.digest() == probe.measure(UniformPolicy(), problems, QUICK, seed(51)).digest()
        assert measured.digest() != probe.measure(UniformPolicy(), problems, QUICK, seed(52)).digest()


@pytest.mark.parametrize("probe", [EscapeTime(), TailAndTraining()], ids=lambda p: p.NAME)
def test_training_probes_depend_on_the_seed_alone(probe):
    problems = SingleDifficulty(0.05, 40).draw(seed(52))
    first, again, other = (
        probe.measure(GroupFlowPolicy("pg", 1.0, 16, 0.5), problems, QUICK, seed(n)).digest() for n in (53, 53, 54)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.NAME)
def test_every_setting_has_a_unit_and_every_capability_a_name(probe):
    assert set(probe.UNITS) == {f.name for f in fields(probe)}
    assert all(isinstance(c, Capability) for need in probe.REQUIRES for c in need)
    with pytest.raises(InputError, match="needs problems"):
        probe.measure(GroupAndSteps(), None, QUICK, seed(55))


@dataclass(frozen=True)
class GroupAndSteps(GroupFlowPolicy):
    """Has every capability, but no problems of its own."""

    def sample(self, problems, n, seed_):
        return BernoulliPolicy().sample(problems, n, seed_)


def test_recorded_policies_bring_their_own_problems():
    own = BetaProblems(0.5, 2.0, 100).draw(seed(56))

    @dataclass(frozen=True)
    class Recorded:
        def problem_set(self):
            return own

        def count(self, problems, n, seed_):
            return BernoulliPolicy().count(problems, n, seed_)

    measured = PassAtK(samples=64, k_largest=32).measure(Recorded(), None, QUICK, seed(57))
    assert set(measured.columns["cluster"].tolist()) == set(own.ids.tolist())
