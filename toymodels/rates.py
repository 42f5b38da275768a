"""The best constant learning rate of short RL runs, by size.

Every run of a base sees the same problems and random numbers, whatever its rate, and is judged exactly on the held-out
problems (``toymodels.runs``). The best rate is the vertex of a parabola in log2 of the rate through the log losses
around the lowest one: it is not tied to the grid, and less noisy than the lowest point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rlaws.errors import InputError
from rlaws.policy import Array
from toymodels import ladder
from toymodels.critic_tables import Row, Table, seeds_of, tabulated
from toymodels.runs import Plan, run
from toymodels.settings import Settings

REACH = 2
"""Points on either side of the lowest loss that the parabola goes through."""


class Best(NamedTuple):
    """Position of the optimum, and whether it is only a bound: the lowest loss lies at an end of the grid."""

    x: float
    bound: bool


def vertex(x: Array, y: Array) -> Best:
    """Return where a parabola through the points around the lowest y is lowest.

    It is kept between the neighbours of the lowest point; where that is an end of the grid, the end is the bound.

    Args:
        x: Rising, [X], X >= 3.
        y: [X].
    """
    i = int(np.argmin(y))
    if i in (0, len(x) - 1):
        return Best(float(x[i]), True)
    part = slice(max(0, i - REACH), i + REACH + 1)
    curve, slope, _ = np.polyfit(x[part] - x[i], y[part], 2)
    at = -slope / (2 * curve) if curve > 0 else 0.0
    return Best(float(x[i] + np.clip(at, x[i - 1] - x[i], x[i + 1] - x[i])), False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRates(Settings):
    """The best learning rate of each rung, as a table: a row a base.

    ``learning_rate`` is set by the grid, the same for all sizes; the ladder's own rule, 1/width, plays no part.

    Attributes:
        sizes: Rungs of the ladder.
        seeds: Independent bases of each at scale 1; their number grows as the root of ``scale``.
        recipe: Recipe of the bases.
        lowest: Lowest rate.
        rates: Rates, each twice the one before.
        updates: Updates of a run.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **Settings.UNITS, "sizes": "parameters", "seeds": "seeds", "recipe": "name", "lowest": "1", "rates": "rates",
        "updates": "updates", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "rate": "1", "bound": "1", "lowest_loss": "1",
    }  # fmt: skip
    sizes: tuple[int, ...] = (7_000, 15_000, 58_000)
    seeds: int = 3
    recipe: str = "standard"
    lowest: float = 1.25e-4
    rates: int = 6
    updates: int = 48
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.sizes or self.rates < 3 or self.lowest <= 0 or self.updates < 1:
            raise InputError(
                f"sizes = {self.sizes}, rates = {self.rates}, lowest = {self.lowest}, updates = {self.updates}: give "
                "sizes, at least three rates, a positive lowest one and at least one update."
            )
        if self.learning_rate is not None:
            raise InputError("The grid sets the learning rate; leave learning_rate = null and choose lowest and rates.")
        ladder.recipe_of(self.recipe)
        for size in self.sizes:
            self.training(size)

    def grid(self) -> Array:
        """Return the rates."""
        return np.asarray(self.lowest * 2.0 ** np.arange(self.rates))

    def losses(self, size: int, seed: int) -> Array:
        """Return the held-out loss at the end of the runs of a base, [rates]."""
        rl = self.rl()
        plans = [
            Plan(size, seed, self.recipe, {**rl, "learning_rate": float(rate)}, self.updates, 2, 1)
            for rate in self.grid()
        ]
        return np.array([float(run(plan)["test_loss"][-1]) for plan in plans])

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        rows: list[Row] = []
        for seed in seeds_of(self.seeds, self.scale):
            for size in self.sizes:
                losses = self.losses(size, seed)
                best = vertex(np.log2(self.grid()), np.log(losses))
                own = {"seed": seed, "parameters": ladder.parameters_of(size)}
                rows.append(own | {"rate": 2.0**best.x, "bound": float(best.bound), "lowest_loss": losses.min()})
        return tabulated(rows)

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are, and how many optima are bounds."""
        bounds = int(self.table()["bound"].sum())
        return {"table": f"RL runs, recipe {self.recipe}", "origin": "trained here", "optima_at_the_end": bounds}
