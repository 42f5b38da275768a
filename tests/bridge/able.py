"""A small language model that solves short worded chains now and then: enough for RL to have something to move."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as kinds
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from llm_bridge.training import Family
from tests.bridge.tiny import BOS, EOS, PAD, SPECIAL, TEMPLATE

FAMILY = Family(length=2, modulus=3)
UPDATES, ROWS, RATE = 100, 32, 1e-2


def make_able(folder: Path, seed: int = 0) -> Path:
    """Teach a random model by plain next-token training for two seconds; return its directory."""
    items = FAMILY.draw(UPDATES * ROWS, np.random.SeedSequence(seed + 1)).items
    words = _words([f"{item.to_text()}\n{item.solution_text()}" for item in items[:300]])
    torch.manual_seed(seed)
    special = {"pad_token_id": words.pad_token_id, "bos_token_id": words.bos_token_id}
    special["eos_token_id"] = words.eos_token_id
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=32**-0.5,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0}, **special,
    ))  # fmt: skip
    _teach(model, words, items)
    model.generation_config = GenerationConfig(do_sample=True, **special)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _words(corpus: list[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token for whatever stands between two digits."""
    made = Tokenizer(kinds.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=2048, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=PAD, bos_token=BOS, eos_token=EOS, padding_side="left"
    )
    fast.chat_template = TEMPLATE
    return fast


def _teach(model: LlamaForCausalLM, words: PreTrainedTokenizerFast, items: tuple) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    for at in range(0, len(items), ROWS):
        part = items[at : at + ROWS]
        texts = [f"<user>{item.to_text()}<bot>{item.solution_text()}{EOS}" for item in part]
        rows = words(texts, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt")
        labels = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, -100)
        model(**rows, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval()
