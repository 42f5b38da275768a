"""Gradients of sampled answers against enumeration and autograd, on models so small that all answers can be listed.

The tiny vocabulary has four tokens: the end, "Step 1: ", "0" and "1"; a question is a few "0". With three new tokens at
most there are 1 + 3 + 9 + 27 answers.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers import models as kinds
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from llm_bridge.gradients import (
    GradientPolicy,
    Row,
    Sketch,
    draw,
    linear_maps,
    parts_of,
    right_actions,
    right_texts,
    score_gradients,
    step_of,
)
from llm_bridge.inside import model_of, spans
from rlaws.errors import InputError
from rlaws.policy import GradientSampler, GradientSketcher
from rlaws.probes.base import Budget
from rlaws.probes.credit_horizon import CreditHorizon
from rlaws.probes.gradient_snr import GradientSNR
from rlaws.probes.gradient_snr_vector import GradientSNRVector
from rlaws.problems import ArithmeticChain, ChainProblem, Operation, ProblemSet, grade, read_text
from rlaws.resampling import to_points

SEED = np.random.SeedSequence(5)
QUICK = Budget("test", 1.0, 200)
WORDS = {"<end>": 0, "0": 1, "1": 2, "Step 1: ": 3}
MOST = 3
ONE_STEP = ChainProblem("p", 0, 2, (Operation("add", 1),))
PROBLEM = ProblemSet(np.array(["p"]), {}, (ONE_STEP,))


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Directory of a random Llama that knows four tokens."""
    folder = tmp_path_factory.mktemp("four") / "model"
    words = Tokenizer(kinds.WordLevel(WORDS, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex("Step 1: |[01]"), "isolated")
    words.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<end>", eos_token="<end>")
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=4, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64, initializer_range=0.5, pad_token_id=0, bos_token_id=0,
            eos_token_id=0,
        )
    )  # fmt: skip
    model.generation_config = GenerationConfig(do_sample=True, pad_token_id=0, eos_token_id=0)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture
def policy(four):
    return GradientPolicy(
        models=(str(four),), device="cpu", template="plain", store=False, max_tokens=MOST, unit="token", dims=64
    )


@pytest.fixture
def double(policy, monkeypatch):
    """The model in float64 and its prompt."""
    loaded = model_of(policy)
    exact = replace(loaded, model=LlamaForCausalLM.from_pretrained(policy.model, dtype=torch.float64).eval())
    return exact, exact.prompt(ONE_STEP.to_text(), "plain")


def listed(loaded, prompt, temperature=1.0):
    """Return all answers as token lists, the end included where it was said, and their log-probabilities [U]."""
    every = [list(y) for n in range(MOST) for y in product((1, 2, 3), repeat=n)]
    every = [[*y, 0] for y in every] + [list(y) for y in product((1, 2, 3), repeat=MOST)]
    return every, torch.stack([log_p(loaded, prompt, y, temperature).sum() for y in every])


def log_p(loaded, prompt, answer, temperature=1.0):
    ids = torch.tensor([[*prompt, *answer]])
    table = (loaded.model(input_ids=ids).logits[0] / temperature).log_softmax(-1)
    return table[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])[:, 0]


def right(text, problem=ONE_STEP):
    """R of an answer."""
    several = ProblemSet(np.array(["p"]), {}, (problem,))
    return float(grade(several, [0], [read_text(text, len(problem.operations))]).outcome[0])


def text_of(loaded, answer):
    return loaded.tokenizer.decode(answer, skip_special_tokens=True)


def flat(loaded, value):
    """Gradient of a value by the weights of the blocks' linear maps, as one vector."""
    weights = [m.weight for m in linear_maps(loaded.model)]
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, weights, retain_graph=True)])


def scores(loaded, rows, count, temperature=1.0):
    """Return the gradients that the code under test gives, [B, K, numbers]."""
    maps = linear_maps(loaded.model)
    sizes = [m.weight.numel() for m in maps]
    out = [torch.zeros(len(rows), count, n, dtype=torch.float64) for n in sizes]
    for k, i, g in score_gradients(loaded.model, maps, rows, count, temperature, "cpu"):
        out[i][:, k] = g
    return torch.cat(out, dim=2)


# ------------------------------------------------------------------------------------------------ reading the steps
def test_labels_count_in_rising_order_from_the_left():
    text = "Step 1: 3\nStep 2: 5\nStep 2: 6\nStep 4: 0"
    first, second, third, fourth = spans(text, 4)
    assert third is None
    assert text[first.begin : first.end] == "3"
    assert text[first.begin : first.stop] == "3\nStep 2: "
    assert text[second.begin : second.end] == "5\nStep 2: 6"
    assert text[fourth.begin : fourth.stop] == "0"
    assert spans("So: Step 1: 3", 1) == [None]
    assert spans("Step 9: 3", 2) == [None, None]


def test_the_right_action_follows_from_what_was_shown():
    """Values 3 + 4 = 0, then 2 * 0 = 0, then set to 5 (modulo 7)."""
    chain = ChainProblem("p", 3, 7, (Operation("add", 4), Operation("multiply", 2), Operation("set", 5)))
    wanted = {
        "Step 1: 0\nStep 2: 0\nStep 3: 5": ["0\nStep 2: ", "0\nStep 3: ", "5"],
        "Step 1: 6\nStep 2: 0\nStep 3: 5": ["0\nStep 2: ", "5\nStep 3: ", "5"],
        "Step 1: x\nStep 2: 0\nStep 3: 5": ["0\nStep 2: ", "5"],
        "Step 1: 9\nStep 2: 0": ["0\nStep 2: "],
        "Step 2: 1\nStep 3: 1": ["5"],
        "nothing": [],
    }
    for text, actions in wanted.items():
        assert [a for _, _, a in right_texts(chain, text)] == actions
        assert all(text[:at].endswith(f"Step {t}: ") for t, at, _ in right_texts(chain, text))


def test_a_token_belongs_to_the_step_in_which_it_ends():
    text = "Step 1: 3\nStep 2: 5"
    assert step_of(("Step 1: ", "3", "\nStep 2: ", "5"), text, 2).tolist() == [-1, 0, 0, 1]
    assert step_of(("Step", " 1:", " 3", "\n", "Step 2:", " 5"), text, 2).tolist() == [-1, -1, 0, 0, 0, 1]
    assert step_of(("no", "thing"), "nothing", 2).tolist() == [-1, -1]


# ------------------------------------------------------------------------------------------ gradients by parameters
def test_gradients_are_those_of_autograd_one_by_one(tiny):
    """Rows of different lengths in one batch, with prompts, parts of several tokens, and a temperature; float64."""
    loaded = model_of(GradientPolicy(models=(str(tiny),), device="cpu", store=False))
    loaded = replace(loaded, model=LlamaForCausalLM.from_pretrained(tiny, dtype=torch.float64).eval())
    rng = np.random.default_rng(0)
    rows = []
    for size in (9, 14, 5):
        ids = rng.integers(5, 300, size).tolist()
        rows.append(Row(ids, [-1, -1, *sorted(rng.integers(0, 3, size - 2).tolist())]))
    found = scores(loaded, rows, 3, temperature=0.7)
    for b, row in enumerate(rows):
        each = log_p(loaded, row.ids[:1], row.ids[1:], 0.7)
        for k in range(3):
            mine = torch.tensor([p == k for p in row.part[1:]])
            want = flat(loaded, each[mine].sum()) if mine.any() else torch.zeros_like(found[b, k])
            torch.testing.assert_close(found[b, k], want, rtol=1e-9, atol=1e-12)


def test_over_all_answers_they_add_up_to_the_gradient_of_the_success(double):
    """sum_y pi(y) R(y) sum_k grad log pi_k(y) = grad sum_y pi(y) R(y): the policy gradient theorem, to rounding."""
    loaded, prompt = double
    answers, logp = listed(loaded, prompt)
    assert logp.exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    reward = torch.tensor([right(text_of(loaded, y)) for y in answers], dtype=torch.float64)
    assert 0 < reward.sum() < len(reward)
    rows = [Row([*prompt, *y], [-1] * len(prompt) + list(range(MOST - len(y), MOST))) for y in answers]
    theorem = torch.einsum("u,ukn->n", (logp.exp() * reward).detach(), scores(loaded, rows, MOST))
    exact = flat(loaded, (logp.exp() * reward).sum())
    assert (theorem - exact).abs().max() < 1e-5 * exact.abs().max()  # Llama norms and turns in float32


@pytest.mark.parametrize("unit", ["token", "step"])
def test_sampled_sketches_have_the_enumerated_mean(policy, double, unit):
    """Every number of the sketch within 6 standard errors of 64 batches (64 x 3 numbers: false alarm 4e-7)."""
    policy = replace(policy, unit=unit)
    loaded, prompt = double
    answers, logp = listed(loaded, prompt)
    p = logp.exp().detach()
    reward = torch.tensor([right(text_of(loaded, y)) for y in answers], dtype=torch.float64)
    found = policy.gradient_sketches(PROBLEM, 64, 64, SEED)
    count = len(found.distance)
    assert found.unit == f"{unit}s"
    rows = [Row([*prompt, *y], [-1] * len(prompt) + part_by_hand(loaded, y, unit, count)) for y in answers]
    every = scores(loaded, rows, count)
    mean = torch.einsum("u,ukn->kn", p * (reward - (p * reward).sum()), every)
    square = torch.einsum("u,uk->k", p * (reward - (p * reward).sum()) ** 2, every.square().sum(2))
    maps = linear_maps(loaded.model)
    sketch = Sketch([m.weight.numel() for m in maps], policy.dims, "cpu")
    parts = mean.split([m.weight.numel() for m in maps], dim=1)
    exact = sum(sketch(i, part) for i, part in enumerate(parts)).numpy()
    error = found.mean.std(axis=0, ddof=1) / np.sqrt(64)
    assert np.all(np.abs(found.mean.mean(axis=0) - exact) < 6 * error + 1e-9)
    assert np.any(np.abs(exact) > 6 * error), "there is something to find"
    wide = found.square.std(axis=0, ddof=1) / np.sqrt(64)
    leave_one_out = 64 / 63  # Var(R - b) of a baseline over the 63 others
    assert np.all(np.abs(found.square.mean(axis=0) - leave_one_out * square.numpy()) < 6 * wide + 1e-3 * square.numpy())


def part_by_hand(loaded, answer, unit, count):
    if unit == "token":
        return [k if k >= 0 else -1 for k in range(count - len(answer), count)]
    started = answer[0] == WORDS["Step 1: "]
    return [-1, *[0] * (len(answer) - 1)] if started else [-1] * len(answer)


def test_only_the_last_blocks_are_taken_where_that_is_asked(double):
    loaded, _ = double
    assert len(linear_maps(loaded.model)) == 2 * len(linear_maps(loaded.model, 1)) == 14
    assert linear_maps(loaded.model, 1)[0] is loaded.model.model.layers[1].self_attn.q_proj
    with pytest.raises(InputError, match="has 2 blocks"):
        linear_maps(loaded.model, 3)


# ------------------------------------------------------------------------------------------------------- projection
def test_sketches_keep_inner_products():
    """Over 400 projections: unbiased within 5 standard errors, and the variance is at most the bound (by 30 %)."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 500, generator=rng, dtype=torch.float64)
    y = 0.5 * x + y
    x[0] = 20.0  # a heavy weight
    several = []
    for seed in range(400):
        sketch = Sketch([500], 64, "cpu", seed)
        a, b = sketch(0, torch.stack([x, y]))
        several.append(float(a @ b))
    error = np.array(several) - float(x @ y)
    assert abs(error.mean()) < 5 * error.std() / 20
    bound = float(x @ x * (y @ y) + (x @ y) ** 2) / 64
    assert error.var() < 1.3 * bound
    assert error.var() > 0.3 * bound, "the bound is not idle"


def test_all_distances_of_forty_points_are_kept_to_a_third():
    """Johnson-Lindenstrauss at D = 512: the relative error of a squared distance has sd sqrt(2/512) = 0.063."""
    points = torch.randn(40, 3000, generator=torch.Generator().manual_seed(3))
    sketch = Sketch([1000, 2000], 512, "cpu")
    shown = sketch(0, points[:, :1000]) + sketch(1, points[:, 1000:])
    ratio = (torch.pdist(shown) / torch.pdist(points)) ** 2
    assert ratio.min() > 0.67
    assert ratio.max() < 1.33
    assert ratio.std() == pytest.approx(np.sqrt(2 / 512), rel=0.25)


# ------------------------------------------------------------------------------------------------------ right actions
def exact_moments(loaded, prompt, temperature):
    """Enumerated mean of (c - p)(R - E R), and of c - p, of the one step."""
    answers, logp = listed(loaded, prompt, temperature)
    pi = logp.exp().detach().numpy()
    state = [WORDS["Step 1: "]]
    action = log_p(loaded, prompt, [*state, WORDS["1"], 0], temperature)[1:].sum().exp().item()
    there = np.array([y[:1] == state for y in answers])
    written = np.array([y == [*state, WORDS["1"], 0] for y in answers])
    reward = np.array([right(text_of(loaded, y)) for y in answers])
    score = there * (written - action)
    return pi @ (score * (reward - pi @ reward)), pi @ score, action


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_gradient_sums_have_the_enumerated_mean(policy, double, temperature):
    """Within 5 standard errors of 64 batches: false alarm 6e-7."""
    loaded, prompt = double
    mean, centre, action = exact_moments(loaded, prompt, temperature)
    assert abs(centre) < 1e-12, "E[c - p] = 0"
    hot = replace(policy, temperature=temperature)
    sums = hot.gradient_sums(PROBLEM, 256, 64, SEED)
    g = sums.s1[:, 0] / sums.n
    assert abs(g.mean() - mean) < 5 * g.std(ddof=1) / 8
    assert abs(mean) > 5 * g.std(ddof=1) / 8, "there is something to find"
    drawn = draw(hot, temperature, PROBLEM, 256, 4, SEED, MOST, False)
    written, chance = right_actions(model_of(hot), hot, drawn, temperature)
    assert chance.max() == pytest.approx(action, rel=1e-5)
    assert set(np.unique(written)) <= {0.0, 1.0}


def chains(size, length=2):
    return ArithmeticChain(length, 2, 0.0, size).draw(np.random.SeedSequence(2))


def test_batches_hold_the_rollouts_that_they_should(policy):
    """Rollout i is on problem i modulo their number, also where there are fewer rollouts than problems."""
    for rollouts in (12, 3):
        drawn = draw(policy, 1.0, chains(5), rollouts, 2, SEED, MOST, False)
        assert np.array_equal(drawn.answers.problem[drawn.at], np.tile(np.arange(rollouts) % 5, (2, 1)))
        assert np.array_equal(drawn.hits, drawn.answers.right[drawn.at].sum(axis=1))
        assert drawn.weights(2).sum() == pytest.approx((drawn.gain**2).mean(axis=1).sum())


def test_without_a_difference_in_reward_there_is_no_gradient(policy, monkeypatch):
    monkeypatch.setattr("llm_bridge.inside.read_text", lambda text, steps: np.full(steps, -1))
    sums, sketches = (f(PROBLEM, 16, 8, SEED) for f in (policy.gradient_sums, policy.gradient_sketches))
    assert not sums.hits.any()
    assert not sums.s2.any()
    assert not sketches.square.any()


def test_shuffled_rewards_have_no_signal_and_true_ones_have(policy):
    """z of the mean gradient over 64 batches: below 4.5 (false alarm 7e-6) and above 6."""

    def z(shuffled):
        sums = replace(policy, shuffled=shuffled).gradient_sums(PROBLEM, 256, 64, SEED)
        g = sums.s1[:, 0] / sums.n
        return abs(g.mean()) / g.std(ddof=1) * 8

    assert z(shuffled=False) > 6
    assert z(shuffled=True) < 4.5
    null, true = (
        to_points(
            GradientSNRVector(64, 64).measure(replace(policy, shuffled=s), PROBLEM, QUICK, SEED),
            np.random.default_rng(0),
            200,
        )
        for s in (True, False)
    )
    assert np.all(np.abs(null.y) < 5 * null.stderr)
    assert np.any(true.y > 5 * true.stderr)


def test_the_probes_run_on_it(policy):
    assert isinstance(policy, GradientSampler)
    assert isinstance(policy, GradientSketcher)
    for probe, length in ((GradientSNR(8, 8), 1), (GradientSNRVector(8, 8), 1), (CreditHorizon(8, 8, 1), 2)):
        assert probe.measure(policy, chains(4, length), QUICK, SEED).rows


def test_what_cannot_be_done_gets_a_sentence(policy, four):
    with pytest.raises(InputError, match="unit = 'steps' is not known"):
        GradientPolicy(unit="steps")
    with pytest.raises(InputError, match="temperature above 0"):
        GradientPolicy(temperature=0.0)
    with pytest.raises(InputError, match="need backend=hf"):
        replace(policy, backend="vllm").gradient_sums(PROBLEM, 8, 8, SEED)
    with pytest.raises(InputError, match="add problems=llm_chain"):
        policy.gradient_sums(None, 8, 8, SEED)
    with pytest.raises(InputError, match="no arithmetic chains"):
        policy.gradient_sums(ProblemSet(np.array(["a"]), {}), 8, 8, SEED)


def test_parts_of_an_answer_are_its_last_tokens(policy):
    drawn = draw(policy, 1.0, PROBLEM, 64, 1, SEED, MOST, False)
    rows, count = parts_of(model_of(policy), "plain", drawn, "token")
    assert count == 3
    for row, finished in zip(rows, drawn.answers.finished, strict=True):
        assert row.part[-1] == count - 1
        assert (row.ids[-1] == 0) == finished
        assert len(row.ids) == len(row.part)
