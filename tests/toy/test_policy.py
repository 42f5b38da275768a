import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlaws.errors import InputError
from rlaws.policy import Counter, Exact, GradientSampler, Sampler, Trainer
from rlaws.probes.base import Budget
from rlaws.probes.distinct_answers import DistinctAnswers
from rlaws.probes.gradient_snr import GradientSNR
from rlaws.probes.pass_at_k import PassAtK
from rlaws.probes.reward_entropy import RewardEntropy
from rlaws.probes.search_failure import SearchFailure
from rlaws.probes.step_accuracy import StepAccuracy
from rlaws.probes.tail_and_training import TailAndTraining
from rlaws.problems import ArithmeticChain
from rlaws.search import METHODS, SELECTS, Brancher, Search
from rlaws.vary import vary
from toymodels.batches import Deck, hidden_at, lay_out
from toymodels.policy import ExactToyPolicy, ToyPolicy, centred, right_values
from toymodels.search import beam_cost, beam_width

SEED = np.random.SeedSequence(7)
QUICK = Budget("test", 1.0, 100)
TINY = ExactToyPolicy(parameters=4_000, recipe="tiny", prompts=4, group=4)
BASE = ExactToyPolicy(parameters=4_000)


def chains(size, length=2, seed=3):
    return ArithmeticChain(length, 5, 0.1, size).draw(np.random.SeedSequence(seed))


def test_it_offers_what_the_protocols_ask():
    for protocol in (Sampler, Counter, GradientSampler, Trainer, Brancher):
        assert isinstance(TINY, protocol)
    assert isinstance(TINY, Exact)
    assert not isinstance(ToyPolicy(), Exact), "sampling does not know its success"


def test_samples_have_the_enumerated_success():
    """Standardised errors of 64 problems: their mean square is 1 +- 0.18; beyond 4 sd by chance 6e-5."""
    problems, n = chains(64, 3), 512
    p = BASE.success(problems)
    taken, right = BASE.sample(problems, n, SEED).counts(64)
    assert np.all(taken == n)
    z = (right / n - p) / np.sqrt(p * (1 - p) / n)
    assert abs(np.mean(z**2) - 1) < 4 * np.sqrt(2 / 64)
    assert abs(z.sum()) < 4 * np.sqrt(64)
    _, counted = BASE.count(problems, n, SEED)
    assert abs((counted / n - p).mean()) < 4 * np.sqrt((p * (1 - p)).mean() / n / 64)


def test_answers_have_the_enumerated_distribution():
    """Share of every answer, 6 classes, |z| < 4.5: false alarm 4e-5."""
    problems, n = chains(32, 3), 256
    found = BASE.solutions(problems).answers()
    drawn = BASE.answers(problems, n, SEED)
    assert drawn.shape == (32, n)
    for answer, q in zip([*range(5), -1], found.T, strict=True):
        z = ((drawn == answer).mean(axis=1) - q).sum() / np.sqrt((q * (1 - q) / n).sum())
        assert abs(z) < 4.5


def test_the_same_seed_gives_the_same_samples():
    problems = chains(4)
    a, b, other = (TINY.sample(problems, 8, np.random.SeedSequence(s)) for s in (1, 1, 2))
    assert np.array_equal(a.step_correct, b.step_correct)
    assert np.array_equal(a.logprob, b.logprob)
    assert not np.array_equal(a.logprob, other.logprob)


def test_temperature_zero_is_greedy_and_the_limit_of_cold():
    problems = chains(24, 3)
    greedy = BASE.at_temperature(0.0).sample(problems, 2, SEED)
    cold = BASE.at_temperature(1e-3).success(problems)
    assert np.array_equal(greedy.correct.reshape(24, 2)[:, 0], cold > 0.5)
    assert np.array_equal(greedy.correct.reshape(24, 2)[:, 0], greedy.correct.reshape(24, 2)[:, 1])


def test_gradient_sums_are_those_of_autograd():
    """g_t is the derivative of (R - b) log pi by the right token's logit, rollout by rollout."""
    problems, policy = chains(4), TINY
    sums = policy.gradient_sums(problems, 16, 3, SEED)
    task, model = policy.task(problems), policy.model()
    from rlaws.seeding import child

    rows = np.tile(np.arange(16) % 4, 3)
    drawn = policy.draw(model, task, rows, 1, child(SEED, 0))
    laid = lay_out(Deck.of(task, torch.device("cpu")), torch.from_numpy(rows), torch.from_numpy(drawn.responses))
    logits = model.logits(hidden_at(model, laid.tokens, laid.before)).detach().requires_grad_()
    taken = logits.log_softmax(-1).gather(2, torch.from_numpy(drawn.responses)[..., None])[..., 0]
    inside = torch.arange(task.response) < torch.from_numpy(drawn.reading.length)[:, None]
    gain = torch.from_numpy(centred(drawn.grade.outcome.astype(float).reshape(3, 16), 4).ravel())
    ((taken * inside).sum(1) * gain).sum().backward()
    right = right_values(task.tables, rows, drawn.reading.values)
    wanted = logits.grad[:, : right.shape[1]].gather(2, torch.from_numpy(np.maximum(right, 0))[..., None])[..., 0]
    g = np.where(right >= 0, wanted.double().numpy(), 0.0).reshape(3, 16, -1)
    assert np.allclose(sums.s1, g.sum(axis=1), atol=1e-5)
    assert np.allclose(sums.s2, (g**2).sum(axis=1), atol=1e-5)
    assert np.array_equal(sums.hits, drawn.grade.outcome.reshape(3, 16).sum(axis=1))


def test_the_baseline_leaves_out_the_rollout_itself():
    reward = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    assert np.allclose(centred(reward, 1)[0], [1 - 1 / 3, -2 / 3, -2 / 3, 1 - 1 / 3])
    assert np.allclose(centred(reward, 2)[1], [-1.0, 0.0, 1.0, 0.0])
    assert np.allclose(centred(reward, 4), centred(reward, 1)), "one rollout a problem: all others are the baseline"


def test_training_moves_the_policy_and_without_a_rate_it_does_not():
    problems = chains(8)
    start = TINY.success(problems)
    moved = list(TINY.train(problems, [0, 1.2, 6], SEED))
    assert [c.time for c in moved] == [0.0, 1.0, 6.0]
    assert np.array_equal(moved[0].policy.success(problems), start)
    assert not np.allclose(moved[-1].policy.success(problems), start)
    assert 0 == moved[0].cost["flops"] < moved[1].cost["flops"] < moved[2].cost["flops"]
    still = next(iter(replace(TINY, learning_rate=0.0).train(problems, [6], SEED)))
    assert np.array_equal(still.policy.success(problems), start)


def test_rl_learns_and_shuffled_rewards_teach_nothing():
    """Gain of 40 updates in three runs: above 0.02 by true rewards, not above 0.01 by shuffled ones.

    Shuffled rewards do move the policy: their noise wanders off the base, which loses success. None of it is learning.
    """
    problems = chains(32, 3)
    start = BASE.success(problems)

    def gains(policy):
        ends = [list(policy.train(problems, [40], np.random.SeedSequence(s)))[-1].policy for s in range(3)]
        return np.array([float((end.success(problems) - start).mean()) for end in ends])

    assert gains(BASE).min() > 0.02
    assert gains(replace(BASE, shuffled=True)).max() < 0.01


def test_search_reads_one_tree():
    problems = chains(24, 3)
    policy = replace(BASE, guide="likelihood")
    p = policy.success(problems)
    seed = np.random.SeedSequence(5)
    for method in METHODS:
        for select in SELECTS:
            found = policy.branch(problems, Search(method, (4, 20, 160), select), seed)
            assert np.all(found.right <= found.found) or select != "oracle"
            assert np.all(np.diff(found.found.astype(int), axis=1) >= 0), "an answer once found stays found"
            assert np.all(found.expansions >= 1)
    whole = policy.branch(problems, Search("lookahead", (160,)), seed)
    assert whole.found.all(), "31 nodes and 125 answers are all there is"
    assert np.all(whole.answers == 125)
    one = policy.branch(problems, Search("best_of_n", (4,)), seed)
    z = (one.right[:, 0].mean() - p.mean()) / np.sqrt((p * (1 - p)).sum()) * 24
    assert abs(z) < 4
    assert np.all(one.tokens == 3)


def test_best_of_n_has_the_closed_form():
    """Mean failure of N samples against mean (1 - p)^N; |z| < 4 at 4 budgets: false alarm 3e-4."""
    problems = chains(200, 3, seed=11)
    policy = replace(BASE, guide="likelihood")
    p, each = policy.success(problems), np.array([1, 2, 4, 8])
    found = policy.branch(problems, Search("best_of_n", tuple(int(4 * n) for n in each)), np.random.SeedSequence(6))
    for k, n in enumerate(each):
        q = 1 - (1 - p) ** n
        assert abs((found.right[:, k] - q).sum()) < 4 * np.sqrt((q * (1 - q)).sum())


def test_beams_cost_what_they_say():
    assert beam_cost(1, 5, 3) == 4
    assert beam_cost(125, 5, 3) == 156
    assert [beam_width(b, 5, 3) for b in (3, 4, 6, 7, 156, 999)] == [0, 1, 1, 2, 125, 125]
    assert beam_width(30, 5, 3, groups=4) % 4 == 0


def test_the_probes_of_every_rung_run_on_it():
    two, three = chains(16), chains(16, 3)
    assert PassAtK(samples=64, k_largest=8, least=2).measure(TINY, two, QUICK, SEED).rows
    assert StepAccuracy(samples=8).measure(TINY, two, QUICK, SEED).columns["n_trials"].sum() > 0
    assert GradientSNR(rollouts=16, batches=8).measure(TINY, two, QUICK, SEED).rows == 16
    assert DistinctAnswers(samples=16, k_largest=8).measure(TINY, two, QUICK, SEED).rows
    along = TailAndTraining(samples=64, k_largest=8, time_first=1, time_last=4, per_decade=4, least=2)
    assert set(along.measure(TINY, two, QUICK, SEED).columns["kind"]) == {0.0, 1.0}
    bought = RewardEntropy(points=6, first=1, last=40, per_decade=8).measure(BASE, three, QUICK, SEED)
    assert bought.columns["fall"].max() == 1.0
    search = SearchFailure(methods=("best_of_n",), batch=16, most=160, points=4, high=0.4, low=0.05)
    assert search.measure(replace(BASE, guide="likelihood"), chains(64, 3), QUICK, SEED).rows


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"parameters": 5_000}, "no rung"),
        ({"recipe": "standrd"}, "recipe"),
        ({"temperature": -1.0}, "temperature"),
        ({"trained": -1}, "trained"),
        ({"advantage": "gae"}, "critic"),
        ({"advantage": "leave_on_out"}, "leave_one_out"),
        ({"group": 1}, "at least 2"),
        ({"guide": "proces"}, "process"),
        ({"guide_noise": 2.0}, "guide_noise"),
        ({"reward": "learned_process"}, "outcome or process"),
    ],
)
def test_bad_settings_get_a_sentence(settings, says):
    with pytest.raises(InputError, match=says):
        ToyPolicy(**settings)


def test_problems_that_the_base_does_not_know_are_refused():
    with pytest.raises(InputError, match=r"problems\.length=3 problems\.modulus=5"):
        BASE.sample(chains(4, 4), 1, SEED)
    with pytest.raises(InputError, match="toy_chain"):
        BASE.sample(None, 1, SEED)


def test_a_setting_can_be_varied():
    assert vary(TINY, group=6).group == 6
    assert TINY.at_temperature(0.5).temperature == 0.5
    assert TINY.exact_parameters == pytest.approx(4_000, rel=0.03)


def test_without_torch_the_way_out_is_told():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from rlaws.build import resolve\n"
        "resolve('toymodels.policy.ToyPolicy')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install rlaws[toy]" in ran.stderr


# ---- where it runs
def test_a_device_that_is_not_there_is_told():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="no GPU on this machine"):
        ToyPolicy(device="cuda")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch looks there while it compiles
def test_precision_and_compilation_are_settings_of_the_policy():
    """bfloat16 passes and compiled blocks give a base of their own whose success is near that in float32."""
    plain = ExactToyPolicy(parameters=4_000, recipe="tiny")
    problems = ArithmeticChain(2, 5, 0.1, 64).draw(np.random.SeedSequence(3))
    other = replace(plain, precision="bfloat16", compile="aot_eager")
    assert other.model().config.compile == "aot_eager"
    near = np.abs(plain.success(problems) - other.success(problems))
    assert near.max() > 0
    assert near.mean() < 0.1
