"""The training loop: its gradients are the exact ones, resumed runs are bitwise the unbroken ones, controls hold."""

from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import pytest
import torch

from rlaws.errors import InputError
from rlaws.problems import ArithmeticChain
from toymodels.batches import Deck, hidden_at, lay_out, log_policy, states_before, states_cost
from toymodels.config import Config
from toymodels.model import Decoder
from toymodels.options import Kl, Optimiser, PolicyGradient, Replay, Reward, Sft, Training, ValueFunction
from toymodels.policy_gradient import Lesson, collect, compare, look, policy_loss
from toymodels.state import Demonstrations, Run, begin, identify
from toymodels.tasks import Verifier, make_task
from toymodels.training import Diverged, Record, Snapshot, train

torch.set_num_threads(1)
SEED = np.random.SeedSequence(42)


def chains(length=2, modulus=5, size=64, style=False, reset=0.2):
    return make_task(ArithmeticChain(length, modulus, reset, size).draw(SEED), modulus + 1, style=style)


def decoder(task, width=16, layers=1, seed=0, **more):
    return Decoder(Config(task.vocabulary.size, task.width, width, layers, 2, **more), seed)


def run_of(model, task, method, seed=SEED):
    options = Training(method, Optimiser(1e-3))
    data = Demonstrations(np.arange(len(task)), task.demonstrations)
    identity = identify(model, task, options, seed, data, None)
    return Run(task, Deck.of(task, model.embedding.device), options, seed, data, None, identity)


def finished(model, task, options, steps, seed=SEED, **more):
    """The records and the last snapshot of a run."""
    events = list(train(model, task, options, (steps,), seed, **more))
    return events[:-1], events[-1]


def equal(a, b):
    """Whether two nested states hold the same bits (NaN equals NaN)."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a.nan_to_num(), b.nan_to_num())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


# ------------------------------------------------------------------------------------------------- shared questions
@pytest.mark.parametrize(
    "more", [{}, {"heads": 4, "kv_heads": 2}, {"experts": 4, "top_k": 2}, {"ffn": "swiglu"}], ids=lambda m: "-".join(m)
)
def test_running_a_question_once_equals_whole_rows(more):
    """States and gradients of groups behind questions of unequal length equal those of whole rows, in float64."""
    sizes = {"vocab": 20, "context": 15, "width": 32, "layers": 2, "heads": 2, "dtype": "float64"}
    model = Decoder(Config(**sizes | more), 0)
    rng = torch.Generator().manual_seed(1)
    deck = Deck(torch.randint(0, 20, (5, 9), generator=rng), torch.tensor([9, 4, 1, 7, 2]), 19)
    response = torch.randint(0, 20, (5, 3, 6), generator=rng)
    weight = torch.randn(5, 3, 6, model.config.width, generator=rng, dtype=torch.float64)
    shared = states_before(model, deck, torch.arange(5), response)
    laid = lay_out(deck, torch.arange(5).repeat_interleave(3), response.flatten(0, 1))
    whole = hidden_at(model, laid.tokens, laid.before).view_as(weight)
    torch.testing.assert_close(shared, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        flat_gradient((shared * weight).sum(), model), flat_gradient((whole * weight).sum(), model), rtol=0, atol=1e-9
    )
    with pytest.raises(InputError, match="context"):
        states_before(model, deck, torch.arange(5), response.repeat(1, 1, 2))


# -------------------------------------------------------------------------------------------------- exact gradients
def flat_gradient(value, model):
    grads = torch.autograd.grad(value, list(model.parameters()), retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for g, p in zip(grads, model.parameters(), strict=True)
        ]
    ).double()


def exact_gradient(model, run, reward_of):
    """grad of the mean over problems of E_pi[R], by enumerating every response of two tokens."""
    task, v, end = run.task, run.task.vocabulary.size, run.task.vocabulary.id("end")
    pairs = torch.cartesian_prod(torch.arange(v), torch.arange(v))
    total = torch.zeros((), dtype=torch.float64)
    for problem in range(len(task)):
        rows = torch.full((len(pairs),), problem)
        laid = lay_out(run.deck, rows, pairs)
        table = log_policy(model, hidden_at(model, laid.tokens, laid.before), 1.0)
        log_p = table.gather(2, pairs[..., None])[..., 0]
        stopped = pairs[:, 0] == end  # then the second token is not drawn: count the pair once
        log_p = torch.where(stopped[:, None] & (torch.arange(2) == 1), 0.0, log_p)
        counted = ~stopped | (pairs[:, 1] == end)
        reading = task.read(rows.numpy(), pairs.numpy())
        reward = torch.from_numpy(reward_of(task.grade(rows.numpy(), reading), reading)).double()
        total = total + (log_p.sum(dim=1).exp() * reward * counted).sum() / len(task)
    return flat_gradient(total, model)


@pytest.mark.parametrize(
    ("advantage", "factor"), [("none", 1.0), ("running_mean", 1.0), ("leave_one_out", 1.0), ("group_mean", 0.75)]
)
def test_sampled_gradients_are_unbiased(advantage, factor):
    """The loop's own gradient over 300 independent steps against the enumerated one, along two directions.

    Each projection lies within 4.9 standard errors (false alarm 1e-6 each); as a control the band does not hold a
    gradient half as long.
    """
    task = chains(length=1, modulus=3, size=6)
    model = decoder(task, seed=3)
    method = PolicyGradient(6, 4, advantage=advantage)
    run = run_of(model, task, method)
    want = factor * exact_gradient(model, run, lambda grade, _: grade.outcome.astype(float))
    aside = torch.randn(len(want), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions = torch.stack([want / want.norm(), aside / aside.norm()])
    state, seen = begin(model, run), []
    state.mean = torch.tensor(0.3)
    for step in range(300):
        state.step = step
        batch = collect(run, state, method).batch
        lesson = compare(state, method, batch, look(run, state, method, batch))
        table = log_policy(state.policy, states_before(state.policy, run.deck, lesson.row, lesson.response), 1.0)
        seen.append(-directions @ flat_gradient(policy_loss(method, table, lesson, None), state.policy))
    found = torch.stack(seen)
    error = found.std(dim=0) / 300**0.5
    z = (found.mean(dim=0) - directions @ want) / error
    assert (z.abs() < 4.9).all(), z
    assert abs(found.mean(dim=0)[0] - 0.5 * want.norm()) > 4.9 * error[0]


def perturbed(seed=1):
    """A two-layer float64 model, rows of random responses with random advantages, and a nearby anchor."""
    task = chains(length=2, modulus=5, size=8)
    model, anchor = (decoder(task, layers=2, seed=s, dtype="float64") for s in (seed, seed + 1))
    run = run_of(model, task, PolicyGradient(4, 2))
    rng = torch.Generator().manual_seed(5)
    rows = torch.arange(4)
    response = torch.randint(0, task.vocabulary.size, (4, 2, task.response), generator=rng)
    lengths = torch.randint(1, task.response + 1, (4, 2, 1), generator=rng)
    mask = (torch.arange(task.response) < lengths).double()
    draw = torch.randn(2, *mask.shape, generator=rng, dtype=torch.float64)

    def table(of):
        return log_policy(of, states_before(of, run.deck, rows, response), 1.3)

    near = table(model).gather(3, response[..., None])[..., 0].detach() + 0.3 * draw[0]
    lesson = Lesson(rows, response, mask, near * mask, draw[1] * mask, torch.zeros_like(mask))
    return model, table, lesson, table(anchor).detach()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"aggregation": "token_mean"},
        {"aggregation": "sequence_mean", "token_entropy": 0.3},
        {"objective": "ratio", "clip_low": 0.2, "clip_high": 0.28},
        {"objective": "ratio", "kl": Kl(0.5, estimator="k1")},
        {"kl": Kl(0.5, estimator="k2")},
        {"kl": Kl(0.5, estimator="k3")},
        {"kl": Kl(0.5, estimator="full")},
    ],
    ids=lambda o: "-".join(map(str, o)) or "score",
)
def test_gradients_equal_finite_differences(options):
    """Central differences of the policy loss along random directions in float64; the weight w is held fixed."""
    model, table, lesson, reference = perturbed()
    method = PolicyGradient(4, 2, **options)
    anchor = reference if method.kl.coefficient else None
    got = flat_gradient(policy_loss(method, table(model), lesson, anchor), model)
    rng, h = torch.Generator().manual_seed(9), 1e-6
    for _ in range(3):
        direction = torch.randn(len(got), generator=rng, dtype=torch.float64)
        moved = []
        for sign in (1, -1):
            with torch.no_grad():
                torch.nn.utils.vector_to_parameters(
                    torch.nn.utils.parameters_to_vector(model.parameters()) + sign * h * direction, model.parameters()
                )
                moved.append(float(policy_loss(method, table(model), lesson, anchor)))
                torch.nn.utils.vector_to_parameters(
                    torch.nn.utils.parameters_to_vector(model.parameters()) - sign * h * direction, model.parameters()
                )
        numeric = (moved[0] - moved[1]) / (2 * h)
        assert float(got @ direction) == pytest.approx(numeric, rel=1e-6, abs=1e-8)


# ---------------------------------------------------------------------------------------------------------- resuming
RESUMED = {
    "sft": (Sft(16), {}),
    "grpo": (PolicyGradient(6, 3, "group_standardised", "ratio", epochs=2, minibatches=2), {}),
    "running_mean": (PolicyGradient(6, 3, "running_mean", replay=Replay(1.0, 20), correction="sequence", most=2.0), {}),
    "ema": (PolicyGradient(6, 3, kl=Kl(0.1, estimator="full", anchor="ema", decay=0.9), measure_kl=2), {}),
    "ppo": (
        PolicyGradient(
            6, 3, "gae", "ratio", critic=ValueFunction("separate", Config(1, 1, 16, 1, 2, experts=4, top_k=2), warmup=2)
        ),
        {},
    ),
    "vtrace": (
        PolicyGradient(6, 3, "vtrace", replay=Replay(1.0), critic=ValueFunction("shared")),
        {"value_head": True},
    ),
}


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_run_is_bitwise_the_unbroken_one(name, tmp_path):
    from toymodels.checkpoints import load_snapshot, save_snapshot

    method, more = RESUMED[name]
    task = chains()
    model = decoder(task, **more)
    options = Training(method, Optimiser(3e-3, "cosine", warmup=2, horizon=8, weight_decay=0.1))
    unbroken = list(train(model, task, options, (0, 3, 6), SEED))
    middle = next(e for e in unbroken if isinstance(e, Snapshot) and e.step == 3)
    save_snapshot(middle, tmp_path / "middle.pt")
    resumed = list(train(model, task, options, (0, 3, 6), SEED, start=load_snapshot(tmp_path / "middle.pt")))
    after = unbroken[[e is middle for e in unbroken].index(True) + 1 :]
    assert len(resumed) == len(after) == 4
    for a, b in zip(after[:-1], resumed[:-1], strict=True):
        assert repr(a) == repr(b)
    assert equal(dict(after[-1].state), dict(resumed[-1].state))
    assert not equal(after[-1].state["policy"], dict(middle.state)["policy"]), "the control: training went on"


def test_times_do_not_change_the_numbers():
    task = chains()
    model, options = decoder(task), Training(PolicyGradient(4, 2), Optimiser(1e-3))
    often = [e for e in train(model, task, options, (0, 1, 2, 3), SEED) if isinstance(e, Snapshot)]
    _, once = finished(model, task, options, 3)
    assert [e.step for e in often] == [0, 1, 2, 3]
    assert equal(dict(often[-1].state), dict(once.state))


def test_the_given_model_stays_as_it_is():
    task = chains()
    model = decoder(task)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    _, last = finished(model, task, Training(Sft(8), Optimiser(1e-2)), 2)
    assert equal(before, dict(model.state_dict()))
    assert not equal(before, last.state["policy"])


# ---------------------------------------------------------------------------------------------------------- controls
@pytest.mark.parametrize("name", RESUMED)
def test_learning_rate_zero_changes_nothing(name):
    method, more = RESUMED[name]
    if name == "ppo":
        method = replace(method, critic=replace(method.critic, lr=0.0))
    task = chains()
    model = decoder(task, **more)
    _, last = finished(model, task, Training(method, Optimiser(0.0, weight_decay=0.1)), 3)
    for key, weight in model.state_dict().items():
        assert torch.equal(weight, last.state["policy"][key])


BASE = PolicyGradient(6, 4, critic=ValueFunction(), measure_kl=0)
CHANGES = {
    "samples": {"samples": 5},
    "advantage": {"advantage": "group_standardised"},
    "no_baseline": {"advantage": "none"},
    "running_mean": {"advantage": "running_mean"},
    "ratio": {"objective": "ratio", "epochs": 2, "clip_low": 0.01, "clip_high": 0.01},
    "aggregation": {"aggregation": "token_mean"},
    "sequence_mean": {"aggregation": "sequence_mean"},
    "epochs": {"epochs": 2},
    "minibatches": {"minibatches": 2},
    "temperature": {"temperature": 0.7},
    "token_entropy": {"token_entropy": 0.1},
    "semantic_entropy": {"semantic_entropy": 0.1},
    "kl_loss": {"kl": Kl(0.5)},
    "kl_reward": {"kl": Kl(0.5, where="reward")},
    "replay": {"replay": Replay(1.0)},
    "replay_corrected": {"replay": Replay(1.0), "correction": "sequence", "most": 1.5},
    "fp": {"reward": Reward(verifier=Verifier(fp=0.5))},
    "fn": {"reward": Reward(verifier=Verifier(fn=0.5))},
    "negative_no_baseline": {"advantage": "none", "reward": Reward(negative=-1.0)},
    "shrink": {"reward": Reward(shrink=0.5)},
    "process": {"reward": Reward("process")},
    "process_noise": {"reward": Reward("process", label_noise=0.3)},
    "shuffled": {"reward": Reward(shuffled=True)},
    "problems": {"problems": 7},
}


def sft_start(task, steps=60, **more):
    """A model that answers at times rightly, so that rewards vary."""
    from toymodels.state import policy_of

    _, last = finished(decoder(task, **more), task, Training(Sft(32), Optimiser(1e-2)), steps)
    return policy_of(last)


@pytest.fixture(scope="module")
def warm():
    task = chains(length=1, modulus=3, style=True)
    return task, sft_start(task)


def test_every_option_reaches_the_numbers(warm):
    """Each changed option moves the weights after three steps elsewhere; equal ones end equal."""
    task, model = warm
    end = {}
    for name, change in {"base": {}, "again": {}, **CHANGES}.items():
        _, last = finished(model, task, Training(replace(BASE, **change), Optimiser(1e-3)), 3)
        end[name] = torch.cat([x.flatten() for x in last.state["policy"].values()])
    assert torch.equal(end.pop("again"), end["base"])
    names = list(end)
    same = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if torch.equal(end[a], end[b])]
    assert not same


def test_critic_options_reach_the_numbers(warm):
    task, model = warm
    small = Config(1, 1, 8, 1, 2)
    kinds = {
        "policy size": ValueFunction("separate"),
        "small": ValueFunction("separate", small),
        "mixture": ValueFunction("separate", replace(small, experts=4, top_k=2)),
        "lr": ValueFunction("separate", lr=1e-2),
        "lam_policy": ValueFunction("separate", lam_policy=0.5),
        "lam_value": ValueFunction("separate", lam_value=0.5),
        "gamma": ValueFunction("separate", gamma=0.9),
        "warmup": ValueFunction("separate", warmup=1),
    }
    end = {}
    for name, critic in kinds.items():
        method = PolicyGradient(6, 4, "gae", critic=critic)
        records, last = finished(model, task, Training(method, Optimiser(1e-3)), 3)
        assert all(abs(r.explained_variance) < 100 for r in records)
        end[name] = torch.cat([x.flatten() for part in ("policy", "critic") for x in last.state[part].values()])
    names = list(end)
    assert not [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if torch.equal(end[a], end[b])]


def test_shared_critic_warmup_leaves_the_policy(warm):
    """While only the critic learns, the policy's weights stay, the value head moves."""
    task = chains()
    model = decoder(task, value_head=True)
    method = PolicyGradient(6, 4, "gae", critic=ValueFunction("shared", warmup=5))
    _, last = finished(model, task, Training(method, Optimiser(1e-2)), 3)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, last.state["policy"][k])}
    assert moved == {"value"}




def gain(task, model, reward, seed):
    """Rise of the accuracy from the first to the last five of 20 steps."""
    method = PolicyGradient(32, 8, measure_kl=0, reward=reward)
    records, _ = finished(model, task, Training(method, Optimiser(1e-3)), 20, np.random.SeedSequence(seed))
    right = [r.accuracy for r in records]
    return float(np.mean(right[-5:]) - np.mean(right[:5]))


def test_reward_raises_success_and_shuffled_reward_does_not():
    """Sign test over seven seeds: without information a gain is as often down as up, so seven gains in a row have a
    chance of 2^-7 (the false-alarm rate). True rewards, the control, do rise seven times.
    """
    task = chains(length=1, modulus=3)
    model = sft_start(task, steps=30)
    true = [gain(task, model, Reward(), seed) for seed in range(7)]
    null = [gain(task, model, Reward(shuffled=True), seed) for seed in range(7)]
    assert min(true) > 0
    assert min(null) <= 0
    assert np.mean(true) > np.mean(null) + 0.03


def test_demonstrations_raise_success():
    """60 steps of SFT on one-step chains modulo 3: log-loss below the entropy of a guess (log 3 / 2 a token)."""
    task = chains(length=1, modulus=3)
    records, _ = finished(decoder(task), task, Training(Sft(32), Optimiser(1e-2)), 60)
    assert records[0].loss > 2.0
    assert records[-1].loss < 0.5 * np.log(3)
    assert isnan(records[-1].reward)
    assert records[-1].tokens_trained == 60 * 32 * 2


# ------------------------------------------------------------------------------------------------- what is recorded
def test_record_at_the_start(warm):
    """Before any update the policy is the one at the start: KL 0; two tokens a response; costs rise evenly."""
    task, model = warm
    records, _ = finished(model, task, Training(PolicyGradient(8, 4), Optimiser(0.0)), 2)
    first, second = records
    assert first.kl == pytest.approx(0.0, abs=1e-9)
    assert second.kl == pytest.approx(0.0, abs=1e-9)
    assert first.reward == first.accuracy
    assert 0 < first.tokens_generated <= 8 * 4 * task.response
    assert first.tokens_trained == first.tokens_generated
    assert first.flops < second.flops < 2.5 * first.flops
    run = run_of(model, task, PolicyGradient(8, 4))
    row, response = torch.zeros(8, dtype=torch.int64), torch.zeros(8, 4, task.response, dtype=torch.int64)
    update = 3 * states_cost(model, run.deck, row, response)
    rollouts = first.flops - update - update / 3  # a pass of the policy at the start measures the KL
    assert 0.15 * update < rollouts < 0.5 * update
    assert isnan(first.explained_variance)
    assert isnan(first.clipped)
    assert 0 < first.entropy < np.log(task.vocabulary.size)


def test_measured_kl_is_the_enumerated_one(warm):
    """sum_t k3 over fresh responses estimates KL of whole responses: within 4.9 standard errors (false alarm 1e-6)."""
    from toymodels.losses import k3

    task = chains(length=1, modulus=3, size=6)
    model, other = decoder(task, seed=3), decoder(task, seed=4)
    method = PolicyGradient(6, 500)
    run = run_of(model, task, method)
    state = begin(model, run)
    state.initial = other
    fresh = collect(run, state, method).batch
    seen = look(run, state, method, fresh)
    exact = exact_kl(model, other, run)
    one = run_of(model, task, method)
    single = look(one, state, method, fresh)
    assert seen.kl == single.kl
    spread = per_response_kl(k3, model, other, run, fresh).std() / fresh.response[..., 0].numel() ** 0.5
    assert abs(seen.kl - exact) < 4.9 * float(spread)
    assert exact > 4.9 * float(spread), "the control: zero is outside"


def tables(model, run, row, response):
    laid = lay_out(run.deck, row, response)
    with torch.no_grad():
        return log_policy(model, hidden_at(model, laid.tokens, laid.before), 1.0)


def exact_kl(model, other, run):
    """KL of whole responses of at most two tokens, the mean over problems."""
    v, end = run.task.vocabulary.size, run.task.vocabulary.id("end")
    pairs = torch.cartesian_prod(torch.arange(v), torch.arange(v))
    second = (torch.arange(2) == 1) & (pairs[:, :1] == end)
    total = 0.0
    for problem in range(len(run.task)):
        rows = torch.full((len(pairs),), problem)
        p, q = (
            torch.where(second, 0.0, tables(m, run, rows, pairs).gather(2, pairs[..., None])[..., 0].double()).sum(1)
            for m in (model, other)
        )
        counted = ~second[:, 1] | (pairs[:, 1] == end)
        total += float((p.exp() * (p - q) * counted).sum()) / len(run.task)
    return total


def per_response_kl(estimator, model, other, run, fresh):
    row, response = fresh.row.repeat_interleave(fresh.response.shape[1]), fresh.response.flatten(0, 1)
    p, q = (tables(m, run, row, response).gather(2, response[..., None])[..., 0] for m in (model, other))
    return (estimator(p, q) * fresh.mask.flatten(0, 1)).sum(dim=1)


def test_bfloat16_comes_close(warm):
    """One SFT step in autocast has the loss of the float32 step to 2 % and another last bit."""
    task, model = warm
    plain, low = (
        finished(model, task, Training(Sft(32), Optimiser(1e-3), precision=p), 1)[0][0] for p in ("float32", "bfloat16")
    )
    assert plain.loss != low.loss
    assert low.loss == pytest.approx(plain.loss, rel=0.02)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch looks there while it compiles
def test_a_compiled_model_trains_alike(warm):
    """Whole rows through compiled blocks (backend "eager") give the losses of shared questions to rounding."""
    task, model = warm
    compiled = Decoder(replace(model.config, compile="eager"), 0)
    compiled.load_state_dict(model.state_dict())
    options = Training(PolicyGradient(6, 4, critic=ValueFunction("separate"), advantage="gae"), Optimiser(1e-3))
    plain, other = (finished(m, task, options, 2)[0] for m in (model, compiled))
    assert [r.loss for r in other] == pytest.approx([r.loss for r in plain], rel=1e-4)
    assert [r.grad_norm for r in other] == pytest.approx([r.grad_norm for r in plain], rel=1e-4)
    assert other[-1].flops > plain[-1].flops


# ------------------------------------------------------------------------------------------------------- mistakes
def refused(words, model, task, options, times=(1,), **more):
    with pytest.raises(InputError, match=words):
        next(iter(train(model, task, options, times, SEED, **more)))


def test_misfits_are_refused():
    task = chains()
    model, options = decoder(task), Training(PolicyGradient(4, 2), Optimiser(1e-3))
    short = Decoder(replace(model.config, context=task.width - 1), 0)
    refused(f"context of at least {task.width}", short, task, options)
    refused("give the model vocab", Decoder(replace(model.config, vocab=99), 0), task, options)
    refused("that rise", model, task, options, times=(3, 1))
    refused("that rise", model, task, options, times=())
    led = Training(PolicyGradient(4, 2, reward=Reward(verifier=Verifier(style=0.5))), Optimiser(1e-3))
    refused("style = true", model, task, led)
    learned = Training(PolicyGradient(4, 2, reward=Reward("learned_outcome")), Optimiser(1e-3))
    refused("needs a reward model of kind 'outcome', and none", model, task, learned)
    shared = Training(PolicyGradient(4, 2, "gae", critic=ValueFunction("shared")), Optimiser(1e-3))
    refused("value head", model, task, shared)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PolicyGradient(4, 1), "at least 2 samples"),
        (lambda: PolicyGradient(4, 2, "gae"), "need a critic"),
        (lambda: PolicyGradient(4, 2, critic=ValueFunction("shared")), "need a critic"),
        (lambda: PolicyGradient(4, 2, "grpo"), "not possible"),
        (lambda: PolicyGradient(4, 2, "group_standardised", reward=Reward("process")), "token by token"),
        (lambda: PolicyGradient(4, 2, "group_standardised", kl=Kl(0.1, where="reward")), "token by token"),
        (lambda: PolicyGradient(4, 2, "vtrace", "ratio", critic=ValueFunction("shared")), "objective = score"),
        (lambda: PolicyGradient(4, 2, minibatches=5), "groups stay whole"),
        (lambda: PolicyGradient(4, 2, temperature=0.0), "must be positive"),
        (lambda: ValueFunction("shared", Config(1, 1, 8, 1, 2)), "kind = separate"),
        (lambda: Kl(-1.0), "out of range"),
        (lambda: Optimiser(1e-3, "cosine"), "needs a horizon"),
        (lambda: Optimiser(nan), "out of range"),
        (lambda: Sft(0), "out of range"),
    ],
)
def test_contradictions_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


class Breaking:
    """A reward model that gives no number from its fourth call on."""

    kind, identity = "outcome", "breaking"

    def __init__(self):
        self.calls = 0

    def scores(self, task, rows, responses):
        self.calls += 1
        return np.where(np.arange(len(rows)) % 2, 1.0, nan if self.calls > 3 else 0.0)


def test_a_loss_that_is_not_finite_stops_the_run():
    """The run stops at step 4 with a sentence; the weights and the last snapshot are those of before."""
    task = chains()
    options = Training(PolicyGradient(4, 2, reward=Reward("learned_outcome")), Optimiser(1e-3, grad_clip=inf))
    events, stop = [], None
    try:
        for event in train(decoder(task), task, options, (0, 2, 9), SEED, scorer=Breaking()):
            events.append(event)
    except Diverged as error:
        stop = error
    assert stop is not None
    assert "At step 4 the loss is nan" in str(stop)
    assert [e.step for e in events if isinstance(e, Record)] == [1, 2, 3]
    assert stop.last is [e for e in events if isinstance(e, Snapshot)][-1]
    assert stop.last.step == 2
    assert all(torch.isfinite(x).all() for x in stop.last.state["policy"].values())


def test_schedule_by_hand():
    o = Optimiser(1.0, "cosine", warmup=4, horizon=12, final=0.2)
    assert [o.share(s) for s in (0, 3, 4, 8, 12, 99)] == pytest.approx([0.25, 1.0, 1.0, 0.6, 0.2, 0.2])
    assert Optimiser(1.0).share(7) == 1.0
