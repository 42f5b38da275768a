"""The SNR of vector gradients against planted Gaussians, whose |mu|^2 and tr Var are known.

Bands are six standard errors. Jackknife intervals are wide, not narrow, where there is no signal, so the false alarms
are rarer than 2e-9 a comparison.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.estimators import statistic
from rlaws.policy import GradientSketcher, GradientSketches
from rlaws.probes.base import Budget
from rlaws.probes.gradient_snr_vector import GradientSNRVector, pseudo_values
from rlaws.resampling import to_points

QUICK = Budget("test", 1.0, 400)
SEED = np.random.SeedSequence(3)


@dataclass(frozen=True)
class Planted:
    """Gradients mu_k + noise of unit variance in D dimensions; |mu_k| = snr_k sqrt(D)."""

    snr: tuple[float, ...]
    dims: int = 32

    def gradient_sketches(self, problems, rollouts, batches, seed):
        rng, parts = np.random.default_rng(seed), len(self.snr)
        g = rng.standard_normal((batches, rollouts, parts, self.dims))
        g[..., 0] += np.array(self.snr) * np.sqrt(self.dims)
        distance = np.arange(parts, 0, -1)
        return GradientSketches(distance, g.mean(axis=1), (g**2).sum(axis=3).mean(axis=1), {"rollouts": g[..., 0].size})


def points(snr, rollouts=64, batches=32, seed=SEED):
    measured = GradientSNRVector(rollouts, batches).measure(Planted(snr), None, QUICK, seed)
    return to_points(measured, np.random.default_rng(0), 400)


def test_the_planted_ratio_is_found_at_every_distance():
    found = points((0.5, 0.2, 0.1))
    assert found.x["distance"].tolist() == [1, 2, 3]
    assert np.all(np.abs(found.y - [0.1, 0.2, 0.5]) < 6 * found.stderr)
    assert np.all(found.stderr < 0.03)
    assert np.all(np.abs(found.y[::-1] - [0.1, 0.2, 0.5])[[0, 2]] > 6 * found.stderr[[0, 2]]), "it sees a wrong order"


def test_noise_alone_has_no_signal_and_half_of_the_estimates_are_negative():
    """400 estimates of nothing: the share below zero is one half or a little more (skewed); beyond 0.62 by 1e-6."""
    y = np.concatenate([points((0.0,) * 20, batches=8, seed=np.random.SeedSequence(s)).y for s in range(20)])
    assert 0.38 < np.mean(y < 0) < 0.68
    signal = np.sign(y) * y**2
    assert abs(signal.mean()) < 6 * signal.std() / 20, "unbiased: |E g|^2 is 0 on average"


def test_the_interval_of_pure_noise_covers_zero():
    """The jackknife interval of a degenerate U-statistic is conservative: 95 % intervals miss in less than 5 %."""
    covered = []
    for s in range(40):
        draws = points((0.0,) * 5, batches=16, seed=np.random.SeedSequence(s)).draws
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        covered += ((low < 0) & (high > 0)).tolist()
    assert np.mean(covered) > 0.9


def test_pseudo_values_are_those_of_leaving_one_batch_out():
    mean = np.random.default_rng(1).standard_normal((7, 2, 5))

    def u(m):
        total = m.sum(axis=0)
        return ((total**2).sum(-1) - (m**2).sum((0, -1))) / (len(m) * (len(m) - 1))

    by_hand = [7 * u(mean) - 6 * u(np.delete(mean, c, axis=0)) for c in range(7)]
    np.testing.assert_allclose(pseudo_values(mean), by_hand)
    np.testing.assert_allclose(pseudo_values(mean).mean(axis=0), u(mean))


def test_the_statistic_by_hand():
    y = statistic("snr_vector").response(
        np.array([2.0, -1.0, 1.0]), np.array([10.0, 3.0, 1.0]), np.array([2.0, 1.0, 1.0])
    )
    np.testing.assert_allclose(y, [0.5, -0.5, np.nan])


def test_too_few_batches_are_refused_and_the_protocol_is_known():
    assert isinstance(Planted((0.1,)), GradientSketcher)
    with pytest.raises(InputError, match="batches = 4"):
        GradientSNRVector(16, 4)


def test_a_quotient_may_have_a_negative_bottom():
    y = statistic("ratio").response(np.array([1.0, 1.0, 1.0]), np.array([2.0, -2.0, 0.0]))
    np.testing.assert_allclose(y, [0.5, -0.5, np.nan])
