"""Rewards on tokens by hand; reward models learn from labels and not from noise."""

import numpy as np
import pytest
import torch

from rlaws.errors import InputError
from rlaws.problems import ArithmeticChain, ChainProblem, Operation, ProblemSet
from tests.toy.test_training import SEED, decoder, finished
from toymodels.config import Config
from toymodels.options import Optimiser, PolicyGradient, Reward, Training
from toymodels.rewards import drawn_at, judge, label, train_reward_model
from toymodels.tasks import Verifier, make_task

torch.set_num_threads(1)
PROBLEM = ChainProblem("a", 2, 5, (Operation("add", 1), Operation("add", 3), Operation("set", 4)))  # 3, 1, 4


@pytest.fixture
def task():
    return make_task(ProblemSet(np.array(["a"]), {}, (PROBLEM,)), 6)


def judged(task, options, *responses):
    end = task.vocabulary.id("end")
    tokens = np.array([[end if x == "end" else x for x in r] for r in responses])
    return judge(options, task, np.zeros(len(tokens), int), tokens, np.random.default_rng(0))


def test_outcome_is_paid_at_the_last_token(task):
    got = judged(task, Reward(), [3, 1, 4, "end"], [3, 1, 2, "end"], [0, 0, 4, "end"], [3, "end", 4, "end"])
    assert got.reward.tolist() == [[0, 0, 0, 1], [0] * 4, [0, 0, 0, 1], [0] * 4]


def test_process_is_paid_at_each_step(task):
    """Step 2 of the second row follows from a wrong value; the third row wrote one step only."""
    got = judged(task, Reward("process"), [3, 1, 4, "end"], [0, 3, 2, "end"], [3, "end", 4, "end"])
    assert got.reward * 3 == pytest.approx(np.array([[1, 1, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]))


def test_negative_rewards_and_their_shrinking(task):
    rows = [3, 1, 4, "end"], [3, 1, 2, "end"]
    assert judged(task, Reward(negative=-1.0), *rows).reward[:, 3].tolist() == [1, -1]
    shrunk = Reward(negative=-1.0, shrink=0.25, shrink_where="reward")
    assert judged(task, shrunk, *rows).reward[:, 3].tolist() == [1, -0.25]
    assert judged(task, Reward(negative=-1.0, shrink=0.25), *rows).reward[:, 3].tolist() == [1, -1]


def test_what_is_graded_does_not_depend_on_what_is_rewarded(task):
    rows = [3, 1, 4, "end"], [3, 1, 2, "end"]
    for options in (Reward(verifier=Verifier(fp=1.0, fn=1.0)), Reward(shuffled=True), Reward("process")):
        assert judged(task, options, *rows).grade.outcome.tolist() == [True, False]
    assert judged(task, Reward(verifier=Verifier(fp=1.0, fn=1.0)), *rows).reward[:, 3].tolist() == [0, 1]


def test_shuffling_keeps_the_rewards(task):
    rows = [[3, 1, 4, "end"]] * 3 + [[0, 0, 0, "end"]] * 5
    plain, mixed = judged(task, Reward(), *rows), judged(task, Reward(shuffled=True), *rows)
    assert mixed.reward.sum() == plain.reward.sum() == 3
    assert (mixed.reward != plain.reward).any()


def test_passes_over_a_pool():
    """Each pass holds every item once; a step can be entered directly; passes differ in order."""
    taken = np.concatenate([drawn_at(SEED, 10, 4, step) for step in range(5)])
    assert sorted(taken[:10]) == sorted(taken[10:]) == list(range(10))
    assert taken[:10].tolist() != taken[10:].tolist()
    assert len(drawn_at(SEED, 3, 8, 0)) == 8


# --------------------------------------------------------------------------------------------------- reward models
def corrupted(task, rng, copies):
    """Right solutions of which each value is replaced with probability 0.3 by another."""
    rows = np.tile(np.arange(len(task)), copies)
    responses = task.demonstrations[rows].copy()
    steps, m = task.tables.steps[0], task.tables.modulus[rows, None]
    wrong = rng.random((len(rows), steps)) < 0.3
    shift = rng.integers(1, m, (len(rows), steps))
    responses[:, :steps] = np.where(wrong, (responses[:, :steps] + shift) % m, responses[:, :steps])
    return rows, responses


def separation(scores, labels):
    """P(score of a right one > score of a wrong one), the area under the ROC curve."""
    right, wrong = scores[labels], scores[~labels]
    return float((right[:, None] > wrong).mean() + 0.5 * (right[:, None] == wrong).mean())


@pytest.fixture(scope="module")
def pool():
    task = make_task(ArithmeticChain(1, 3, 0.2, 200).draw(SEED), 4)
    rng = np.random.default_rng(1)
    return task, corrupted(task, rng, 6), corrupted(task, rng, 2)


@pytest.mark.parametrize("kind", ["outcome", "process"])
def test_reward_models_learn_labels_and_not_noise(kind, pool):
    """Area under the ROC curve on fresh responses: above 0.8 from true labels; from labels flipped half of the time
    inside 0.5 +- 0.15.
    """
    task, (rows, responses), (new_rows, new_responses) = pool
    config = Config(task.vocabulary.size, task.width, 32, 2, 2)
    truth = label(task, new_rows, new_responses, kind, np.random.default_rng(2))
    areas = {}
    for name, verifier, noise in (("true", Verifier(), 0.0), ("noise", Verifier(0.5, 0.5), 0.5)):
        given = label(task, rows, responses, kind, np.random.default_rng(3), verifier, noise)
        model = train_reward_model(config, task, given, 300, 64, 3e-3, SEED)
        assert model.kind == kind
        scores = model.scores(task, new_rows, new_responses)
        areas[name] = separation(scores[truth.counts], truth.labels[truth.counts])
    assert areas["true"] > 0.8
    assert abs(areas["noise"] - 0.5) < 0.15


def test_a_learned_reward_trains_the_policy(pool):
    task, (rows, responses), _ = pool
    config = Config(task.vocabulary.size, task.width, 16, 1, 2)
    given = label(task, rows, responses, "process", np.random.default_rng(3))
    scorer = train_reward_model(config, task, given, 5, 64, 1e-2, SEED)
    options = Training(PolicyGradient(4, 3, reward=Reward("learned_process")), Optimiser(1e-3))
    records, last = finished(decoder(task), task, options, 2, scorer=scorer)
    assert 0 < records[0].reward < 1
    assert last.identity["scorer"] == scorer.identity
    wrong = Training(PolicyGradient(4, 3, reward=Reward("learned_outcome")), Optimiser(1e-3))
    with pytest.raises(InputError, match="scores the process"):
        finished(decoder(task), task, wrong, 2, scorer=scorer)


def test_unknown_kind_is_answered(task):
    with pytest.raises(InputError, match="Did you mean 'outcome'"):
        label(task, np.zeros(1, int), task.demonstrations, "outcom", np.random.default_rng(0))
