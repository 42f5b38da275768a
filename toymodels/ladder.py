"""The ladder: one family of sizes, each pre-trained on imperfect demonstrations into a base that RL can improve.

A base imitates a teacher that errs: at every step the teacher follows the rule from the value it has *shown*, except
that with an error rate that belongs to the operation it writes a uniform other value; and it stops early in some
solutions. Error rates rise from ``error_low`` to ``error_high`` over the operations (set, add, multiply, by amount),
so a base is nearly sure of some problems and rarely right on others, and differs in that by size.

Peak learning rates fall as 1 / width at all sizes, in pre-training and in RL (the rule of arXiv 2203.03466 for Adam on
hidden matrices); the two constants were chosen for stable losses at width 32, before any study was run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.problems import ArithmeticChain
from rlaws.seeding import seed_sequence, word
from toymodels.cache import cached
from toymodels.config import Config
from toymodels.model import Decoder
from toymodels.options import Optimiser, Sft, Training
from toymodels.tasks import BooleanCircuit, Mixture, ReflectionChain, Task, Vocabulary, make_task
from toymodels.tasks.programs import OPERATIONS, Ints, apply
from toymodels.training import Demonstrations, Record, Snapshot, train

Weights = dict[str, NDArray[Any]]

VALUES = 8
"""Values of the vocabulary that all bases share: moduli up to 7, and the wires of circuits of 3 bits and 4 gates."""
CONTEXT = 32
PRETRAINING_RATE = 0.16
"""Peak learning rate of pre-training times the width."""


class Shape(NamedTuple):
    """Width, layers and heads."""

    width: int
    layers: int
    heads: int


SIZES: Mapping[int, Shape] = {
    4_000: Shape(12, 2, 2),
    7_000: Shape(16, 2, 2),
    15_000: Shape(24, 2, 3),
    26_000: Shape(32, 2, 4),
    58_000: Shape(48, 2, 3),
    100_000: Shape(64, 2, 4),
    225_000: Shape(96, 2, 6),
    600_000: Shape(128, 3, 8),
    1_000_000: Shape(144, 4, 9),
    4_700_000: Shape(256, 6, 8),
    25_000_000: Shape(512, 8, 8),
    85_000_000: Shape(768, 12, 12),
}
"""Nominal number of parameters (within 3 % of the exact one) -> shape. The last three want a GPU."""


def config_of(size: int, device: str = "cpu", experts: int = 0, top_k: int = 0, compile: str = "") -> Config:
    """Return the sizes of a rung, with a mixture of experts in each block if any are given.

    Raises:
        InputError: If the ladder has no such rung, or torch no such device.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device = {device}: torch sees no GPU on this machine; give device=cpu.")
    if size not in SIZES:
        raise InputError(f"size = {size} is no rung of the ladder; there are {', '.join(map(str, SIZES))} parameters.")
    return Config(
        Vocabulary(VALUES).size,
        CONTEXT,
        *SIZES[size],
        tied=False,
        rope_theta=100.0,
        value_head=True,
        experts=experts,
        top_k=top_k,
        device=device,
        compile=compile,
    )


def parameters_of(size: int) -> int:
    """Return the exact number of parameters of a rung."""
    return config_of(size).parameters().total


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a base is pre-trained on, and for how long.

    Attributes:
        modulus: m of all chains.
        length: Steps of all problems. One length a recipe: a small transformer then finds out where to look several
            times sooner.
        reset: Share of "set" steps.
        others: Share of demonstrations from other families, half reflection chains and half circuits.
        error_low: Teacher's error rate at the easiest operation.
        error_high: At the hardest.
        cut: Share of demonstrations that stop at a random step.
        pool: Demonstrations.
        steps: Updates.
        batch: Demonstrations an update.
    """

    modulus: int = 5
    length: int = 3
    reset: float = 0.1
    others: float = 0.2
    error_low: float = 0.02
    error_high: float = 0.3
    cut: float = 0.1
    pool: int = 24_576
    steps: int = 400
    batch: int = 128

    def __post_init__(self) -> None:
        shares = (self.others, self.cut, self.error_low, self.error_high)
        if not all(0 <= x < 1 for x in shares) or self.error_low > self.error_high:
            raise InputError(
                f"others, cut, error_low, error_high = {shares}: needed are shares in [0, 1), error_low <= error_high."
            )
        if min(self.pool, self.steps, self.batch) < 1:
            raise InputError("A recipe needs pool, steps and batch of at least 1.")

    def chains(self, size: int) -> ArithmeticChain:
        """Return the problems that RL is done on: the recipe's arithmetic chains."""
        return ArithmeticChain(self.length, self.modulus, self.reset, size)

    def elsewhere(self, size: int) -> tuple[ReflectionChain, BooleanCircuit]:
        """Return the problems of the other families: one near the chains, one of logic."""
        return ReflectionChain(self.length, self.modulus, self.reset, size), BooleanCircuit(3, self.length, size)

    def everything(self) -> ArithmeticChain | Mixture:
        """Return the problems that the teacher shows."""
        rest = round(self.pool * self.others / 2)
        chains = self.chains(self.pool - 2 * rest)
        return Mixture((chains, *self.elsewhere(rest))) if rest else chains


RECIPES: Mapping[str, Recipe] = {
    "standard": Recipe(),
    **{f"steps{n}": Recipe(length=n, others=0.0) for n in (2, 4, 6, 8, 12)},
    "tiny": Recipe(length=2, others=0.0, pool=2048, steps=60, batch=64),
}
"""Named recipes: "standard" for all comparisons of sizes, 3 steps; "steps8" and its like with arithmetic chains only,
of that length; "tiny" for tests."""


def recipe_of(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        InputError: If there is none.
    """
    if name not in RECIPES:
        raise InputError(f"recipe = '{name}' is not known; there are {', '.join(RECIPES)}.")
    return RECIPES[name]


# ------------------------------------------------------------------------------------------------- demonstrations
def error_rates(task: Task, recipe: Recipe) -> NDArray[np.float64]:
    """Return the teacher's error rate at every step of every problem, [P, S].

    Operations are ranked by kind ("set", then those that move a value and the gates, then "multiply"), and within a
    kind by amount.
    """
    rank = np.array([{"set": 0, "multiply": 2}.get(name, 1) for name in OPERATIONS])
    t = task.tables
    place = (rank[t.kind] + t.amount / t.modulus[:, None]) / 3
    return recipe.error_low + (recipe.error_high - recipe.error_low) * place


def demonstrations(task: Task, recipe: Recipe, rng: np.random.Generator) -> Demonstrations:
    """Return one solution by the erring teacher for each problem."""
    t, rows = task.tables, np.arange(len(task))
    wrong = rng.random(t.kind.shape) < error_rates(task, recipe)
    other = rng.integers(1, t.modulus[:, None], t.kind.shape)
    wires = t.inputs
    for step in range(t.kind.shape[1]):
        left, right = wires[rows, t.left[:, step]], wires[rows, t.right[:, step]]
        value = apply(t.kind[:, step], left, right, t.amount[:, step], t.modulus)
        value = np.where(wrong[:, step], (value + other[:, step]) % t.modulus, value)
        wires = np.concatenate([wires, value[:, None]], axis=1)
    shown = wires[:, t.inputs.shape[1] :]
    stops = np.where(rng.random(len(task)) < recipe.cut, rng.integers(0, t.steps), t.steps)
    return Demonstrations(rows, _written(task, shown, stops))


def _written(task: Task, shown: Ints, stops: Ints) -> Ints:
    """Return the first ``stops`` shown values and END as tokens, [P, R]."""
    out = np.full((len(task), task.response), task.vocabulary.id("pad"), dtype=np.int64)
    position = np.arange(shown.shape[1])
    out[:, : shown.shape[1]] = np.where(position < stops[:, None], shown, task.vocabulary.id("pad"))
    np.put_along_axis(out, stops[:, None], task.vocabulary.id("end"), axis=1)
    return out


# ------------------------------------------------------------------------------------------------------------ bases
def to_arrays(model: torch.nn.Module) -> Weights:
    """Return the weights of a model as arrays by name."""
    return {name: x.detach().cpu().numpy().copy() for name, x in model.state_dict().items()}


def from_arrays(config: Config, weights: Mapping[str, NDArray[Any]]) -> Decoder:
    """Return the model that has these weights."""
    model = Decoder(config, seed=0)
    model.load_state_dict({name: torch.from_numpy(np.array(x)) for name, x in weights.items()})
    return model


def base(
    size: int,
    seed: int = 0,
    recipe: str = "standard",
    *,
    device: str = "cpu",
    compile: str = "",
    precision: str = "float32",
) -> Decoder:
    """Return a pre-trained base, from the cache or trained now.

    Args:
        size: A rung of ``SIZES``.
        seed: Which of the independent bases of this rung; initial weights and data differ.
        recipe: A name of ``RECIPES``.
        device: Where it lives and is trained; bits differ between devices, so each has its own base.
        compile: Backend of torch.compile; empty: none.
        precision: Of the training passes.
    """
    config, chosen = config_of(size, device, compile=compile), recipe_of(recipe)
    settings = {"config": asdict(config), "recipe": asdict(chosen), "seed": seed, "rate": PRETRAINING_RATE}
    settings |= {"precision": precision}
    return from_arrays(config, cached("base", settings, partial(pretrain, config, chosen, seed, precision)))


def pretrain(config: Config, recipe: Recipe, seed: int, precision: str = "float32") -> Weights:
    """Train a base and return its weights."""
    stream = seed_sequence(seed, "toy base")
    weights, data, teacher, order = stream.spawn(4)
    task = make_task(recipe.everything().draw(data), VALUES)
    shown = demonstrations(task, recipe, np.random.default_rng(teacher))
    optimiser = Optimiser(
        lr=PRETRAINING_RATE / config.width, schedule="cosine", warmup=min(50, recipe.steps // 4), horizon=recipe.steps
    )
    options = Training(Sft(recipe.batch), optimiser, precision)
    start = Decoder(config, seed=word(weights) % 2**63)
    for event in train(start, task, options, (recipe.steps,), order, data=shown):
        if isinstance(event, Record):
            continue
        assert isinstance(event, Snapshot)
        return {name: x.numpy() for name, x in event.state["policy"].items()}
    raise AssertionError("training ends with a snapshot")
