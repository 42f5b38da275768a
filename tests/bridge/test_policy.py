"""The policy against closed forms, on engines whose distribution is known."""

from dataclasses import replace
from math import comb

import numpy as np
import pytest

from llm_bridge.policy import LLMPolicy
from llm_bridge.search import beam_width
from rlaws.errors import InputError
from rlaws.policy import Capability, counts
from rlaws.problems import ArithmeticChain
from rlaws.search import METHODS, Search
from tests.bridge.uniform import ScriptedEngine, SkilledEngine, UniformEngine

SEED = np.random.SeedSequence(8)
CHAINS = ArithmeticChain(4, 7, 0.0, 50).draw(np.random.SeedSequence(1))


def within(hits, trials, p, sigmas=5.0):
    """Whether a count lies within so many standard errors of a binomial's mean: 5 fail once in 1.7 million."""
    return abs(hits - trials * p) <= sigmas * np.sqrt(trials * p * (1 - p))


# ----------------------------------------------------------------------------------------------------------- sampling
def test_uniform_values_give_the_uniform_closed_form():
    rollouts = LLMPolicy(engine=UniformEngine()).sample(CHAINS, 64, SEED)
    assert within(rollouts.correct.sum(), 3200, 1 / 7)
    assert all(within(x, 3200, 1 / 7) for x in rollouts.step_correct.sum(axis=0))
    assert not within(rollouts.correct.sum(), 3200, 1 / 5), "the band would accept another modulus"
    assert rollouts.valid.all()
    assert np.allclose(rollouts.logprob, -4 * np.log(7))
    assert (rollouts.length == 4).all()
    assert rollouts.cost == {"samples": 3200, "tokens": 16000}
    votes = np.bincount(rollouts.answer, minlength=7)
    assert all(within(v, 3200, 1 / 7) for v in votes)


def test_counts_answers_and_rollouts_are_of_the_same_samples(monkeypatch):
    policy = LLMPolicy(engine=SkilledEngine())
    rollouts = policy.sample(CHAINS, 12, SEED)
    taken, right = counts(policy, CHAINS, 12, SEED)
    assert (taken == 12).all()
    assert (right == rollouts.counts(50)[1]).all()
    assert (policy.answers(CHAINS, 12, SEED).ravel() == rollouts.answer).all()
    monkeypatch.setattr("llm_bridge.policy.PIECE", 24)
    assert (policy.sample(CHAINS, 12, SEED).answer == rollouts.answer).all(), "pieces change nothing"


def test_problems_have_streams_of_their_own():
    twice = replace(CHAINS, items=(CHAINS.items[0],) * 50)
    drawn = LLMPolicy(engine=UniformEngine()).answers(twice, 8, SEED)
    assert len({tuple(row) for row in drawn}) > 40


def test_texts_are_finer_classes_than_answers():
    policy = LLMPolicy(engine=UniformEngine())
    answers, texts = (replace(policy, classes=c).answers(CHAINS, 64, SEED) for c in ("answer", "text"))
    assert max(len(set(row)) for row in answers) <= 7
    assert min(len(set(row)) for row in texts) > 50  # of 7^4 texts
    for a, t in zip(answers, texts, strict=True):
        assert len(set(zip(a, t, strict=True))) == len(set(t)), "one text has one answer"
    with pytest.raises(InputError, match="Did you mean 'text'"):
        LLMPolicy(classes="txt")


def test_temperature_and_length_reach_the_engine():
    seen = []

    class Engine(UniformEngine):
        def generate(self, requests, sampling):
            seen.append(sampling)
            return super().generate(requests, sampling)

    policy = LLMPolicy(engine=Engine(), top_p=0.9)
    assert policy.at_temperature(0.3).sample(CHAINS, 2, SEED).logprob is None, "not the sampled policy's own"
    assert (seen[-1].temperature, seen[-1].top_p, seen[-1].max_tokens) == (0.3, 0.9, 7)
    replace(policy, max_tokens=31).sample(CHAINS, 2, SEED)
    assert seen[-1].max_tokens == 31


def test_what_it_offers():
    offered = {c for c in Capability if hasattr(LLMPolicy(engine=UniformEngine()), c.value)}
    assert {Capability.SAMPLE, Capability.COUNT, Capability.SCORE, Capability.BRANCH, Capability.TEMPERATURE} <= offered
    assert Capability.SUCCESS not in offered, "a model that is sampled does not know its success"


def test_score_is_of_the_given_words():
    found = LLMPolicy(engine=UniformEngine()).score(CHAINS, np.array([3]), [CHAINS.items[3].solution_text()])
    assert found[0].logprobs.sum() == pytest.approx(-4 * np.log(7))


def test_garbage_has_no_answer_and_no_form():
    engine = ScriptedEngine(texts=("I do not know", "Step 4: 3"))
    rollouts = LLMPolicy(engine=engine).sample(CHAINS, 2, SEED)
    assert rollouts.answer.reshape(50, 2)[:, 0].tolist() == [-1] * 50
    assert not rollouts.valid.any()
    assert rollouts.logprob is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"false_positive": 1.5}, r"rates in \[0, 1\]"),
        ({"guide": "oracl"}, "Did you mean 'oracle'"),
        ({"guide": "scorer"}, "policy.scorer=DIRECTORY"),
        ({"step_samples": 0}, "at least 1"),
    ],
)
def test_settings_are_checked(settings, said):
    with pytest.raises(InputError, match=said):
        LLMPolicy(**settings)


# ------------------------------------------------------------------------------------------------------------- search
def test_best_of_n_with_an_oracle_is_one_minus_the_failure_to_the_n():
    """The engine writes the true value of a step with probability p whatever came before, so the last one decides."""
    policy = LLMPolicy(engine=SkilledEngine(p=0.6))
    done = policy.branch(CHAINS, Search("best_of_n", (5, 10, 20, 40)), SEED)
    for k, n in enumerate((1, 2, 4, 8)):
        assert within(done.right[:, k].sum(), 50, 1 - 0.4**n)
    assert done.expansions.mean(axis=0).tolist() == [5, 10, 20, 40]
    assert done.answers[0].tolist() == [1, 2, 4, 8]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_its_ledger_and_repeats_itself(method):
    policy = LLMPolicy(engine=SkilledEngine(), guide="likelihood", step_samples=3)
    search = Search(method, (5, 13, 40, 90), "majority")
    done, again = (policy.branch(CHAINS, search, SEED) for _ in range(2))
    for name in ("right", "expansions", "tokens", "answers"):
        assert (getattr(done, name) == getattr(again, name)).all()
    within_budget = np.where(done.answers > 0, done.expansions, 0)
    assert (within_budget <= np.array([5, 13, 40, 90])).all()
    assert (np.diff(done.answers, axis=1) >= 0).all()
    assert (done.right <= (done.found | (done.answers == 0))).all()
    other = policy.branch(CHAINS, search, np.random.SeedSequence(9))
    assert (other.right != done.right).any()


@pytest.mark.parametrize("method", ["mcts", "lookahead", "beam", "diverse_beam"])
def test_with_true_labels_a_search_fails_only_where_no_right_step_was_sampled(method):
    """Each of 4 steps misses the true value with 0.3^6; 50 problems then fail 0.15 times, and 4 once in 5e5."""
    policy = LLMPolicy(engine=SkilledEngine(p=0.7), step_samples=6)
    done = policy.branch(CHAINS, Search(method, (6 * 4 + 1, 400)), SEED)
    assert done.found[:, 1].sum() >= 46
    blind = replace(policy, false_positive=1.0, false_negative=0.0)  # everything is called right
    assert blind.branch(CHAINS, Search(method, (6 * 4 + 1,), "verifier"), SEED).right.mean() < done.right[:, 1].mean()


def test_methods_meet_the_same_nodes():
    engine = UniformEngine()
    policy = LLMPolicy(engine=engine, step_samples=3)
    one = replace(CHAINS, ids=CHAINS.ids[:1], items=CHAINS.items[:1], difficulty={})
    drawn = {}
    for method in ("mcts", "lookahead"):
        engine.asked.clear()
        policy.branch(one, Search(method, (60,), "oracle"), SEED)
        drawn[method] = {r.prefix: r.seed for r in engine.asked}
    both = drawn["mcts"].keys() & drawn["lookahead"].keys()
    assert len(both) > 4
    assert all(drawn["mcts"][x] == drawn["lookahead"][x] for x in both)
    assert len(set(drawn["mcts"].values())) == len(drawn["mcts"])


def test_visits_of_the_root_sum_to_the_simulations_below_it():
    policy = LLMPolicy(engine=SkilledEngine(), step_samples=3, guide="likelihood")
    done = policy.branch(CHAINS, Search("mcts", (60,)), SEED)
    assert done.visits.shape == (50, 3)
    assert (done.visits.sum(axis=1) > 0).all()


def test_beams_fit_their_budget():
    options = LLMPolicy(engine=UniformEngine(), step_samples=3).options()
    for budget in range(1, 200):
        width = beam_width(budget, options)
        spent = [3 * sum(min(w, 3**t) for t in range(4)) + min(w, 81) for w in (width, width + 1)]
        assert width == 0 or spent[0] <= budget
        assert spent[1] > budget or width == 81


def test_a_vote_chooses_the_mode():
    """Three of five samples say the true value in expectation; of 25 the mode is the truth but for 1 in 10^4."""
    policy = LLMPolicy(engine=SkilledEngine(p=0.6))
    search = Search("best_of_n", (5, 125), "majority")
    done = policy.branch(CHAINS, search, SEED)
    assert done.right[:, 1].mean() > 0.95
    assert within(done.right[:, 0].sum(), 50, 0.6)
    noisy = replace(policy, false_positive=0.2, false_negative=0.2)
    weighted = noisy.branch(CHAINS, replace(search, select="weighted"), SEED)
    assert weighted.right[:, 1].mean() > 0.95


def test_an_erring_verifier_is_right_as_often_as_bayes_says():
    """Of answers accepted at rates p(1-fn) and (1-p)fp the first accepted one is right with the ratio of the two."""
    p, fp, fn = 0.5, 0.3, 0.1
    problems = ArithmeticChain(4, 7, 0.0, 400).draw(SEED)
    policy = LLMPolicy(engine=SkilledEngine(p=p), false_positive=fp, false_negative=fn)
    done = policy.branch(problems, Search("best_of_n", (5 * 40,), "verifier"), SEED)
    # texts repeat, and so do their labels: an answer that is accepted stays accepted, whichever sample wrote it
    assert within(done.right.sum(), 400, p * (1 - fn) / (p * (1 - fn) + (1 - p) * fp))


def test_budgets_too_small_for_an_answer_are_answered_by_one_sample():
    policy = LLMPolicy(engine=SkilledEngine(p=0.5), step_samples=3)
    done = policy.branch(CHAINS, Search("lookahead", (5,), "majority"), SEED)
    assert (done.answers == 0).all()
    assert within(done.right.sum(), 50, 0.5)
    assert not policy.branch(CHAINS, Search("lookahead", (5,), "oracle"), SEED).right.any()


def test_likelihood_needs_log_probabilities():
    policy = LLMPolicy(engine=ScriptedEngine(texts=("Step 1: 1",)), guide="likelihood")
    with pytest.raises(InputError, match="needs log-probabilities"):
        policy.branch(CHAINS, Search("lookahead", (40,)), SEED)


def test_the_number_of_steps_is_checked():
    with pytest.raises(InputError, match=r"policy.steps = 3, but the answers to these problems have 4"):
        LLMPolicy(engine=UniformEngine(), steps=3).branch(CHAINS, Search("mcts", (40,)), SEED)


def test_pass_at_k_is_hypergeometric():
    """The unbiased estimator on counted samples, against the sum over all subsets."""
    from rlaws.estimators import pass_at_k

    taken, right = LLMPolicy(engine=SkilledEngine(p=0.3)).count(CHAINS, 10, SEED)
    exact = [1 - comb(10 - int(c), 4) / comb(10, 4) for c in right]
    assert np.allclose(pass_at_k(taken, right, np.array([4]))[:, 0], exact)
