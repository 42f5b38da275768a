"""Perturbed beginnings on engines whose answer to them is known, and noise on a real model's embeddings."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from llm_bridge import models
from llm_bridge.policy import LLMPolicy
from llm_bridge.robustness import PerturbedPrefixes, after_a_step, shaken
from rlaws.errors import InputError
from rlaws.problems import ArithmeticChain, read_text
from tests.bridge.even import make_even_model
from tests.bridge.uniform import SkilledEngine, UniformEngine

SEED = np.random.SeedSequence(8)
CHAINS = ArithmeticChain(3, 5, 0.0, 100).draw(np.random.SeedSequence(1))


@dataclass
class Following(UniformEngine):
    """Writes what follows from the value shown before."""

    shown: int = -1

    def _one(self, request, index, sampling):
        self.shown = int(read_text(request.prefix, 3)[0])
        return super()._one(request, index, sampling)

    def value(self, problem, step, rng):
        kind, amount = problem.operations[step - 1]
        self.shown = amount if kind == "set" else (self.shown + amount if kind == "add" else self.shown * amount) % 5
        return self.shown


def test_a_model_that_follows_keeps_all_and_one_that_knows_by_heart_keeps_nothing():
    assert after_a_step(LLMPolicy(engine=Following()), CHAINS, 8, SEED) == (1.0, 1.0)
    by_heart = LLMPolicy(engine=SkilledEngine(p=1.0))
    assert after_a_step(by_heart, CHAINS, 8, SEED) == (1.0, 0.0), "one-to-one steps never heal a wrong value"
    resets = ArithmeticChain(3, 5, 1.0, 100).draw(SEED)
    assert after_a_step(by_heart, resets, 8, SEED) == (1.0, 1.0), "a set step heals every one"


def test_chance_keeps_chance():
    right, wrong = after_a_step(LLMPolicy(engine=UniformEngine()), CHAINS, 16, SEED)
    assert abs(right - 0.2) < 5 * np.sqrt(0.16 / 1600)  # a false alarm in 1.7 million
    assert abs(wrong - 0.2) < 5 * np.sqrt(0.16 / 1600)


def test_noise_is_on_what_is_read_only(tmp_path):
    folder = make_even_model(tmp_path / "model")
    before = models.load(folder, device="cpu").model
    after = models.load(shaken(folder, 0.5, SEED), device="cpu").model
    assert torch.equal(before.get_output_embeddings().weight, after.get_output_embeddings().weight)
    was, now = (m.get_input_embeddings().weight.detach().numpy() for m in (before, after))
    change, size = now - was, np.sqrt(np.mean(was**2))
    assert change.std() == pytest.approx(0.5 * size, rel=0.15)  # 7 standard errors of 736 draws
    assert shaken(folder, 0.5, SEED) == shaken(folder, 0.5, SEED)
    still = models.load(shaken(folder, 0.0, SEED), device="cpu").model
    assert torch.equal(still.get_input_embeddings().weight, before.get_input_embeddings().weight)


def test_the_table_of_a_model_that_guesses(tmp_path):
    folder = make_even_model(tmp_path / "model")
    policy = PerturbedPrefixes(
        models=(str(folder),), rungs=(0,), template="plain", device="cpu", store=False, length=3, noise=0.0, draws=1,
    )  # fmt: skip
    table = policy.table()
    assert table["perturbation"].tolist() == ["wrong_step", "noise"]
    assert np.all(np.abs(np.concatenate([table["clean"], table["perturbed"]]) - 0.2) < 5 * np.sqrt(0.16 / 1152))
    assert table["clean"][1] == table["perturbed"][1], "no noise, the same samples"
    assert set(table["parameters"]) == {LLMPolicy(models=(str(folder),)).exact_parameters}
    assert len(replace(policy, seeds=5).table()["seed"]) == 2, "a published model has one base"
    with pytest.raises(InputError, match="length = 1"):
        replace(policy, length=1)
