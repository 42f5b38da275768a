"""A random language model so small that it samples thousands of answers a second, saved like any other."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as kinds
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD, BOS, EOS, USER, BOT = SPECIAL = ("<pad>", "<s>", "</s>", "<user>", "<bot>")
TEMPLATE = (
    "{% for m in messages %}{{ '<user>' if m.role == 'user' else '<bot>' }}{{ m.content }}"
    "{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
)
CORPUS = [f"Start with {a}. Add {b}, modulo 7.\n{a} + {b} = {(a + b) % 7}\nanswer: {(a + b) % 7}\n" for a in range(7)
          for b in range(7)]  # fmt: skip


def make_tokenizer(chat: bool = True, vocab: int = 320) -> PreTrainedTokenizerFast:
    words = Tokenizer(kinds.BPE())
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    words.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=PAD, bos_token=BOS, eos_token=EOS, padding_side="left"
    )
    fast.chat_template = TEMPLATE if chat else None
    return fast


def make_model(
    folder: Path, seed: int = 0, width: int = 32, layers: int = 2, context: int = 128, chat: bool = True
) -> Path:
    """Save a random model whose distributions are neither flat nor sharp; return its directory."""
    words = make_tokenizer(chat)
    torch.manual_seed(seed)
    special = {"pad_token_id": words.pad_token_id, "bos_token_id": words.bos_token_id}
    special["eos_token_id"] = words.eos_token_id
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=context, initializer_range=0.25,
        **special,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=True, **special)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
