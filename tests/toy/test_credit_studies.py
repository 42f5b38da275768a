"""Leaking rewards, single updates and the short horizon: what is measured, and that nothing is found where nothing is.

Trained on bases of recipe "tiny" (two steps modulo 5; seconds to train). Training is deterministic, so thresholds on it
have no false alarms.
"""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.seeding import seed_sequence
from tests.cli import rlaws
from tests.golden.test_configs import values
from toymodels import ladder
from toymodels.credit_tables import LeakRuns, UpdateDrifts, contrasts, passing
from toymodels.drifts import Drift, drifted, right_steps, snr, worse
from toymodels.enumeration import enumerate_solutions
from toymodels.ladder import VALUES, demonstrations, recipe_of
from toymodels.leaks import STYLED, Leak, answered, leaked, styled_base, styled_task, with_style
from toymodels.tasks import make_task

LEAK = Leak(4_000, 0, "tiny", 1.0, updates=48)
DRIFT = Drift(4_000, 0, "tiny", 64)
STUDIES = ["credit/spurious_first_toy", "credit/resolution_toy"]


# ------------------------------------------------------------------------------------------------- the style token
def test_the_token_goes_behind_the_last_step_and_changes_no_value():
    recipe = recipe_of("tiny")
    task = styled_task(recipe, 400, seed_sequence(1))
    plain = demonstrations(task, recipe, np.random.default_rng(0))
    shown = with_style(task, plain, np.ones(len(task), dtype=bool))
    before, after = (task.read(x.rows, x.responses) for x in (plain, shown))
    whole = before.length == recipe.length + 1
    assert 0.8 < whole.mean() < 1.0  # one in ten stops early
    assert np.array_equal(after.styled, whole)
    assert np.array_equal(before.values, after.values)
    assert np.array_equal(after.length, before.length + whole)
    assert after.ended.all()


def test_a_styled_base_knows_the_token_and_its_arithmetic():
    base = ladder.from_arrays(ladder.config_of(4_000), styled_base(4_000, 0, "tiny"))
    task = styled_task(recipe_of("tiny"), 256, seed_sequence(2))
    found = answered(base, task, 0.0, seed_sequence(3))
    assert STYLED / 4 < found["style"] < 3 * STYLED
    assert found["paid"] == found["success"]  # without a leak nothing wrong is paid


def test_answers_are_counted_as_the_enumeration_says():
    """2048 answers: 0.05 is 4.5 standard errors or more of their share."""
    base = ladder.base(4_000, 0, "tiny")
    task = styled_task(recipe_of("tiny"), 256, seed_sequence(4))
    exact = enumerate_solutions(base, task)
    first = exact.value[0][np.arange(256), 0, task.tables.truth[:, 0]]
    found = answered(base, task, 0.5, seed_sequence(5))
    assert found["success"] == pytest.approx(exact.success().mean(), abs=0.05)
    assert found["early"] == pytest.approx(first.mean(), abs=0.05)


def test_a_full_leak_teaches_the_token_and_step_rewards_do_not():
    leak, steps = leaked(LEAK), leaked(replace(LEAK, reward="process"))
    assert leak["style"][-1] > leak["style"][0] + 0.3
    assert steps["style"][-1] < leak["style"][-1] - 0.3
    assert leak["paid"][-1] - leak["success"][-1] > leak["paid"][0] - leak["success"][0] + 0.1
    assert steps["success"][-1] > leak["success"][-1]
    assert leak["step"].tolist() == list(range(0, 49, 4))


def test_shuffled_rewards_teach_neither():
    null = leaked(replace(LEAK, shuffled=True))
    assert null["style"][-1] < 0.5
    assert null["success"][-1] < null["success"][0] + 0.05


def test_what_never_passes_counts_against_the_claim():
    step = np.array([0, 4, 8, 12])
    low, late, soon = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.1, 0.5, 0.8, 0.95]), np.array([0.9, 1.0, 1.0, 1.0])
    assert [passing(step, x, 99.0) for x in (low, late, soon)] == [99.0, 12.0, 1.0]
    flat = {"step": step, "success": np.full(4, 0.25), "paid": np.array([0.25, 0.3, 0.4, 0.5])}
    steps = {"success": np.array([0.25, 0.3, 0.4, 0.5]), "paid": np.array([0.45, 0.5, 0.6, 0.7])}

    def told(early, style):
        return contrasts({**flat, "early": early, "style": style}, steps, 0.5)

    assert told(low, low)["lead"] == pytest.approx(np.log2(16 / 24))  # neither: not first
    assert told(late, low)["lead"] == pytest.approx(-1.0)
    assert told(low, late)["lead"] == pytest.approx(np.log2(16 / 12))
    assert told(late, late)["lead"] == 0.0
    found = told(low, late)
    assert found["wrong_paid"] == pytest.approx(0.25)
    assert found["wrong_paid_by_steps"] == pytest.approx(0.0 - 0.25)
    assert found["success_by_steps"] == pytest.approx(0.25)


# --------------------------------------------------------------------------------------------------- single updates
def test_right_steps_are_those_of_the_enumeration():
    base, recipe = ladder.base(4_000, 0, "tiny"), recipe_of("tiny")
    task = make_task(recipe.chains(40).draw(seed_sequence(6)), VALUES)
    found, truth = enumerate_solutions(base, task), task.tables.truth
    row = np.arange(len(task))
    wanted = [found.value[0][row, 0, truth[:, 0]], found.value[1][row, truth[:, 0], truth[:, 1]]]
    assert np.allclose(right_steps(base, task), np.transpose(wanted), atol=1e-6)


def test_only_steps_that_were_right_count_as_worse():
    right = np.array([[[0.9, 0.4, 0.6]], [[0.8, 0.3, 0.7]], [[0.9, 0.2, 0.65]]])
    assert worse(right) == pytest.approx(2 / 4)  # 0.9 -> 0.8 and 0.7 -> 0.65; 0.6 -> 0.7 and 0.8 -> 0.9 rise
    with pytest.raises(InputError, match=r"most: 0\.40"):
        worse(right[..., 1:2])


def test_nothing_gets_worse_without_learning():
    """Learning rate 0: the negative control, exactly."""
    still = drifted(replace(DRIFT, speed=0.0))["right"]
    assert np.ptp(still, axis=0).max() == 0.0
    assert worse(still) == 0.0


def test_noise_alone_makes_more_steps_worse_than_signal():
    """Exchanged rewards carry no signal: the share of worse steps is far above that of the same updates with signal."""
    batch = replace(DRIFT, batch=512)
    signal, noise = (worse(drifted(replace(batch, shuffled=s))["right"]) for s in (False, True))
    assert noise > 0.4
    assert signal < noise - 0.1


def test_the_signal_of_a_batch_grows_as_its_root():
    table = UpdateDrifts(sizes=(4_000,), batches=(16, 64), seeds=1, recipe="tiny", updates=2).table()
    signal = {b: set(table["signal"][table["batch"] == b].tolist()) for b in (16, 64)}
    assert all(len(s) == 1 for s in signal.values())
    assert signal[64].pop() == pytest.approx(2 * signal[16].pop())
    assert snr(4_000, 0, "tiny") > 0


# -------------------------------------------------------------------------------------------------------- settings
def test_settings_are_checked():
    for made in (LeakRuns, UpdateDrifts):
        assert set(made.UNITS) == {f.name for f in fields(made)}
    for made, settings, message in (
        (LeakRuns, {"bonuses": (0.0,)}, r"leaks in \(0, 1\]"),
        (LeakRuns, {"updates": 2}, "at least one evaluation"),
        (LeakRuns, {"recipes": ("standrad",)}, "not known"),
        (UpdateDrifts, {"batches": (12,)}, "multiples of 8"),
        (UpdateDrifts, {"speed": -1.0}, "not negative"),
        (UpdateDrifts, {"sizes": (5,)}, "no rung"),
    ):
        with pytest.raises(InputError, match=message):
            made(**settings)


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_says_its_rung_and_has_three_runs(study):
    made = values(study)
    assert made["study"]["rung"] == "toy"
    assert made["policy"]["seeds"] >= 3
    assert made["probe"]["runs"] == "seed"


TINY = {
    "credit/spurious_first_toy": ["policy.recipes=[tiny]", "policy.parameters=4000", "policy.updates=4"],
    "credit/prm_error_law_toy": ["policy.recipe=tiny", "policy.policy=4000", "policy.sizes=[300,1000,4000]",
                                 "policy.updates=4", "policy.chains=[16,64,256]"],
}  # fmt: skip


@pytest.mark.parametrize("study", TINY)
def test_a_study_runs_from_the_command_line_to_a_verdict(study, tmp_path):
    few = ["policy.seeds=2", "report=null", "budget.draws=100"]
    ran = rlaws("run", f"study={study}", *TINY[study], *few, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (path,) = tmp_path.rglob("verdict.json")
    found = json.loads(path.read_text())
    assert {r["id"] for r in found["readings"]} == {r["id"] for r in values(study)["claim"]["readings"]}
    assert "supported" not in {r["outcome"] for r in found["readings"]}  # two runs are too few
