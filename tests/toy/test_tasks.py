"""Tasks in tokens: exact inverses, grades against ``rlaws.problems`` and plain evaluation, verifier and label noise."""

import numpy as np
import pytest
from scipy.stats import binom

from rlaws import problems as core
from rlaws.errors import InputError
from rlaws.problems import ArithmeticChain, ChainProblem, Operation, ProblemSet
from toymodels.tasks import (
    BooleanCircuit,
    Mixture,
    Program,
    ReflectionChain,
    Step,
    Verifier,
    Vocabulary,
    from_chain,
    label_noise,
    make_task,
    to_chain,
)
from toymodels.tasks.programs import programs_of, tabulate

SEED = np.random.SeedSequence(7)
MIX = Mixture(
    (
        ArithmeticChain(2, 5, 0.2, 40),
        ArithmeticChain(4, 7, 0.2, 40),
        ReflectionChain(3, 6, 0.3, 40),
        BooleanCircuit(4, 5, 40),
    )
)


def test_questions_have_an_exact_inverse():
    words = Vocabulary(12)
    for program in programs_of(MIX.draw(SEED)):
        tokens = words.encode(program)
        assert tokens.max() < words.size
        assert words.decode(tokens, program.id) == program
        if program.family == "chain":
            assert from_chain(to_chain(program)) == program


def test_chain_tokens_are_those_of_the_core():
    """Between the modulus and the end, the ids are ``ChainProblem.to_tokens`` with words moved from m to V."""
    words, names = Vocabulary(11), (*core.KINDS, "ask", "end")
    for problem in ArithmeticChain(5, 7, 0.3, 50).draw(SEED).items:
        moved = [x if x < 7 else words.id(names[x - 7]) for x in problem.to_tokens()]
        assert words.encode(from_chain(problem)).tolist() == [words.id("chain"), 7, *moved]


def test_circuit_by_hand():
    program = Program("c", "circuit", 2, (1, 0, 1), (Step("and", 2, 0), Step("xor", 3, 0), Step("or", 4, 1)))
    assert program.states == (1, 0, 0)
    assert program.answer == 0


def test_reflection_by_hand():
    steps = (Step("subtract", 0, 3), Step("reflect", 1, 2), Step("set", 2, 4), Step("reflect", 3, 1))
    assert Program("r", "reflection", 5, (1,), steps).states == (3, 4, 4, 2)


@pytest.mark.parametrize(
    ("m", "inputs", "step"),
    [
        (5, (1,), Step("multiply", 0, 0)),
        (5, (1,), Step("add", 0, 5)),
        (5, (7,), Step("add", 0, 1)),
        (3, (1, 1), Step("and", 1, 0)),
        (2, (1, 1), Step("and", 2, 0)),
        (5, (1,), Step("divide", 0, 1)),
    ],
)
def test_impossible_steps_are_refused(m, inputs, step):
    with pytest.raises(InputError, match=r"possible are|needed are"):
        Program("x", "chain", m, inputs, (step,))


def test_grades_equal_those_of_the_core():
    """On chains, for random shown values with holes, both graders agree on every step."""
    rng = np.random.default_rng(3)
    drawn = ArithmeticChain(6, 5, 0.25, 60).draw(SEED)
    rows = rng.integers(0, 60, 4000)
    shown = rng.integers(-1, 6, (4000, 6))
    keep = rng.random((4000, 6)) < 0.6
    shown = np.where(keep, core.true_states(drawn)[rows], shown)
    ours = make_task(drawn, 8)
    got = ours.grade(rows, ours.read(rows, np.concatenate([shown, np.zeros((4000, 1), int)], axis=1)))
    want = core.grade(drawn, rows, shown)
    np.testing.assert_array_equal(got.follows, want.step_correct)
    np.testing.assert_array_equal(got.on_track, want.on_track)
    np.testing.assert_array_equal(got.outcome, want.outcome)
    assert 0.02 < want.outcome.mean() < 0.98


def plain_value(kind, left, right, amount, m):
    table = {
        "add": left + amount,
        "multiply": left * amount,
        "set": amount,
        "subtract": left - amount,
        "reflect": amount - left,
        "and": left & right,
        "or": left | right,
        "xor": left ^ right,
    }
    return table[kind] % m


def test_tables_equal_plain_evaluation():
    programs = programs_of(MIX.draw(SEED))
    tables = tabulate(programs)
    for row, program in enumerate(programs):
        wires = list(program.inputs)
        for step in program.steps:
            gate = step.kind in ("and", "or", "xor")
            other = wires[step.right] if gate else 0
            wires.append(plain_value(step.kind, wires[step.left], other, step.right, program.modulus))
        truth = wires[len(program.inputs) :]
        assert tables.truth[row, : len(truth)].tolist() == truth == list(program.states)
        assert (tables.truth[row, len(truth) :] == -1).all()


def test_demonstrations_are_right_and_any_change_is_seen():
    task = make_task(MIX.draw(SEED), 12, style=True, spare=1)
    rows = np.arange(len(task))
    reading = task.read(rows, task.demonstrations)
    grade = task.grade(rows, reading)
    assert grade.outcome.all()
    np.testing.assert_array_equal(grade.follows, grade.exists)
    np.testing.assert_array_equal(reading.length, task.tables.steps + 1)
    assert reading.ended.all()
    assert not reading.styled.any()
    for t in range(2):
        wrong = task.demonstrations.copy()
        wrong[:, t] = (wrong[:, t] + 1) % task.tables.modulus
        damaged = task.grade(rows, task.read(rows, wrong))
        assert not damaged.follows[:, t].any()
        assert not damaged.on_track[:, t].any()


def test_style_and_early_end_are_read():
    problem = ChainProblem("a", 2, 5, (Operation("add", 1), Operation("add", 3)))
    task = make_task(ProblemSet(np.array(["a"]), {}, (problem,)), 6, style=True)
    end, style = task.vocabulary.id("end"), task.vocabulary.id("style")
    responses = np.array([[3, 1, style, end], [3, 1, end, style], [3, end, 1, style], [3, style, 1, end]])
    reading = task.read(np.zeros(4, int), responses)
    assert reading.styled.tolist() == [True, False, False, False]
    assert reading.length.tolist() == [4, 3, 2, 4]
    assert reading.values.tolist() == [[3, 1], [3, 1], [3, -1], [3, -1]]
    assert task.grade(np.zeros(4, int), reading).outcome.tolist() == [True, True, False, False]
    assert task.answers(np.zeros(4, int), reading).tolist() == [1, 1, -1, -1]


def test_padding_is_on_the_right_and_lengths_are_true():
    task = make_task(MIX.draw(SEED), 12)
    pad = task.vocabulary.id("pad")
    np.testing.assert_array_equal((task.questions != pad).sum(axis=1), task.question_length)
    assert (task.questions[np.arange(len(task)), task.question_length - 1] == task.vocabulary.id("ask")).all()
    assert task.width == task.questions.shape[1] + task.response


def test_verifier_errs_at_its_rates():
    """Counts lie in binomial bands; false alarm 1e-6 a band (three bands)."""
    rng = np.random.default_rng(11)
    n = 40_000
    outcome, styled = np.repeat([True, False, False], n), np.repeat([False, False, True], n)
    got = Verifier(fp=0.1, fn=0.2, style=0.3)(outcome, styled, rng).reshape(3, n).sum(axis=1)
    for count, p in zip(got, (0.8, 0.1, 0.4), strict=True):
        low, high = binom.interval(1 - 1e-6, n, p)
        assert low <= count <= high
        assert not low <= count + 0.03 * n <= high, "the band sees a rate that is off by 0.03"


def test_perfect_verifier_and_noise_free_labels_change_nothing():
    rng = np.random.default_rng(0)
    labels = rng.random((50, 4)) < 0.5
    np.testing.assert_array_equal(Verifier()(labels[:, 0], labels[:, 1], rng), labels[:, 0])
    np.testing.assert_array_equal(label_noise(labels, 0.0, rng), labels)
    np.testing.assert_array_equal(label_noise(labels, 1.0, rng), ~labels)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Verifier(fp=0.8, style=0.3), "fp \\+ style"),
        (lambda: make_task(ArithmeticChain(2, 9, 0.0, 3).draw(SEED), 9), "vocabulary of at least 10"),
        (lambda: make_task(ProblemSet(np.array(["a"]), {}), 9), "arithmetic_chain"),
        (lambda: BooleanCircuit(1, 2, 3), "bits >= 2"),
        (lambda: ReflectionChain(0, 5, 0.0, 3), "length >= 1"),
        (lambda: Mixture(()), "at least one"),
        (lambda: Vocabulary(9).decode([1, 2, 3]), "no question"),
    ],
)
def test_mistakes_are_answered(make, words):
    with pytest.raises(InputError, match=words):
        make()
