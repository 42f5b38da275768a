"""Training with TRL: what must move, what must not, what is counted, and what is said when it cannot be done."""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from llm_bridge import models, trainers, training
from llm_bridge.backends.base import Sampling
from llm_bridge.exams import Examiner
from llm_bridge.flops import sizes_of
from llm_bridge.learning import Learning, learning_of
from llm_bridge.policy import LLMPolicy
from llm_bridge.rewards import Reward
from llm_bridge.runs import LLMRuns
from llm_bridge.settings import ModelSettings
from llm_bridge.tasks.base import task_of
from rlaws.errors import InputError
from rlaws.logs.importing import import_runs
from rlaws.probes.base import Budget
from rlaws.probes.curve_slope import CurveSlope
from rlaws.probes.curve_trend import CurveTrend
from rlaws.probes.flops_ratio import FlopsRatio
from rlaws.probes.learning_curve import LearningCurve
from rlaws.probes.recorded_reward_entropy import RecordedRewardEntropy
from rlaws.probes.size_gain import SizeGain
from tests.bridge.able import FAMILY, make_able

pytestmark = pytest.mark.filterwarnings("ignore:.*checkpointing.*:FutureWarning")  # peft and TRL, of transformers
SEED = np.random.SeedSequence(1)
QUICK = Budget("test", 1.0, 100)
SMALL = {"prompts": 4, "group": 4, "updates": 4, "evaluations": 4, "length": 2, "modulus": 3, "device": "cpu"}


@pytest.fixture(scope="session")
def able(tmp_path_factory):
    """Directory of a model that solves chains of two steps modulo 3 now and then."""
    return make_able(tmp_path_factory.mktemp("able") / "model")


@pytest.fixture(scope="session")
def chains():
    return FAMILY.draw(64, np.random.SeedSequence(3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner(LLMPolicy, Learning):
    """A policy that carries settings of training."""


def runs_of(able, **settings):
    return LLMRuns(models=(str(able),), **{**SMALL, "seeds": (0,), **settings})


def job_of(able, chains, updates=1, rate=1e-3, seed=0, eager=False, **learning):
    start = models.load(able, "float32", "cpu")
    made = training._job(start, task_of(chains), Learning(learning_rate=rate, **learning), updates,
                         np.random.SeedSequence(seed), "auto")  # fmt: skip
    if eager:  # the counter does not see into fused attention
        made.start.model.set_attn_implementation("eager")
    return made


# ---------------------------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"method": "ppo"}, "TRL no longer has a PPO trainer"),
        ({"method": "grop"}, "Did you mean 'grpo'"),
        ({"loss": "dpo"}, "loss = 'dpo'"),
        ({"scale_rewards": "std"}, "scale_rewards"),
        ({"schedule": "step"}, "schedule"),
        ({"reward": "proces"}, "Did you mean 'process'"),
        ({"group": 1}, "at least 2 answers"),
        ({"rows": 7}, "does not divide the 16 answers"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"false_positive": 1.5}, "chances"),
        ({"clip_low": 1.0}, "clip_low"),
        ({"layout": "curve"}, "curves"),
        ({"seeds": ()}, "seeds"),
        ({"evaluations": 1}, "evaluations"),
        ({"modulus": 1}, "modulus"),
        ({"scale": 0.0}, "positive"),
    ],
)
def test_bad_settings_get_a_sentence(able, settings, says):
    with pytest.raises(InputError, match=says):
        runs_of(able, **settings)


def test_what_this_machine_cannot_do_gets_a_sentence(able, chains):
    with pytest.raises(InputError, match=r"rlaws\[vllm\]"):
        trainers.train(lambda: job_of(able, chains, sampler="vllm"), lambda *_: None, [1])
    policy = LLMPolicy(models=(str(able),), device="cpu", temperature=0.0)
    with pytest.raises(InputError, match="temperature = 0"):
        list(training.checkpoints(policy, chains, [1], SEED))
    with pytest.raises(InputError, match="merge it"):
        training.run(runs_of(able, adapter="somewhere").plans()[0])


def test_a_policy_lends_its_settings_to_training(able):
    assert learning_of(LLMPolicy(models=(str(able),), false_positive=0.25)).false_positive == 0.25
    assert learning_of(runs_of(able, kl=0.5)).kl == 0.5


def test_work_grows_as_the_scale_of_the_budget(able):
    one, full = runs_of(able, seeds=(0, 1, 2)), runs_of(able, seeds=(0, 1, 2), scale=16.0)
    assert [p.seed for p in one.plans()] == [0, 1, 2]
    assert [p.seed for p in full.plans()] == [0, 1, 2, 3, 4, 5]
    assert {p.updates for p in full.plans()} == {4 * 8}
    ladder = LLMRuns(models=("ladder:0.1M",), seeds=(0, 2))
    assert [p.settings.base_seed for p in ladder.plans()] == [0, 2]


# ----------------------------------------------------------------------------------------------------------- rewards
def test_rewards_grade_exactly_and_a_shuffle_keeps_their_sum(chains):
    task = task_of(chains)
    rows, right = list(range(64)), list(task.solutions)
    wrong = ["Step 1: 9\nStep 2: 9"] * 64
    assert Reward(task, Learning(), SEED)(rows, right).tolist() == [1.0] * 64
    assert Reward(task, Learning(), SEED)(rows, wrong).tolist() == [0.0] * 64
    half = [text.split("\n")[0] for text in right]
    assert Reward(task, Learning(reward="process"), SEED)(rows, half).tolist() == [0.5] * 64
    mixed = right[:16] + wrong[16:]
    shuffled = Reward(task, Learning(shuffled=True), SEED)(rows, mixed)
    assert shuffled.sum() == 16
    assert shuffled[:16].sum() < 16


def test_a_verifier_errs_at_its_rates(chains):
    """6400 answers: five standard errors of a rate of 0.2 are 0.025, a false alarm in 1.7 million."""
    task, rows = task_of(chains), list(range(64)) * 100
    noisy = Reward(task, Learning(false_positive=0.2, false_negative=0.1), SEED)
    assert abs(noisy(rows, list(task.solutions) * 100).mean() - 0.9) < 0.025
    assert abs(noisy(rows, ["none"] * 6400).mean() - 0.2) < 0.025


# ------------------------------------------------------------------------------------------------------------- flops
@pytest.mark.parametrize("learning", [{}, {"kl": 0.1}, {"iterations": 2}, {"method": "rloo"}, {"rows": 8}])
def test_flops_are_those_of_the_products_that_are_run(able, chains, learning):
    """Against torch's counter, which does not see the in-place products with which TRL adds up the head's gradients."""
    options = {"prompts": 4, "group": 4, **learning}
    with FlopCounterMode(display=False) as counter:
        made = trainers.train(lambda: job_of(able, chains, 2, eager=True, **options), lambda *at: at[2].flops, [2])
    job = job_of(able, chains)
    longest = [int(row["completions/max_length"]) for row in made.history if "completions/max_length" in row]
    tokens = sum(max(job.lengths()) + new - 1 for new in longest) * learning.get("iterations", 1)
    unseen = 2 * 2 * 16 * sizes_of(job.start.model).head * tokens
    assert made.visits == [counter.get_total_flops() + unseen]


# ---------------------------------------------------------------------------------------------------------- training
def test_without_a_learning_rate_nothing_moves(able):
    """The negative control, to the bit: the weights, and with them every loss."""
    policy = runs_of(able, learning_rate=0.0)
    table = policy.table()
    assert np.array_equal(table["test_loss"], table["base_loss"])
    assert np.allclose(table["kl"], 0.0, atol=1e-7)
    assert np.allclose(CurveSlope().measure(policy, None, QUICK, SEED).columns["total"], 0.0, atol=1e-12)
    before = models.load(able, "float32", "cpu").model.state_dict()
    after = models.load(training.run(policy.plans()[0]) / training.MODEL, "float32", "cpu").model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_run_is_the_same_to_the_bit_when_trained_anew(able, tmp_path):
    """And what is measured on the way does not change it."""
    plan = runs_of(able, updates=2).plans()[0]
    cached, again = training.run(plan), tmp_path / "again"
    again.mkdir()
    training.record(plan, again)
    one, two = training.table(cached), training.table(again)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[k], two[k], equal_nan=one[k].dtype.kind == "f") for k in one)
    often = tmp_path / "often"
    often.mkdir()
    training.record(replace(plan, evaluations=2), often)
    weights = [(f / training.MODEL / "model.safetensors").read_bytes() for f in (cached, often)]
    assert weights[0] == weights[1]


def test_training_problems_are_not_held_out(able):
    family = training.Family(length=1, modulus=5)
    held = set(family.exams().sets["test"].questions)
    assert any(item.to_text() in held for item in family.draw(200, np.random.SeedSequence(5)).items)
    assert not held & set(family.fresh(50, np.random.SeedSequence(5)).questions)


def test_easy_problems_have_fewer_steps_that_count():
    exams = training.Family().exams()
    hard = training._hardness(exams.sets["test"].problems)
    assert exams.easy.sum() == training.HELD_OUT // 2
    assert hard[exams.easy].max() <= hard[~exams.easy].min()


@pytest.mark.parametrize(("rows", "ends"), [(4, 4), (0, None)])
def test_when_memory_runs_out_a_pass_has_fewer_rows(able, chains, monkeypatch, rows, ends):
    tried, real = [], trainers._train

    def short(job, size, watch):
        tried.append(size)
        if size > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(job, size, watch)

    monkeypatch.setattr(trainers, "_train", short)
    job = lambda: job_of(able, chains, prompts=4, group=4)  # noqa: E731
    if ends is None:
        with pytest.raises(InputError, match="Memory ran out at update 1 with one answer a pass"):
            trainers.train(job, lambda *_: None, [1])
        assert tried == [16, 8, 4, 2, 1]
    else:
        trainers.train(job, lambda *_: None, [1])
        assert tried == [16, 8, 4]


def test_a_loss_that_is_no_number_stops_the_run_at_its_update(able, chains):
    with pytest.raises(trainers.Diverged, match=r"stopped at update [23]: .*smaller learning_rate"):
        trainers.train(lambda: job_of(able, chains, 4, rate=1e30), lambda *_: None, [4])


def test_a_state_that_trl_writes_is_imported_with_every_key_known(able):
    (run,) = import_runs([training.run(runs_of(able).plans()[0]) / training.LOG])
    assert run.dialect == "trl_state"
    assert run.unknown() == ()
    assert run.step.tolist() == [1, 2, 3, 4]
    assert {"reward_task", "entropy_token", "len_mean", "tokens_cum"} <= set(run.columns)


# ---------------------------------------------------------------------------------------------- what RL does, and not
def gains_of(policy):
    made = [training.table(training.run(plan))["test_loss"] for plan in policy.plans()]
    return np.array([losses[0] - losses[-1] for losses in made])


@pytest.mark.parametrize(("method", "rate", "updates"), [("grpo", 1e-3, 16), ("rloo", 1e-3, 16), ("sft", 3e-3, 64)])
def test_training_teaches(able, chains, method, rate, updates):
    """Success on the problems that are trained on rises by 0.05 or more.

    2048 samples of either model: the standard error of the difference is below 0.016. "sft" sees right solutions; it
    shows that the same path teaches without a reward.
    """
    policy = Learner(
        models=(str(able),), device="cpu", store=False, method=method, learning_rate=rate, prompts=8, group=8
    )
    (end,) = training.checkpoints(policy, chains, [updates], SEED)
    before, after = (p.count(chains, 32, SEED)[1].mean() / 32 for p in (policy, end.policy))
    assert after > before + 0.05


def test_shuffled_rewards_give_no_falling_loss(able):
    """Slopes of four runs: t < 6 (3 degrees of freedom: false alarm 0.5 %), one-sided as in the toy models' control."""
    policy = runs_of(able, shuffled=True, seeds=(0, 1, 2, 3), updates=6)
    slopes = CurveSlope().measure(policy, None, QUICK, SEED).columns["total"]
    assert slopes.mean() < 6 * slopes.std(ddof=1) / 2


@pytest.mark.slow
def test_the_smallest_model_of_the_ladder_learns_in_three_runs():
    """Twelve updates of the standard run; a base that is at chance gains little, none loses."""
    gains = gains_of(LLMRuns(models=("ladder:0.1M",), updates=12, evaluations=2, device="cpu"))
    assert gains.min() > -0.03
    assert gains.mean() > 0.03


# ------------------------------------------------------------------------------------------------------------- exams
@torch.no_grad()
def test_entropy_and_kl_of_sampled_answers(able, chains):
    """Entropies against the engine's scores; the KL within four standard errors of the sampled tokens' log-ratio.

    Two-sided, z = 4: a false alarm in 16 000.
    """
    start = models.load(able, "float32", "cpu")
    other, noise = replace(start, model=deepcopy(start.model)), torch.Generator().manual_seed(0)
    for p in other.model.parameters():
        p += 0.03 * torch.randn(p.shape, generator=noise)
    examiner = Examiner(other, "auto", Sampling(max_tokens=12), 5, 16)
    task = task_of(chains)
    answers = examiner.answers(start.model, task)
    entropy, kl = examiner.compared(start.model, answers)
    own, base = (examiner._log_policy(m, answers, slice(None)) for m in (start.model, other.model))
    kept = torch.arange(12) < answers.lengths[:, None]
    ratio = ((own - base).gather(2, answers.tokens[..., None])[..., 0] * kept).sum(1)
    assert abs(kl - ratio.mean()) < 4 * ratio.std() / len(ratio) ** 0.5
    assert examiner.compared(other.model, examiner.answers(other.model, task))[1] == pytest.approx(0.0, abs=1e-9)
    engine = ModelSettings(models=(str(able),), device="cpu").open()
    told = engine.score([(task.questions[p], t) for p, t in zip(answers.problem, answers.texts, strict=True)])
    each = -(own.exp() * own).sum(-1)
    assert entropy == pytest.approx(float(each[kept].sum() / kept.sum()), rel=1e-5)
    same = [
        i
        for i, t in enumerate(answers.texts)
        if start.answer(t)[0] == answers.tokens[i, : len(told[i].pieces)].tolist()
    ]
    assert len(same) > 500, "some answers of a poor model are cut into other tokens when they are read again"
    for i in same[:200]:
        assert each[i, : len(told[i].pieces)].numpy() == pytest.approx(told[i].entropies, abs=1e-4)


def test_the_same_questions_get_the_same_answers(able, chains):
    start = models.load(able, "float32", "cpu")
    examiner = Examiner(start, "auto", Sampling(max_tokens=12), 5, 4)
    one, two = (examiner.answers(start.model, task_of(chains)) for _ in range(2))
    assert one.texts == two.texts
    assert len(set(one.texts[:4])) > 1, "draws of one problem differ"
    other = replace(examiner, seed=6).answers(start.model, task_of(chains))
    assert other.texts != one.texts


# ------------------------------------------------------------------------------------------------------------- table
def test_the_probes_of_curves_read_the_table_unchanged(able):
    policy = runs_of(able, seeds=(0, 1), learning_rate=3e-3)
    table = policy.table()
    assert {"family", "model_B", "step", "samples", "cum_flops", "test_loss", "seed", "reward", "kl"} <= set(table)
    assert len({len(v) for v in table.values()}) == 1
    assert np.all(table["samples"] == 4 * table["step"])
    for seed in ("0", "1"):
        assert np.all(np.diff(table["cum_flops"][table["seed"] == seed]) > 0)
    for axis in ("samples", "flops"):
        assert LearningCurve(axis=axis).measure(policy, None, QUICK, SEED).resample == "clusters"
    assert CurveTrend().measure(policy, None, QUICK, SEED).rows == 2
    assert FlopsRatio().measure(policy, None, QUICK, SEED).rows == 2
    gains = SizeGain().measure(replace(policy, layout="gains"), None, QUICK, SEED)
    assert set(gains.columns["task"]) == {"all", "easy", "hard", "near"}
    assert replace(policy, layout="converged").table()["pass_at_1"].size == 2
    steps = replace(policy, layout="steps").table()
    assert steps["step"].tolist() == [1, 2, 3, 4]
    with pytest.raises(InputError, match="48 are needed"):
        RecordedRewardEntropy().measure(replace(policy, layout="steps"), None, QUICK, SEED)


# ------------------------------------------------------------------------------------------------------- checkpoints
def test_checkpoints_are_policies(able, chains):
    policy = LLMPolicy(models=(str(able),), device="cpu", store=False)
    made = list(training.checkpoints(policy, chains, [0, 1.2, 2], SEED))
    assert [c.time for c in made] == [0.0, 1.0, 2.0]
    assert made[0].unit == "updates"
    base, start, end = (p.count(chains, 8, SEED)[1] for p in (policy, made[0].policy, made[2].policy))
    assert np.array_equal(base, start)
    assert not np.array_equal(base, end)
    assert made[2].cost["cum_flops"] == pytest.approx(2 * made[1].cost["cum_flops"], rel=0.2)
    again = list(training.checkpoints(policy, chains, [0, 1, 2], SEED))
    assert [c.policy for c in again] == [c.policy for c in made]


def test_a_trained_directory_is_a_model_like_any_other(able):
    where = training.trained_directory(str(able), 0, 0)
    assert where == able
    with pytest.raises(InputError, match="no longer has a PPO trainer"):
        training.trained_directory(str(able), 0, 1, "ppo")
    ended = training.run(runs_of(able, updates=2).plans()[0]) / training.MODEL
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in ended.iterdir()}
    policy = LLMPolicy(models=(str(ended),), device="cpu", store=False)
    assert policy.count(FAMILY.draw(8, SEED), 4, SEED)[0].tolist() == [4] * 8


def test_lora_trains_an_adapter_that_is_loaded_like_any_other(able, chains):
    policy = Learner(models=(str(able),), device="cpu", store=False, lora_rank=2, learning_rate=1e-2, prompts=4)
    before = {k: v.clone() for k, v in models.load(able, "float32", "cpu").model.state_dict().items()}
    (end,) = training.checkpoints(policy, chains, [2], SEED)
    assert end.policy.models == policy.models
    assert end.policy.adapter
    assert not np.array_equal(policy.count(chains, 8, SEED)[1], end.policy.count(chains, 8, SEED)[1])
    after = models.load(able, "float32", "cpu").model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before), "the base is as it was"
    adapted = models.load(able, "float32", "cpu", end.policy.adapter).model.state_dict()
    moved = {k for k in before if not torch.equal(before[k], adapted[k])}
    assert moved
    assert all("_proj" in k for k in moved), "the head and the embedding are not adapted"
