"""The engine in this process, against transformers itself and against the model's own probabilities."""

import pytest
import torch

from llm_bridge import models
from llm_bridge.backends.base import Backend, Request, Sampling

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
