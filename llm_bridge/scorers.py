"""Reward models from a directory or hub id, as the values of a search: the hook for process reward models.

Three kinds, all through transformers. "token": a token classifier that was trained as TRL's ``PRMTrainer`` trains it,
read at the separator after each step; the value is the product of the steps' probabilities of the last label.
"sequence": a sequence classifier of question and answer so far, one logit (sigmoid) or several (probability of the last
label). "generative": a causal model that is asked whether the answer is right so far; the value is
P(yes) / (P(yes) + P(no)) of the next token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rlaws.errors import InputError, suggest

SEPARATOR = "\n"
QUESTION = "{question}\n\n{answer}\n\nIs this answer right so far? Say yes or no.\n"
YES, NO = "yes", "no"

Pairs = Sequence[tuple[str, str]]
Score = Callable[[Pairs], list[float]]


@lru_cache(maxsize=4)
def open_scorer(where: str, kind: str, device: str, batch: int) -> Score:
    """Return the scorer of a model directory or hub id.

    Args:
        where: The model.
        kind: "token", "sequence" or "generative".
        device: "auto" takes a GPU where there is one.
        batch: Most rows in one forward pass.

    Raises:
        InputError: If the kind is unknown, the place holds no such model, or an extra is not installed.
    """
    if kind not in KINDS:
        raise InputError(f"scorer_kind = '{kind}' is not known.{suggest(kind, KINDS)}")
    try:
        import torch
        import transformers
    except ModuleNotFoundError as error:
        raise InputError(f"A scorer needs the package '{error.name}': pip install rlaws[llm].") from error
    head, rows, read = KINDS[kind]
    local = Path(where).is_dir()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, local_files_only=local)
        model = getattr(transformers, head).from_pretrained(where, local_files_only=local)
    except (OSError, ValueError, KeyError) as error:
        said = str(error).splitlines()[0]
        raise InputError(f"scorer = '{where}' is no model of the kind '{kind}' ({head}): {said}") from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Scorer(model.to(device).eval(), tokenizer, rows, read, batch)


class Scorer:
    """A reward model with the way its input is laid out and its output read.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        rows: Lays out a pair: token ids and the positions that are read.
        read: Turns the logits at those positions into one value.
        batch: Most rows in one forward pass.
    """

    def __init__(self, model: Any, tokenizer: Any, rows: Any, read: Any, batch: int) -> None:
        self.model, self.tokenizer, self.rows, self.read, self.batch = model, tokenizer, rows, read, batch

    def __call__(self, pairs: Pairs) -> list[float]:
        """Return the probability that each answer so far is right."""
        laid = [self.rows(self.tokenizer, question, answer) for question, answer in pairs]
        out: list[float] = []
        for at in range(0, len(laid), self.batch):
            out += self._forward(laid[at : at + self.batch])
        return out

    def _forward(self, laid: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        import torch

        width = max(len(ids) for ids, _ in laid)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row, _ in laid])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in laid])
        with torch.inference_mode():
            device = next(self.model.parameters()).device
            logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits.float().cpu().numpy()
        return [float(self.read(self.tokenizer, row, at)) for row, (_, at) in zip(logits, laid, strict=True)]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _token_rows(tokenizer: Any, question: str, answer: str) -> tuple[list[int], list[int]]:
    """Return question, then each step with its separator, and where the separators are."""
    ids, at = _ids(tokenizer, question + SEPARATOR), []
    for step in answer.split(SEPARATOR):
        ids += _ids(tokenizer, step) + _ids(tokenizer, SEPARATOR)
        at.append(len(ids) - 1)
    return ids, at


def _whole_rows(tokenizer: Any, question: str, answer: str) -> tuple[list[int], list[int]]:
    ids = _ids(tokenizer, f"{question}{SEPARATOR}{answer}")
    return ids, [len(ids) - 1]


def _asked_rows(tokenizer: Any, question: str, answer: str) -> tuple[list[int], list[int]]:
    text = QUESTION.format(question=question, answer=answer)
    if tokenizer.chat_template:
        turn = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    ids = _ids(tokenizer, text)
    return ids, [len(ids) - 1]


def _softmax(logits: Any) -> Any:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _read_tokens(tokenizer: Any, logits: Any, at: list[int]) -> float:
    """Return the product over steps of the probability of the last label."""
    return float(np.prod(_softmax(logits[at])[:, -1]))


def _read_sequence(tokenizer: Any, logits: Any, at: list[int]) -> float:
    return float(1.0 / (1.0 + np.exp(-logits[0]))) if logits.size == 1 else float(_softmax(logits)[-1])


def _read_next(tokenizer: Any, logits: Any, at: list[int]) -> float:
    yes, no = (_ids(tokenizer, word)[0] for word in (YES, NO))
    return float(_softmax(logits[at[0], [no, yes]])[-1])


KINDS: dict[str, tuple[str, Any, Any]] = {
    "token": ("AutoModelForTokenClassification", _token_rows, _read_tokens),
    "sequence": ("AutoModelForSequenceClassification", _whole_rows, _read_sequence),
    "generative": ("AutoModelForCausalLM", _asked_rows, _read_next),
}
"""Kind -> head in transformers, how a pair is laid out, how the logits are read."""
