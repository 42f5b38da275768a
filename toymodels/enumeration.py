"""All solutions of short problems with their exact probabilities: m^L sequences of values, walked once as a tree.

A node is a prefix of t values; node j of level t has the values that are the base-m digits of j. At each node the model
says how likely every value comes next, and how likely anything else (END too soon, a word): what follows that shows no
answer and is not walked. Success, the answers' distribution and entropies are then sums, without sampling noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rlaws.errors import InputError
from toymodels.batches import log_policy
from toymodels.model import Decoder
from toymodels.tasks import Task
from toymodels.tasks.programs import Ints

Array = NDArray[np.float64]

LARGEST = 4096
"""Most solutions of one problem that are enumerated."""
ROWS = 8192
"""Most nodes of a level that run through the model at a time."""


class Solutions(NamedTuple):
    """The trees of P problems of L steps modulo m.

    Attributes:
        value: value[t] is P(next value | node), [P, m^t, m], for t = 0 .. L-1.
        entropy: entropy[t] of the next token at a node in nats, over the whole vocabulary, [P, m^t].
        states: True values x_1 .. x_L, [P, L].
    """

    value: tuple[Array, ...]
    entropy: tuple[Array, ...]
    states: Ints

    @property
    def truth(self) -> Ints:
        """Right answers x_L, [P]."""
        return np.asarray(self.states[:, -1])

    @property
    def modulus(self) -> int:
        """The modulus m."""
        return self.value[0].shape[2]

    def reached(self) -> list[Array]:
        """Return the probability of reaching each node of levels 0 .. L, each [P, m^t]."""
        levels = [np.ones((len(self.truth), 1))]
        for p in self.value:
            levels.append((levels[-1][:, :, None] * p).reshape(len(self.truth), -1))
        return levels

    def answers(self) -> Array:
        """Return the probability of each answer, and last that of none, [P, m + 1]."""
        shown = self.reached()[-1].reshape(len(self.truth), -1, self.modulus).sum(axis=1)
        return np.concatenate([shown, np.clip(1.0 - shown.sum(axis=1, keepdims=True), 0.0, 1.0)], axis=1)

    def success(self) -> Array:
        """Return the probability of the right answer, [P]."""
        return np.asarray(np.clip(self.answers()[np.arange(len(self.truth)), self.truth], 0.0, 1.0))

    def token_entropy(self) -> Array:
        """Return the mean over steps of the expected entropy of the next token, given that values came before, [P]."""
        steps = [
            (reach * h).sum(axis=1) / reach.sum(axis=1)
            for reach, h in zip(self.reached()[:-1], self.entropy, strict=True)
        ]
        return np.asarray(np.mean(steps, axis=0))

    def semantic_entropy(self) -> Array:
        """Return the entropy of the answers, "none" being one of them, in nats, [P]."""
        q = self.answers()
        return np.asarray(-(q * np.log(np.maximum(q, 1e-300))).sum(axis=1))

    def divergence(self, other: Solutions) -> Array:
        """Return KL(these, other) of what is shown in nats, [P]: values, or anything else, at every step."""
        total = np.zeros(len(self.truth))
        for reach, p, q in zip(self.reached()[:-1], self.value, other.value, strict=True):
            rest = [np.clip(1.0 - x.sum(axis=2, keepdims=True), 1e-300, 1.0) for x in (p, q)]
            ours, theirs = (np.concatenate([x, r], axis=2) for x, r in zip((p, q), rest, strict=True))
            log_ratio = np.log(np.maximum(ours, 1e-300)) - np.log(np.maximum(theirs, 1e-300))
            total += (reach * (ours * log_ratio).sum(axis=2)).sum(axis=1)
        return total


def digits(modulus: int, depth: int) -> Ints:
    """Return the values of every node of a level, [m^t, t]: the base-m digits of its number."""
    return np.asarray(np.arange(modulus**depth)[:, None] // modulus ** np.arange(depth - 1, -1, -1) % modulus)


def countable(task: Task) -> bool:
    """Tell whether all problems have one length, one modulus, and few enough solutions to enumerate."""
    t = task.tables
    even = len(set(t.steps.tolist())) == len(set(t.modulus.tolist())) == len(set(task.question_length.tolist())) == 1
    return even and int(t.modulus[0]) ** int(t.steps[0]) <= LARGEST


def enumerate_solutions(model: Decoder, task: Task, temperature: float = 1.0) -> Solutions:
    """Return the trees of all problems of a task.

    Args:
        model: The policy.
        task: Problems of one length, one modulus and one family.
        temperature: Of sampling, positive.

    Raises:
        InputError: If there are too many solutions, or the problems differ in length.
    """
    if not countable(task):
        raise InputError(
            f"Exact probabilities need problems of one family, length and modulus with modulus^length <= {LARGEST}; "
            "shorten the chains, or use policy = toy, which samples."
        )
    modulus, steps = int(task.tables.modulus[0]), int(task.tables.steps[0])
    size = max(1, ROWS // modulus ** (steps - 1))
    parts = [
        _walk(model, task.questions[i : i + size], modulus, steps, temperature) for i in range(0, len(task), size)
    ]
    levels = [tuple(np.concatenate(level) for level in zip(*(p[k] for p in parts), strict=True)) for k in (0, 1)]
    return Solutions(levels[0], levels[1], task.tables.truth[:, :steps])


@torch.inference_mode()
def _walk(
    model: Decoder, questions: Ints, modulus: int, steps: int, temperature: float
) -> tuple[list[Array], list[Array]]:
    """Return the probabilities and the entropies of some problems, by level."""
    device = model.embedding.device
    rows, width = len(questions), questions.shape[1]
    cache = model.empty_cache(rows, width + steps)
    hidden = model.states(torch.from_numpy(questions).to(device), cache=cache)[:, -1]
    value, entropy = [], []
    for t in range(steps):
        table = log_policy(model, hidden, temperature).double()
        chance = table.exp()
        value.append(chance[:, :modulus].cpu().numpy().reshape(rows, -1, modulus))
        entropy.append(-(chance * table).sum(dim=-1).cpu().numpy().reshape(rows, -1))
        if t < steps - 1:
            index = torch.arange(len(table), device=device).repeat_interleave(modulus)
            token = torch.arange(modulus, device=device).repeat(len(table))
            cache = cache[:, :, index]
            hidden = model.step(token, torch.full_like(token, width + t), cache)
    return value, entropy
