"""Step verifiers: what they are taught, how exactly they are examined, and that they learn nothing from nothing.

Trained on the base of recipe "tiny" (two steps modulo 5; a second to train). Training is deterministic, so thresholds
on it have no false alarms.
"""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from rlaws.errors import InputError
from rlaws.probes.base import Budget
from rlaws.probes.tabulated import Tabulated
from rlaws.seeding import seed_sequence
from tests.golden.test_configs import values
from toymodels import ladder
from toymodels.batches import Deck, lay_out, log_policy
from toymodels.critics import node_values, rollouts
from toymodels.enumeration import enumerate_solutions
from toymodels.model import Decoder
from toymodels.tasks.programs import OPERATIONS
from toymodels.verifier_tables import DIFFERENCE, VerifierErrors
from toymodels.verifiers import (
    VerifierFit,
    exam,
    labels_of,
    misordered,
    step_error,
    train_verifier,
    verified,
    verifier_config,
)

TINY = VerifierFit(4_000, 0, "tiny", 4_000, "process", 2048, updates=160)


def error(**settings):
    return float(verified(replace(TINY, **settings))["error"].mean())


# ----------------------------------------------------------------------------------------------------------- exams
def test_errors_written_out_by_hand():
    """Three values, the right one is 1: put first, second, last, and in a tie with one and with both others."""
    odds = np.array([[[0.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 0.0, 1.0], [2.0, 2.0, 1.0], [0.0, 0.0, 0.0]]])
    assert misordered(odds, np.ones((1, 5), dtype=int)).tolist() == [0.0, 0.5, 1.0, 0.25, 0.5]


def test_the_error_is_that_of_a_slow_twin_that_writes_every_step_out():
    """The twin asks the model once for every problem, step and wrong value, on whole rows of tokens."""
    task, model = exam("tiny"), Decoder(verifier_config(1_000), seed=5)
    deck, few = Deck.of(task, torch.device("cpu")), 24
    wrong, pairs = np.zeros(2), np.zeros(2)
    for row in range(few):
        for step in range(2):
            right = int(task.tables.truth[row, step])
            laid = lay_out(deck, torch.tensor([row]), torch.from_numpy(task.demonstrations[row : row + 1, :step]))
            with torch.inference_mode():
                odds = model.logits(model.states(laid.tokens))[0, int(deck.length[row]) + step - 1]
            for value in set(range(5)) - {right}:
                pairs[step] += 1
                wrong[step] += float(odds[value] > odds[right]) + 0.5 * float(odds[value] == odds[right])
    cut = replace(
        task,
        questions=task.questions[:few],
        question_length=task.question_length[:few],
        tables=type(task.tables)(*(x[:few] for x in task.tables)),
        demonstrations=task.demonstrations[:few],
    )
    assert step_error(model, cut) == pytest.approx(wrong / pairs, abs=1e-12)


def test_exact_values_judge_nearly_every_step_right():
    """The limit of outcome labels: the value P(right answer | prefix) itself, by enumeration, orders steps rightly."""
    task, base = exam("standard"), ladder.base(15_000)
    levels = node_values(enumerate_solutions(base, task))
    right, node = task.tables.truth, np.zeros(len(task), dtype=int)
    odds = np.empty((len(task), 3, 5))
    for step in range(3):
        odds[:, step] = levels[step + 1].reshape(len(task), -1, 5)[np.arange(len(task)), node]
        node = node * 5 + right[:, step]
    assert misordered(odds, right).mean() < 0.01
    assert misordered(odds, right)[-1] == 0.0


def test_the_exam_has_no_steps_that_forget():
    assert OPERATIONS.index("set") not in exam("standard").tables.kind


# ---------------------------------------------------------------------------------------------------------- labels
def test_labels_are_those_of_the_checker_and_noise_flips_a_share():
    data = rollouts(4_000, 0, "tiny")
    response = data.response[:, :4]
    rows = np.arange(len(data.task)).repeat(4)
    reading = data.task.read(rows, response.flatten(0, 1).numpy())
    grade = data.task.grade(rows, reading)
    shape = (len(data.task), 4, 2)
    for kind in ("process", "outcome"):
        clean, written = labels_of(replace(TINY, labels=kind), data.task, response, np.random.default_rng(0))
        wanted = grade.follows if kind == "process" else np.repeat(grade.outcome[:, None], 2, axis=1)
        assert np.array_equal(clean.numpy() > 0, wanted.reshape(shape))
        noisy, _ = labels_of(replace(TINY, labels=kind, noise=0.2), data.task, response, np.random.default_rng(0))
        assert float((noisy != clean).float().mean()) == pytest.approx(0.2, abs=5 * 0.4 / np.sqrt(8192))
        assert np.array_equal(written.numpy() > 0, (np.arange(2) < reading.length[:, None]).reshape(shape))


def test_outcome_labels_are_one_word_for_a_whole_chain():
    data = rollouts(4_000, 0, "tiny")
    told, _ = labels_of(
        replace(TINY, labels="outcome", noise=0.3), data.task, data.response[:, :4], np.random.default_rng(1)
    )
    assert bool((told[..., 0] == told[..., 1]).all())


# -------------------------------------------------------------------------------------------------------- training
def test_many_step_labels_leave_little_error_and_few_leave_much():
    assert error(chains=8192, updates=400) < 0.1
    assert error(chains=16) > error(chains=8192, updates=400) + 0.1


def test_shuffled_labels_teach_nothing():
    """Chance is 1/2; what a random network and the frequencies of values leave stays near it, however many chains."""
    for chains in (128, 8192):
        assert 0.4 < error(chains=chains, shuffled=True) < 0.6


def test_noise_of_one_half_teaches_nothing_and_less_noise_less_harm():
    assert 0.4 < error(noise=0.5) < 0.6
    assert error() < error(noise=0.5) - 0.1


def test_a_verifier_learns_probabilities():
    """Its odds are those of the labels: over the taken steps the mean probability is the share of right ones."""
    model, data = train_verifier(replace(TINY, chains=8192, updates=400)), rollouts(4_000, 0, "tiny")
    deck = Deck.of(data.task, torch.device("cpu"))
    laid = lay_out(deck, torch.arange(len(data.task)), data.response[:, 0])
    right, written = labels_of(TINY, data.task, data.response[:, :1], np.random.default_rng(0))
    with torch.inference_mode():
        hidden = model.states(laid.tokens).gather(1, laid.before[:, :2, None].expand(-1, -1, model.config.width))
        odds = model.logits(hidden).gather(2, data.response[:, 0, :2, None])[..., 0]
        assert log_policy(model, hidden, 1.0).isfinite().all()
    keep = written[:, 0] > 0
    assert float(odds.sigmoid()[keep].mean()) == pytest.approx(float(right[:, 0][keep].mean()), abs=0.05)


# ------------------------------------------------------------------------------------------------------------ table
def test_a_table_has_a_row_for_each_design_point_and_the_difference(monkeypatch):
    """With errors 0.5 D^-0.15 and D^-0.5 planted, the rows say so, and the difference is theirs."""

    def planted(plan):
        return {"error": np.array([0.5 * plan.chains**-0.15 if plan.labels == "outcome" else plan.chains**-0.5])}

    monkeypatch.setattr("toymodels.verifier_tables.verified", planted)
    probe = Tabulated("error", x=("chains",), regime=("labels", "noise"))
    found = probe.measure(VerifierErrors(), None, Budget("quick", 1.0, 100), seed_sequence(0))
    assert found.provenance["runs"] == 4
    c = found.columns
    assert len(c["total"]) == 4 * 3 * 2 * 4
    d, labels = c["chains"].astype(float), c["labels"]
    assert np.allclose(c["total"][labels == "process"], d[labels == "process"] ** -0.5)
    both = labels == DIFFERENCE
    assert np.allclose(c["total"][both], 0.5 * d[both] ** -0.15 - d[both] ** -0.5)


def test_settings_are_checked():
    assert set(VerifierErrors.UNITS) == {f.name for f in fields(VerifierErrors)}
    for settings, message in (
        ({"labels": ("proces",)}, "labels = 'proces' are not known"),
        ({"chains": (6,)}, "multiples of 4"),
        ({"chains": (16_384,)}, "up to 8192"),
        ({"noises": (0.7,)}, r"in \[0, 0.5\]"),
        ({"sizes": (5,)}, "no size"),
        ({"labels": ()}, "at least one of each"),
    ):
        with pytest.raises(InputError, match=message):
            VerifierErrors(**settings)


@pytest.mark.parametrize("study", ["credit/process_vs_outcome_toy", "credit/prm_error_law_toy"])
def test_a_study_says_its_rung_and_has_three_runs(study):
    made = values(study)
    assert made["study"]["rung"] == "toy"
    assert made["policy"]["seeds"] >= 3
    assert made["probe"]["runs"] == "seed"
