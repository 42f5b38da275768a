"""The probes of credit against the chain's closed forms, and on worlds where there is nothing to find.

The negative control is a verifier that pays by a fair coin (false_positive = false_negative = 1/2): the outcome says
nothing about the steps. Bands are six standard errors: a false alarm once in 5e8 comparisons.
"""

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.probes.base import Budget
from rlaws.probes.credit_horizon import CreditHorizon
from rlaws.probes.gradient_snr import GradientSNR
from rlaws.probes.influence_decay import InfluenceDecay, mutual_information
from rlaws.probes.outcome_bits import OutcomeBits, effort, information_bits
from rlaws.resampling import to_points
from sim.chain_policy import ChainPolicy, StationaryChainPolicy
from sim.exact import chain as exact

QUICK = Budget("quick", 1, 200)
SEED = np.random.SeedSequence(7)
COIN = {"false_positive": 0.5, "false_negative": 0.5}


def points(measured, **regime):
    return to_points(measured.select(regime), np.random.default_rng(0), 200)


@pytest.mark.parametrize(
    "settings", [{}, {"recovery": 0.05}, {"dense_noise": 0.5}, {"recovery": 0.05, "slip": 0.01, "dense_noise": 0.5}]
)
def test_snr_is_that_of_the_closed_form_at_every_distance(settings):
    policy = ChainPolicy(length=20, p=0.95, **settings)
    found = points(GradientSNR(rollouts=20000, batches=32).measure(policy, None, QUICK, SEED))
    moments = exact.gradient_moments(policy.world())
    mean, second = (np.asarray(m) for m in (moments[0], moments[1]))
    truth = (mean / np.sqrt(second - mean**2))[::-1]
    np.testing.assert_array_equal(found.x["distance"], np.arange(1, 21))
    z = (found.y - truth) / found.stderr
    assert np.max(np.abs(z)) < 6
    wrong = exact.gradient_moments(ChainPolicy(length=20, p=0.9, **settings).world())
    off = (np.asarray(wrong[0]) / np.sqrt(np.asarray(wrong[1]) - np.asarray(wrong[0]) ** 2))[::-1]
    assert np.max(np.abs((found.y - off) / found.stderr)) > 6, "the comparison cannot see a wrong world"


def test_a_coin_for_a_reward_has_no_signal():
    found = points(
        GradientSNR(rollouts=20000, batches=32).measure(ChainPolicy(length=20, p=0.95, **COIN), None, QUICK, SEED)
    )
    assert np.max(np.abs(found.y / found.stderr)) < 6
    assert np.mean((found.y / found.stderr) ** 2) < 3


@pytest.mark.parametrize(("stationary", "memory"), [(0.3, 0.5), (0.5, 0.8), (0.7, 0.9)])
def test_decay_is_the_log_of_memory_and_information_the_exact_one(stationary, memory):
    policy = StationaryChainPolicy(length=60, stationary=stationary, memory=memory)
    found = points(InfluenceDecay(rollouts=50000, batches=40, window=4).measure(policy, None, QUICK, SEED))
    assert abs(found.y[0] + np.log(memory)) < 6 * found.stderr[0] + 1e-3
    assert found.x["information"][0] == pytest.approx(exact.stationary_information(policy.world()), rel=0.01)


def test_decay_that_cannot_be_measured_is_refused():
    class Coin:
        def gradient_sums(self, problems, rollouts, batches, seed):
            return ChainPolicy(length=20, p=0.9, **COIN).gradient_sums(problems, rollouts, batches, seed)

        def state_counts(self, problems, rollouts, seed):
            return ChainPolicy(length=20, p=0.9, recovery=0.1).state_counts(problems, rollouts, seed)

    with pytest.raises(InputError, match="no decay that can be measured"):
        InfluenceDecay(rollouts=500, batches=40, window=4).measure(Coin(), None, QUICK, SEED)


def test_information_of_independent_states_is_zero():
    assert mutual_information(np.array([[200, 600], [100, 300]])) == pytest.approx(0.0, abs=1e-12)
    assert mutual_information(np.array([[50, 0], [0, 50]])) == pytest.approx(1.0)


def test_a_coin_for_a_reward_loses_all_but_one_sign_in_twenty():
    probe = CreditHorizon(rollouts=2000, trials=200, span=50)
    measured = probe.measure(ChainPolicy(length=100, p=0.5, **COIN), None, QUICK, SEED)
    lost = points(measured, quantity="lost")
    # a one-sided 5 % test on nothing: 0.95 lost; positions of a trial share the outcome, so the trial is the unit
    assert np.all(np.abs(lost.y - 0.95) < 6 * lost.stderr + 0.01)
    assert points(measured, quantity="horizon").y[0] == pytest.approx(100 * (1 - lost.y.mean()), rel=1e-9)


def test_many_rollouts_recover_every_sign():
    probe = CreditHorizon(rollouts=200000, trials=8, span=5)
    measured = probe.measure(ChainPolicy(length=10, p=0.9), None, QUICK, SEED)
    assert np.all(points(measured, quantity="lost").y == 0)
    assert points(measured, quantity="horizon").y[0] == 10


@pytest.mark.parametrize("settings", [{}, {"slip": 0.1}, {"recovery": 0.2}, {"recovery": 0.2, "slip": 0.1}, COIN])
def test_information_is_the_enumerated_one(settings):
    policy = ChainPolicy(length=4, p=0.5, **settings)
    found = points(OutcomeBits(rollouts=20000, batches=24).measure(policy, None, QUICK, SEED), quantity="information")
    truth = exact.outcome_information(policy.world())
    # Miller-Madow leaves a bias of order patterns^2 / n^2; with a coin the estimate is clipped at 0
    assert abs(found.y[0] - truth) < 6 * found.stderr[0] + 5e-4


def test_information_and_effort_by_hand():
    right = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 2000, dtype=bool)
    both = right.all(axis=1)
    assert information_bits(right, both) == pytest.approx(2 - 0.75 * np.log2(3), abs=1e-3)
    first = effort(right[:4], both[:4], 4, np.random.default_rng(0))
    # step 1: the right action leads from the first rollout on; step 2 likewise, its wrong action is paid never
    np.testing.assert_array_equal(first, [1])
    np.testing.assert_array_equal(effort(right[:4][::-1], both[:4][::-1], 4, np.random.default_rng(0)), [4])


def test_long_chains_and_uneven_choices_are_refused():
    with pytest.raises(InputError, match="counts 2\\^L patterns"):
        OutcomeBits(rollouts=200, batches=8).measure(ChainPolicy(length=13, p=0.5), None, QUICK, SEED)
    with pytest.raises(InputError, match="right with chance 1/V"):
        OutcomeBits(rollouts=20000, batches=8).measure(ChainPolicy(length=4, p=0.7), None, QUICK, SEED)
