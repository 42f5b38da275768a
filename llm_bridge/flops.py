"""Floating-point operations of a decoder of the Llama kind, counted from the matrix products that are run.

2 for each multiply-add and nothing else: a token costs 2 for every weight that multiplies it (the embedding is looked
up, the logits are a product) and 4 times the width of all heads, in each layer, for every position it attends to. A
backward pass takes two products for each of the forward pass. Padding is counted where it is multiplied, and a prompt
once for each of its answers, because transformers and TRL run it so.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Sizes(NamedTuple):
    """What the products of a model depend on.

    Attributes:
        body: Weights that multiply a token in the blocks.
        heads: Width of all heads together, times the layers.
        head: Weights of the logits' product.
        parameters: All parameters, each once.
    """

    body: int
    heads: int
    head: int
    parameters: int


def sizes_of(model: Any) -> Sizes:
    """Return the sizes of a transformers model: every linear layer of its blocks multiplies each token once.

    Mixtures of experts multiply fewer; they are not counted rightly.
    """
    config = model.config.get_text_config()
    head = model.get_output_embeddings()
    linear = [m for m in model.modules() if type(m).__name__ in ("Linear", "Conv1D") and m is not head]
    wide = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Sizes(
        body=sum(m.weight.numel() for m in linear),
        heads=config.num_hidden_layers * config.num_attention_heads * wide,
        head=config.hidden_size * config.vocab_size,
        parameters=sum(p.numel() for p in model.parameters()),
    )


def forward_flops(sizes: Sizes, rows: int, tokens: int, logits: int) -> int:
    """Return the FLOPs of one pass over rows of ``tokens`` tokens, attention as a full square.

    Args:
        sizes: The model's.
        rows: Rows.
        tokens: Tokens of each row, padding included.
        logits: Positions of each row whose logits are computed.
    """
    return rows * (2 * sizes.body * tokens + 4 * sizes.heads * tokens**2 + 2 * sizes.head * logits)


def rollout_flops(sizes: Sizes, rows: int, prompt: int, new: int) -> int:
    """Return the FLOPs of sampling: a pass over the prompts, then all rows token by token until the longest is done.

    Args:
        sizes: The model's.
        rows: Rows of the batch.
        prompt: Tokens of the longest prompt.
        new: Tokens of the longest answer; the last one is drawn but not run.
    """
    contexts = (new - 1) * prompt + new * (new - 1) // 2
    steps = 2 * (sizes.body + sizes.head) * (new - 1) + 4 * sizes.heads * contexts
    return forward_flops(sizes, rows, prompt, 1) + rows * steps


def update_flops(sizes: Sizes, rows: int, tokens: int, logits: int) -> int:
    """Return the FLOPs of a pass forward and backward; the optimiser is free.

    TRL computes the logits once more on the way back, to save memory. On a GPU it leaves out those of the prompt.

    Args:
        sizes: The model's.
        rows: Rows of the batch.
        tokens: Tokens of each row, padding included.
        logits: Positions of each row whose logits are computed.
    """
    return 3 * forward_flops(sizes, rows, tokens, logits) + 2 * rows * sizes.head * logits
