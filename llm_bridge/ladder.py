"""The ladder: one family of Llama models of rising size, trained here from scratch on worded chain problems.

Nothing is downloaded. A base is an ordinary model directory, made once by ``llm_bridge.pretraining`` and kept in the
cache; it imitates a teacher that errs (``llm_bridge.corpus``), so that RL has something to do. Peak learning rates fall
as 1 / width at all sizes (the rule of arXiv 2203.03466 for Adam on hidden matrices).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llm_bridge.corpus import recipe_of
from rlaws.cache import cached_folder
from rlaws.errors import InputError, suggest

if TYPE_CHECKING:
    from llm_bridge.pretraining import Machine, Shape

RUNGS: Mapping[str, tuple[int, int, int, int]] = {
    "0.1M": (64, 2, 2, 128),
    "0.3M": (96, 3, 3, 192),
    "1M": (160, 3, 5, 432),
    "3M": (224, 5, 7, 592),
    "10M": (320, 8, 5, 864),
    "30M": (512, 9, 8, 1408),
    "100M": (768, 14, 12, 2048),
    "300M": (1024, 24, 16, 2816),
}
"""Rung -> width, layers, heads, hidden units of an MLP. The last five want a GPU."""
LIBRARIES = ("torch", "transformers", "tokenizers")


def shape_of(rung: str) -> Shape:
    """Return the shape of a rung.

    Raises:
        InputError: If the ladder has no such rung, or the libraries are not installed.
    """
    if rung not in RUNGS:
        raise InputError(f"The ladder has no rung '{rung}'.{suggest(rung, RUNGS)} There are {', '.join(RUNGS)}.")
    try:
        from llm_bridge.pretraining import Shape
    except ImportError as error:
        raise InputError(f"Language models need: pip install rlaws[llm] ({error.name} is missing).") from error
    return Shape(*RUNGS[rung])


def directory(rung: str, base_seed: int, recipe: str = "standard", machine: Machine | None = None) -> Path:
    """Return the model directory of a base, from the cache or trained now.

    Args:
        rung: A name of ``RUNGS``.
        base_seed: Which of the independent bases of the rung; initial weights and data differ.
        recipe: A name of ``llm_bridge.corpus.RECIPES``.
        machine: Where it is trained; None takes a GPU where there is one. On a CPU the bits repeat.

    Raises:
        InputError: If there is no such rung or recipe, or the cache cannot be written.
    """
    shape, chosen = shape_of(rung), recipe_of(recipe)
    from llm_bridge import pretraining

    where = machine or usual_machine()
    settings = {"shape": shape._asdict(), "recipe": asdict(chosen), "seed": base_seed, "machine": asdict(where)}
    make = partial(pretraining.pretrain, shape, chosen, base_seed, where)
    return cached_folder("llm_bridge", f"base-{rung}", settings, make, LIBRARIES)


def usual_machine() -> Machine:
    """Return a GPU with bfloat16 where there is one, else the CPU in float32."""
    import torch

    from llm_bridge.pretraining import Machine

    gpu = torch.cuda.is_available()
    return Machine("cuda" if gpu else "cpu", bf16=gpu)


def parameters_of(rung: str, recipe: str = "standard") -> int:
    """Return the exact number of parameters of a rung; input and output embeddings are one matrix."""
    shape, chosen = shape_of(rung), recipe_of(recipe)
    from llm_bridge.pretraining import tokenizer_of

    block = 4 * shape.width**2 + 3 * shape.width * shape.hidden + 2 * shape.width
    return tokenizer_of(chosen).get_vocab_size() * shape.width + shape.layers * block + shape.width
