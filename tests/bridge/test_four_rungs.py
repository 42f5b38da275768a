"""One probe, four rungs: the same settings on a closed form, a simulator, a toy transformer and a language model.

All four are built to show values drawn uniformly from Z_m, so every answer is to be the uniform policy's: success 1/m,
pass@k failure (1 - 1/m)^k, step accuracy 1/m, and 1/m right after an error that is not the last step.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from llm_bridge.policy import LLMPolicy
from rlaws.probes.base import Budget
from rlaws.probes.pass_at_k import PassAtK
from rlaws.probes.step_accuracy import StepAccuracy
from rlaws.problems import ArithmeticChain
from rlaws.resampling import to_points
from sim.bernoulli import BernoulliPolicy
from sim.chain_policy import ChainPolicy
from sim.uniform import UniformPolicy
from tests.bridge.even import make_even_model
from tests.bridge.uniform import SkilledEngine
from toymodels import ladder
from toymodels.model import Decoder
from toymodels.policy import ToyPolicy

M, L = 5, 3
CHAINS = ArithmeticChain(L, M, 0.1, 256).draw(np.random.SeedSequence(2))
CHAINS = replace(CHAINS, difficulty={**CHAINS.difficulty, "p": np.full(256, 1 / M)})
SEED = np.random.SeedSequence(6)
QUICK = Budget("quick", 1, 800)
SIGMAS = 5.0
"""Standard errors that a number may be off: a false alarm in 1.7 million, and of some 40 numbers in 40,000 runs."""


def even_toy():
    """A transformer whose blocks write nothing and whose tokens all look alike: uniform over the m values."""
    config = ladder.config_of(4_000)
    model = Decoder(config, seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(0.0 if "blocks" in name else 1.0)
        model.unembedding.fill_(-60.0 / config.width)
        model.unembedding[:M] = 0.0
    return ToyPolicy(parameters=4_000, weights=ladder.to_arrays(model))


@pytest.fixture(scope="module")
def rungs(tmp_path_factory):
    folder = make_even_model(tmp_path_factory.mktemp("even") / "model", M, L)
    return {
        "closed form": UniformPolicy(),
        "simulator": BernoulliPolicy(),
        "toy": even_toy(),
        "language model": LLMPolicy(models=(str(folder),), template="plain", device="cpu", store=False, steps=L),
    }


def off(rows, truth):
    """How many standard errors each point is off."""
    found = to_points(rows, np.random.default_rng(0), 800)
    return found, (found.y - truth(found.x)) / found.stderr


def test_pass_at_k_is_that_of_uniform_values_on_every_rung(rungs):
    probe = PassAtK(samples=32, k_largest=16, least=1)
    for name, policy in rungs.items():
        _, z = off(probe.measure(policy, CHAINS, QUICK, SEED), lambda x: (1 - 1 / M) ** x["k"])
        assert np.all(np.abs(z) < SIGMAS), name
        _, z = off(probe.measure(policy, CHAINS, QUICK, SEED), lambda x: (1 - 1 / (M + 1)) ** x["k"])
        assert np.any(np.abs(z) > SIGMAS), f"{name}: the band would accept another modulus"


TRUTHS = {
    "accuracy": lambda x: np.full(x["step"].size, 1 / M),
    "intact": lambda x: (1 / M) ** x["step"],
    "first_error": lambda x: np.full(x["step"].size, 1 - 1 / M),
    "recovery": lambda x: np.where(x["distance"] > 0, 1 / M, 0.0),
}


@pytest.mark.parametrize("quantity", TRUTHS)
def test_steps_are_those_of_uniform_values_on_every_rung(rungs, quantity):
    probe = StepAccuracy(quantity, samples=32)
    policies = {**rungs, "simulator": ChainPolicy(L, 1 / M, recovery=1 / M)}
    for name, policy in policies.items():
        budget = Budget("more", 64, 800) if name == "simulator" else QUICK  # it simulates one chain, not 256
        rows = probe.measure(policy, CHAINS, budget, SEED)
        hits, trials, truth = counted(rows, TRUTHS[quantity])
        spread = np.sqrt(trials * truth * (1 - truth))
        assert np.all(np.abs(hits - trials * truth) <= SIGMAS * spread), name


def counted(rows, truth):
    """Hits, trials and truth at each design point."""
    x = rows.columns[rows.x[0]]
    at = np.unique(x)
    hits, trials = (np.array([rows.columns[c][x == v].sum() for v in at]) for c in ("n_hits", "n_trials"))
    return hits, trials, truth({rows.x[0]: at})


def test_skill_is_seen():
    """The control: a policy that knows something fails every one of these comparisons."""
    skilled = LLMPolicy(engine=SkilledEngine(p=0.4))
    _, z = off(PassAtK(samples=32, k_largest=16, least=1).measure(skilled, CHAINS, QUICK, SEED),
               lambda x: (1 - 1 / M) ** x["k"])  # fmt: skip
    assert np.all(np.abs(z) > SIGMAS)
    for quantity in ("accuracy", "intact", "first_error"):
        rows = StepAccuracy(quantity, samples=32).measure(skilled, CHAINS, QUICK, SEED)
        hits, trials, truth = counted(rows, TRUTHS[quantity])
        assert np.any(np.abs(hits - trials * truth) > SIGMAS * np.sqrt(trials * truth * (1 - truth))), quantity


def test_the_language_model_says_so_itself(rungs):
    """log P of an answer is -L log m, and all that is written has the asked form."""
    drawn = rungs["language model"].sample(CHAINS, 4, SEED)
    assert drawn.valid.all()
    assert np.allclose(drawn.logprob, -L * np.log(M), atol=1e-5)
    folder = rungs["language model"].models[0]
    same = LlamaForCausalLM.from_pretrained(folder, local_files_only=True)
    assert rungs["language model"].exact_parameters == sum(x.numel() for x in same.parameters())
