"""Problems: renderings with exact inverses, and what counts as right.

Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaws.errors import InputError
from rlaws.problems import (
    ArithmeticChain,
    BetaProblems,
    ChainProblem,
    Operation,
    ProblemSet,
    SingleDifficulty,
    chain_arrays,
    difficulty,
    grade,
    read_text,
    read_tokens,
    true_states,
    vocabulary_size,
)
from rlaws.rollouts import Rollouts
from sim.uniform import UniformPolicy

Z = 4.4


def seed(n):
    return np.random.SeedSequence(20260403, spawn_key=(n,))


@st.composite
def chains(draw):
    m = draw(st.integers(2, 40))
    units = [a for a in range(m) if gcd(a, m) == 1]
    step = st.one_of(
        st.tuples(st.sampled_from(["add", "set"]), st.integers(0, m - 1)),
        st.tuples(st.just("multiply"), st.sampled_from(units)),
    )
    steps = draw(st.lists(step.map(lambda s: Operation(*s)), min_size=1, max_size=12))
    return ChainProblem(draw(st.sampled_from(["", "chain-000007"])), draw(st.integers(0, m - 1)), m, tuple(steps))


# ------------------------------------------------------------------------------------------------ renderings
@given(chains())
def test_every_rendering_has_an_exact_inverse(problem):
    assert ChainProblem.from_state(problem.to_state(), problem.id) == problem
    assert ChainProblem.from_tokens(problem.to_tokens(), problem.modulus, problem.id) == problem
    assert ChainProblem.from_text(problem.to_text(), problem.id) == problem


@given(chains())
def test_solutions_read_back(problem):
    length, m = len(problem.operations), problem.modulus
    assert read_tokens(problem.solution_tokens(), length, m).tolist() == list(problem.states)
    assert read_text(problem.solution_text(), length).tolist() == list(problem.states)
    assert problem.answer == problem.states[-1]
    assert max(problem.to_tokens().max(), problem.solution_tokens().max()) < vocabulary_size(m)


@given(chains(), st.data())
def test_a_wrong_value_stays_wrong_until_a_set(problem, data):
    """Follow the operations faithfully from a wrong value: off the track up to the first "set", on it from there."""
    m, length = problem.modulus, len(problem.operations)
    at = data.draw(st.integers(0, length - 1))
    wrong = (problem.states[at] + data.draw(st.integers(1, m - 1))) % m
    after = ChainProblem("", wrong, m, problem.operations[at + 1 :]).states if at + 1 < length else ()
    values = np.array([[*problem.states[:at], wrong, *after]])
    graded = grade(_set_of(problem), [0], values)
    assert graded.step_correct[0].tolist() == [t != at for t in range(length)]
    sets = [t for t in range(at + 1, length) if problem.operations[t].kind == "set"]
    back = sets[0] if sets else length
    assert graded.on_track[0].tolist() == [t < at or t >= back for t in range(length)]
    assert graded.outcome[0] == bool(sets)


def _set_of(*problems):
    return ProblemSet(np.array([str(i) for i in range(len(problems))]), {}, problems)


def test_a_worked_example():
    problem = ChainProblem("x", 7, 11, (Operation("add", 6), Operation("multiply", 4), Operation("set", 5)))
    assert problem.states == (2, 8, 5)
    assert problem.to_text() == (
        "Start with the value 7. All values are taken modulo 11.\n"
        "Step 1: add 6.\nStep 2: multiply by 4.\nStep 3: set the value to 5.\n"
        'After each step write one line "Step i: value". The value after step 3 is the answer.'
    )
    assert problem.to_tokens().tolist() == [7, 11, 6, 12, 4, 13, 5, 14]
    assert problem.solution_tokens().tolist() == [2, 8, 5, 15]
    assert problem.to_state().tolist() == [11, 7, 0, 6, 1, 4, 2, 5]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Step 1: 2\nStep 2: 8\nStep 3: 5", [2, 8, 5]),
        ("**Step 1:** 7 + 6 = 13, so 2 (mod 11)\n - step 2) 2*4 = 8 modulo 11.\nStep 3: 5", [2, 8, 5]),
        ("Step 1: add 6.\nStep 2: multiply by 4.\nStep 3: set.\n\nStep 1: 2\nStep 2: 8\nStep 3: 5", [2, 8, 5]),
        ("Step 1: 2\nStep 3: 5\nStep 9: 1", [2, -1, 5]),
        ("Step 1: two\nStep 2: -3\nStep 3: 99999999999999999999999", [-1, -3, -1]),
        ("", [-1, -1, -1]),
    ],
)
def test_reading_what_a_language_model_writes(text, values):
    assert read_text(text, 3).tolist() == values


def test_reading_tokens_stops_at_the_end_and_skips_what_is_no_value():
    assert read_tokens([2, 12, 5, 15, 3], 5, 11).tolist() == [2, -1, 5, -1, -1]


def test_missing_values_are_wrong_and_only_a_set_follows_them():
    problem = ChainProblem("x", 7, 11, (Operation("add", 6), Operation("multiply", 4), Operation("set", 5)))
    graded = grade(_set_of(problem), [0, 0], [[-1, 7, 5], [13, 8, -1]])
    assert graded.step_correct.tolist() == [[False, False, True], [False, False, False]]
    assert graded.on_track.tolist() == [[False, False, True], [False, True, False]]


# ------------------------------------------------------------------------------------------------ the planted solver
@dataclass(frozen=True)
class Solver:
    """Every step right with probability p, else one of the m - 1 wrong values; the tests' own, step by step."""

    p: float

    def sample(self, problems, n, seed_):
        rng = np.random.default_rng(seed_)
        rows = np.repeat(np.arange(len(problems)), n)
        values = np.zeros((rows.size, len(problems.items[0].operations)), dtype=int)
        for i, row in enumerate(rows):
            item, x = problems.items[row], problems.items[row].start
            for t, (kind, a) in enumerate(item.operations):
                x = a if kind == "set" else (x + a) % item.modulus if kind == "add" else x * a % item.modulus
                if rng.random() >= self.p:
                    x = (x + rng.integers(1, item.modulus)) % item.modulus
                values[i, t] = x
        graded = grade(problems, rows, values)
        return Rollouts(
            rows, np.tile(np.arange(n), len(problems)), graded.outcome, np.full(rows.size, values.shape[1]),
            graded.step_correct,
        )  # fmt: skip


def track(p, reset, m, length):
    """P(answer right) by the two-state recursion of the credit-assignment chain."""
    on, back = 1.0, reset * p + (1 - reset) * (1 - p) / (m - 1)
    for _ in range(length):
        on = on * p + (1 - on) * back
    return on


@pytest.mark.parametrize("reset", [0.0, 0.3])
def test_outcome_is_the_credit_chain(reset):
    """Fresh problems for each solution, so that the resets average too."""
    problems = ArithmeticChain(6, 5, reset, 4000).draw(seed(1))
    solved = Solver(0.8).sample(problems, 1, seed(2))
    stderr = 0.5 / np.sqrt(4000)
    assert abs(solved.correct.mean() - track(0.8, reset, 5, 6)) < Z * stderr
    assert abs(solved.step_correct.mean() - 0.8) < Z * 0.4 / np.sqrt(24_000)
    assert abs(solved.correct.mean() - track(0.8, 0.8 * reset + 0.25, 5, 6)) > Z * stderr  # negative control


# ------------------------------------------------------------------------------------------------ drawing
def test_chains_are_what_was_asked():
    problems = ArithmeticChain(20, 12, 0.25, 300).draw(seed(3))
    start, kinds, amounts, modulus = chain_arrays(problems)
    assert kinds.shape == (300, 20)
    assert set(modulus.tolist()) == {12}
    assert len(set(problems.ids.tolist())) == 300
    share = (kinds == 2).mean()
    assert abs(share - 0.25) < Z * np.sqrt(0.25 * 0.75 / 6000)
    assert abs((kinds == 0).mean() - 0.375) < Z * np.sqrt(0.375 * 0.625 / 6000)
    assert set(amounts[kinds == 1].tolist()) == {5, 7, 11}
    assert 0 not in amounts[kinds == 0]
    assert set(amounts[kinds == 2].tolist()) == set(range(12))
    np.testing.assert_array_equal(difficulty(problems, "resets"), (kinds == 2).sum(axis=1))
    for row in range(300):
        steps = np.flatnonzero(kinds[row] == 2)
        assert difficulty(problems, "span")[row] == (20 - steps[-1] if steps.size else 20)
    np.testing.assert_array_equal(true_states(problems)[:, -1], [p.answer for p in problems.items])
    assert start.min() >= 0


def test_the_seed_decides_and_modulus_two_has_no_factor():
    make = ArithmeticChain(5, 2, 0.2, 50)
    first, again, other = (make.draw(seed(n)) for n in (4, 4, 5))
    assert first.items == again.items
    assert first.items != other.items
    assert not (chain_arrays(first)[1] == 1).any()


def test_beta_problems_have_the_moments():
    p = difficulty(BetaProblems(0.5, 2.0, 20_000).draw(seed(6)), "p")
    assert abs(p.mean() - 0.2) < Z * p.std() / np.sqrt(p.size)
    assert p.var() == pytest.approx(0.2 * 0.8 / 3.5, rel=0.05)


# ------------------------------------------------------------------------------------------------ the uniform policy
def test_uniform_policy_meets_its_closed_form():
    problems = ArithmeticChain(8, 7, 0.2, 50).draw(seed(7))
    rollouts = UniformPolicy().sample(problems, 200, seed(8))
    n = rollouts.correct.size
    for share, size in ((rollouts.correct.mean(), n), (rollouts.step_correct.mean(), 8 * n)):
        assert abs(share - 1 / 7) < Z * np.sqrt(6 / 49 / size)
    pairs = (rollouts.step_correct[:, :-1] & rollouts.step_correct[:, 1:]).mean()
    assert abs(pairs - 1 / 49) < Z * np.sqrt(1 / 49 / (7 * n))
    assert UniformPolicy().success(problems).tolist() == [1 / 7] * 50
    counted = UniformPolicy().count(problems, 200, seed(9))[1].sum() / n
    assert abs(counted - 1 / 7) < Z * np.sqrt(6 / 49 / n)
    np.testing.assert_allclose(rollouts.logprob, -8 * np.log(7))


# ------------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BetaProblems(0.0, 1.0, 5), "alpha = 0"),
        (lambda: SingleDifficulty(1.2, 5), "p = 1.2"),
        (lambda: SingleDifficulty(0.2, 0), "size = 0"),
        (lambda: ArithmeticChain(0, 5, 0.1, 3), "length = 0"),
        (lambda: ArithmeticChain(3, 5, 1.1, 3), "reset = 1.1"),
        (lambda: ChainProblem("q", 5, 5, (Operation("add", 1),)), "Problem 'q'"),
        (lambda: ChainProblem("q", 1, 6, (Operation("multiply", 3),)), "step 1: 'multiply 3'"),
        (lambda: ChainProblem("q", 1, 6, (Operation("power", 3),)), "step 1: 'power 3'"),
        (lambda: ChainProblem.from_text("Start with 3."), "Not a worded chain"),
        (lambda: ChainProblem.from_tokens([1, 2, 3, 4], 11), "no question"),
        (lambda: ChainProblem.from_state([11, 3, 9, 1]), "no chain"),
        (lambda: chain_arrays(SingleDifficulty(0.2, 3).draw(seed(0))), "no arithmetic chains"),
        (lambda: difficulty(ArithmeticChain(3, 5, 0.1, 3).draw(seed(0)), "p"), "no difficulty 'p'"),
        (lambda: grade(ArithmeticChain(3, 5, 0.1, 3).draw(seed(0)), [0], [[1, 2]]), "expected 1 solutions of 3"),
    ],
)
def test_what_is_refused(make, match):
    with pytest.raises(InputError, match=match):
        make()


def test_a_line_that_is_no_step_is_quoted():
    text = ChainProblem("x", 7, 11, (Operation("add", 6),)).to_text().replace("add 6", "subtract 6")
    with pytest.raises(InputError, match="subtract 6"):
        ChainProblem.from_text(text)
