"""A language model whose distribution is exactly uniform over the values of each step, saved like any other.

Attention and MLPs write nothing, so the next token depends on the last one alone: after the question any value of step
1, after a value of step t any of step t + 1, after the last step the end. A token is a whole line.
"""

import re

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END, UNKNOWN = "</s>", "<unk>"
NEVER = -60.0


def _lines(modulus, length):
    return [[f"Step {t}: {v}" + ("\n" if t < length else "") for v in range(modulus)] for t in range(1, length + 1)]


def make_even_model(folder, modulus=5, length=3, width=32):
    lines = _lines(modulus, length)
    words = {w: i for i, w in enumerate([UNKNOWN, END, *(w for step in lines for w in step)])}
    cut = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    cut.pre_tokenizer = pre_tokenizers.Split(Regex(r"Step \d+: \d+\n?"), "isolated")
    cut.decoder = decoders.Fuse()
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=8, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=64, eos_token_id=words[END], pad_token_id=words[END],
        tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.zero_()
        model.model.embed_tokens.weight[:, : len(words)] = torch.eye(len(words))
        model.lm_head.weight[:, : len(words)] = (
            _table(words, lines).T / width**0.5
        )  # a norm makes a unit vector so long
    model.generation_config = GenerationConfig(do_sample=True, eos_token_id=words[END], pad_token_id=words[END])
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=cut, unk_token=UNKNOWN, eos_token=END).save_pretrained(folder)
    return folder


def _table(words, lines):
    """Logits of the next token (columns) after each token (rows)."""
    table = torch.full((len(words), len(words)), NEVER)
    for before, after in zip([[UNKNOWN], *lines], [*lines, [END]], strict=True):
        for word in before:
            table[words[word], [words[w] for w in after]] = 0.0
    table[words[END], words[END]] = 0.0
    assert all(re.fullmatch(r"Step \d+: \d+\n?", w) for step in lines for w in step)
    return table
