import numpy as np
import pytest
import torch

from rlaws.errors import InputError
from toymodels import ladder
from toymodels.enumeration import digits, enumerate_solutions
from toymodels.ladder import VALUES
from toymodels.tasks import make_task

STANDARD = ladder.RECIPES["standard"]


def chains(size, seed, recipe=STANDARD):
    return make_task(recipe.chains(size).draw(np.random.SeedSequence(seed)), VALUES)


def test_nominal_sizes_are_honest_and_span_a_decade_and_a_half():
    exact = [ladder.parameters_of(size) for size in ladder.SIZES]
    assert np.allclose(exact, list(ladder.SIZES), rtol=0.03)
    on_a_cpu = [size for size in ladder.SIZES if size <= 1_000_000]
    assert np.log10(max(on_a_cpu) / min(on_a_cpu)) > 1.5
    with pytest.raises(InputError, match="no rung"):
        ladder.config_of(5_000)


def test_the_teacher_errs_as_often_as_it_should():
    """Share of steps that follow, by operation; |z| < 4 in 8 tests: false alarm 5e-4."""
    task = chains(8192, 1)
    shown = ladder.demonstrations(task, STANDARD, np.random.default_rng(2))
    reading = task.read(shown.rows, shown.responses)
    grade = task.grade(shown.rows, reading)
    written = reading.values >= 0
    rate = ladder.error_rates(task, STANDARD)
    assert rate.min() >= STANDARD.error_low
    assert rate.max() <= STANDARD.error_high
    for low, high in ((0.0, 0.1), (0.1, 0.15), (0.15, 0.2), (0.2, 0.3)):
        group = written & (rate >= low) & (rate < high)
        p, n = rate[group].mean(), group.sum()
        z = ((~grade.follows[group]).mean() - p) / np.sqrt(p * (1 - p) / n)
        assert abs(z) < 4, (low, z)
    whole = reading.values[:, -1] >= 0
    cut = 1.0 - whole.mean()
    assert abs(cut - STANDARD.cut) < 4 * np.sqrt(STANDARD.cut / len(task))


def test_a_teacher_without_errors_is_right():
    sure = ladder.Recipe(error_low=0.0, error_high=0.0, cut=0.0)
    task = make_task(sure.everything().draw(np.random.SeedSequence(3)), VALUES)
    shown = ladder.demonstrations(task, sure, np.random.default_rng(4))
    assert np.array_equal(shown.responses, task.demonstrations)


def test_a_base_is_imperfect_and_problems_differ():
    found = enumerate_solutions(ladder.base(4_000), chains(128, 5)).success()
    assert 1 / STANDARD.modulus < found.mean() < 0.6
    assert found.std() > 0.08
    assert found.min() < 0.2
    assert found.max() > 0.6
    assert 0 < found.min() <= found.max() < 1


def test_a_model_that_knows_nothing_has_the_closed_form():
    """Equal logits: each token 1/V, so P(right) = (m/V)^(L-1) / V, exactly."""
    model = ladder.base(4_000, 0, "tiny")
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    found = enumerate_solutions(model, chains(16, 6))
    v, m = model.config.vocab, STANDARD.modulus
    assert np.allclose(found.success(), (m / v) ** 2 / v, rtol=1e-6)
    assert np.allclose(found.token_entropy(), np.log(v), rtol=1e-6)


def test_enumeration_adds_up_and_cold_policies_take_the_likeliest():
    model, task = ladder.base(4_000, 0, "tiny"), chains(16, 7)
    found = enumerate_solutions(model, task)
    assert np.allclose(found.answers().sum(axis=1), 1.0)
    assert np.all(found.reached()[-1].sum(axis=1) <= 1 + 1e-9)
    assert np.allclose(found.divergence(found), 0.0, atol=1e-12)
    cold = enumerate_solutions(model, task, 1e-3).success()
    assert np.all((cold < 1e-6) | (cold > 1 - 1e-6))
    assert digits(3, 2).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]


def test_too_many_solutions_are_refused():
    long = ladder.Recipe(length=8, others=0.0)
    task = make_task(long.chains(2).draw(np.random.SeedSequence(1)), VALUES)
    with pytest.raises(InputError, match="shorten"):
        enumerate_solutions(ladder.base(4_000, 0, "tiny"), task)


@pytest.mark.parametrize("bad", [{"error_low": 0.5, "error_high": 0.1}, {"cut": 1.0}, {"steps": 0}])
def test_impossible_recipes_are_refused(bad):
    with pytest.raises(InputError, match=r"needed|needs"):
        ladder.Recipe(**bad)
