"""FLOPs: equal to what torch counts operation by operation, and to 2 N and 4 N with the attention put aside."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from toymodels.config import Config
from toymodels.flops import backward_flops, forward_flops, rollout_flops, token_flops, update_flops
from toymodels.model import Critic, Decoder
from toymodels.sampling import BLOCK, generate

DENSE = Config(vocab=19, context=24, width=24, layers=3, heads=3)
CONFIGS = {
    "relu2": DENSE,
    "swiglu": replace(DENSE, ffn="swiglu"),
    "grouped": replace(DENSE, width=32, heads=4, kv_heads=2),
    "untied": replace(DENSE, tied=False),
    "mixture": replace(DENSE, experts=5, top_k=2, ffn="swiglu"),
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> Config:
    return CONFIGS[request.param]


def counted(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_forward_and_backward_are_what_torch_counts(config: Config) -> None:
    model, tokens = Decoder(config, 0), torch.randint(19, (5, 17), generator=torch.Generator().manual_seed(1))
    forward = counted(lambda: model(tokens))
    both = counted(lambda: model(tokens).square().mean().backward())
    assert forward == forward_flops(config, 17, 5)
    assert both - forward == backward_flops(config, 17, 5)
    assert both == update_flops(config, 17, 5)


@pytest.mark.parametrize("name", ["relu2", "mixture"])
def test_heads_with_values_are_what_torch_counts(name: str) -> None:
    config, tokens = replace(CONFIGS[name], value_head=True), torch.zeros(2, 9, dtype=torch.int64)
    model, critic = Decoder(config, 0), Critic(config, 0)

    def both_heads() -> None:
        hidden = model.states(tokens)
        (model.logits(hidden).sum() + model.values(hidden).sum()).backward()

    assert counted(both_heads) == update_flops(config, 9, 2)
    assert counted(lambda: critic(tokens).sum().backward()) == update_flops(config, 9, 2, critic=True)


@pytest.mark.parametrize(("prompt", "n", "new"), [(1, 1, 1), (1, 3, 5), (7, 4, 1), (7, 4, 6), (3, 2, 20)])
def test_rollouts_are_what_torch_counts(config: Config, prompt: int, n: int, new: int) -> None:
    model, prompts = Decoder(config, 0), torch.zeros(2, prompt, dtype=torch.int64)
    asked = counted(lambda: generate(model, prompts, n, new, torch.Generator().manual_seed(0)))
    assert asked == 2 * rollout_flops(config, prompt, [new] * n, block=BLOCK)


def test_a_rollout_costs_its_tokens_each_at_its_context() -> None:
    """The prompt's square without heads, its last token with heads, then every row's tokens but the last."""
    prompt = forward_flops(DENSE, 6) - 6 * 2 * DENSE.width * DENSE.vocab
    rows = sum(token_flops(DENSE, 7 + i) for new in (3, 5) for i in range(1, new))
    assert rollout_flops(DENSE, 7, [3, 5]) == prompt + token_flops(DENSE, 7) + rows


def test_without_attention_a_token_costs_two_and_four_times_the_parameters(config: Config) -> None:
    multiplied = config.parameters().active - (0 if config.tied else config.vocab * config.width)
    assert token_flops(config, 0) == 2 * multiplied
    attention = 4 * config.layers * config.width * 12 * 12
    assert backward_flops(config, 12) == 4 * multiplied * 12 + 2 * attention


def test_a_mixture_costs_its_active_experts() -> None:
    mixture = CONFIGS["mixture"]
    dense = replace(mixture, experts=0, top_k=0, ffn_width=2 * mixture.hidden)
    router = 2 * mixture.layers * mixture.width * mixture.experts
    assert token_flops(mixture, 10) - router == token_flops(dense, 10)
    assert token_flops(replace(mixture, experts=10), 10) - 2 * router == token_flops(dense, 10)


def test_causal_pairs_are_the_sum_over_contexts(config: Config) -> None:
    assert forward_flops(config, 13, causal=True) == sum(token_flops(config, t) for t in range(1, 14))
