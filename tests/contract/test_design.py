"""Designs that reach a verdict: cost by hand, noise as stated, planted laws that are found, and what cannot be told."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from rlaws.analysis import Analyst, analyse
from rlaws.build import build
from rlaws.catalogue import conf_dir
from rlaws.designs.curves import Candidates, Design, Lab, Noise, TableOf, exact_table, noisy_table
from rlaws.designs.pilot import Pilot, from_folder
from rlaws.designs.planning import plan_designs
from rlaws.designs.search import Share, below, experiment
from rlaws.designs.studies import curve_study
from rlaws.designs.truth import truths
from rlaws.errors import InputError
from rlaws.power import judged
from rlaws.probes.base import Budget
from rlaws.schema import plain, to_request, to_study, validate, without_designs
from tests.cli import rlaws

QUIET = Noise(0.0, 0.0, 0.0)
STEPS = np.arange(1, 101, dtype=np.int64)


def asked(claim, *overrides):
    """Return the study and the request of ``rlaws plan claim=…``."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose("plan", [f"study={curve_study(claim, None)}", f"design.claim={claim}", *overrides])
    values = plain(composed)
    return to_study(validate(without_designs(values))), to_request(values)


def power_law(k=0.1, start=0.9):
    return lambda size, samples: start * (samples / 512.0) ** -k


# ------------------------------------------------------------------------------------------------ cost and noise
def test_cost_by_hand():
    """8 N a generated token (2 to write it, 6 to learn from it), 2 N a token of an evaluation."""
    lab = Lab(QUIET, batch=512, answers=8, tokens=800.0, questions=500)
    train = 8 * 7e9 * 100 * 512 * 8 * 800
    evaluate = 2 * 7e9 * 50 * 500 * 800
    assert Design((7.0,), 100, 3, 50).flops(lab) == pytest.approx(3 * (train + evaluate), rel=1e-12)
    two = Design((7.0, 3.5), 100, 3, 50).flops(lab)
    assert two == pytest.approx(1.5 * 3 * (train + evaluate), rel=1e-12)
    assert Design((7.0,), 100, 1, 50).flops(replace(lab, questions=None)) == pytest.approx(train, rel=1e-12)


def test_evaluations_end_with_the_run_and_are_never_more_than_its_steps():
    assert Design((1.0,), 100, 3, 4).at().tolist() == [25, 50, 75, 100]
    assert Design((1.0,), 5, 3, 50).at().tolist() == [1, 2, 3, 4, 5]


def test_a_table_without_noise_is_the_curve():
    lab = Lab(QUIET, questions=None)
    table = noisy_table(Design((1.0, 7.0), 100, 3, 100), power_law(), lab, np.random.default_rng(0))
    exact = exact_table(power_law(), [1.0, 7.0], STEPS, lab)
    assert all(np.array_equal(table[k], exact[k]) for k in ("family", "model_B", "step", "samples", "cum_flops"))
    assert table["test_loss"] == pytest.approx(exact["test_loss"], rel=1e-12)


def test_noise_is_what_it_says():
    """Standard deviations and correlation of 4000 runs, each within 5 standard errors (false alarm below 1e-5)."""
    runs, steps = 4000, 100
    curve = power_law(0.0, 0.5)

    def residual(noise, questions):
        lab = Lab(noise, questions=questions)
        design = Design(tuple(1.0 + i for i in range(runs)), steps, 1, steps)
        losses = noisy_table(design, curve, lab, np.random.default_rng(1))["test_loss"]
        return np.log(losses.reshape(runs, steps) / 0.5)

    own = residual(Noise(0.02, 0.8, 0.0), None)
    assert own[:, 50].std() == pytest.approx(0.02, abs=5 * 0.02 / np.sqrt(2 * runs))
    assert np.corrcoef(own[:, 50], own[:, 51])[0, 1] == pytest.approx(0.8, abs=5 * (1 - 0.64) / np.sqrt(runs))
    between = residual(Noise(0.0, 0.0, 0.03), None)
    assert between[:, 0] == pytest.approx(0.0, abs=1e-12)
    assert between[:, -1].std() == pytest.approx(0.03, abs=5 * 0.03 / np.sqrt(2 * runs))
    asked_500 = np.exp(residual(QUIET, 500)[:, 50]) * 0.5
    binomial = np.sqrt(0.25 / 500)
    assert asked_500.std() == pytest.approx(binomial, abs=5 * binomial / np.sqrt(2 * runs))


def test_a_pilot_shows_the_noise_it_was_made_with():
    """Means of three runs, 20 sizes with 400 evaluations; the tolerance is 5 times the scatter over such pilots."""
    lab = Lab(Noise(0.02, 0.6, 0.0), questions=2000)
    sizes = tuple(1.0 + i for i in range(20))
    table = noisy_table(Design(sizes, 400, 3, 400), power_law(), lab, np.random.default_rng(2))
    pilot = Pilot("planted", table, 3)
    found = pilot.noise(2000, 0.01)
    assert found.sd == pytest.approx(0.02, abs=0.002)
    assert found.rho == pytest.approx(0.6, abs=0.1)
    assert found.between == 0.01
    assert pilot.tokens() == pytest.approx(8 * 800, rel=1e-9)
    with pytest.raises(InputError, match="Did you mean 'base'"):
        pilot.of_family("bas")


def test_runs_of_questions_alone_show_no_other_noise():
    """Negative control: what 500 questions do is not taken for noise of the runs.

    Their variance is known from 8000 points to sqrt(2 / 8000) = 1.6 %; five times that is the most that may be left.
    """
    design = Design(tuple(1.0 + i for i in range(20)), 400, 3, 400)
    table = noisy_table(design, power_law(0.0, 0.5), Lab(QUIET), np.random.default_rng(3))
    assert Pilot("planted", table, 3).noise(500, 0.0).sd ** 2 < 5 * np.sqrt(2 / 8000) * 0.5 / (0.5 * 500)


# ------------------------------------------------------------------------------------------------ verdicts
def test_a_planted_experiment_is_judged_as_a_study_is():
    """``judged`` gives the outcome of ``analyse`` on the same rows, reading by reading."""
    study, request = asked("training.saturation")
    study = replace(study, budget=Budget("quick", 1, 100))
    table = noisy_table(
        Design((0.5, 3.0, 32.0), 50, 3, 50), request.reference.curve(512), request.lab, np.random.default_rng(4)
    )
    rows = build(study.probe).measure(TableOf(table), None, study.budget, np.random.SeedSequence(0))
    verdict, _ = analyse(study, rows, {}, "")
    short = judged(Analyst(study.claim, rows, study.budget.draws, study.seed))
    assert short.outcome is verdict.outcome
    assert short.readings == {r.id: r.outcome for r in verdict.readings}


def shares(study, lab, design, world, count):
    return Share.of([experiment(study, lab, design, world, i).outcome == "supported" for i in range(count)])


def slope_worlds(noise, *overrides):
    study, request = asked("training.log_linear", "readings=[slope]", *overrides)
    study = replace(study, claim=replace(study.claim, readings=study.claim.readings[1:]))
    lab = replace(request.lab, noise=noise)
    source = exact_table(request.reference.curve(512), [0.5], STEPS, lab)
    return study, lab, truths(study, lab, source, pilot=False, given={})


def test_more_runs_give_more_power():
    """A slope of 0.005 in runs that end 0.02 apart. MC errors are given; a rise of two of them is asked."""
    study, lab, (law, _) = slope_worlds(Noise(0.02, 0.5, 0.0))
    few, many = (shares(study, lab, Design((0.5,), 100, seeds, 50), law, 30) for seeds in (3, 24))
    assert many.share > few.share + 2 * np.hypot(few.error, many.error)


def test_a_slope_of_nothing_is_rarely_called_positive():
    """Under the law's limit k = 0 the two-sided 95 % interval lies above 0 in 2.5 %; of 60 at most 6 (p = 0.0006)."""
    study, lab, (_, null) = slope_worlds(Noise(0.02, 0.0, 0.0), "design.questions=null")
    assert null.name == "k = 0"
    assert null.curve(0.5, np.array([512.0, 51200.0])) == pytest.approx(null.curve(0.5, np.array([1e4])).repeat(2))
    assert shares(study, lab, Design((0.5,), 100, 3, 100), null, 60).share <= 0.1


def test_noise_without_end_supports_nothing():
    """Negative control: losses that scatter by a factor of e say nothing of a slope of 0.005."""
    study, lab, (law, _) = slope_worlds(Noise(1.0, 0.0, 0.0), "design.questions=null")
    assert shares(study, lab, Design((0.5,), 100, 3, 50), law, 20).share <= 0.1


def test_fewer_than_three_seeds_are_never_supported():
    study, lab, (law, _) = slope_worlds(QUIET, "design.questions=1000000")
    assert shares(study, lab, Design((0.5,), 100, 2, 50), law, 5).share == 0.0
    assert shares(study, lab, Design((0.5,), 100, 3, 50), law, 5).share == 1.0


def test_truths_are_the_law_and_its_nearest_rivals():
    study, request = asked("training.saturation")
    source = exact_table(request.reference.curve(512), [0.5, 3.0, 32.0], STEPS, request.lab)
    law, *rivals = truths(study, request.lab, source, pilot=False, given={})
    assert law.theta == {"K_max": pytest.approx(0.149), "N0": pytest.approx(14.45)}  # the middle of the claim's regions
    assert [r.name for r in rivals] == ["slope_power", "slope_log", "slope_constant"]
    samples = np.array([512.0, 51200.0])
    slope = -np.diff(np.log(law.curve(7.0, samples)))[0] / np.log(100)
    assert slope == pytest.approx(0.149 / (1 + 14.45 / 7), rel=1e-9)
    assert rivals[2].distance > rivals[0].distance > 0


def test_chains_hold_every_design_once_by_cost():
    lab = Lab(QUIET)
    chains = Candidates([1.0, 2.0, 4.0, 8.0], [10, 20], [3, 5], [50, 100]).chains(lab, subsets=True, least=3)
    assert chains[0][0].sizes == (1.0, 2.0, 4.0, 8.0)
    assert {c[0].sizes for c in chains} == {(1, 2, 4, 8), (1, 2, 4), (1, 2, 8), (1, 4, 8), (2, 4, 8)}
    for chain in chains:
        costs = [d.flops(lab) for d in chain]
        assert costs == sorted(costs)
        assert len(chain) == 4  # runs of 10 and 20 steps have no 50 or 100 evaluations apart


def test_a_chance_is_ruled_out_as_clopper_and_pearson_do():
    """With no hit of three the upper 99 % bound is 1 - 0.01^(1/3) = 0.7846, with none of two 0.9."""
    assert below(0, 3, 0.785)
    assert not below(0, 3, 0.784)
    assert not below(0, 2, 0.8)
    assert not below(3, 3, 0.999)


# ------------------------------------------------------------------------------------------------ plans
EASY = ("readings=[slope]", "sizes=[7]", "steps=[25,50,100]", "evaluations=[50]", "simulations=8")


def test_a_plan_finds_a_cheap_design_and_repeats_itself():
    study, request = asked("training.log_linear", *EASY)
    first, again = (plan_designs(study, request) for _ in range(2))
    assert first.to_json() == again.to_json()
    json.dumps(first.to_json(), allow_nan=False)
    assert first.reached
    assert first.chosen.supported(first.law).share >= 0.8
    wrong = first.chosen.wrong(first.others())[1]
    assert wrong.share - wrong.error <= 0.1
    cheaper = [t for t in first.tallies if t.flops < first.chosen.flops]
    assert all(t.supported(first.law).share < 0.8 or t.wrong(first.others())[1].share > 0.1 for t in cheaper)
    # eight planted experiments may come out alike from two seeds, but hardly from four
    others = [plan_designs(replace(study, seed=study.seed + i), request) for i in (1, 2, 3)]
    assert any(o.tallies[-1].found != first.tallies[-1].found or o.chosen.design != first.chosen.design for o in others)


def test_what_no_design_can_tell_is_said():
    """Sizes of one octave: their slopes lie on a straight line under the law and under its rivals."""
    study, request = asked("training.saturation", "readings=[form]", "sizes=[1,1.4,2]", "steps=[25]", "seeds=[3]",
                           "evaluations=[25]", "budget.flops=1e20", "simulations=4")  # fmt: skip
    plan = plan_designs(study, request)
    assert not plan.reached
    assert plan.chosen.supported(plan.law).share <= 0.25
    said = " ".join(plan.sentences())
    assert "No design within 1e+20 FLOP reaches 80% power with at most 10% wrong" in said
    assert "cannot be told apart by any design within the budget" in said


@pytest.mark.parametrize("claim", ["training.extrapolation_in_run", "training.extrapolation",
                                   "training.extrapolation_slope", "training.decomposition"])  # fmt: skip
def test_every_claim_on_learning_curves_has_a_plan(claim):
    sizes = "sizes=[1,3,9]" if claim != "training.decomposition" else "sizes=[7]"
    study, request = asked(claim, sizes, "steps=[50]", "seeds=[3]", "evaluations=[50]", "simulations=4")
    plan = plan_designs(study, request)
    assert plan.tallies
    assert all(j.problem == "" for t in plan.tallies for js in t.found.values() for j in js)


def test_a_hold_out_is_part_of_a_design():
    study, request = asked("training.extrapolation_in_run", "sizes=7", "steps=50", "seeds=3", "evaluations=50",
                           "holdout=[0.3,0.8]", "simulations=4")  # fmt: skip
    plan = plan_designs(study, request)
    assert {t.design.after for t in plan.tallies} == {0.3, 0.8}
    curve = request.reference.curve(512)
    law = truths(study, request.lab, exact_table(curve, [7.0], STEPS, request.lab), pilot=False, given={})[0]
    told = [experiment(study, request.lab, Design((7.0,), 50, 3, 50, after), law, 0) for after in (0.03, 0.8)]
    assert told[0].readings["within_5_percent"] == "invalid"  # two points of a line and its noise
    assert told[1].readings["within_5_percent"] != "invalid"


def test_a_run_folder_and_a_table_are_pilots(tmp_path):
    _, request = asked("training.log_linear", *EASY)
    table = noisy_table(Design((7.0,), 60, 3, 60), power_law(0.05), request.lab, np.random.default_rng(5))
    names = list(table)
    lines = [",".join(names), *(",".join(map(str, row)) for row in zip(*table.values(), strict=True))]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    policy = [f"policy.file={path}", "policy.layout=loss_curves", "report=null", "engine.workers=1"]
    ran = rlaws("run", "study=training/extrapolation_in_run_qwen25", *policy, "json=true", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / json.loads(ran.stdout)["runs"][0]["folder"]
    stored = from_folder(folder, 3, request.lab.training(1.0, 1.0) / 512)
    for column in ("model_B", "step", "samples", "cum_flops", "test_loss"):
        assert stored.table[column] == pytest.approx(table[column], rel=1e-9)
    words = ["plan", "claim=training.log_linear", f"pilot={path}", "readings=[slope]", "sizes=7", "steps=50", "seeds=3"]
    planned = rlaws(*words, "simulations=4", "json=true", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    record = json.loads(planned.stdout)
    assert record["truths"][0]["theta"]["k"][0] == pytest.approx(0.05, abs=0.02)
    assert record["lab"]["noise"]["between"] == 0.01


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["claim=training.saturatoin"], "Did you mean 'training.saturation'"),
        (["claim=training.saturation", "sizes=[-1,2,3]"], "sizes.0: Input should be greater than 0"),
        (["claim=training.saturation", "sizes=[1,2]"], "needs at least 3 sizes"),
        (["claim=training.saturation", "budget.flops=1e15"], "too small for any design: the cheapest, sizes 0.5, 1.5"),
        (["claim=training.saturation", "readings=[fom]"], "Did you mean 'form'"),
        (["claim=training.saturation", "noise={rho: 1}"], "noise.rho"),
        (["claim=training.saturation", "truth={Kmax: 1}"], "K_max"),
        (["claim=training.saturation", "pilot=nowhere.csv"], "is no study, no run folder and no table"),
        (["claim=training.saturation", "study=credit/bits"], "is no study of training.saturation"),
        (["claim=training.saturation", "sizs=[1,2,3]"], "Did you mean 'sizes'"),
        (["claim=conflict.curve_form"], "as with readings=[log_linear]"),
        (["claim=training.equivalence"], "their slopes cannot differ"),
        (["claim=search.exponents"], "`rlaws plan study=search/exponents` gives cost and power"),
        (["study=credit/bits", "budget.flops=1e20"], "give claim=group.name"),
        (["study=credit/bits", "pilot=mine.csv"], "a table goes with claim="),
        ([], "Nothing to plan"),
    ],
    ids=" ".join,
)
def test_bad_plans_get_one_sentence(tmp_path, words, says):
    ran = rlaws("plan", *words, cwd=tmp_path)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_study_is_planned_as_before(tmp_path):
    words = ["study=search/fail_1_over_n_single", "problems.size=400", "simulations=10"]
    ran = rlaws("plan", *words, "json=true", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    record = json.loads(ran.stdout)
    assert record["study"] == "search/fail_1_over_n_single"
    assert record["cells"] >= 1
    assert all(row["power"] is None or 0 <= row["power"] <= 1 for row in record["rows"])
