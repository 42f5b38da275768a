"""Sizes and memory of published models, against what transformers builds and torch holds."""

from pathlib import Path

import pytest
import torch
import transformers
import yaml

from llm_bridge.families import BYTES, FAMILIES, Architecture, memory, needs
from rlaws.errors import InputError

ROOT = Path(__file__).parents[2]
PUBLISHED = {
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen3-0.6B-Base": 596_049_920,
    "Qwen/Qwen3-8B-Base": 8_190_735_360,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "EleutherAI/pythia-70m": 70_426_624,
    "EleutherAI/pythia-6.9b": 6_857_302_016,
}
CLASSES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "neox": "GPTNeoX"}
EVERY = [model for family in FAMILIES.values() for model in family]


def small(kind: str, heads: int, tied: bool, hidden: int = 192) -> Architecture:
    return Architecture(
        name=kind, kind=kind, width=64, layers=2, heads=4, kv_heads=heads, head_dim=16, hidden=hidden, vocabulary=128,
        tied=tied,
    )  # fmt: skip


TINY = [
    small("llama", 4, True),
    small("llama", 2, False),
    small("qwen2", 2, True),
    small("qwen3", 1, False),
    small("neox", 4, False, hidden=256),
]


def built(model: Architecture, device: str = "meta"):
    """Return the model that transformers makes of these sizes."""
    sizes = {
        "vocab_size": model.vocabulary, "hidden_size": model.width, "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads, "intermediate_size": model.hidden, "tie_word_embeddings": model.tied,
    }  # fmt: skip
    if model.kind != "neox":
        sizes |= {"num_key_value_heads": model.kv_heads, "head_dim": model.head_dim}
    name = CLASSES[model.kind]
    config = getattr(transformers, f"{name}Config")(**sizes)
    with torch.device(device):
        return getattr(transformers, f"{name}ForCausalLM")(config)


@pytest.mark.parametrize("model", EVERY, ids=lambda m: m.name)
def test_parameters_are_those_of_transformers(model):
    assert model.parameters() == sum(p.numel() for p in built(model).parameters())


def test_parameters_are_the_published_ones():
    assert {m.name: m.parameters() for m in EVERY if m.name in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize("model", TINY, ids=lambda m: f"{m.name}{m.kv_heads}")
def test_cache_weights_and_moments_are_what_torch_holds(model):
    rows, context = 3, 20
    whole = built(model, "cpu")
    ids = torch.zeros((rows, context), dtype=torch.long)
    cache = whole(ids, use_cache=True).past_key_values
    held = sum(x.numel() * x.element_size() for layer in cache.layers for x in (layer.keys, layer.values))
    assert memory(model, "sample", dtype="float32", rows=rows, context=context).cache == held
    optimiser = torch.optim.AdamW(whole.parameters())
    whole(ids, labels=ids).loss.backward()
    optimiser.step()
    moments = [x for state in optimiser.state.values() for x in state.values() if x.ndim]
    want = memory(model, "train", dtype="float32", rows=rows, context=context)
    assert want.optimiser == sum(x.numel() * x.element_size() for x in moments)
    assert want.gradients == sum(p.grad.numel() * 4 for p in whole.parameters()) == want.weights


@pytest.mark.parametrize("model", TINY, ids=lambda m: f"{m.name}{m.kv_heads}")
def test_activations_are_within_a_third_of_what_autograd_saves(model):
    """The count leaves out masks, the statistics of norms and what a kernel keeps beside; it must not be far off."""
    rows, context, whole = 4, 64, built(model, "cpu")
    own = {p.untyped_storage().data_ptr() for p in whole.parameters()}
    held: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage().data_ptr() not in own and x.is_floating_point():
            held[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    kept = []  # so that no storage is freed and its address given to another
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x), keep(x))[1], lambda x: x):
        body = whole.gpt_neox if model.kind == "neox" else whole.model
        body(torch.zeros((rows, context), dtype=torch.long), use_cache=False)
    want = memory(model, "train", dtype="float32", rows=rows, context=context, checkpointing=False).activations
    assert want == pytest.approx(sum(held.values()), rel=1 / 3)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
def test_lora_counts_what_peft_adds():
    from peft import LoraConfig, get_peft_model

    model = TINY[1]
    adapted = get_peft_model(built(model, "cpu"), LoraConfig(r=4, target_modules="all-linear"))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert model.lora_parameters(4) == trained
    assert memory(model, "lora", dtype="float32", rank=4).optimiser == 8 * trained


def test_memory_grows_as_it_must():
    model = FAMILIES["qwen25"][0]
    one, two = memory(model, "sample", rows=1), memory(model, "sample", rows=2)
    assert two.cache == 2 * one.cache
    assert two.weights == one.weights
    assert memory(model, "train", dtype="float32").total > memory(model, "train").total > memory(model, "lora").total
    assert memory(model, "train", checkpointing=False).activations > memory(model, "train").activations


@pytest.mark.parametrize("family", FAMILIES)
def test_the_policy_configs_name_these_models(family):
    config = yaml.safe_load((ROOT / "conf" / "family" / f"{family}.yaml").read_text(encoding="utf-8"))
    assert config["models"] == [m.name for m in FAMILIES[family]]
    assert config["dtype"] in BYTES


def test_sizes_rise_within_a_family():
    for family in FAMILIES.values():
        sizes = [m.parameters() for m in family]
        assert sizes == sorted(sizes)


def test_unknown_uses_are_refused():
    with pytest.raises(InputError, match="Did you mean 'train'"):
        memory(EVERY[0], "trian")
    with pytest.raises(InputError, match="Did you mean 'bfloat16'"):
        memory(EVERY[0], "train", dtype="bfloat6")
    with pytest.raises(InputError, match="at least 1"):
        memory(EVERY[0], "sample", rows=0)


def test_the_docs_print_the_needs_as_computed():
    page = ROOT / "docs" / "llm_ladder.md"
    assert needs() in page.read_text(encoding="utf-8")
