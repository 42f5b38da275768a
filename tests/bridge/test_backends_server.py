"""The engine behind an endpoint: the tokens and numbers of this process, and what bad servers do is found out."""

import dataclasses
import json
import logging

import numpy as np
import pytest

from llm_bridge import models
from llm_bridge.backends import client
from llm_bridge.backends.base import Backend, Request, Sampling
from llm_bridge.backends.server import Server, ServerWarning
from llm_bridge.settings import ModelSettings
from llm_bridge.store import Stored, open_store
from rlaws.errors import InputError
from tests.bridge.serving import Faults, serve

QUESTIONS = ("Start with 3. Add 4, modulo 7.", "Start with 5.", "Start with 6. Add 2, modulo 7. Add 1, modulo 7.")
SECRET = "sk-very-secret-1234"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("TINY_KEY", SECRET)


@pytest.fixture
def serving(tiny):
    """Start the tiny server with faults; returns settings of an engine that talks to it."""
    open_servers = []

    def start(faults: Faults, name: str = "", **more) -> ModelSettings:
        context = serve(models.load(tiny, device="cpu"), faults)
        open_servers.append(context)
        address = context.__enter__()
        given = {"store": False, "retries": 1, "timeout": 20.0, "key_variable": "TINY_KEY"} | more
        return ModelSettings(models=(name or str(tiny),), backend="server", endpoint=address, **given)

    yield start
    for context in open_servers:
        context.__exit__(None, None, None)


def same(one, two, off=1e-3):
    assert [(c.text, c.tokens, c.finished) for c in one] == [(c.text, c.tokens, c.finished) for c in two]
    assert [c.logprob for c in one] == pytest.approx([c.logprob for c in two], abs=off)


@pytest.mark.parametrize("template", ["auto", "plain"])
def test_greedy_tokens_and_logprobs_are_those_of_this_process(serving, settings, template):
    here = dataclasses.replace(settings, template=template).open()
    there = serving(Faults(), template=template).open()
    assert isinstance(there, Backend)
    asked = [Request(q, 2, 0, prefix) for q in QUESTIONS for prefix in ("", "3 + ")]
    for stop in ((), ("t",)):
        for mine, theirs in zip(here.generate(asked, Sampling(0.0, 20, stop=stop)),
                                there.generate(asked, Sampling(0.0, 20, stop=stop)), strict=True):  # fmt: skip
            same(mine, theirs)
    pairs = [(q, a) for q in QUESTIONS for a in ("3 + 4 = 0", "answer: 5\n", "")]
    for mine, theirs in zip(here.score(pairs), there.score(pairs), strict=True):
        assert mine.pieces == theirs.pieces
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=1e-3)
        assert theirs.entropies is None
    assert [there.length(*p) for p in pairs] == [here.length(*p) for p in pairs]


def test_the_chat_endpoint_alone_gives_the_same_answers(serving, settings):
    """Without the model's directory the endpoint renders the question; what needs more is refused."""
    there = serving(Faults(), name="somebody/tiny").open()
    asked = [Request(q, 1, 0) for q in QUESTIONS]
    for mine, theirs in zip(
        settings.open().generate(asked, Sampling(0.0, 20)), there.generate(asked, Sampling(0.0, 20)), strict=True
    ):
        same(mine, theirs)
    assert there.identity()["template"] == "chat"
    assert there.length(QUESTIONS[0]) == settings.open().length(QUESTIONS[0])
    with pytest.raises(InputError, match="cannot continue an answer through its chat endpoint"):
        there.generate([Request(QUESTIONS[0], 1, 0, prefix="3 + ")], Sampling())
    with pytest.raises(InputError, match=r"policy\.template=plain"):
        there.score([(QUESTIONS[0], "3 + 4")])


def test_plain_text_without_a_tokenizer_here(serving, settings):
    here = dataclasses.replace(settings, template="plain").open()
    there = serving(Faults(), name="somebody/tiny", template="plain").open()
    asked = [Request(q, 1, 0, prefix="3 + ") for q in QUESTIONS]
    for mine, theirs in zip(
        here.generate(asked, Sampling(0.0, 20)), there.generate(asked, Sampling(0.0, 20)), strict=True
    ):
        same(mine, theirs)
    (mine,), (theirs,) = here.score([(QUESTIONS[1], "3 + 4")]), there.score([(QUESTIONS[1], "3 + 4")])
    assert mine.pieces == theirs.pieces
    np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=1e-3)
    assert there.length(QUESTIONS[1], "3 + 4") == here.length(QUESTIONS[1], "3 + 4")


def test_samples_differ_and_come_back_by_seed(serving):
    there = serving(Faults()).open()
    asked = [Request(q, 4, 3) for q in QUESTIONS]
    first, again = there.generate(asked, Sampling(1.0, 12)), there.generate(asked, Sampling(1.0, 12))
    assert [[c.text for c in r] for r in first] == [[c.text for c in r] for r in again]
    assert len({c.text for c in first[0]}) == 4
    other = there.generate([Request(QUESTIONS[0], 4, 3, first=4)], Sampling(1.0, 12))[0]
    assert not {c.text for c in other} & {c.text for c in first[0]}
    assert there.identity()["notes"] == []


# ------------------------------------------------------------------------------------------------------- bad servers
def test_busy_then_fine(serving):
    faults = Faults(busy=3)
    there = serving(faults, retries=3).open()
    assert len(there.generate([Request(QUESTIONS[0], 2, 0)], Sampling(1.0, 4))[0]) == 2
    assert faults.busy == 0


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (Faults(always=500), r"failed 2 times; at last it answered 500: .*the same command goes on there"),
        (Faults(always=429), r"failed 2 times; at last it answered 429"),
        (Faults(garbage="{not json"), r"failed 2 times; at last it answered something that is no completion"),
        (Faults(garbage='{"choices": [{}], "data": 3}'), r"something that is no completion"),
        (Faults(always=401), r"answered 401: .*\(the key is read from the environment variable TINY_KEY\)"),
        (Faults(silent=True), r"did not answer in time \(policy.timeout\)"),
    ],
    ids=["500", "429", "garbage", "other json", "401", "silent"],
)
def test_a_server_that_fails_is_told_in_a_sentence(serving, faults, said):
    there = serving(faults, served="tiny", timeout=0.5 if faults.silent else 20.0).open()
    with pytest.raises(InputError, match=said) as caught:
        there.generate([Request(QUESTIONS[0], 2, 0)], Sampling(1.0, 4))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nobody_listens():
    settings = ModelSettings(
        models=("x/y",), backend="server", endpoint="http://127.0.0.1:9/v1", retries=0, store=False
    )
    with pytest.raises(InputError, match=r"failed 1 times; at last it cannot be reached .*policy\.served"):
        settings.open().identity()


def test_n_that_is_ignored_or_refused_becomes_single_requests(serving, settings):
    for faults in (Faults(ignores=frozenset({"n"})), Faults(refuses=frozenset({"n"}))):
        there = serving(faults).open()
        with pytest.warns(ServerWarning, match="n is not honoured"):
            got = there.generate([Request(QUESTIONS[0], 5, 0)], Sampling(1.0, 12))[0]
        assert len({c.text for c in got}) == 5
        assert "n is not honoured" in there.identity()["notes"][0]
        (later,) = there.generate([Request(QUESTIONS[0], 2, 0, first=3)], Sampling(1.0, 12))
        assert [c.text for c in later] == [c.text for c in got[3:]]


def test_a_server_that_ignores_the_temperature_is_refused(serving):
    there = serving(Faults(ignores=frozenset({"temperature"}))).open()
    with pytest.raises(InputError, match=r"ignores the temperature: 8 samples at temperature 2.0 are the same"):
        there.generate([Request(QUESTIONS[0], 2, 0)], Sampling(1.0, 4))


def test_no_logprobs(serving, settings):
    for faults in (Faults(ignores=frozenset({"logprobs"})), Faults(refuses=frozenset({"logprobs"}))):
        there = serving(faults).open()
        with pytest.warns(ServerWarning, match="no log-probabilities"):
            got = there.generate([Request(QUESTIONS[0], 3, 0)], Sampling(0.0, 12))[0]
        (mine,) = settings.open().generate([Request(QUESTIONS[0], 3, 0)], Sampling(0.0, 12))
        assert [(c.text, c.tokens, c.logprob) for c in got] == [(c.text, c.tokens, None) for c in mine]
        with pytest.raises(InputError, match="gives no log-probabilities"):
            there.score([(QUESTIONS[0], "3")])


def test_logprobs_of_the_sampling_distribution_are_not_used(serving):
    there = serving(Faults(scaled=True)).open()
    with pytest.warns(ServerWarning, match="log-probabilities change with the temperature"):
        got = there.generate([Request(QUESTIONS[0], 3, 0)], Sampling(1.0, 12))[0]
    assert [c.logprob for c in got] == [None] * 3


def test_a_stop_string_that_stays_or_is_ignored_is_cut(serving, settings):
    asked, sampling = [Request(q, 1, 0) for q in QUESTIONS], Sampling(0.0, 20, stop=("t",))
    mine = settings.open().generate(asked, sampling)
    for faults, said in (
        (Faults(keeps_stop=True), "a stop string stays in the text"),
        (Faults(ignores=frozenset({"stop"})), "stop strings are ignored"),
    ):
        there = serving(faults).open()
        with pytest.warns(ServerWarning, match=said):
            got = there.generate(asked, sampling)
        for one, two in zip(mine, got, strict=True):
            same(one, two)


def test_seeds_that_are_ignored_are_noted(serving):
    there = serving(Faults(ignores=frozenset({"seed"}))).open()
    with pytest.warns(ServerWarning, match="the seed is not honoured"):
        there.identity()


def test_a_server_without_echo_does_not_score(serving):
    there = serving(Faults(ignores=frozenset({"echo"}))).open()
    with pytest.raises(InputError, match=r"does not give the log-probabilities of a given text \(echo\)"):
        there.score([(QUESTIONS[0], "3 + 4")])


def test_a_server_that_takes_no_tokens_is_asked_by_chat(serving):
    there = serving(Faults(refuses=frozenset({"ids"}))).open()
    with pytest.warns(ServerWarning, match="cannot be sent as tokens"):
        assert there.identity()["template"] == "chat"


def test_concurrency_is_bounded(serving):
    faults = Faults(ignores=frozenset({"n"}))
    there = serving(faults, concurrency=3).open()
    with pytest.warns(ServerWarning, match="n is not honoured"):
        there.generate([Request(q, 8, 0) for q in QUESTIONS], Sampling(1.0, 8))
    assert 1 < faults.most <= 3


def test_a_run_that_failed_goes_on_where_it_stopped(serving, tmp_path, monkeypatch):
    monkeypatch.setenv("RLAWS_CACHE", str(tmp_path))
    monkeypatch.setattr("llm_bridge.store.ROWS", 4)
    open_store.cache_clear()
    faults = Faults()
    stored = Stored(Server(serving(faults)))
    stored.generate([Request(q, 4, 0) for q in QUESTIONS[:2]], Sampling(1.0, 8))
    faults.always = 500
    with pytest.raises(InputError, match="the same command goes on"):
        stored.generate([Request(q, 4, 0) for q in QUESTIONS], Sampling(1.0, 8))
    faults.always = 0
    faults.asked.clear()
    stored.generate([Request(q, 4, 0) for q in QUESTIONS], Sampling(1.0, 8))
    assert len(faults.asked) == 1


def test_the_key_is_sent_and_never_shown_or_kept(serving, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("RLAWS_CACHE", str(tmp_path))
    open_store.cache_clear()
    caplog.set_level(logging.DEBUG)
    faults = Faults()
    settings = serving(faults, store=True)
    there = settings.open()
    there.generate([Request(QUESTIONS[0], 2, 0)], Sampling(1.0, 4))
    assert faults.keys == {f"Bearer {SECRET}"}
    engine = there.backend
    shown = [repr(engine), repr(engine.client), json.dumps(dict(there.identity())), repr(settings), repr(vars(engine))]
    kept = [p.read_text() for p in tmp_path.rglob("*") if p.is_file()]
    assert len(kept) == 2
    assert not [text for text in [*shown, *kept, caplog.text] if SECRET in text]


def test_a_password_in_an_address_is_not_shown():
    settings = ModelSettings(
        models=("x",), backend="server", endpoint="http://me:pw@127.0.0.1:9/v1?token=abc", store=False
    )
    assert repr(Server(settings)) == "Server(http://127.0.0.1:9/v1, x)"
