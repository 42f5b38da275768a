"""What decides whether RL pays on a small transformer: the KL wall, imitation, perturbed prefixes, learning rates.

The base is the 4k rung of the recipe "tiny" (two steps modulo 5). Training is deterministic, so thresholds on it have
no false alarms.
"""

import json
from itertools import product

import numpy as np
import pytest
import torch

from rlaws.errors import InputError
from rlaws.probes.search_work import divergence
from rlaws.seeding import seed_sequence
from tests.cli import rlaws
from tests.golden.test_configs import values
from toymodels import imitation, ladder
from toymodels.batches import Deck, log_policy, states_before
from toymodels.enumeration import Solutions, enumerate_solutions
from toymodels.imitation import STANDARD, Imitations, Lessons, standard
from toymodels.kl_wall import KlRuns, drift, optimal_success, optimum, wall
from toymodels.ladder import VALUES
from toymodels.losses import taken
from toymodels.rates import BestRates, vertex
from toymodels.robustness import Perturbed, after_a_step, followed, shaken
from toymodels.runs import run, weights_of
from toymodels.tasks import make_task
from toymodels.tilts import outcomes

STUDIES = [
    "practice/batch_rule_toy", "practice/lr_rule_toy", "capacity/kl_wall_toy", "capacity/sft_beats_rl_toy",
    "capacity/swiss_cheese_toy",
]  # fmt: skip
FEW = {"sizes": (4_000,), "recipe": "tiny", "seeds": 1}


@pytest.fixture(scope="module")
def task():
    return make_task(ladder.recipe_of("tiny").chains(3).draw(seed_sequence(7)), VALUES)


@pytest.fixture(scope="module")
def moved():
    """A policy that RL under a KL penalty has moved off its base."""
    made = run(KlRuns(**FEW, updates=24).plan(4_000, 0, 0.2))
    return ladder.from_arrays(ladder.config_of(4_000), weights_of(made))


# ------------------------------------------------------------------------------------------------------- KL wall
@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0, 4.0])
def test_the_optimum_is_that_of_the_tilted_solutions(task, temperature):
    """All solutions, those that show nothing included: E[R] - T KL is J*, the success is p*, logits move by 1/T."""
    found = enumerate_solutions(ladder.base(4_000, 0, "tiny"), task)
    for pi, truth, p in zip(outcomes(found), found.truth, found.success(), strict=True):
        right = np.append(np.arange(pi.size - 1) % found.modulus == truth, False)
        tilted = pi * np.exp(right / temperature)
        tilted /= tilted.sum()
        success = tilted[right].sum()
        assert success == pytest.approx(optimal_success(p, temperature))
        assert success - temperature * divergence(tilted, pi) == pytest.approx(optimum(p, temperature))
        assert np.log(success / (1 - success)) - np.log(p / (1 - p)) == pytest.approx(1 / temperature)


def test_no_policy_does_better_than_the_optimum(task, moved):
    """Nor than the base by staying there; over classes of answers some would seem to."""
    base = ladder.base(4_000, 0, "tiny")
    p, found = enumerate_solutions(base, task).success(), enumerate_solutions(moved, task)
    kl = drift(moved, base, task, found).kl
    assert np.all(kl > 0.001)
    for t in (0.05, 0.2, 1.0):
        assert np.all(found.success() - t * kl < optimum(p, t))
        assert np.all(optimum(p, t) >= p)
    assert optimum(np.array([0.0, 1.0]), 0.001) == pytest.approx([0.0, 1.0])  # e^1000 does not overflow


def test_drift_is_the_divergence_of_all_token_sequences(task, moved):
    """All V^3 sequences of a problem, those that end early joined: the KL left out is under the odd tokens' share."""
    base, deck = ladder.base(4_000, 0, "tiny"), Deck.of(task, torch.device("cpu"))
    vocabulary, end = task.vocabulary.size, task.vocabulary.id("end")
    every = torch.tensor(list(product(range(vocabulary), repeat=task.response)))
    found = enumerate_solutions(moved, task)
    told = drift(moved, base, task, found)
    # a sequence that ends stands for all that could follow it, of which one is kept
    ended = (every == end).cumsum(dim=1)
    before = torch.cat([torch.zeros_like(ended[:, :1]), ended[:, :-1]], dim=1) > 0
    kept = ~(before & (every != end)).any(dim=1)
    mask = (~before).double()
    for row in range(len(task)):
        with torch.inference_mode():
            ours, theirs = (
                (
                    taken(log_policy(x, states_before(x, deck, torch.tensor([row]), every[None]), 1.0)[0], every)
                    .double()
                    .mul(mask)
                    .sum(dim=1)[kept]
                )
                for x in (moved, base)
            )
        assert float(ours.exp().sum()) == pytest.approx(1.0, abs=1e-5)
        exact = float((ours.exp() * (ours - theirs)).sum())
        assert told.kl[row] <= exact + 1e-6
        assert exact - told.kl[row] <= 10 * told.odd[row]
        shown = float(found.divergence(enumerate_solutions(base, task))[row])
        assert shown <= told.kl[row] + 1e-6  # what is shown tells less than the tokens


def test_divergence_counts_solutions_that_show_nothing():
    """By hand: two values, else nothing; the policy shows 0.5 and the base 0.9 of the time, in the same proportions."""
    p, q = (Solutions((np.array([[[x / 2, x / 2]]]),), (np.zeros((1, 1)),), np.array([[1]])) for x in (0.5, 0.9))
    assert p.divergence(q)[0] == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1))


def test_the_wall_of_the_optimum_stands_at_minus_one_over_t():
    p = np.linspace(0.05, 0.9, 12)
    for t in (0.2, 1.0):
        assert wall(p, optimal_success(p, t), t) == pytest.approx(1.0)
        assert abs(wall(p, p, t)) < 1e-9  # nothing was learned: the wall is where success is 1/2


def test_a_policy_at_rest_gains_and_pays_nothing():
    """Learning rate 0: the negative control."""
    found = KlRuns(**FEW, updates=4, learning_rate=0.0, penalties=(0.5,)).table()
    told = dict(zip(found["quantity"].tolist(), found["value"], strict=True))
    assert told["net"] == pytest.approx(0.0, abs=1e-6)
    assert told["wall"] == pytest.approx(0.0, abs=1e-5)
    assert told["optimum"] > 0.05
    assert told["odd"] < 0.05


# --------------------------------------------------------------------------------------------------------- imitation
def test_imitation_takes_the_problems_and_the_flops_of_the_rl_run():
    rl = run(standard(4_000, 0, "tiny"))
    at = int(np.argmin(np.abs(rl["step"] - 24)))
    found = Imitations(**FEW, teacher=4_000, updates=24).table()
    for row in range(len(found["seed"])):
        assert found["rl"][row] == pytest.approx(1 - rl["test_loss"][at])
        if found["equal"][row] == "compute":
            assert 0.97 * rl["cum_flops"][at] < found["flops"][row] <= rl["cum_flops"][at]
    assert found["difference"] == pytest.approx(found["imitation"] - found["rl"])
    with pytest.raises(InputError, match="updates from 1 to those of the standard run, 192"):
        Imitations(updates=STANDARD + 1)


def test_right_solutions_teach_and_those_of_other_problems_do_not():
    """The negative control: imitating solutions of other problems loses success. No FLOPs leave the base as it is."""
    (real, base), (null, same) = (
        imitation.record(Lessons(15_000, 0, "standard", "sft", 15_000, 32, 0.0, wrong))["success"]
        for wrong in (False, True)
    )
    assert base == same
    assert real > base + 0.1
    assert null < base


def test_distillation_shows_samples_of_the_teacher(task):
    plan = Lessons(4_000, 0, "tiny", "distillation", 4_000, 8, 1e9)
    shown, flops = imitation.lessons(plan, task)
    assert len(shown.rows) == len(task)
    assert flops > 0
    again, _ = imitation.lessons(plan, task)
    assert np.array_equal(shown.responses, again.responses)


# -------------------------------------------------------------------------------------------------------- prefixes
def test_success_is_the_mean_of_what_follows_the_first_values(task):
    """Where the right value of step 1 was shown, following it is being right; by hand for the last step."""
    found = enumerate_solutions(ladder.base(4_000, 0, "tiny"), task)
    chance = followed(found, task)
    t, m = task.tables, found.modulus
    for i in range(len(task)):
        for v in range(m):
            after = {"add": v + t.amount[i, 1], "multiply": v * t.amount[i, 1], "set": t.amount[i, 1]}
            kind = ("add", "multiply", "set")[t.kind[i, 1]]
            assert chance[i, v] == pytest.approx(found.value[1][i, v, after[kind] % m])
    right = chance[np.arange(len(task)), found.states[:, 0]].mean()
    assert after_a_step(found, task)[0] == pytest.approx(right)


def test_a_policy_that_follows_what_it_shows_keeps_everything(task):
    """And one that writes the true values whatever it showed loses all that does not lead there."""
    m, t = 5, task.tables
    obeys, ignores = np.zeros((len(task), m, m)), np.zeros((len(task), m, m))
    truth = t.truth
    for i in range(len(task)):
        for v in range(m):
            after = (v + t.amount[i, 1], v * t.amount[i, 1], t.amount[i, 1])[t.kind[i, 1]] % m
            obeys[i, v, after] = 1.0
            ignores[i, v, truth[i, 1]] = 1.0
    start = np.full((len(task), 1, m), 0.2)
    entropy = (np.zeros((len(task), 1)), np.zeros((len(task), m)))
    kept = [after_a_step(Solutions((start, x), entropy, truth[:, :2]), task) for x in (obeys, ignores)]
    assert kept[0] == pytest.approx((1.0, 1.0))
    resets = np.mean(t.kind[:, 1] == 2)
    assert kept[1] == pytest.approx((1.0, resets))


def test_noise_of_size_zero_changes_nothing(task):
    base = ladder.base(4_000, 0, "tiny")
    clean = enumerate_solutions(base, task).success()
    assert np.array_equal(enumerate_solutions(shaken(base, 0.0, seed_sequence(1)), task).success(), clean)
    assert not np.allclose(enumerate_solutions(shaken(base, 1.0, seed_sequence(1)), task).success(), clean)
    assert np.array_equal(enumerate_solutions(base, task).success(), clean)  # the base itself is left alone
    found = Perturbed(**FEW, noise=0.0, draws=1).table()
    assert found["perturbed"][1] == pytest.approx(found["clean"][1])


# ------------------------------------------------------------------------------------------------------------ rates
def test_the_vertex_of_a_parabola_is_found_between_the_points():
    x = np.arange(6.0)
    assert vertex(x, (x - 2.3) ** 2 + 1).x == pytest.approx(2.3)
    assert not vertex(x, (x - 2.3) ** 2).bound
    assert vertex(x, np.exp(x)) == (0.0, True)
    assert vertex(x, -x) == (5.0, True)
    cliff = vertex(x, np.array([0.0, -0.1, -0.2, -0.3, 5.0, 5.0]))  # kept beside the lowest point
    assert 2.0 <= cliff.x <= 4.0


def test_rates_are_the_same_for_all_sizes_and_a_planted_optimum_is_found(monkeypatch):
    """Losses with their optimum at N^-0.5 give back that exponent; losses of a policy at rest are flat."""
    monkeypatch.setattr(
        BestRates,
        "losses",
        lambda own, size, seed: np.exp(0.1 * np.log2(own.grid() / (0.08 * ladder.parameters_of(size) ** -0.5)) ** 2),
    )
    found = BestRates(seeds=1).table()
    slope = np.polyfit(np.log(found["parameters"]), np.log(found["rate"]), 1)[0]
    assert slope == pytest.approx(-0.5, abs=1e-6)
    assert not found["bound"].any()
    assert BestRates().grid() == pytest.approx(1.25e-4 * 2.0 ** np.arange(6))
    with pytest.raises(InputError, match="The grid sets the learning rate"):
        BestRates(learning_rate=1e-3)


def test_a_tiny_rate_learns_nothing():
    """The negative control: as the rate goes to 0 so does what is learned, and the loss is the base's."""
    found = BestRates(**FEW, rates=3, lowest=1e-12, updates=4).losses(4_000, 0)
    assert np.ptp(found) < 1e-4


# ---------------------------------------------------------------------------------------------------------- studies
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_says_its_rung_and_has_three_bases(study):
    made = values(study)
    assert made["study"]["rung"] == "toy"
    assert made["policy"]["seeds"] >= 3
    assert made["probe"]["runs"] == "seed"


def test_a_study_runs_from_the_command_line_to_a_verdict(tmp_path):
    words = ["run", "study=capacity/kl_wall_toy", "policy.recipe=tiny", "policy.updates=4", "policy.seeds=2"]
    few = ["policy.sizes=[4000,7000]", "policy.penalties=[0.5]", "report=null", "budget.draws=100"]
    ran = rlaws(*words, *few, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (path,) = tmp_path.rglob("verdict.json")
    found = json.loads(path.read_text())
    wanted = values("capacity/kl_wall_toy")["claim"]["readings"]
    assert {r["id"] for r in found["readings"]} == {r["id"] for r in wanted}
    assert "supported" not in {r["outcome"] for r in found["readings"]}  # two runs are too few
