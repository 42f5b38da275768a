"""Sampling: the cache against fresh forward passes, frequencies against the softmax, branching, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from rlaws.errors import InputError
from toymodels import sampling
from toymodels.config import Config
from toymodels.model import Decoder
from toymodels.sampling import (
    Rule,
    Samples,
    Session,
    child_keys,
    completion_mask,
    draw,
    evaluate,
    exponentials,
    generate,
    join,
    score,
)

torch.set_num_threads(1)
SMALL = Config(vocab=9, context=24, width=32, layers=2, heads=4)
CONFIGS = {
    "relu2": SMALL,
    "grouped": replace(SMALL, ffn="swiglu", kv_heads=2, tied=False),
    "mixture": replace(SMALL, ffn="swiglu", experts=4, top_k=2),
}
ALARM = 1e-5
"""False-alarm rate of each statistical test, whose seed is fixed."""


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lively(config: Config, seed: int = 0) -> Decoder:
    """A decoder with larger logits than a fresh one's, so that distributions differ from place to place."""
    model = Decoder(config, seed)
    with torch.no_grad():
        model.embedding.mul_(8.0)
    return model


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Decoder:
    return lively(CONFIGS[request.param])


def ragged(model: Decoder) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(model.config.vocab, (5, 8), generator=gen(3)), torch.tensor([8, 3, 1, 5, 8])


# -------------------------------------------------------------------------------------------- cache, log-probabilities
@torch.no_grad()
def test_cached_logits_equal_uncached_ones(model: Decoder) -> None:
    """Rows of different lengths, token by token behind a prefill, against one forward pass; float32, 1e-5."""
    tokens, start = torch.randint(9, (4, 20), generator=gen(1)), torch.tensor([1, 6, 3, 7])
    full, cache = model(tokens), model.empty_cache(4, 20)
    model.states(tokens[:, :7], cache=cache)
    rows = torch.arange(4)
    for t in range(12):
        at = start + t
        logits = model.logits(model.step(tokens[rows, at], at, cache))
        assert torch.allclose(logits, full[rows, at], atol=1e-5)


@pytest.mark.parametrize("lengths_differ", [False, True])
def test_sampled_logprobs_equal_a_fresh_forward_pass(model: Decoder, lengths_differ: bool) -> None:
    prompts, lengths = ragged(model)
    got = generate(model, prompts, 3, 12, gen(), stop=0, prompt_lengths=lengths if lengths_differ else None)
    fresh = evaluate(model, got.tokens, got.prompt_lengths, got.lengths, entropy=True)
    assert torch.allclose(got.logprobs, fresh.logprobs, atol=1e-5)
    assert torch.allclose(got.entropy, fresh.entropy, atol=1e-5)
    assert torch.equal(got.logprobs, got.sampled_logprobs)
    assert len(got.lengths.unique()) > 2, "no row stopped early, so nothing was compacted"


def test_logprobs_as_sampled_are_those_of_the_tempered_and_cut_distribution(model: Decoder) -> None:
    prompts, _ = ragged(model)
    got = generate(model, prompts, 2, 8, gen(), temperature=0.6)
    assert torch.allclose(
        got.sampled_logprobs, score(model, got.tokens, got.prompt_lengths, temperature=0.6), atol=1e-5
    )
    assert torch.allclose(got.logprobs, score(model, got.tokens, got.prompt_lengths), atol=1e-5)
    cut = generate(model, prompts, 2, 8, gen(), top_k=3)
    with torch.no_grad():
        best = model(cut.tokens[:, :-1]).log_softmax(-1).topk(3, dim=-1)
    kept = best.values - best.values.logsumexp(-1, keepdim=True)
    hit = best.indices == cut.tokens[:, 1:, None]
    expected = (kept * hit).sum(-1)[:, 7:]
    assert bool(hit.any(-1)[:, 7:].all()), "a token outside the three likeliest was drawn"
    assert torch.allclose(cut.sampled_logprobs[:, 8:], expected, atol=1e-5)


def test_greedy_takes_the_likeliest_token(model: Decoder) -> None:
    prompts, _ = ragged(model)
    got = generate(model, prompts, 2, 9, gen(), temperature=0.0)
    with torch.no_grad():
        likeliest = model(got.tokens[:, :-1]).argmax(-1)
    assert torch.equal(got.tokens[:, 8:], likeliest[:, 7:])
    assert not got.sampled_logprobs.any()
    assert torch.equal(got.tokens[0], got.tokens[1])
    one = generate(model, prompts, 2, 9, gen(), top_k=1)
    assert torch.equal(one.tokens, got.tokens)


def test_rows_hold_prompt_completion_and_padding(model: Decoder) -> None:
    prompts, lengths = ragged(model)
    got = generate(model, prompts, 4, 10, gen(), stop=2, prompt_lengths=lengths)
    assert got.tokens.shape == (20, 18)
    for r in range(20):
        start, end = int(lengths[r // 4]), int(lengths[r // 4] + got.lengths[r])
        new = got.tokens[r, start:end]
        assert torch.equal(got.tokens[r, :start], prompts[r // 4, :start])
        assert bool((got.tokens[r, end:] == 2).all())
        assert 2 not in new[:-1]
        assert len(new) == 10 or new[-1] == 2
    inside = completion_mask(got.tokens, got.prompt_lengths, got.lengths)
    assert torch.equal(got.logprobs != 0, inside)


def test_samples_can_be_trained_on(model: Decoder) -> None:
    prompts, _ = ragged(model)
    got = generate(model, prompts, 2, 4, gen())
    score(model, got.tokens, got.prompt_lengths, got.lengths).sum().backward()
    assert float(model.embedding.grad.abs().sum()) > 0


# ------------------------------------------------------------------------------------------------------ reproducibility
def same(a: Samples, b: Samples) -> bool:
    return torch.equal(a.tokens, b.tokens) and torch.allclose(a.logprobs, b.logprobs, atol=1e-5)


def test_rows_do_not_depend_on_the_batch(model: Decoder) -> None:
    prompts, lengths = ragged(model)
    whole = generate(model, prompts, 4, 10, gen(7), stop=0, prompt_lengths=lengths)
    for p in range(5):
        alone = generate(
            model, prompts[p : p + 1], 4, 10, gen(7), stop=0, prompt_lengths=lengths[p : p + 1], first_row=4 * p
        )
        assert torch.equal(alone.tokens, whole.tokens[4 * p : 4 * p + 4])
    assert not same(whole, generate(model, prompts, 4, 10, gen(8), stop=0, prompt_lengths=lengths))


def test_compaction_changes_nothing(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, lengths = ragged(model)
    often = generate(model, prompts, 6, 14, gen(2), stop=1, prompt_lengths=lengths)
    monkeypatch.setattr(sampling, "KEEP", -1.0)
    assert same(often, generate(model, prompts, 6, 14, gen(2), stop=1, prompt_lengths=lengths))
    monkeypatch.setattr(sampling, "KEEP", 0.999)
    assert same(often, generate(model, prompts, 6, 14, gen(2), stop=1, prompt_lengths=lengths))


def test_the_global_generator_is_not_used(model: Decoder) -> None:
    state = torch.get_rng_state()
    prompts, _ = ragged(model)
    first = generate(model, prompts, 2, 5, gen(4))
    torch.manual_seed(99)
    assert same(first, generate(model, prompts, 2, 5, gen(4)))
    torch.set_rng_state(state)


# ---------------------------------------------------------------------------------------------------------- frequencies
def chi_square(counts: np.ndarray, chance: np.ndarray) -> float:
    """p-value of counts under the given chances; cells that expect fewer than 10 are put together."""
    rare = chance * counts.sum() < 10
    pooled = [np.append(x[~rare], x[rare].sum()) for x in (counts, chance * counts.sum())]
    keep = pooled[1] > 0
    assert not pooled[0][~keep].any()
    return float(stats.chisquare(pooled[0][keep], pooled[1][keep]).pvalue)


@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 2.0])
def test_frequencies_follow_the_softmax(temperature: float) -> None:
    """First and second token of 40 000 rows; false alarm 1e-5 each. Control: the softmax at 0.75 of the temperature."""
    model, prompt = lively(SMALL, 5), torch.tensor([[1, 4, 2]])
    got = generate(model, prompt, 40_000, 2, gen(6), temperature=temperature)
    first, second = got.tokens[:, 3], got.tokens[:, 4]
    usual = int(first.mode().values)
    tails = ((prompt, first), (torch.cat([prompt[0], torch.tensor([usual])])[None], second[first == usual]))
    for row, drawn in tails:
        with torch.no_grad():
            logits = model(row)[0, -1].double()
        counts = np.bincount(drawn.numpy(), minlength=9)
        assert chi_square(counts, (logits / temperature).softmax(0).numpy()) > ALARM
        assert chi_square(counts, (logits / (0.75 * temperature)).softmax(0).numpy()) < ALARM


def test_races_are_exponential_and_independent() -> None:
    """Kolmogorov-Smirnov on 10^5 variables, and neighbours' correlations along rows, positions and columns, at 1e-5."""
    keys, at = child_keys(torch.tensor([123]), torch.arange(100)), torch.arange(50)
    e = torch.stack([exponentials(keys, p.expand(100), 20) for p in at]).numpy()
    assert stats.kstest(e.ravel(), "expon").pvalue > ALARM
    assert stats.kstest(1.02 * e.ravel(), "expon").pvalue < ALARM
    u = stats.norm.ppf(np.exp(-e))
    bound = stats.norm.isf(ALARM / 2)
    for axis in range(3):
        a, b = np.delete(u, 0, axis), np.delete(u, -1, axis)
        assert abs((a * b).sum() / np.sqrt(a.size)) < bound


def test_a_draw_is_a_function_of_key_and_position_alone() -> None:
    logits, keys = torch.randn(6, 9, generator=gen()), child_keys(torch.tensor([5]), torch.arange(6))
    at = torch.tensor([3, 1, 4, 1, 5, 9])
    whole = draw(logits, Rule(), keys, at).token
    order = torch.tensor([4, 0, 2])
    assert torch.equal(draw(logits[order], Rule(), keys[order], at[order]).token, whole[order])
    flat = torch.zeros(200, 9)
    many = child_keys(torch.tensor([5]), torch.arange(200))
    a, b = (draw(flat, Rule(), many, torch.full((200,), p)).token for p in (1, 2))
    assert 0 < int((a == b).sum()) < 60  # 22 expected of two independent draws


# ------------------------------------------------------------------------------------------------------------ branching
@torch.no_grad()
def test_branches_continue_as_a_fresh_forward_pass_would(model: Decoder) -> None:
    """Three steps of ragged lengths: sums of log-probabilities, tokens, parents and ends are those of whole rows."""
    prompts, lengths = ragged(model)
    session = Session(model, places=24, separator=3, stop=0)
    now = session.start(prompts, gen(1), lengths)
    for _ in range(3):
        rows = (~now.done).nonzero().squeeze(-1)[:6]
        grown = session.grow(now, rows, 3)
        assert len(grown) == 3 * len(rows)
        for r in range(len(grown)):
            parent = int(rows[r // 3])
            before, after = int(now.lengths[parent]), int(grown.lengths[r])
            new = grown.tokens[r, before:after].tolist()
            assert int(grown.parent[r]) == parent
            assert torch.equal(grown.tokens[r, :before], now.tokens[parent, :before])
            assert new[-1] in (3, 0) or after == 24
            assert not {3, 0} & set(new[:-1])
            assert bool(grown.done[r]) == (new[-1] == 0 or after == 24)
            table = model(grown.tokens[r : r + 1, :after])[0].log_softmax(-1)
            places = torch.arange(int(grown.prompt_lengths[r]), after)
            whole = table[places - 1, grown.tokens[r, places]].sum()
            assert float(grown.logprob[r]) == pytest.approx(float(whole), abs=2e-5)
        now = grown
    assert len(now.lengths.unique()) > 2


def test_growing_leaves_the_parents_as_they_were(model: Decoder) -> None:
    session = Session(model, places=20, separator=3)
    start = session.start(torch.tensor([[1, 2, 5]]), gen())
    before = [x.clone() for x in (start.tokens, start.lengths, start.logprob, start.cache)]
    first = session.grow(start, [0], 4)
    again = session.grow(start, [0], 4)
    after = (start.tokens, start.lengths, start.logprob, start.cache)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(first.tokens, again.tokens)
    assert len({tuple(row) for row in first.tokens.tolist()}) > 1
    more = session.grow(start, [0], 2, first_child=2)
    assert torch.equal(more.tokens, first.tokens[2:])
    both = join([first.take([2, 0]), first.take([1])])
    assert torch.equal(both.tokens, first.tokens[[2, 0, 1]])


def test_without_separator_a_step_is_a_token_and_greedy_equals_generate(model: Decoder) -> None:
    prompts, _ = ragged(model)
    session = Session(model, places=14, temperature=0.0)
    now = session.start(prompts, gen())
    for t in range(6):
        now = session.grow(now, range(5), 1)
        assert bool((now.lengths == 9 + t).all())
    assert bool(now.done.all())
    assert torch.equal(now.tokens, generate(model, prompts, 1, 6, gen(), temperature=0.0).tokens)


def test_children_are_drawn_from_the_softmax() -> None:
    """20 000 children of one row, second step included; false alarm 1e-5; control: the softmax at temperature 0.75."""
    model = lively(SMALL, 2)
    session = Session(model, places=8)
    start = session.start(torch.tensor([[1, 2, 5]]), gen(3))
    one = session.grow(start, [0], 20_000)
    same_first = (one.tokens[:, 3] == one.tokens[:, 3].mode().values).nonzero().squeeze(-1)
    two = session.grow(one, same_first, 1)
    for drawn, row in ((one.tokens[:, 3], one.tokens[:1, :3]), (two.tokens[:, 4], two.tokens[:1, :4])):
        with torch.no_grad():
            logits = model(row)[0, -1].double()
        counts = np.bincount(drawn.numpy(), minlength=9)
        assert chi_square(counts, logits.softmax(0).numpy()) > ALARM
        assert chi_square(counts, (logits / 0.75).softmax(0).numpy()) < ALARM


def test_a_step_is_cut_at_max_step_and_can_be_gone_on_with(model: Decoder) -> None:
    session = Session(model, places=20, separator=8)
    start = session.start(torch.tensor([[1, 2, 5]]), gen())
    cut = session.grow(start, [0], 16, max_step=2)
    assert int(cut.lengths.max()) == 5
    assert not cut.done.any()
    longer = session.grow(cut, range(16), 1, max_step=1)
    assert torch.equal(longer.lengths, cut.lengths + 1)


# -------------------------------------------------------------------------------------------------------------- scoring
def test_a_double_model_is_scored_in_double() -> None:
    model = lively(replace(SMALL, dtype="float64"))
    got = generate(model, torch.tensor([[1, 2]]), 3, 6, gen())
    assert got.logprobs.dtype == torch.float64
    assert torch.allclose(got.logprobs, score(model, got.tokens, got.prompt_lengths), rtol=0, atol=1e-12)


def test_scores_leave_out_prompt_and_padding(model: Decoder) -> None:
    tokens = torch.randint(9, (2, 7), generator=gen())
    scored = score(model, tokens, torch.tensor([2, 4]), torch.tensor([3, 3]))
    table = model(tokens).log_softmax(-1).detach()
    for r, (start, end) in enumerate(((2, 5), (4, 7))):
        expected = [float(table[r, t - 1, tokens[r, t]]) if start <= t < end else 0.0 for t in range(7)]
        assert scored[r].tolist() == pytest.approx(expected, abs=1e-5)


def test_values_are_those_of_the_tokens_before() -> None:
    model = lively(replace(SMALL, value_head=True))
    tokens = torch.randint(9, (2, 6), generator=gen())
    found = evaluate(model, tokens, torch.tensor([1, 3])).values
    every = model.values(model.states(tokens))
    assert torch.allclose(found[0, 1:], every[0, :-1], atol=1e-6)
    assert torch.allclose(found[1, 3:], every[1, 2:-1], atol=1e-6)
    assert not found[1, :3].any()


# ------------------------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompts": torch.zeros(1, 20, dtype=torch.int64)}, "20 tokens and 5 new ones do not fit"),
        ({"prompts": torch.tensor([[1, 9]])}, "tokens from 1 to 9; the model knows 0 to 8"),
        ({"prompts": torch.zeros(0, 3, dtype=torch.int64)}, "not empty"),
        ({"prompts": torch.zeros(2, 3)}, "int64"),
        ({"prompt_lengths": torch.tensor([0])}, "numbers from 1 to 2"),
        ({"temperature": -0.5}, "temperature = -0.5; give 0 .* or a positive number"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_k": -1}, "top_k = -1"),
        ({"n": 0}, "n = 0 samples"),
        ({"max_new": 0}, "at least 1 new token"),
    ],
)
def test_bad_requests_are_refused_with_a_remedy(change: dict[str, object], sentence: str) -> None:
    asked = {"prompts": torch.tensor([[1, 2]]), "n": 2, "max_new": 5, **change}
    with pytest.raises(InputError, match=sentence):
        generate(Decoder(SMALL, 0), generator=gen(), **asked)


def test_logits_that_are_not_finite_are_refused() -> None:
    model = Decoder(SMALL, 0)
    with torch.no_grad():
        model.embedding[3, 0] = float("nan")
    with pytest.raises(InputError, match=r"logits that are not finite .*position 2.*Lower the learning rate"):
        generate(model, torch.tensor([[1, 2]]), 2, 5, gen())


def test_bad_branching_is_refused() -> None:
    session = Session(Decoder(SMALL, 0), places=3)
    start = session.start(torch.tensor([[1, 2]]), gen())
    done = session.grow(start, [0], 2)
    for rows, children in (([0], 1), ([], 1)):
        with pytest.raises(InputError, match="only rows that are not done"):
            session.grow(done, rows, children)
    with pytest.raises(InputError, match="at least one row and one child"):
        session.grow(start, [0], 0)
    with pytest.raises(InputError, match="do not fit into the context"):
        session.start(torch.tensor([[1, 2, 3]]), gen())
    with pytest.raises(InputError, match="must be > 0"):
        score(session.model, torch.tensor([[1, 2]]), torch.tensor([1]), temperature=0.0)
