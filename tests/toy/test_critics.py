"""Critics of toy policies: exact values, what fits and runs find, and that they find nothing where nothing is.

The base is the 15k rung of the standard recipe, trained once for the module (about 8 s). Training is deterministic, so
thresholds on it have no false alarms; the one statistical test uses z = 4.4 and a fixed seed.
"""

import json
from dataclasses import fields

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.probes.base import Budget
from rlaws.probes.tabulated import Tabulated
from rlaws.seeding import seed_sequence
from tests.cli import rlaws
from tests.golden.test_configs import values
from toymodels import ladder
from toymodels.critic_tables import CriticFits, CriticRuns, _explained, crossing, level, seeds_of
from toymodels.critics import Fit, critic_config, critic_flops, exam, explained, fitted, moved, node_values, rollouts
from toymodels.enumeration import Solutions, enumerate_solutions
from toymodels.ladder import SIZES

BASE = {"parameters": 15_000, "recipe": "standard"}
RUN = {**BASE, "large": 1_000, "small": 300, "seeds": 1, "updates": 24}
STUDIES = [
    "critic/capacity_toy", "critic/collapse_toy", "critic/group_equivalence_toy", "critic/moe_toy",
    "conflict/collapse_cause_toy", "reward/ppo_vs_grpo_toy",
]  # fmt: skip


# ---------------------------------------------------------------------------------------------------- true values
def test_values_of_a_tree_written_out_by_hand():
    """Two steps modulo 2, answer 1: P(0) = 0.3 first; then 0.9 for the right value after 0, and 0.2 after 1."""
    value = (np.array([[[0.3, 0.7]]]), np.array([[[0.1, 0.9], [0.8, 0.2]]]))
    found = Solutions(value, (np.zeros((1, 1)), np.zeros((1, 2))), np.array([[0, 1]]))
    levels = node_values(found)
    assert levels[2].tolist() == [[0, 1, 0, 1]]
    assert np.allclose(levels[1], [[0.9, 0.2]])
    assert np.allclose(levels[0], [[0.3 * 0.9 + 0.7 * 0.2]])
    assert np.allclose(levels[0][:, 0], found.success())


def test_values_are_the_mean_outcomes_of_rollouts():
    """Over all rollouts of the pool: z = 4.4, false alarm 1.1e-5."""
    data, base = rollouts(15_000, 0, "standard"), ladder.base(15_000)
    found = enumerate_solutions(base, data.task)
    first = data.response[..., 0].numpy()
    shown = first < found.modulus
    values_ = np.take_along_axis(node_values(found)[1], np.minimum(first, found.modulus - 1), axis=1)[shown]
    error = data.outcome.numpy()[shown] - values_
    assert abs(error.mean()) < 4.4 * np.sqrt(np.sum(values_ * (1 - values_))) / error.size


def test_explained_variance_is_one_zero_and_floored():
    truth, weight = np.array([0.1, 0.5, 0.9]), np.array([1.0, 2.0, 1.0])
    assert explained(truth, truth + 0.3, weight) == pytest.approx(1.0)
    assert explained(truth, np.full(3, 0.4), weight) == pytest.approx(0.0)
    assert explained(truth, 5 * (1 - truth), weight) == -1.0
    assert explained(np.full(3, 0.5), truth, weight) == 0.0


@pytest.mark.parametrize("size", SIZES)
def test_a_mixture_has_the_active_parameters_and_flops_of_the_dense_critic(size):
    mixed, dense = (critic_config(size, m).parameters(critic=True) for m in (True, False))
    assert mixed.active == dense.active
    assert mixed.total > 2 * dense.total
    assert critic_flops(size, True) == critic_flops(size)


def test_an_unknown_size_is_named():
    with pytest.raises(InputError, match="critic = 5 is no size; there are 300, 1000, 4000"):
        critic_config(5)


# ---------------------------------------------------------------------------------------------------------- fits
def test_a_fit_explains_the_values_and_one_to_shuffled_outcomes_does_not():
    real, null = (fitted(Fit(15_000, 0, "standard", 1_000, shuffled=s)) for s in (False, True))
    assert real["explained_prompt"] > 0.5
    assert real["explained"] > 0.05
    assert null["explained_prompt"] < 0.1
    assert null["explained"] < 0.02
    assert null["error_prompt"] > 2 * real["error_prompt"]


def test_a_fit_to_last_states_alone_does_not_know_the_first():
    assert fitted(Fit(15_000, 0, "standard", 1_000, states="end"))["explained_prompt"] < 0.2


def test_the_variance_of_a_fit_is_that_of_the_rewards():
    p = enumerate_solutions(ladder.base(15_000), exam("standard")).success()
    assert fitted(Fit(15_000, 0, "standard", 1_000))["variance"] == pytest.approx(np.mean(p * (1 - p)))


@pytest.mark.parametrize(("y", "at"), [([4.0, 2.0, 0.0], 1.5), ([0.5, 3.0, 0.0], 0.0), ([4.0, 3.0, 2.0], 2.0)])
def test_crossings_are_interpolated_and_bounded_by_the_ends(y, at):
    assert crossing(np.array([0.0, 1.0, 2.0]), np.array(y), 1.0) == pytest.approx(at)


def test_capacity_slopes_are_those_of_a_planted_plane(monkeypatch):
    """EV = 0.1 log N_V - 0.122 log N_pi: the exponent is 1.22. Without a policy's part it is 0."""

    def planted(slope):
        def made(plan):
            size = critic_config(plan.critic).parameters(critic=True).total
            ev = 0.1 * np.log10(size) - slope * np.log10(ladder.parameters_of(plan.parameters))
            return {"explained": ev, "explained_prompt": ev}

        monkeypatch.setattr("toymodels.critic_tables.fitted", made)
        probe = Tabulated("per_policy", statistic="ratio", sums={"below": "per_critic"}, regime=("states",))
        return probe.measure(CriticFits(), None, Budget("quick", 1.0, 100), seed_sequence(0)).columns

    for slope, exponent in ((0.122, 1.22), (0.0, 0.0)):
        found = planted(slope)
        assert np.allclose(found["above"] / found["below"], exponent)
        assert set(found["states"].tolist()) == {"all", "prompt"}


def test_group_rows_tell_where_the_errors_are_equal(monkeypatch):
    """An error of 126/N_V against Var/(G - 1) = 0.63/63 is equal at N_V = 12600, between two of the sizes."""

    def planted(plan):
        size = critic_config(plan.critic).parameters(critic=True).total
        return {"error_prompt": 126.0 / size, "variance": 0.63}

    monkeypatch.setattr("toymodels.critic_tables.fitted", planted)
    found = CriticFits(layout="group", policies=(4_000,)).table()
    assert np.allclose(found["log10_multiple"], np.log10(12_600 / ladder.parameters_of(4_000)))
    assert np.allclose(found["parameters"], ladder.parameters_of(4_000))


# ---------------------------------------------------------------------------------------------------------- runs
def test_a_collapse_is_a_low_window_after_a_high_point():
    ev = np.array([0.0, 0.3, 0.1, 0.02, 0.01, 0.04, 0.3])
    assert level(ev, 3) == pytest.approx(0.04)
    assert level(ev, 4) == pytest.approx(0.1)
    assert level(np.array([0.9, 0.8, 0.9, 0.7]), 3) == pytest.approx(0.9)
    for never in (np.full(9, 0.1), np.array([0.0, 0.0, 0.5])):
        assert np.isnan(level(never, 3))


def test_a_critic_that_never_explains_has_no_row_and_none_left_is_told():
    rows = [{"critic": c, "level": x} for c, x in (("shared", np.nan), ("shared", -0.1), ("separate", 0.4))]
    assert [row["level"] for row in _explained(rows)] == [-0.1, 0.4]
    with pytest.raises(InputError, match=r"Of shared no EV ever passes 0\.2"):
        _explained([rows[0], rows[2]])
    with pytest.raises(InputError, match="Of level"):
        _explained([{"quantity": "level", "difference": np.nan}, {"quantity": "flops", "difference": 1.0}])


def test_no_collapse_where_the_policy_rests():
    """At speed 0 the critic goes on learning just the same, so what it loses with speed is the policy's doing."""
    rest, moving = (moved(CriticRuns(**RUN, speed=s).plan(0, "separate", 1_000)) for s in (0.0, 1.0))
    assert level(rest["explained_prompt"], 6) > 0.5
    assert np.ptp(rest["success"]) == 0.0
    assert np.all(np.abs(rest["kl"]) < 1e-6)
    assert moving["success"][-1] > moving["success"][0] + 0.1
    assert moving["explained_prompt"][1:].mean() < rest["explained_prompt"][1:].mean() - 0.3


def test_methods_do_not_differ_where_the_policy_rests_or_rewards_are_shuffled():
    rest = CriticRuns(layout="methods", **RUN, speed=0.0).table()
    assert np.allclose(rest["difference"], 0.0, atol=0.05)  # lengths are sampled
    assert rest["difference"][0] == 0.0
    shuffled = moved(CriticRuns(layout="methods", **RUN, shuffled=True).plans(0)["grpo"])
    assert shuffled["success"][-1] < shuffled["success"][0] + 0.05


def test_a_run_starts_with_its_fitted_critic():
    made = moved(CriticRuns(**RUN).plan(0, "separate", 1_000))
    fit = fitted(Fit(15_000, 0, "standard", 1_000))
    assert made["explained_prompt"][0] == pytest.approx(float(fit["explained_prompt"]))
    assert made["step"].tolist() == list(range(0, 25, 4))


def test_cause_has_no_size_effect_where_the_sizes_are_one():
    """The negative control of the contrast; the recipe's effect is there all the same."""
    found = CriticRuns(layout="cause", **{**RUN, "small": 1_000}).table()
    effect = dict(zip(found["factor"].tolist(), found["effect"], strict=True))
    assert effect["size"] == pytest.approx(0.0, abs=1e-12)
    assert effect["recipe"] != 0.0


def test_the_cost_is_that_of_the_runs():
    made = CriticRuns(layout="methods", **RUN)
    each = [float(moved(plan)["flops"][-1]) for plan in made.plans(0).values()]
    assert made.provenance()["cost"]["flops"] == pytest.approx(sum(each))
    assert min(each) > 0


def test_settings_are_checked():
    for made in (CriticFits, CriticRuns):
        assert set(made.UNITS) == {f.name for f in fields(made)}
        with pytest.raises(InputError, match="layout = 'colapse' is not known"):
            made(layout="colapse")
    with pytest.raises(InputError, match="a divisor of 20"):
        CriticRuns(every=3)
    with pytest.raises(InputError, match="two policies"):
        CriticFits(policies=(4_000,))
    assert [len(seeds_of(3, k)) for k in (1.0, 4.0, 16.0)] == [3, 6, 12]


# ------------------------------------------------------------------------------------------------------- studies
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_says_its_rung_and_has_three_runs(study):
    made = values(study)
    assert made["study"]["rung"] == "toy"
    assert made["policy"]["seeds"] >= 3
    assert made["probe"]["runs"] == "seed"


def test_a_study_runs_from_the_command_line_to_a_verdict(tmp_path):
    words = ["run", "study=reward/ppo_vs_grpo_toy", "policy.recipe=tiny", "policy.parameters=4000", "policy.large=300"]
    few = ["policy.updates=20", "policy.fit_updates=4", "policy.seeds=2", "report=null", "budget.draws=100"]
    ran = rlaws(*words, *few, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (path,) = tmp_path.rglob("verdict.json")
    found = json.loads(path.read_text())
    assert {r["id"] for r in found["readings"]} == {"end_alike", "drifts_further", "answers_longer"}
    assert "supported" not in {r["outcome"] for r in found["readings"]}  # two runs are too few
