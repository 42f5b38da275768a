"""Probes of the entropy claims: they run on their policies, find nothing in worlds where nothing is, and say why not.

Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds.
"""

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.measurement import Measurement
from rlaws.probes.anchored_diversity import AnchoredDiversity
from rlaws.probes.base import Budget
from rlaws.probes.best_setting import BestSetting, lowest
from rlaws.probes.collapse import Collapse
from rlaws.probes.distinct_answers import DistinctAnswers, rarefied
from rlaws.probes.fixation_time import FixationTime, kimura_time
from rlaws.probes.log_ratio import LogRatio
from rlaws.probes.plateau import Plateau
from rlaws.probes.recurrence import Recurrence
from rlaws.probes.reward_at_entropy import RewardAtEntropy
from rlaws.probes.reward_entropy import RewardEntropy
from rlaws.probes.semantic_frontier import SemanticFrontier
from rlaws.probes.trajectories import at_level, crossed
from rlaws.problems import SingleDifficulty
from sim import diversity as v
from sim.exact import drift as exact
from sim.replay import ReplayPolicy, TourPolicy

Z = 4.4
QUICK = Budget("quick", 1.0, 200)


def problems(size, p=0.5):
    return SingleDifficulty(p=p, size=size).draw(np.random.SeedSequence(1))


def run(probe, policy, size=16, p=0.5, seed=5) -> Measurement:
    return probe.measure(policy, problems(size, p), QUICK, np.random.SeedSequence(seed))


def of(m, **where):
    return m.select(where).columns["total"]


# ------------------------------------------------------------------------------------------- curves
def test_crossings_and_levels_are_read_off_straight_lines():
    times = np.array([1.0, 10.0, 100.0])
    falling = np.array([[4.0, 4.0], [2.0, 4.0], [0.0, 3.9]])
    when = crossed(times, falling, np.array([1.0, 1.0]))
    assert when[0] == pytest.approx(10.0**1.5)
    assert np.isnan(when[1])
    read = at_level(-falling, np.array([[0.0, 0], [1, 0], [2, 0]]), np.array([-3.0, 0.0]))
    assert read[0] == pytest.approx(0.5)
    assert np.isnan(read[1])


def test_rarefaction_is_exact_over_subsets():
    """Counts 3, 1 among 4: two of them are distinct with probability 1 - 3/6, so 1.5 distinct in the mean."""
    np.testing.assert_allclose(rarefied(np.array([0, 0, 0, 7]), np.array([1, 2, 4])), [1.0, 1.5, 2.0])


def test_the_lowest_point_of_a_parabola_is_found_between_grid_points():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    errors = np.exp((np.log(values) - np.log(3.0)) ** 2)[:, None]
    assert lowest(values, errors)[0] == pytest.approx(3.0)
    assert lowest(values, values[:, None])[0] == 1.0


# ------------------------------------------------------------------------------------------- negative controls
def test_equal_rewards_and_a_group_baseline_never_fix():
    """All answers right, group mean subtracted: no advantage, no drift; the probe says so and gives no time."""
    policy = v.BatchPolicy(algorithm="pg", batch=4, step=0.5, baseline=True)
    with pytest.raises(InputError, match="no drift"):
        run(FixationTime(factors=(1, 2, 4), last=500.0), policy)


def test_a_step_of_zero_moves_no_ratio_and_no_reward():
    with pytest.raises(InputError, match="does not fall"):
        run(RewardEntropy(last=0.02), v.ModesPolicy(spread=0.0, right=8))
    still = run(Recurrence(values=(0.0, 0.5), first=10, last=200), TourPolicy(step=0.0))
    assert np.all(of(still, quantity="rate") == 0)


def test_imitation_alone_has_no_log_ratio_drift_with_imbalance():
    """Under natural gradient the drift is zero within z = 4.4 at a strong imbalance; policy gradient has one."""
    force = {}
    for algorithm in ("pg", "npg"):
        policy = v.BatchPolicy(algorithm=algorithm, batch=64, step=0.05, baseline=True, wrong=0.4)
        m = run(LogRatio(), policy, size=3000, p=0.8)
        drift = of(m, quantity="drift")
        force[algorithm] = (drift.mean(), Z * drift.std() / np.sqrt(drift.size))
    want = exact.log_ratio_drift("pg", 0.4, 0.48, 0.12)
    assert abs(force["npg"][0]) < force["npg"][1]
    assert force["pg"][0] == pytest.approx(want, abs=force["pg"][1] + want / 32)
    assert force["pg"][0] > force["pg"][1]


def test_a_group_that_learns_nothing_prefers_no_group():
    """Step 0: every group size fails alike, so the log ratio of failures is 0 for every cluster."""
    m = run(BestSetting(values=(2, 8, 32), compute=(64, 256), batch=8), v.GroupPolicy(step=0.0), size=64, p=0.3)
    np.testing.assert_allclose(of(m, quantity="log_ratio"), 0.0, atol=1e-12)


def test_a_bonus_compared_with_itself_keeps_the_same():
    probe = SemanticFrontier(kinds=("token", "token"), strengths=(1.0, 0.5, 0.2, 0.1), target=0.8, time=60.0)
    m = run(probe, v.ModesPolicy(algorithm="npg", synonyms=4), size=6)
    np.testing.assert_allclose(of(m, quantity="ideas_lost"), 0.0, atol=1e-12)


def test_an_intervention_that_changes_nothing_moves_no_reward():
    m = run(RewardAtEntropy(setting="bonus", value="none", dose=0.0, batch=8), v.ModesPolicy(handicap=-1.0), size=32)
    np.testing.assert_allclose(m.columns["total"], 0.0, atol=1e-12)


# ------------------------------------------------------------------------------------------- what is known
def test_collapse_of_a_single_well_is_that_of_ornstein_and_uhlenbeck():
    """Final width sqrt(T/s); time from the variance's closed form, within the spacing of the checkpoints."""
    policy = v.DensityPolicy(scatter=0.0, start_sd=0.8, cells=600)
    m = run(Collapse(factors=(0.5, 1.0, 2.0), per_decade=24), policy, size=4)
    for value in (0.025, 0.05, 0.1):
        width = of(m, quantity="final_width", value=value)
        assert width == pytest.approx(np.full(4, np.sqrt(value / 8.0)), rel=0.02)
        end, first = value / 8.0, 0.64
        goal = np.exp(np.log(first) - 0.9 * np.log(first / end))
        want = np.log((first - end) / (goal - end)) / 16.0
        assert of(m, quantity="collapse_time", value=value) == pytest.approx(np.full(4, want), rel=0.05)


def test_imitation_takes_kimuras_time():
    m = run(FixationTime(level=0.9, factors=(1, 2, 4)), v.BatchPolicy(batch=8, step=0.1, level=0.9), size=500)
    ratio = of(m, quantity="over_kimura")
    assert ratio.mean() == pytest.approx(1.0, abs=Z * ratio.std() / np.sqrt(ratio.size) + 0.04)
    assert kimura_time(50, 1.0, np.array([0.5]), 1 - 1e-12)[0] == pytest.approx(100 * np.log(2), rel=1e-6)


def test_ema_delays_by_the_closed_form_and_static_holds():
    probe = AnchoredDiversity(strength=0.3, memories=(10.0, 20.0, 40.0), gain=0.3, first=0.5, last=2000.0)
    m = run(probe, v.ModesPolicy(algorithm="npg", gap=0.3, synonyms=1, modes=6), size=6)
    times = {k: of(m, anchor="ema", quantity="time", memory=k) for k in (10.0, 40.0)}
    free = [[exact.ema_slowdown(0.3, 1 / k, t) for t in times[k]] for k in times]
    np.testing.assert_allclose(free[0], free[1], rtol=0.03)
    assert np.all(np.abs(of(m, anchor="ema", quantity="kept")) < 0.02), "the same path, only later"


def test_plateau_and_replay_and_tails_give_measurements():
    crowd = v.CloudPolicy(temperature=0.3, crowd=32, step=0.02)
    plateau = run(Plateau(factors=(1.4, 1.2, 1.0), settled=1.0, last=300.0), crowd, 8)
    left = [of(plateau, quantity="escape_time", inverse=1 / (f * 0.3)).mean() for f in (1.4, 1.0)]
    assert left[1] > left[0]
    replay = run(BestSetting("ratio", (1, 2, 8), "step", (0.5, 2.0), (20.0, 100.0), (1, 8), 8), ReplayPolicy(), size=32)
    assert set(replay.columns["quantity"]) == {"best", "log_ratio"}
    tail = v.TailPolicy("finite", 1.0)
    found = run(DistinctAnswers(samples=4096, k_largest=1024), tail, size=8)
    ks = np.unique(found.columns["k"])
    mean = found.columns["total"].reshape(8, -1).mean(axis=0)
    np.testing.assert_allclose(mean, exact.distinct(tail.probabilities(), ks), rtol=0.05)


# ------------------------------------------------------------------------------------------- refusals
def test_probes_refuse_what_cannot_tell():
    with pytest.raises(InputError, match="asks for entropy"):
        run(Collapse(axis="spread"), v.ModesPolicy())
    with pytest.raises(InputError, match="no setting 'temprature'"):
        run(Collapse(axis="temprature"), v.DensityPolicy())
    with pytest.raises(InputError, match="four clusters"):
        run(BestSetting(), v.GroupPolicy(), size=10)
    mixed = problems(4)
    mixed.difficulty["p"][:] = [0.2, 0.3, 0.4, 0.5]
    with pytest.raises(InputError, match="start alike"):
        LogRatio().measure(v.BatchPolicy(), mixed, QUICK, np.random.SeedSequence(1))
