"""Reward models behind the search: each kind against its own forward pass, and one that was taught something."""

import numpy as np
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
)

from llm_bridge.backends.base import Sampling
from llm_bridge.policy import LLMPolicy
from llm_bridge.scorers import QUESTION, open_scorer
from llm_bridge.search import Searcher
from llm_bridge.tasks.base import task_of
from rlaws.errors import InputError
from rlaws.problems import ArithmeticChain
from rlaws.search import Search
from tests.bridge.tiny import make_tokenizer
from tests.bridge.uniform import UniformEngine

PAIRS = [("How much?", "Step 1: 3\nStep 2: 4"), ("A longer question, is it not?", "Step 1: 0"), ("x", "a\nb\nc")]
CHAINS = ArithmeticChain(2, 5, 0.1, 24).draw(np.random.SeedSequence(2))
SEED = np.random.SeedSequence(3)


def saved(kind, folder, **more):
    words = make_tokenizer(chat=False)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.2, pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id, **more,
    )  # fmt: skip
    model = kind(config).eval()
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder), model, words


def ids(words, text):
    return words(text, add_special_tokens=False)["input_ids"]


def test_token_classifiers_are_read_at_the_separators(tmp_path):
    where, model, words = saved(LlamaForTokenClassification, tmp_path, num_labels=2)
    found = open_scorer(where, "token", "cpu", 8)(PAIRS)
    assert found == pytest.approx(open_scorer(where, "token", "cpu", 1)(PAIRS), abs=1e-6), "padding changes nothing"
    question, answer = PAIRS[2]
    row, marks = ids(words, question + "\n"), []
    for step in answer.split("\n"):
        row = row + ids(words, step) + ids(words, "\n")
        marks.append(len(row) - 1)
    with torch.no_grad():
        p = model(torch.tensor([row])).logits[0, marks].softmax(-1)[:, 1]
    assert found[2] == pytest.approx(float(p.prod()), abs=1e-6)


@pytest.mark.parametrize("labels", [1, 3])
def test_sequence_classifiers_are_read_once(tmp_path, labels):
    where, model, words = saved(LlamaForSequenceClassification, tmp_path, num_labels=labels)
    found = open_scorer(where, "sequence", "cpu", 8)(PAIRS)
    for (question, answer), value in zip(PAIRS, found, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([ids(words, f"{question}\n{answer}")])).logits[0]
        truth = logits.sigmoid()[0] if labels == 1 else logits.softmax(-1)[-1]
        assert value == pytest.approx(float(truth), abs=1e-6)


def test_generative_ones_say_yes_or_no(tmp_path):
    where, model, words = saved(LlamaForCausalLM, tmp_path)
    found = open_scorer(where, "generative", "cpu", 8)(PAIRS)
    with torch.no_grad():
        logits = model(torch.tensor([ids(words, QUESTION.format(question=PAIRS[0][0], answer=PAIRS[0][1]))])).logits
    yes, no = (float(logits[0, -1, ids(words, w)[0]]) for w in ("yes", "no"))
    assert found[0] == pytest.approx(1 / (1 + np.exp(no - yes)), abs=1e-6)


def test_a_search_follows_what_its_scorer_was_taught(tmp_path):
    """The scorer learns to like even values; of 40 uniform answers the chosen one is then even at every step.

    Without it a step is even with probability 3/5: more than 30 of 30 even steps once in 4e6.
    """
    where, model, words = saved(LlamaForTokenClassification, tmp_path, num_labels=2)
    rng, optimiser = np.random.default_rng(0), torch.optim.Adam(model.parameters(), 5e-3)
    questions = [item.to_text() for item in CHAINS.items]
    for _ in range(60):
        rows, labels = zip(*(_taught(words, questions[i], rng) for i in rng.integers(0, 24, 16)), strict=True)
        width = max(map(len, rows))
        x = torch.tensor([r + [0] * (width - len(r)) for r in rows])
        y = torch.tensor([r + [-100] * (width - len(r)) for r in labels])
        loss = torch.nn.functional.cross_entropy(model(x).logits.flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1
    model.save_pretrained(where)
    open_scorer.cache_clear()
    engine = UniformEngine()
    policy = LLMPolicy(engine=engine, guide="scorer", scorer=where, device="cpu", steps=2)
    seen, score = [], policy.options().scorer
    watched = policy.options()._replace(scorer=lambda pairs: seen.append(pairs) or score(pairs))
    Searcher(engine.generate, task_of(CHAINS), Sampling(), watched, SEED).run(
        Search("best_of_n", (3 * 40,), "verifier")
    )
    (pairs,) = seen  # the answers of all problems are judged at once
    told: dict[str, list[tuple[float, str]]] = {}
    for (question, text), value in zip(pairs, score(pairs), strict=True):
        told.setdefault(question, []).append((float(value), text))
    best = [max(answers)[1] for answers in told.values()]
    values = [int(line[-1]) for text in best for line in text.split("\n")]
    assert len(values) == 2 * len({item.to_text() for item in CHAINS.items}) > 30  # a question may be drawn twice
    assert all(v % 2 == 0 for v in values)


def _taught(words, question, rng):
    """One answer of two uniform values and its labels, after the separators only."""
    row, labels = ids(words, question + "\n"), []
    labels += [-100] * len(row)
    for t, value in enumerate(rng.integers(0, 5, 2), 1):
        step = ids(words, f"Step {t}: {value}") + ids(words, "\n")
        row, labels = row + step, [*labels, *[-100] * (len(step) - 1), int(value % 2 == 0)]
    return row, labels


def test_what_is_no_scorer_is_said(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'token'"):
        open_scorer(str(tmp_path), "tokn", "cpu", 8)
    with pytest.raises(InputError, match="is no model of the kind 'token'"):
        open_scorer(str(tmp_path), "token", "cpu", 8)
