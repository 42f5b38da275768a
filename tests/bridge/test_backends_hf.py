"""The engine in this process, against transformers itself and against the model's own probabilities."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from llm_bridge import models
from llm_bridge.backends import hf
from llm_bridge.backends.base import Backend, Request, Sampling
from llm_bridge.backends.decoding import decode, uniforms
from rlaws.errors import InputError

QUESTIONS = ("Start with 3. Add 4, modulo 7.", "Start with 5.", "Start with 6. Add 2, modulo 7. Add 1, modulo 7.")


@pytest.fixture
def engine(settings):
    return settings.open()


def plain_greedy(loaded, prompt, tokens):
    ids = torch.tensor([prompt])
    out = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return out[0, len(prompt) :].tolist()


def test_greedy_is_that_of_transformers(engine):
    assert isinstance(engine, Backend)
    loaded = engine.loaded
    got = engine.generate([Request(q, 2, 0, prefix) for q in QUESTIONS for prefix in ("", "3 + ")], Sampling(0.0, 20))
    for (q, prefix), pair in zip([(q, p) for q in QUESTIONS for p in ("", "3 + ")], got, strict=True):
        prompt = loaded.prompt(q, "auto") + loaded.answer(prefix)[0]
        ids = plain_greedy(loaded, prompt, 20)
        text = loaded.tokenizer.decode([i for i in ids if i not in loaded.ends], skip_special_tokens=True)
        assert [c.text for c in pair] == [text, text]
        assert pair[0].tokens == len(ids)


def test_samples_do_not_depend_on_their_batch(engine, settings):
    requests = [Request(q, 5, seed) for seed, q in enumerate(QUESTIONS)]
    together = engine.generate(requests, Sampling(1.0, 24))
    for request, mine in zip(requests, together, strict=True):
        (alone,) = engine.generate([request], Sampling(1.0, 24))
        assert [(c.text, c.tokens, c.finished) for c in alone] == [(c.text, c.tokens, c.finished) for c in mine]
        assert [c.logprob for c in alone] == pytest.approx([c.logprob for c in mine], abs=1e-4)
        (later,) = engine.generate([Request(request.question, 2, request.seed, first=3)], Sampling(1.0, 24))
        assert [c.text for c in later] == [c.text for c in mine[3:]]
    assert len({c.text for c in together[0]}) > 1


def test_chat_template_or_plain(engine):
    loaded = engine.loaded
    assert loaded.tokenizer.decode(loaded.prompt("Add 4", "auto")) == "<user>Add 4<bot>"
    assert loaded.tokenizer.decode(loaded.prompt("Add 4", "plain")) == "Add 4\n"
    assert models.load(engine.folder, device="cpu") is loaded


def test_a_stop_string_is_left_out_and_ends_a_row(engine):
    (free,) = engine.generate([Request(QUESTIONS[0], 60, 7)], Sampling(1.0, 40))
    (stopped,) = engine.generate([Request(QUESTIONS[0], 60, 7)], Sampling(1.0, 40, stop=("t", "3")))
    for before, after in zip(free, stopped, strict=True):
        assert "t" not in after.text
        assert "3" not in after.text
        assert before.text.startswith(after.text)
        assert after.finished == (before.finished or after.text != before.text)
        assert after.tokens <= before.tokens
    assert sum(a.tokens for a in stopped) < sum(b.tokens for b in free)


# ------------------------------------------------------------------------------------------------------ probabilities
ALARM = 1e-4
"""Chance that a right sampler fails one of the tests of frequencies."""


def law(logits, sampling):
    """The probabilities that tokens should have, another way than the sampler's."""
    p = (logits.double() / sampling.temperature).softmax(-1)
    for row in p.view(-1, p.shape[-1]):
        total = 0.0
        for i in row.argsort(descending=True).tolist():
            row[i], total = (row[i], total + float(row[i])) if total < sampling.top_p else (0.0, total)
    return p / p.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    "sampling", [Sampling(1.0, 2), Sampling(0.4, 2), Sampling(0.7, 2), Sampling(1.0, 2, top_p=0.6)], ids=str
)
def test_frequencies_are_the_models_probabilities(engine, sampling):
    """Pairs of tokens, so that the second is drawn given the first; those rarer than 5 expected are one class."""
    loaded, n = engine.loaded, 8000
    prompt = loaded.prompt(QUESTIONS[1], "auto")
    stream = torch.as_tensor(uniforms(11, range(n), 2))
    rows, limits = torch.zeros(n, dtype=torch.long), torch.full((n,), 2)
    out = decode(loaded.model, [prompt], rows, stream, limits, sampling, lambda tokens, new: new < 0)
    with torch.no_grad():
        first = loaded.model(torch.tensor([prompt])).logits[0, -1]
        second = loaded.model(torch.tensor([[*prompt, i] for i in range(len(first))])).logits[:, -1]
    expected = (n * law(first, sampling)[:, None] * law(second, sampling)).flatten()
    observed = torch.bincount(out.tokens[:, 0] * len(first) + out.tokens[:, 1], minlength=len(expected)).double()
    assert observed[expected == 0].sum() == 0
    common = expected >= 5
    e = torch.cat([expected[common], expected[~common].sum()[None]])
    o = torch.cat([observed[common], observed[~common].sum()[None]])
    assert len(e) > 20
    assert chi2.sf(float(((o - e) ** 2 / e).sum()), len(e) - 1) > ALARM
    wrong = Sampling(sampling.temperature * 1.25, 2, sampling.top_p)  # the test sees a wrong temperature
    f = (n * law(first, wrong)[:, None] * law(second, wrong)).flatten()
    f = torch.cat([f[common], f[~common].sum()[None]])
    assert chi2.sf(float(((o - f) ** 2 / f).sum()), len(f) - 1) < ALARM


def test_score_is_the_sum_that_generate_gave(engine):
    """Where the tokens of a text are those that were sampled: the tokenizer could have cut it otherwise."""
    loaded = engine.loaded
    asked = [Request(q, 40, 5, prefix) for q in QUESTIONS for prefix in ("", "3 + ")]
    got = engine.generate(asked, Sampling(0.5, 4))
    found = 0
    for request, mine in zip(asked, got, strict=True):
        for c in mine:
            whole = loaded.answer(request.prefix + c.text)[0]
            if c.finished or len(whole) != len(loaded.answer(request.prefix)[0]) + c.tokens or "\ufffd" in c.text:
                continue
            (scored,) = engine.score([(request.question, request.prefix + c.text)])
            assert "".join(scored.pieces) == request.prefix + c.text
            found += abs(scored.logprobs[-c.tokens :].sum() - c.logprob) < 1e-3
    assert found > 20


def test_scores_and_entropies_are_those_of_a_forward_pass(engine):
    loaded = engine.loaded
    pairs = [(q, a) for q in QUESTIONS for a in ("3 + 4 = 0\n", "answer: 5", "", "é 3")]
    for (question, answer), scored in zip(pairs, engine.score(pairs), strict=True):
        prompt, (ids, pieces) = loaded.prompt(question, "auto"), loaded.answer(answer)
        with torch.no_grad():
            logp = loaded.model(torch.tensor([prompt + ids])).logits[0].double().log_softmax(-1)[len(prompt) - 1 : -1]
        assert scored.pieces == pieces
        assert "".join(pieces) == answer
        assert scored.logprobs == pytest.approx([float(logp[t, i]) for t, i in enumerate(ids)], abs=1e-4)
        entropies = -(logp.exp() * logp).sum(-1)[: len(ids)]
        assert scored.entropies == pytest.approx(entropies.tolist(), abs=1e-4)


def test_bfloat16_samples_and_scores(engine, settings):
    """The path of a GPU's usual precision; its numbers are those of float32 within what eight bits leave."""
    half = dataclasses.replace(settings, dtype="bfloat16").open()
    (got,) = half.generate([Request(QUESTIONS[0], 4, 0)], Sampling(1.0, 8))
    assert all(np.isfinite(c.logprob) for c in got)
    one, two = (e.score([(QUESTIONS[0], "3 + 4 = 0")])[0].logprobs for e in (engine, half))
    assert 0 < np.median(np.abs(one - two)) < 0.1
    assert half.identity()["dtype"] == "bfloat16"


# ------------------------------------------------------------------------------------------------- memory and context
def test_a_batch_that_does_not_fit_is_halved(engine, monkeypatch):
    asked = [Request(q, 8, seed) for seed, q in enumerate(QUESTIONS)]
    before = engine.generate(asked, Sampling(1.0, 8))
    sizes = []
    real = hf.Transformers._continue

    def full(self, loaded, rows, *more):
        sizes.append(len(rows))
        if len(rows) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, loaded, rows, *more)

    monkeypatch.setattr(hf.Transformers, "_continue", full)
    small = hf.Transformers(engine.settings)
    assert [[c.text for c in r] for r in small.generate(asked, Sampling(1.0, 8))] == [
        [c.text for c in r] for r in before
    ]
    assert sizes[:4] == [24, 12, 6, 3]
    assert small.batch == 3


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory")],
    ids=repr,
)
def test_memory_that_does_not_suffice_for_one_row_is_told(engine, monkeypatch, error):
    def full(*args, **kwargs):
        raise error

    monkeypatch.setattr(engine.loaded.model, "forward", full)
    with pytest.raises(InputError, match=r"memory of cpu does not suffice for one row .* policy\.dtype=bfloat16"):
        engine.generate([Request(QUESTIONS[0], 4, 0)], Sampling(1.0, 8))


def test_other_errors_are_not_taken_for_memory(engine, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(engine.loaded.model, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        engine.generate([Request(QUESTIONS[0], 4, 0)], Sampling(1.0, 8))


def test_a_prompt_longer_than_the_context_is_refused_with_the_numbers(engine):
    long = "Start with 3. " * 60
    tokens = engine.length(long)
    with pytest.raises(InputError, match=rf"A prompt needs {tokens + 1} tokens, and the model's context holds 128"):
        engine.generate([Request(long, 1, 0)], Sampling())
    with pytest.raises(InputError, match="context holds 128"):
        engine.score([(QUESTIONS[0], "3 + 4 " * 60)])


def test_an_answer_ends_where_the_context_does(engine):
    question = "Start with 3. " * 15
    left = 128 - engine.length(question)
    assert 0 < left < 100
    (got,) = engine.generate([Request(question, 8, 0)], Sampling(1.0, 500))
    assert max(c.tokens for c in got) == left
    assert any(not c.finished for c in got)
