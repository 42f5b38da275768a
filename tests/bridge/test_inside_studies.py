"""Studies from the inside of language models: three bases each, and the short horizon's readings on planted signs."""

from dataclasses import dataclass

import numpy as np
import pytest

from rlaws.catalogue import names
from rlaws.policy import GradientSums
from rlaws.probes.base import Budget
from rlaws.probes.credit_horizon import CreditHorizon
from rlaws.resampling import to_points
from tests.golden.test_configs import values

STUDIES = ["credit/horizon_llm", "credit/snr_decay_llm", "credit/snr_parameters_llm", "critic/capacity_llm"]


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_has_three_bases_and_the_ladder(study):
    assert study in names("study")
    made = values(study)
    assert made["study"]["rung"] == "llm"
    assert made["policy"]["backend"] == "hf"
    assert made["policy"]["models"][0] == "ladder:0.1M"
    bases = made["grid"]["base_seed"] if made["grid"] else range(made["policy"]["seeds"])
    assert len(bases) == 3


def test_the_short_horizon_reads_what_was_measured():
    made = values("credit/horizon_llm")
    asked = {m for r in made["claim"]["readings"] for m in r["domain"]["rollouts"]}
    assert asked == set(made["grid"]["rollouts"])
    assert 2 * made["probe"]["span"] == made["problems"]["length"]


@dataclass(frozen=True)
class Planted:
    """Gradients of which the far two steps are noise and the near two are signal."""

    def gradient_sums(self, problems, rollouts, batches, seed):
        g = np.random.default_rng(seed).normal((0.0, 0.0, 2.0, 2.0), 1.0, (batches, rollouts, 4))
        n = np.full(batches, rollouts)
        return GradientSums(n, g.sum(axis=1), (g**2).sum(axis=1), n, {})


def test_a_far_half_that_is_noise_is_told_apart():
    """Lost: 0.95 of the far half and nothing of the near one; a slope of -0.95 over the parts."""
    measured = CreditHorizon(64, 200, 2).measure(Planted(), None, Budget("test", 1.0, 200), np.random.SeedSequence(1))
    found = to_points(measured.select({"quantity": "lost"}), np.random.default_rng(0), 200)
    assert abs(found.y[0] - 0.95) < 6 * found.stderr[0]
    assert found.y[1] == 0.0
