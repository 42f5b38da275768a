"""Probes that rest on samples, against the sums of a categorical policy, and against all subsets."""

from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.probes.base import Budget
from rlaws.probes.sampled_heat import SampledHeat, tail_share
from rlaws.probes.valid_variants import ValidVariants, distinct_valid
from rlaws.problems import SingleDifficulty
from rlaws.resampling import to_points
from rlaws.rollouts import Rollouts
from rlaws.vary import along
from sim.uniform import UniformPolicy

QUICK = Budget("quick", 1, 400)
SEED = np.random.SeedSequence(4)
PROBLEMS = SingleDifficulty(0.5, 300).draw(SEED)
LOGITS = np.array([2.0, 1.5, 0.3, 0.2, 0.0, -0.5])
"""The right answer, the strongest wrong one, three of the tail, and an ill-formed one."""


@dataclass(frozen=True)
class Categorical:
    """Six answers with softmax probabilities; a larger one has larger logits."""

    UNITS: ClassVar[dict[str, str]] = {"strength": "1", "temperature": "1"}
    strength: float = 1.0
    temperature: float = 1.0
    tells: bool = True

    @property
    def size(self):
        return 1000 * self.strength

    def probabilities(self):
        p = np.exp(self.strength * LOGITS / self.temperature)
        return p / p.sum()

    def at_temperature(self, temperature):
        return replace(self, temperature=temperature)

    def sample(self, problems, n, seed):
        drawn = np.random.default_rng(seed).choice(6, (len(problems), n), p=self.probabilities()).ravel()
        valid = drawn < 5
        return Rollouts(
            problem=np.repeat(np.arange(len(problems)), n),
            sample=np.tile(np.arange(n), len(problems)),
            correct=drawn == 0,
            length=np.ones(drawn.size, dtype=np.int64),
            answer=np.where(valid, drawn, -1) if self.tells else None,
            valid=valid,
        )


def points(rows, quantity):
    return to_points(rows.select({"quantity": quantity}), np.random.default_rng(0), 400)


def test_heat_is_the_difference_of_the_sums():
    """Five standard errors: one false alarm in 3e5 for all six numbers together."""
    probe = SampledHeat(axis="strength", values=(1.0, 2.0), scale="size", cold=0.5, hot=1.5, samples=64)
    rows = probe.measure(Categorical(), PROBLEMS, QUICK, SEED)
    cold, hot = (np.array([Categorical(s, t).probabilities() for s in (1.0, 2.0)]) for t in (0.5, 1.5))
    truth = {
        "success_lost": cold[:, 0] - hot[:, 0],
        "tail_gained": (hot - cold)[:, 2:].sum(axis=1),
        "invalid_gained": (hot - cold)[:, 5],
    }
    for quantity, value in truth.items():
        found = points(rows, quantity)
        assert found.x["training"].tolist() == [1000.0, 2000.0]
        assert np.all(np.abs(found.y - value) < 5 * found.stderr + 1e-3), quantity  # 1e-3: rival picked for strongest
    assert np.any(np.abs(points(rows, "tail_gained").y - truth["invalid_gained"]) > 6 * found.stderr)


def test_the_same_temperature_twice_costs_nothing():
    probe = SampledHeat(axis="strength", values=(1.0, 2.0), scale="size", cold=0.7, hot=0.7)
    rows = probe.measure(Categorical(), PROBLEMS, QUICK, SEED)
    for quantity in ("success_lost", "tail_gained", "invalid_gained"):
        found = points(rows, quantity)
        assert np.all(np.abs(found.y) < 5 * found.stderr)


def test_the_strongest_wrong_answer_is_picked_on_other_samples():
    answer = np.array([[1, 1, 2, 2, 1, 1, 0, -1]])  # even samples: 1 2 1 0, odd ones: 1 2 1 -1
    right = answer == 0
    # picked on the even ones: 1; of the odd ones 2 and -1 are of the tail. On the odd ones: 1; of the even ones 2.
    assert tail_share(answer, right)[0] == pytest.approx((2 / 4 + 1 / 4) / 2)


def test_a_flat_tail_has_no_strongest_answer_by_luck():
    """Of 1000 equal wrong answers one is strongest; picked and counted on 16 samples it would hold a tenth of them."""
    answer = np.random.default_rng(0).integers(1, 1001, (200, 16))
    assert tail_share(answer, np.zeros_like(answer, dtype=bool)).mean() > 0.99


def test_valid_variants_are_the_sums():
    probe = ValidVariants(axis="strength", values=(0.2, 1.0, 3.0), scale="size", samples=24, k=8)
    rows = probe.measure(Categorical(), PROBLEMS, QUICK, SEED)
    p = np.array([Categorical(s).probabilities() for s in (0.2, 1.0, 3.0)])[:, :5]
    truth = {"valid": p.sum(axis=1), "variants": (1 - (1 - p) ** 8).sum(axis=1) / 8}
    for quantity, value in truth.items():
        found = points(rows, quantity)
        assert np.all(np.abs(found.y - value) < 5 * found.stderr), quantity
    assert np.any(np.abs(points(rows, "variants").y - truth["valid"]) > 6 * found.stderr)


@pytest.mark.parametrize("seed", range(5))
def test_distinct_valid_answers_over_all_subsets(seed):
    rng = np.random.default_rng(seed)
    answer, valid = rng.integers(-1, 4, 9), rng.random(9) < 0.6
    for k in (1, 3, 9):
        seen = [len({answer[i] for i in c if valid[i]}) for c in combinations(range(9), k)]
        assert distinct_valid(answer, valid, k) == pytest.approx(np.mean(seen) / k)


def test_one_seed_one_table():
    probe = ValidVariants(axis="strength", values=(1.0, 2.0), scale="size")
    tables = [probe.measure(Categorical(), PROBLEMS, QUICK, SEED).digest() for _ in range(2)]
    assert tables[0] == tables[1]


def test_what_is_missing_is_said():
    with pytest.raises(InputError, match="Did you mean 'strength'"):
        along(Categorical(), "strengt", (1.0, 2.0), "size")
    with pytest.raises(InputError, match="asks for weight"):
        along(Categorical(), "strength", (1.0, 2.0), "weight")
    with pytest.raises(InputError, match="values that differ in it"):
        along(Categorical(), "temperature", (1.0, 2.0), "size")
    probe = SampledHeat(axis="strength", values=(1.0, 2.0), scale="size")
    with pytest.raises(InputError, match="needs the classes of answers"):
        probe.measure(Categorical(tells=False), PROBLEMS, QUICK, SEED)
    with pytest.raises(InputError, match="offers SAMPLE"):
        SampledHeat().measure(UniformPolicy(), PROBLEMS, QUICK, SEED)
    with pytest.raises(InputError, match="cold"):
        SampledHeat(cold=2.0)
    with pytest.raises(InputError, match="k = 64"):
        ValidVariants(k=64)
