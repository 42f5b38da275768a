"""Searches as distributions over whole solutions, and the compute that solves half of the problems.

Exact against closed forms and against the search that samples; the statistical test has z = 4.4 and a fixed seed.
"""

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.probes.search_work import divergence, gibbs_optimum
from rlaws.search import Search
from rlaws.seeding import seed_sequence
from tests.golden.test_configs import values
from toymodels import ladder
from toymodels.enumeration import Solutions, enumerate_solutions
from toymodels.guides import guide_of
from toymodels.ladder import VALUES
from toymodels.search import Options, Tree, search_trees
from toymodels.tasks import make_task
from toymodels.think_time import ThinkTimes, chances, right_leaves, samples_for_half, walked
from toymodels.tilts import SearchTilts, answered, best_of_n, outcomes

OPTIONS = Options(1.25, 4)


@pytest.fixture(scope="module")
def tiny():
    task = make_task(ladder.recipe_of("tiny").chains(8).draw(seed_sequence(7)), VALUES)
    return task, enumerate_solutions(ladder.base(4_000, 0, "tiny"), task)


def steady(step: float, depth: int, modulus: int = 3, problems: int = 4) -> Solutions:
    """A policy that is right at each step with one chance, the other values alike; the right values are all 1."""
    row = np.full(modulus, (1 - step) / (modulus - 1))
    row[1] = step
    value = tuple(np.broadcast_to(row, (problems, modulus**t, modulus)).copy() for t in range(depth))
    entropy = tuple(np.zeros((problems, modulus**t)) for t in range(depth))
    return Solutions(value, entropy, np.ones((problems, depth), dtype=np.int64))


# ------------------------------------------------------------------------------------------------------ best-of-n
def test_best_of_n_by_hand():
    """Scores 0, 1, 1, 2 with chances 0.1, 0.2, 0.3, 0.4; two samples."""
    q = best_of_n(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 1.0, 2.0]), 2)
    assert q == pytest.approx([0.01, 0.4 * 0.35, 0.6 * 0.35, 0.64])
    chance = np.array([0.25, 0.75])
    assert best_of_n(chance, np.zeros(2), 9) == pytest.approx(chance)  # a score that says nothing changes nothing
    assert best_of_n(chance, np.arange(2.0), 1) == pytest.approx(chance)


@pytest.mark.parametrize("n", [2, 4, 16])
def test_the_divergence_of_best_of_n_is_its_bound_where_no_two_scores_tie(n):
    """log n - (n - 1)/n in the limit of many small solutions, and below it for few: exact over whole solutions."""
    bound = np.log(n) - (n - 1) / n
    many = np.full(20_000, 1 / 20_000)
    assert divergence(best_of_n(many, np.arange(20_000.0), n), many) == pytest.approx(bound, abs=2e-3)
    few = np.full(5, 0.2)
    whole = divergence(best_of_n(few, np.arange(5.0), n), few)
    assert whole < bound
    q = best_of_n(many, np.arange(20_000.0), n).reshape(4, -1).sum(axis=1)
    assert divergence(q, np.full(4, 0.25)) < 0.95 * bound  # classes of answers hide divergence


def test_an_oracle_reaches_the_gibbs_optimum_and_a_random_score_gains_nothing(tiny):
    """Two levels of score that tell right from wrong are a tilt; independent scores spend divergence for nothing."""
    _, found = tiny
    rng = np.random.default_rng(0)
    for pi, truth, p in zip(outcomes(found), found.truth, found.success(), strict=True):
        right = np.append(np.arange(pi.size - 1) % found.modulus == truth, False)
        for n in (2, 8):
            q = best_of_n(pi, right.astype(float), n)
            assert q.sum() == pytest.approx(1.0)
            assert q[right].sum() == pytest.approx(1 - (1 - p) ** n)
            assert q[right].sum() == pytest.approx(gibbs_optimum(p, divergence(q, pi)))
    gains = []
    for _ in range(400):
        q = best_of_n(pi, rng.random(pi.size), 4)
        gains.append(q[right].sum() - p)
        assert divergence(q, pi) > 0
    assert abs(np.mean(gains)) < 4.4 * np.std(gains) / 20


def test_best_of_n_is_what_the_search_that_samples_gives(tiny):
    """Success of search_trees over 400 seeds."""
    task, found = tiny
    guide = guide_of("likelihood", found, task, None)
    search = Search("best_of_n", (3, 12), "verifier")
    done = np.mean([search_trees(found, guide, search, OPTIONS, seed_sequence(s)).right for s in range(400)], axis=0)
    for i, pi in enumerate(outcomes(found)):
        tree = Tree([p[i] for p in found.value], [v[i] for v in guide.value], found.modulus, 2)
        right = np.append(np.arange(pi.size - 1) % found.modulus == found.truth[i], False)
        for k, q in enumerate(answered(tree, int(found.truth[i]), search, OPTIONS, pi)):
            s = q[right].sum()
            assert abs(done[i, k] - s) < 4.4 * np.sqrt(max(s * (1 - s), 1e-4) / 400)


@pytest.mark.parametrize("method", ["mcts", "lookahead", "beam"])
def test_a_search_without_chance_gives_one_solution(tiny, method):
    task, found = tiny
    guide = guide_of("likelihood", found, task, None)
    search = Search(method, (3, 24), "verifier")
    done = search_trees(found, guide, search, OPTIONS, seed_sequence(0))
    for i, pi in enumerate(outcomes(found)):
        tree = Tree([p[i] for p in found.value], [v[i] for v in guide.value], found.modulus, 2)
        _, q = answered(tree, int(found.truth[i]), search, OPTIONS, pi)
        assert sorted(q)[-2:] == [0.0, 1.0]
        assert divergence(q, pi) == pytest.approx(-np.log(pi[q.argmax()]))
        assert bool(q.argmax() % found.modulus == found.truth[i]) == done.right[i, 1]


def test_rows_hold_the_bound_of_best_of_n_and_never_beat_the_optimum():
    found = SearchTilts(recipe="tiny", guide="likelihood", problems=12).table()
    slack = found["value"][found["quantity"] == "kl_slack"]
    work = found["quantity"] == "efficiency"
    assert np.all(slack >= -1e-9)
    assert np.all(found["value"][work] <= found["weight"][work] + 1e-9)
    with pytest.raises(InputError, match="method = 'mtcs' is not known"):
        SearchTilts(method="mtcs")


# ------------------------------------------------------------------------------------------------------ think time
@pytest.mark.parametrize("step", [0.5, 0.8])
def test_thinking_time_of_a_steady_policy(step):
    """Right at each step with chance c: (L + 1) log 2 / -log(1 - c^L) for the solution; the answer is a step away."""
    for depth in (2, 4, 6):
        found = steady(step, depth)
        assert chances(found, "solution") == pytest.approx(np.full(4, step**depth))
        assert chances(found, "answer") == pytest.approx(np.full(4, step))
        expected = max(1.0, -np.log(2) / np.log1p(-(step**depth)))
        assert samples_for_half(chances(found, "solution")) == pytest.approx(expected)
    assert right_leaves(found).tolist() == [int("1" * 6, 3)] * 4


def test_half_of_unequal_problems():
    """One problem that is always solved and one with chance p: half are solved by one sample."""
    assert samples_for_half(np.array([1.0, 0.01])) == pytest.approx(1.0)
    assert samples_for_half(np.array([0.3, 0.3, 0.0])) == pytest.approx(np.log(0.25) / np.log(0.7))
    with pytest.raises(InputError, match="no chance at all"):
        samples_for_half(np.array([0.0, 0.0, 1.0]))


def test_a_search_that_knows_needs_one_answer_and_one_misled_sees_every_leaf():
    """Lookahead by likelihood: the likeliest path is the right one, or the last of all."""
    for step, goal in ((0.9, "solution"), (0.9, "answer")):
        assert walked(steady(step, 4), None, "lookahead", goal, 1024) == pytest.approx(5)
    misled = walked(steady(0.01, 4), None, "lookahead", "solution", 1024)
    assert misled > 81
    with pytest.raises(InputError, match="within 40 expansions"):
        walked(steady(0.01, 4), None, "lookahead", "solution", 40)


def test_lengths_that_cannot_be_enumerated_are_refused():
    with pytest.raises(InputError, match=r"3\^length <= 4096"):
        ThinkTimes(lengths=(2, 8))
    found = ThinkTimes(parameters=4_000, lengths=(2,), pretraining=5, seeds=1, problems=8).table()
    assert found["depth"].tolist() == [2, 2]
    assert np.all(found["expansions"] >= 3)
    answer, solution = (found["expansions"][found["goal"] == g] for g in ("answer", "solution"))
    assert np.all(answer <= solution)


@pytest.mark.parametrize("study", ["search/free_energy_toy", "search/think_time_toy"])
def test_a_study_has_three_bases(study):
    made = values(study)
    assert made["study"]["rung"] == "toy"
    assert len(made["grid"].get("base_seed", [])) >= 3 or made["policy"]["seeds"] >= 3
