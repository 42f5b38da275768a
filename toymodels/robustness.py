"""What a perturbed prefix leaves of a policy's success, exact by enumeration.

* "wrong_step": a wrong first value is put into the answer, each of the m - 1 alike. Right is then what follows from the
  value shown; the unperturbed prefix is the right first value.
* "noise": Gaussian noise on the embedding of every token, with a standard deviation of ``noise`` times the root mean
  square of the embeddings.

The share kept is the ratio of the two. It is not counted above chance, 1/m: a policy that no longer answers falls below
it. So one that guesses keeps everything after a wrong step. The vocabulary writes every problem in one way, so there is
no paraphrase to try.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from rlaws.errors import InputError
from rlaws.policy import Array
from rlaws.seeding import child, seed_sequence, word
from toymodels import ladder
from toymodels.critic_tables import Row, Table, seeds_of, tabulated
from toymodels.enumeration import Solutions, enumerate_solutions
from toymodels.model import Decoder
from toymodels.runs import Exams, trained
from toymodels.settings import Settings
from toymodels.state import frozen
from toymodels.tasks import Task
from toymodels.tasks.programs import apply


def followed(found: Solutions, task: Task) -> Array:
    """Return P(the answer is what follows from v | v is the first value shown) for each v, [P, m].

    Args:
        found: The solutions of chains of two steps or more.
        task: The chains.
    """
    m, problems, t = found.modulus, len(task), task.tables
    reach = found.reached()
    answer = (reach[-1].reshape(problems, m, -1, m).sum(axis=2)) / reach[1][:, :, None]
    value = np.tile(np.arange(m), (problems, 1))
    for step in range(1, len(found.value)):
        kind, amount = (np.broadcast_to(x[:, step, None], value.shape) for x in (t.kind, t.amount))
        value = apply(kind, value, value, amount, t.modulus[:, None])
    return np.asarray(np.take_along_axis(answer, value[:, :, None], axis=2)[:, :, 0])


def after_a_step(found: Solutions, task: Task) -> tuple[float, float]:
    """Return the mean chance to go on rightly after the right first value, and after a wrong one."""
    chance, first = followed(found, task), found.states[:, 0]
    right = chance[np.arange(len(task)), first]
    wrong = (chance.sum(axis=1) - right) / (found.modulus - 1)
    return float(right.mean()), float(wrong.mean())


def shaken(model: Decoder, noise: float, seed: np.random.SeedSequence) -> Decoder:
    """Return a copy with noise on its embeddings."""
    copy = frozen(model)
    e = copy.embedding
    draw = torch.randn(e.shape, generator=torch.Generator().manual_seed(word(seed) % 2**63), dtype=e.dtype)
    e += noise * e.square().mean().sqrt() * draw
    return copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbed:
    """Success before and after a perturbation, as a table: a row a policy and perturbation.

    Attributes:
        sizes: Rungs of the ladder.
        seeds: Independent bases at scale 1; their number grows as the root of ``scale``.
        recipe: Recipe of the bases.
        trained: Updates of the standard run that the base has had; 0: none.
        noise: Standard deviation of the noise over the root mean square of the embeddings.
        draws: Draws of the noise.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "sizes": "parameters", "seeds": "seeds", "recipe": "name", "trained": "updates", "noise": "1",
        "draws": "draws", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "perturbation": "name", "clean": "1", "perturbed": "1",
    }  # fmt: skip
    sizes: tuple[int, ...] = (4_000, 7_000, 15_000, 26_000, 58_000)
    seeds: int = 3
    recipe: str = "standard"
    trained: int = 0
    noise: float = 0.3
    draws: int = 4
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.sizes or self.draws < 1 or self.noise < 0 or self.trained < 0:
            raise InputError(
                f"sizes = {self.sizes}, draws = {self.draws}, noise = {self.noise}, trained = {self.trained}: give "
                "sizes, at least one draw, and no negative noise or updates."
            )
        if ladder.recipe_of(self.recipe).length < 2:
            raise InputError(f"recipe = '{self.recipe}': a wrong first step needs a step behind it.")

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        seeds = seeds_of(self.seeds, self.scale)
        return tabulated([row for seed in seeds for size in self.sizes for row in self._rows(size, seed)])

    def _rows(self, size: int, seed: int) -> list[Row]:
        """Return the rows of a policy."""
        task = Exams.of(ladder.recipe_of(self.recipe)).tasks["test"]
        model = trained(Settings(), size, seed, self.recipe, self.trained)
        found, stream = enumerate_solutions(model, task), seed_sequence(seed, "toy noise", self.recipe, size)
        noisy = [
            float(enumerate_solutions(shaken(model, self.noise, child(stream, i)), task).success().mean())
            for i in range(self.draws)
        ]
        told = {
            "wrong_step": after_a_step(found, task),
            "noise": (float(found.success().mean()), float(np.mean(noisy))),
        }
        own = {"seed": seed, "parameters": ladder.parameters_of(size)}
        return [
            own | {"perturbation": name, "clean": clean, "perturbed": perturbed}
            for name, (clean, perturbed) in told.items()
        ]

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"perturbed toy policies, recipe {self.recipe}", "origin": "trained here"}
