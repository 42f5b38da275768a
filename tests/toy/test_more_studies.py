"""Studies of search, credit, temperature and selection on small transformers, and the probe that contrasts settings."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from rlaws.catalogue import names
from rlaws.errors import InputError
from rlaws.fitting import fit
from rlaws.judging import widened
from rlaws.laws import law
from rlaws.probes.base import Budget
from rlaws.probes.contrast_at_k import ContrastAtK
from rlaws.problems import BetaProblems
from rlaws.resampling import to_points
from tests.cli import rlaws
from tests.golden.test_configs import values

GROUPS = ("search/", "credit/", "temperature/", "capacity/selection")
TOY = [s for s in names("study") if s.startswith(GROUPS) and s.endswith("_toy")]
QUICK = Budget("quick", 1.0, 400)
TINY = {
    "search/fail_1_over_n_toy": ["grid.temperature=[1.0]", "probe.least=2", "probe.samples=256"],
    "search/verifier_limit_toy": ["grid.guide_parameters=[4000]", "policy.guide_labels=64", "probe.batch=5"],
    "search/exchange_toy": ["grid.load=[1.0]", "probe.batch=10", "probe.scales=[1,2,4,16]", "policy.prompts=4"],
    "credit/snr_decay_toy": ["probe.rollouts=64", "probe.batches=8"],
}
SIZES = {"search/fail_1_over_n_toy": 200}


def test_there_are_such_studies():
    assert set(TINY) < set(TOY)


@pytest.mark.parametrize("study", TOY)
def test_a_study_has_three_bases(study):
    made = values(study)
    assert made["study"]["rung"] == "toy"
    assert len(made["grid"].get("base_seed") or made["probe"]["runs"]) >= 3


@pytest.mark.parametrize("study", TINY)
def test_a_study_runs_to_a_verdict(study, tmp_path):
    size = SIZES.get(study, 20)
    words = [f"problems.size={size}", "problems.length=2", "policy.recipe=tiny", "grid.base_seed=[0,1]", *TINY[study]]
    ran = rlaws("run", f"study={study}", *words, "report=null", "budget.draws=100", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (path,) = tmp_path.rglob("verdict.json")
    found = json.loads(path.read_text())
    assert found["rung"] == "toy"
    assert {r["id"] for r in found["readings"]} == {r["id"] for r in values(study)["claim"]["readings"]}


# ------------------------------------------------------------------------------------------- contrast_at_k
@dataclass(frozen=True)
class Sharpened:
    """Success p before; after, p^(1 - gain) on every problem, and 0 on a share ``lost`` of them."""

    gain: float = 0.5
    lost: float = 0.0
    trained: float = 0
    base_seed: int = 0

    def count(self, problems, n, seed):
        p = problems.difficulty["p"].copy()
        if self.trained:
            p = np.where(np.arange(p.size) < self.lost * p.size, 0.0, p ** (1 - self.gain))
        shift = np.random.default_rng(self.base_seed).normal(0.0, 0.01)
        success = np.where(p > 0, np.clip(p + shift, 0.0, 1.0), 0.0)
        return np.full(p.size, n), np.random.default_rng(seed).binomial(n, success)


PROBLEMS = BetaProblems(2.0, 2.0, 400).draw(np.random.SeedSequence(3))


def measured(policy, **settings):
    probe = ContrastAtK(**{"runs": (0, 1, 2, 3, 4), **settings})
    return probe.measure(policy, PROBLEMS, QUICK, np.random.SeedSequence(0))


def mean_gain(policy, low, high):
    """Interval of the mean difference over low <= k <= high at 99.9 %: a false alarm in a thousand seeds."""
    points = to_points(measured(policy), np.random.default_rng(1), 400)
    points = points.take((points.x["k"] >= low) & (points.x["k"] <= high))
    found = fit(law("constant"), points, {"x": "k"}, loss="least_squares", weights="equal", scale="linear", seed=1)
    return widened(found.value("c"), found.draws[:, found.index("c")], 0.999, points.clusters)


def test_a_planted_crossing_is_found():
    """pass@1 rises; the fifth of the problems that is lost is what the base solves more at large k."""
    policy = Sharpened(gain=0.9, lost=0.2)
    assert mean_gain(policy, 1, 1)[0] > 0
    low, high = mean_gain(policy, 256, np.inf)
    assert low < -0.2 + 0.01
    assert -0.25 < low <= high < 0


def test_without_training_there_is_no_contrast():
    """Negative control: nothing changed, so the interval holds 0 at one sample and at many."""
    policy = Sharpened(gain=0.0)
    for low, high in ((1, 1), (256, np.inf)):
        found = mean_gain(policy, low, high)
        assert found[0] <= 0 <= found[1]


def test_the_difference_at_one_sample_is_that_of_the_shares():
    """Exact: pass@1 is the share of right samples, for the same counts."""
    policy = Sharpened()
    rows = measured(policy, runs=(0, 1), samples=1024)
    assert rows.provenance["runs"] == 2
    p = PROBLEMS.difficulty["p"]
    at_one = rows.columns["k"] == 1
    gain = rows.columns["total"][at_one] / rows.columns["weight"][at_one]
    noise = np.sqrt(0.5 / (1024 * p.size))  # of a difference of two shares, at most
    assert gain == pytest.approx(np.mean(np.sqrt(p) - p), abs=5 * noise + 0.02)  # 0.02: clipping of the shift of a run


@pytest.mark.parametrize("settings", [{"runs": (0,)}, {"runs": (1, 1)}, {"k_largest": 0}, {"setting": "trainde"}])
def test_what_cannot_be_contrasted_is_refused(settings):
    with pytest.raises(InputError):
        measured(Sharpened(), **settings)
