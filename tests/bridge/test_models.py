"""Models by name: found, told apart, loaded once; what is no model is refused in a sentence."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_bridge import models
from llm_bridge.backends.base import Request, Sampling
from llm_bridge.settings import ModelSettings
from rlaws.errors import InputError
from tests.bridge.tiny import make_model, make_tokenizer


@pytest.fixture
def copy(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "copy")


def named(folder, **more) -> ModelSettings:
    return ModelSettings(models=(str(folder),), device="cpu", store=False, **more)


# ------------------------------------------------------------------------------------------------------------ finding
@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("config.json", r"is no model: it has no config\.json"),
        ("model.safetensors", r"is no model: it has no \*\.safetensors"),
        ("tokenizer.json", r"has no tokenizer\.json"),
    ],
)
def test_a_directory_that_is_no_model(copy, missing, said):
    (copy / missing).unlink()
    with pytest.raises(InputError, match=said):
        named(copy).open().length("q")


def test_a_name_that_is_nothing():
    with pytest.raises(InputError, match=r"There is no directory '/no/such/place'"):
        models.resolve(named("/no/such/place"))
    with pytest.raises(InputError, match=r"nor in the hub's cache.*hf download somebody/model"):
        models.resolve(named("somebody/model"))


def test_weights_that_are_not_those_of_the_config(copy):
    weights = load_file(copy / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "layers.1.mlp" not in k}, copy / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(InputError, match=r"The weights of '.*' lack model\.layers\.1\.mlp"):
        models.load(copy, device="cpu")


@pytest.mark.parametrize(("file", "damage"), [("model.safetensors", b"\xff" * 64), ("config.json", b"{")])
def test_damaged_files(copy, file, damage):
    (copy / file).write_bytes(damage)
    with pytest.raises(InputError, match="cannot be loaded as a causal language model"):
        models.load(copy, device="cpu")


def test_an_unknown_architecture(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "nonesuch", "architectures": ["Nonesuch"]}))
    with pytest.raises(InputError, match="cannot be loaded as a causal language model"):
        models.load(copy, device="cpu")


def test_a_tokenizer_that_is_larger_than_the_model(copy):
    make_tokenizer(vocab=330).save_pretrained(copy)
    words = make_tokenizer()
    words.add_tokens([f"<more{i}>" for i in range(400)])
    words.save_pretrained(copy)
    with pytest.raises(InputError, match="they do not belong together"):
        models.load(copy, device="cpu")


def test_no_gpu_here(tiny):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match=r"torch sees no GPU here\. Use policy\.device=cpu"):
        models.load(tiny, device="cuda")


def test_template_chat_without_a_template(tmp_path):
    folder = make_model(tmp_path / "plain", chat=False)
    asked = [Request("Start with 3.", 1, 0)]
    with pytest.raises(InputError, match=r"the model has no chat template.*policy\.template=plain"):
        named(folder, template="chat").open().generate(asked, Sampling())
    engine = named(folder).open()
    assert engine.loaded.tokenizer.decode(engine.loaded.prompt("Start with 3.", "auto")) == "Start with 3.\n"


# ---------------------------------------------------------------------------------------------------------- revisions
def test_the_revision_is_that_of_the_files(tiny, copy, tmp_path):
    assert models.revision(copy) == models.revision(tiny)
    before = models.load(copy, device="cpu")
    assert before is models.load(tiny, device="cpu")
    other = make_model(tmp_path / "other", seed=1)
    shutil.copy(other / "model.safetensors", copy / "model.safetensors")
    assert models.revision(copy) != models.revision(tiny)
    after = models.load(copy, device="cpu")  # weights in memory are no view of the file that was overwritten
    assert not torch.equal(before.model.lm_head.weight, after.model.lm_head.weight)
    (copy / "chat_template.jinja").write_text("{{ messages[0].content }}:")
    assert models.load(copy, device="cpu").revision != after.revision


def test_models_that_were_used_long_ago_make_room(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_loaded", type(models._loaded)())
    monkeypatch.setattr(models, "KEPT", 300_000)  # two of them
    folders = [tiny, *(make_model(tmp_path / str(i), seed=i + 1) for i in range(4))]
    first = models.load(folders[0], device="cpu")
    assert models.load(folders[0], device="cpu") is first
    for folder in folders[1:]:
        models.load(folder, device="cpu")
    assert len(models._loaded) < 5
    assert models.load(folders[0], device="cpu") is not first


# --------------------------------------------------------------------------------------------------------- tokenizers
def test_a_tokenizer_of_another_architecture_is_read_as_it_was_saved(tmp_path):
    """``AutoTokenizer`` cuts the words of this directory otherwise; the file itself is read."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    words = make_tokenizer(single_digits=False)
    config = Qwen2Config(vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                         num_attention_heads=2, num_key_value_heads=1, bos_token_id=1, eos_token_id=2)  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    text = "Add 12 + 34 = 46, modulo 2026.\n\n  it's"
    saved = words(text)["input_ids"]
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] != saved
    assert models.load(tmp_path, device="cpu").tokenizer(text)["input_ids"] == saved


@pytest.mark.parametrize("text", ["", "3 + 4 = 0\n", " é—中\n\n 12", "Start with  3.\t"])
def test_pieces_of_an_answer_are_its_text(tiny, text):
    ids, pieces = models.load(tiny, device="cpu").answer(text)
    assert "".join(pieces) == text
    assert len(ids) == len(pieces)


# ------------------------------------------------------------------------------------------------------------ adapters
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_changes_the_model_and_its_revision(tiny, tmp_path, dtype):
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    both = get_peft_model(LlamaForCausalLM.from_pretrained(tiny), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    for name, value in both.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.5)
    both.save_pretrained(tmp_path / "adapter")
    plain, adapted = named(tiny, dtype=dtype).open(), named(tiny, dtype=dtype, adapter=str(tmp_path / "adapter")).open()
    assert plain.identity()["revision"] != adapted.identity()["revision"]
    ids = adapted.loaded.prompt("Start with 3.", "auto") + adapted.loaded.answer("3 + 4")[0]
    with torch.no_grad():
        logp = both(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    wanted = [float(logp[t - 1, ids[t]]) for t in range(len(ids) - len(adapted.loaded.answer("3 + 4")[0]), len(ids))]
    (scored,), (without,) = (e.score([("Start with 3.", "3 + 4")]) for e in (adapted, plain))
    np.testing.assert_allclose(scored.logprobs, wanted, atol=1e-4 if dtype == "float32" else 0.5)
    assert np.abs(without.logprobs - scored.logprobs).max() > 0.5
    assert len(adapted.generate([Request("Start with 3.", 3, 0)], Sampling(1.0, 4))[0]) == 3


def test_a_folder_that_is_no_adapter(tiny):
    with pytest.raises(InputError, match=r"is no LoRA adapter: it has no adapter_config\.json"):
        named(tiny, adapter=str(tiny)).open().generate([Request("q", 1, 0)], Sampling())


# ------------------------------------------------------------------------------------------------------------- imports
def test_the_package_is_light_and_a_missing_extra_is_named():
    code = (
        "import sys, llm_bridge, llm_bridge.settings, llm_bridge.models, llm_bridge.store; "
        "assert not {'torch', 'transformers', 'openai', 'vllm'} & set(sys.modules); "
        "sys.modules['torch'] = None\n"
        "try: llm_bridge.models.libraries()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("InputError Language models need: pip install rlaws[llm] (torch is missing)")
