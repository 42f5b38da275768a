import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.probes.base import Budget
from rlaws.probes.converged_loss import ConvergedLoss
from rlaws.probes.curve_slope import CurveSlope
from rlaws.probes.curve_trend import CurveTrend, slope_per_decade
from rlaws.probes.flops_ratio import FlopsRatio
from rlaws.probes.group_budget import GroupBudget
from rlaws.probes.learning_curve import LearningCurve
from rlaws.probes.reuse_loss import ReuseLoss
from rlaws.probes.seeds import mean_over_runs
from rlaws.probes.size_budget import SizeBudget
from rlaws.probes.size_gain import SizeGain
from rlaws.resampling import to_points
from toymodels import ladder, runs
from toymodels.runs import Exams, Plan, ToyRuns, content
from toymodels.settings import Settings

SEED = np.random.SeedSequence(1)
QUICK = Budget("test", 1.0, 100)
SMALL = {"recipe": "tiny", "prompts": 4, "group": 4, "updates": 6, "evaluations": 5}


def table_of(**settings):
    return ToyRuns(**{**SMALL, "sizes": (4_000,), "seeds": (0, 1, 2), **settings})


def test_the_table_has_the_columns_of_recorded_curves():
    table = table_of(sizes=(4_000, 7_000), seeds=(0, 1)).table()
    assert {"family", "model_B", "step", "samples", "cum_flops", "test_loss", "seed"} <= set(table)
    assert len({len(v) for v in table.values()}) == 1
    assert np.unique(table["model_B"]).tolist() == [ladder.parameters_of(s) / 1e9 for s in (4_000, 7_000)]
    assert np.all(table["samples"] == 4 * table["step"])
    assert np.all((table["test_loss"] > 0) & (table["test_loss"] < 1))
    for seed in ("0", "1"):
        rows = (table["seed"] == seed) & (table["parameters"] == ladder.parameters_of(4_000))
        assert np.all(np.diff(table["cum_flops"][rows]) > 0)


def test_a_run_is_the_same_to_the_bit_when_trained_anew():
    plan = table_of().plans()[0]
    cached, anew = runs.run(plan), runs.record(plan)
    assert cached.keys() == anew.keys()
    assert all(np.array_equal(cached[k], anew[k], equal_nan=cached[k].dtype.kind == "f") for k in cached)


def test_work_grows_as_the_scale_of_the_budget():
    one, full, less = (table_of(scale=scale) for scale in (1.0, 16.0, 1 / 16))
    assert [p.base_seed for p in one.plans()] == [0, 1, 2]
    assert [p.base_seed for p in full.plans()] == [0, 1, 2, 3, 4, 5]
    assert [p.base_seed for p in less.plans()] == [0, 1]
    assert {p.updates for p in full.plans()} == {6 * 8}
    assert table_of(seeds=(4, 7), scale=16.0).independent() == (4, 7, 8, 9)
    with pytest.raises(InputError, match="positive"):
        table_of(scale=0.0)


def test_training_problems_are_not_held_out():
    recipe = ladder.RECIPES["tiny"]
    exams = Exams.of(recipe)
    drawn = recipe.chains(2_000).draw(np.random.SeedSequence(5))
    assert any(content(item) in exams.known for item in drawn.items), "short chains do repeat"
    kept = runs.unseen(drawn, exams.known, 500)
    assert len(kept) == 500
    assert not {content(item) for item in kept.items} & exams.known


def test_the_probes_of_curves_read_it_unchanged():
    policy = table_of(sizes=(4_000, 7_000))
    for axis in ("samples", "flops"):
        for pool in ("none", "sizes"):
            m = LearningCurve(axis=axis, pool=pool, anchor=1).measure(policy, None, QUICK, SEED)
            assert m.resample == "clusters"
            assert m.provenance["runs"] == 3
            points = to_points(m.select(m.regimes()[0]), np.random.default_rng(0), 100)
            assert points.draws is not None
            assert set(points.series) == set(m.select(m.regimes()[0]).columns["curve"])
    slopes = CurveSlope(of="difference").measure(policy, None, QUICK, SEED)
    assert slopes.rows == 6
    assert SizeBudget(view="flops").measure(policy, None, QUICK, SEED).provenance["runs"] == 3
    assert CurveTrend().measure(policy, None, QUICK, SEED).rows == 6
    assert FlopsRatio().measure(policy, None, QUICK, SEED).rows == 6
    assert ConvergedLoss().measure(table_of(layout="converged"), None, QUICK, SEED).resample == "clusters"
    gains = SizeGain().measure(table_of(layout="gains"), None, QUICK, SEED)
    assert set(gains.columns["task"]) == {"all", "easy", "hard"}
    groups = GroupBudget(view="flops").measure(table_of(groups=(2, 4)), None, QUICK, SEED)
    assert set(groups.columns["smaller_group"]) == {2}
    assert len(set(groups.columns["cluster"])) == 3
    reuse = ReuseLoss(last=2).measure(table_of(reuses=(1, 6)), None, QUICK, SEED)
    assert len(set(reuse.columns["cluster"])) == 3


def test_without_a_learning_rate_no_law_is_found():
    """The negative control: losses stay those of the base, so every slope is exactly zero."""
    policy = table_of(learning_rate=0.0)
    table = policy.table()
    assert np.array_equal(table["test_loss"], table["base_loss"])
    assert np.allclose(CurveSlope().measure(policy, None, QUICK, SEED).columns["total"], 0.0, atol=1e-12)


def test_shuffled_rewards_give_no_falling_loss():
    """Slopes of six runs under shuffled rewards: t < 4 (5 degrees of freedom: false alarm 0.5 %).

    One-sided, since the noise of shuffled rewards wanders off the base and may well raise the loss.
    """
    plan = {"recipe": "tiny", "prompts": 8, "group": 8, "updates": 24, "evaluations": 8, "seeds": tuple(range(6))}
    slopes = CurveSlope().measure(ToyRuns(sizes=(4_000,), shuffled=True, **plan), None, QUICK, SEED).columns["total"]
    assert slopes.mean() < 4 * slopes.std(ddof=1) / np.sqrt(6)


def test_counted_flops_are_near_the_rule():
    ratio = FlopsRatio().measure(table_of(), None, QUICK, SEED).columns["total"]
    assert np.all((ratio > 0.5) & (ratio < 1.5))


def test_means_over_runs_want_the_same_steps():
    table = {
        "seed": np.array(["0", "0", "1", "1"]),
        "step": np.array([1, 2, 1, 2]),
        "cost": np.array([1.0, 2.0, 3.0, 4.0]),
    }
    curves = np.array(["a"] * 4)
    assert mean_over_runs(table, curves, "cost").tolist() == [2.0, 3.0, 2.0, 3.0]
    with pytest.raises(InputError, match="differ in their evaluated steps"):
        mean_over_runs({**table, "step": np.array([1, 2, 1, 3])}, curves, "cost")


def test_the_slope_of_a_straight_line():
    step = np.array([1.0, 10.0, 100.0])
    assert slope_per_decade(step, np.array([3.0, 5.0, 7.0])) == pytest.approx(2.0)
    with pytest.raises(InputError, match="at least 3"):
        slope_per_decade(step[:2], np.zeros(2))


def test_a_trained_policy_is_the_end_of_the_standard_run():
    plan = Plan(4_000, 0, "tiny", Settings().rl(), 3, ToyRuns().evaluations, 1)
    ended = ladder.to_arrays(runs.trained(Settings(), 4_000, 0, "tiny", 3))
    assert all(np.array_equal(ended[k], v) for k, v in runs.weights_of(runs.run(plan)).items())
    base = ladder.to_arrays(runs.trained(Settings(), 4_000, 0, "tiny", 0))
    assert not np.array_equal(base["embedding"], ended["embedding"])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"layout": "curve"}, "curves"),
        ({"seeds": ()}, "seeds"),
        ({"evaluations": 1}, "evaluations"),
        ({"sizes": (5_000,)}, "no rung"),
        ({"reuses": (0,)}, "at least 1"),
        ({"group": 1}, "at least 2"),
    ],
)
def test_bad_settings_get_a_sentence(settings, says):
    with pytest.raises(InputError, match=says):
        ToyRuns(**settings)
