"""The cost of heat against Gaussian integrals, and on worlds where heat does nothing."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from rlaws.errors import InputError
from rlaws.probes.base import Budget
from rlaws.probes.heat_loss import HeatLoss
from rlaws.resampling import to_points
from sim.temperature import NormalProblems, TemperaturePolicy

QUICK = Budget("quick", 1, 200)
SEED = np.random.SeedSequence(3)
PROBLEMS = NormalProblems(4000).draw(SEED)


def measured(policy, **settings):
    rows = HeatLoss(scales=(1.0, 16.0), **settings).measure(policy, PROBLEMS, QUICK, SEED)
    return to_points(rows, np.random.default_rng(0), 400)


def right(tau, mean, policy):
    """P(right) at a temperature, by an adaptive rule over the margin."""
    wrong = 1 + (policy.answers - 2) * np.exp(-policy.gap / tau)
    value, _ = quad(lambda z: norm.pdf(z) / (1 + wrong * np.exp(-(mean + policy.spread * z) / tau)), -9, 9, limit=400)
    return value


def test_success_lost_is_the_integral():
    policy = TemperaturePolicy(rise=0.5)
    found = measured(policy)
    truth = [right(0.2, m, policy) - right(1.0, m, policy) for m in (0.0, 0.5 * np.log(16))]
    assert np.all(np.abs(found.y - truth) < 6 * found.stderr)  # a false alarm once in 5e8
    shifted = [right(0.2, m, policy) - right(1.3, m, policy) for m in (0.0, 0.5 * np.log(16))]
    assert np.any(np.abs(found.y - shifted) > 6 * found.stderr), "the comparison cannot see another temperature"


@pytest.mark.parametrize("quantity", ["success_lost", "tail_gained"])
def test_the_same_temperature_twice_costs_nothing(quantity):
    assert np.all(measured(TemperaturePolicy(), quantity=quantity, cold=0.7, hot=0.7).y == 0)


def test_two_answers_have_no_tail():
    assert np.max(np.abs(measured(TemperaturePolicy(answers=2), quantity="tail_gained").y)) < 1e-12


def test_a_far_tail_lets_nothing_in():
    assert np.max(measured(TemperaturePolicy(gap=60.0), quantity="tail_gained").y) < 1e-9


def test_settings_are_checked():
    with pytest.raises(InputError, match="Did you mean 'success_lost'"):
        HeatLoss(quantity="success_lst")
    with pytest.raises(InputError, match="cold"):
        HeatLoss(cold=2.0)
