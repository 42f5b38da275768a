"""What is asked of vLLM and how its outputs are read, with a stand-in that has the shapes of its objects (0.32)."""

import builtins
import dataclasses
import sys
import types

import numpy as np
import pytest
import torch

from llm_bridge import models
from llm_bridge.backends import vllm as engine
from llm_bridge.backends.base import Backend, Request, Sampling
from rlaws.errors import InputError

QUESTIONS = ("Start with 3. Add 4, modulo 7.", "Start with 5.")


@dataclasses.dataclass
class SamplingParams:
    """The fields of vLLM's own that are set here, under its names and with its defaults."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True


class LLM:
    """Greedy decoding with a model of transformers, in the shapes of vLLM's outputs."""

    started: list[dict] = []  # noqa: RUF012

    def __init__(self, **options):
        self.started.append(options)
        self.loaded = models.load(options["model"], device="cpu")

    def generate(self, prompts, params, *, use_tqdm, lora_request):
        assert len(prompts) == len(params)
        return [self.one(p["prompt_token_ids"], q) for p, q in zip(prompts, params, strict=True)]

    def one(self, ids, params):
        new, total, reason = [], 0.0, "length"
        for _ in range(params.max_tokens):
            logp = self.logp(ids + new)[-1]
            new.append(int(logp.argmax()))
            total += float(logp.max())
            text = self.loaded.tokenizer.decode(new, skip_special_tokens=True)
            if new[-1] in self.loaded.ends or any(s in text for s in params.stop or ()):
                reason = "stop"
                break
        known = None
        if params.prompt_logprobs is not None:
            logp = self.logp(ids)
            places = [{i: types.SimpleNamespace(logprob=float(logp[t, i]))} for t, i in enumerate(ids[1:])]
            known = [None, *places]
        out = types.SimpleNamespace(token_ids=new, cumulative_logprob=total, finish_reason=reason, text="unread")
        return types.SimpleNamespace(outputs=[out], prompt_logprobs=known)

    def logp(self, ids):
        with torch.no_grad():
            return self.loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)


@pytest.fixture
def vllm(monkeypatch):
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(engine, "versions", lambda *names: ", ".join(names))
    engine._running.clear()
    LLM.started.clear()
    return module


@pytest.fixture
def there(vllm, settings):
    return dataclasses.replace(settings, backend="vllm", dtype="bfloat16", tensor_parallel=2).open()


def test_answers_and_scores_are_those_of_transformers(there, settings):
    assert isinstance(there, Backend)
    here = settings.open()
    asked = [Request(q, 2, 0, prefix) for q in QUESTIONS for prefix in ("", "3 + ")]
    for stop in ((), ("t",)):
        sampling = Sampling(0.0, 12, stop=stop)
        for mine, theirs in zip(here.generate(asked, sampling), there.generate(asked, sampling), strict=True):
            assert [(c.text, c.tokens, c.finished) for c in mine] == [(c.text, c.tokens, c.finished) for c in theirs]
            assert mine[0].logprob == pytest.approx(theirs[0].logprob, abs=1e-3)
    pairs = [(q, a) for q in QUESTIONS for a in ("3 + 4 = 0", "answer: 5\n", "")]
    for mine, theirs in zip(here.score(pairs), there.score(pairs), strict=True):
        assert mine.pieces == theirs.pieces
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=1e-3)
    assert there.length(QUESTIONS[0], "3") == here.length(QUESTIONS[0], "3")


def test_the_engine_is_started_once_with_the_settings(there, tiny):
    there.generate([Request(QUESTIONS[0], 1, 0)], Sampling(0.0, 2))
    there.score([(QUESTIONS[0], "3")])
    assert LLM.started == [
        {
            "model": str(tiny), "dtype": "bfloat16", "tensor_parallel_size": 2, "gpu_memory_utilization": 0.85,
            "logprobs_mode": "raw_logprobs", "seed": 0,
        }
    ]  # fmt: skip
    assert there.identity()["engine"] == "vllm"
    assert there.identity()["device"] == "cuda x 2"


def test_every_sample_has_its_seed(there, monkeypatch):
    seen = []
    monkeypatch.setattr(LLM, "one", lambda self, ids, params: seen.append(params) or LLM_ONE(self, ids, params))
    sampling = Sampling(0.7, 5, 0.9, ("\n",))
    there.generate([Request(QUESTIONS[0], 3, 1), Request(QUESTIONS[1], 1, 2)], sampling)
    there.generate([Request(QUESTIONS[0], 1, 1, first=2)], sampling)
    first, second, third, other, again = seen
    assert third == again
    assert len({p.seed for p in (first, second, third, other)}) == 4
    assert (third.n, third.temperature, third.max_tokens, third.top_p, third.stop, third.logprobs) == (
        1, 0.7, 5, 0.9, ["\n"], 0,
    )  # fmt: skip


LLM_ONE = LLM.one


def test_another_model_takes_the_place_of_the_first(there, vllm, settings, tmp_path):
    from tests.bridge.tiny import make_model

    other = make_model(tmp_path / "other", seed=1)
    second = dataclasses.replace(settings, models=(str(other),), backend="vllm").open()
    for one in (there, second, second):
        one.generate([Request(QUESTIONS[0], 1, 0)], Sampling(0.0, 2))
    assert len(LLM.started) == 2
    assert len(engine._running) == 1


def test_a_long_prompt_is_refused_before_vllm_sees_it(there):
    with pytest.raises(InputError, match=r"A prompt needs \d+ tokens, and the model's context holds 128"):
        there.generate([Request("Start with 3. " * 60, 1, 0)], Sampling(0.0, 2))


def test_an_engine_that_does_not_start_is_told(there, vllm, monkeypatch):
    def refuse(**options):
        raise ValueError("No available memory for the cache blocks.\nmore lines")

    monkeypatch.setattr(vllm, "LLM", refuse)
    with pytest.raises(
        InputError, match=r"could not start '.*': No available memory for the cache blocks\.\. If memory"
    ):
        there.generate([Request(QUESTIONS[0], 1, 0)], Sampling(0.0, 2))


def test_without_vllm_the_extra_is_named(settings, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "vllm":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"pip install rlaws\[vllm\]"):
        dataclasses.replace(settings, backend="vllm", rung=0).open()
