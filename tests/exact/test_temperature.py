"""The temperature world against another quadrature, enumeration, scaling and sampling.

Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds.
"""

import random
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from rlaws.errors import InputError
from rlaws.probes.base import Budget
from rlaws.probes.best_temperature import BestTemperature, accepted, vote
from sim.exact import temperature as exact
from sim.slow import temperature as slow
from sim.temperature import MarginProblems, NormalProblems, TemperaturePolicy

Z = 4.4
NODES = MarginProblems(4001).draw(np.random.SeedSequence(0))
QUICK = Budget("quick", 1.0, 400)


@pytest.mark.parametrize("m", [-3.0, 0.0, 2.5])
@pytest.mark.parametrize(("answers", "gap"), [(2, 1.0), (50, 0.0), (50, 4.0)])
def test_success_is_the_softmax(m, answers, gap):
    policy = TemperaturePolicy(answers=answers, gap=gap, margin=m, rise=0.0, spread=1e-12, temperature=0.7)
    want = exact.right(m, 0.7, answers, gap)
    middle = NODES.difficulty["z"].size // 2
    assert policy.success(NODES)[middle] == pytest.approx(want, rel=1e-12)
    shares = want + policy.strongest_wrong(NODES)[middle] * (1 + (answers - 2) * np.exp(-gap / 0.7))
    assert shares == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("n", [1, 16])
def test_quadrature(temperature, n):
    policy = TemperaturePolicy(margin=-1.0, spread=2.0, temperature=temperature)
    ours = NODES.difficulty["weight"] @ (1 - (1 - policy.success(NODES)) ** n)
    other = exact.mean_over_margins(lambda m: 1 - (1 - exact.right(m, temperature, 100, 4.0)) ** n, -1.0, 2.0)
    assert ours == pytest.approx(other, abs=1e-9)


def test_cold_is_greedy():
    policy = TemperaturePolicy(margin=1.0, spread=2.0)
    weight = NODES.difficulty["weight"]
    assert weight @ policy.at_temperature(0.0).success(NODES) == pytest.approx(exact.greedy(1.0, 2.0), abs=1e-3)
    assert weight @ policy.at_temperature(0.05).success(NODES) == pytest.approx(exact.greedy(1.0, 2.0), abs=2e-3)
    assert weight @ policy.at_temperature(1e6).success(NODES) == pytest.approx(1 / 100, rel=1e-4)


@pytest.mark.parametrize(("answers", "n"), [(2, 5), (3, 4), (5, 6)])
@pytest.mark.parametrize(("p", "strongest"), [(0.5, 0.3), (0.2, 0.5), (0.3, 0.3)])
def test_votes_are_enumerated(answers, n, p, strongest):
    if answers == 2:
        strongest = 1 - p
    tail = [(1 - p - strongest) / max(answers - 2, 1)] * (answers - 2)
    want = exact.vote([p, strongest, *tail], n)
    assert vote(np.array([p]), np.array([strongest]), answers, n)[0] == pytest.approx(want, abs=1e-12)


def test_one_vote_and_one_judged_sample_are_one_sample():
    p = np.linspace(0, 1, 11)
    np.testing.assert_allclose(vote(p, (1 - p) / 2, 10, 1), p, atol=1e-12)
    np.testing.assert_allclose(accepted(p, 1, 0.2, 0.1), p, atol=1e-12)
    np.testing.assert_allclose(accepted(p, 7, 0.0, 0.0), 1 - (1 - p) ** 7, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_sampling_agrees(temperature):
    policy = TemperaturePolicy(answers=6, gap=1.0, margin=0.5, spread=1.0, temperature=temperature)
    rng, trials, n = random.Random(1), 4000, 7
    z = 0.4
    hits = np.sum([slow.verdicts(policy, z, n, (0.1, 0.2), rng) for _ in range(trials)], axis=0)
    p = exact.right(0.5 + z, temperature, 6, 1.0)
    strongest = exact.right(-(0.5 + z), temperature, 6, 1.0 + 0.5 + z)
    want = np.array([
        1 - (1 - p) ** n,
        vote(np.array([p]), np.array([strongest]), 6, n)[0],
        accepted(np.array([p]), n, 0.1, 0.2)[0],
    ])  # fmt: skip
    assert np.all(np.abs(hits - trials * want) < Z * np.sqrt(trials * want * (1 - want)))
    assert np.all(np.abs(hits - trials * (want - 0.06)) > Z * np.sqrt(trials * want * (1 - want)))  # it can fail


@pytest.mark.parametrize("metric", ["pass_at_1", "pass_at_n", "majority", "verifier"])
def test_temperature_scales_with_the_logits(metric):
    """With rise = 0 all logits grow as C^s, so tau* = const C^s exactly."""
    probe = BestTemperature(metric=metric, n=5, scales=(1.0, 16.0, 256.0))
    policy = TemperaturePolicy(margin=-2.0, rise=0.0, sharpening=0.25)
    m = probe.measure(policy, NODES, QUICK, np.random.SeedSequence(1))
    np.testing.assert_allclose(m.columns["total"] / m.columns["total"][0], [1, 2, 4], rtol=3e-6)
    assert np.all(m.columns["stderr"] < 1e-4)


def test_nothing_is_found_where_compute_changes_nothing():
    """Negative control: no rise and no sharpening, so tau* is one number."""
    probe = BestTemperature(scales=(1.0, 16.0, 256.0))
    m = probe.measure(TemperaturePolicy(margin=-2.0, rise=0.0), NODES, QUICK, np.random.SeedSequence(1))
    np.testing.assert_allclose(m.columns["total"], m.columns["total"][0], rtol=1e-12)


def test_the_best_temperature_is_where_adaptive_quadrature_has_it():
    probe = BestTemperature(metric="pass_at_n", n=16, scales=(1.0, 2.0))
    found, error = probe.best(TemperaturePolicy(margin=-1.0, spread=2.0), NODES)

    def lost(tau):
        return -exact.mean_over_margins(lambda m: 1 - (1 - exact.right(m, tau, 100, 4.0)) ** 16, -1.0, 2.0)

    other = minimize_scalar(lost, bounds=(0.2, 5.0), method="bounded", options={"xatol": 1e-6}).x
    assert found == pytest.approx(other, abs=1e-4)
    assert error < 1e-4


def test_one_answer_of_a_strong_model_is_best_cold_and_of_a_weak_one_warm():
    """Near tau = 0 heat blurs the threshold m > 0 evenly: a loss where most margins are positive, else a gain."""
    probe = BestTemperature(metric="pass_at_1")
    assert probe.best(TemperaturePolicy(margin=2.0), NODES)[0] == 0.0
    assert probe.best(TemperaturePolicy(margin=-2.0), NODES)[0] > 0.3


def test_a_sample_of_problems_gets_an_interval_of_its_own():
    """Jackknife over 20 groups, ten sets of 500: |t| of 19 degrees above 6 has probability 9e-6 each."""
    probe, policy = BestTemperature(metric="pass_at_n", n=16), TemperaturePolicy(margin=-1.0)
    truth = probe.best(policy, NODES)[0]
    pulls = []
    for s in range(10):
        problems = NormalProblems(500).draw(np.random.SeedSequence(s))
        found, error = probe.best(policy, problems)
        pulls.append((found - truth) / error)
    assert np.abs(pulls).max() < 6
    assert 0.3 < np.std(pulls) < 2.5


def test_a_policy_below_chance_is_refused():
    with pytest.raises(InputError, match="hottest"):
        BestTemperature(metric="pass_at_1").best(TemperaturePolicy(margin=-60.0, answers=2), NODES)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"answers": 1}, "answers"), ({"spread": 0.0}, "spread"), ({"gap": -1.0}, "gap"),
     ({"temperature": -0.1}, "greedy"), ({"training": 0.0}, "training"), ({"rise": np.nan}, "rise")],
)  # fmt: skip
def test_bad_settings_are_refused(change, named):
    with pytest.raises(ValueError, match=named):
        replace(TemperaturePolicy(), **change)
