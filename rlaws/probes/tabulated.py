"""Read a measurement off a table: which columns are what is a setting, so a table policy needs no probe of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.estimators import statistic
from rlaws.measurement import Measurement
from rlaws.policy import Capability
from rlaws.probes.base import Budget
from rlaws.probes.learning_curve import curve_labels, needs_columns, provenance
from rlaws.problems import ProblemSet

Table = Mapping[str, NDArray[Any]]
ONE = "one"


@dataclass(frozen=True, slots=True)
class Tabulated:
    """The rows of a table as they stand: one row for each cluster and design point.

    A policy whose table is computed (models trained on the spot, a closed form) or recorded says its columns' units in
    a class attribute ``COLUMNS``; ``units`` adds to them. Nothing is drawn, averaged or dropped here but by ``where``.

    Attributes:
        value: Column of the statistic's first sum ("total" of a mean or share, "n_hits" of a rate).
        x: Design variables; without any there is one design point, ``one`` = 1.
        cluster: Columns that together name the unit of resampling (a run, a seed, a problem).
        regime: Columns that fix the world: a verdict for each combination.
        statistic: Name of the statistic (``rlaws.estimators``).
        sums: Column of each further sum of the statistic, by its name; those not named are 1.
        where: Column -> value, or values, of the rows that are read.
        resample: "clusters", "series", or "reported" (the table then has a column "stderr").
        runs: Column that tells independent training runs apart; empty where the randomness is not in training.
        response: What the response is, in words; empty takes the column's name.
        units: Units of columns, beside those the policy states.
    """

    NAME: ClassVar[str] = "tabulated"
    REQUIRES: ClassVar[tuple[frozenset[Capability], ...]] = (frozenset({Capability.TABLE}),)
    UNITS: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("value", "x", "cluster", "regime", "statistic", "sums", "where", "resample", "runs", "response", "units"),
        "name",
    )

    value: str
    x: tuple[str, ...] = ()
    cluster: tuple[str, ...] = ("seed",)
    regime: tuple[str, ...] = ()
    statistic: str = "mean"
    sums: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    resample: str = "clusters"
    runs: str = "seed"
    response: str = ""
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        further = statistic(self.statistic).columns[1:]
        for name in self.sums:
            if name not in further:
                raise InputError(f"sums.{name}: statistic '{self.statistic}' has the further sums {list(further)}.")
        if not self.cluster:
            raise InputError("cluster: name at least one column that tells the clusters apart.")

    def measure(
        self, policy: Any, problems: ProblemSet | None, budget: Budget, seed: np.random.SeedSequence
    ) -> Measurement:
        """Return the rows of the policy's table.

        Raises:
            InputError: If a column or its unit is missing, or no row is left.
        """
        table = self._rows(policy.table())
        rows = len(table[self.value])
        first, *further = statistic(self.statistic).columns
        sums = {first: table[self.value]}
        sums |= {name: table[self.sums[name]] if name in self.sums else np.ones(rows) for name in further}
        design = {name: table[name] for name in self.x} or {ONE: np.ones(rows)}
        known = {ONE: "1", "stderr": "1", **getattr(policy, "COLUMNS", {}), **self.units}
        unit = known.get(self.value, "1")
        return Measurement(
            columns={
                **design,
                **{name: table[name] for name in self.regime},
                **sums,
                **({"stderr": table["stderr"]} if self.resample == "reported" else {}),
                "cluster": curve_labels(table, *self.cluster),
            },
            units=known | {first: unit} | {name: known.get(self.sums.get(name, ""), "1") for name in further},
            x=tuple(design),
            statistic=self.statistic,
            response=self.response or self.value,
            response_unit=unit,
            resample=self.resample,
            regime=self.regime,
            provenance=provenance(policy, value=self.value, **self._independent(table)),
        )

    def _rows(self, table: Table) -> Table:
        """Return the rows that are read."""
        own = (self.value, *self.x, *self.cluster, *self.regime, *self.sums.values(), *self.where)
        stated = ("stderr",) if self.resample == "reported" else ()
        needs_columns(table, (*own, *stated, *((self.runs,) if self.runs else ())), self.NAME)
        keep = np.ones(len(table[self.value]), dtype=bool)
        for name, wanted in self.where.items():
            keep &= np.isin(table[name], wanted)
        if not keep.any():
            raise InputError(f"where = {dict(self.where)} leaves no row of the table; see the values of its columns.")
        return {name: np.asarray(values)[keep] for name, values in table.items()}

    def _independent(self, table: Table) -> dict[str, int]:
        """Return the training runs behind the design point that has fewest; nothing where none are counted."""
        if not self.runs:
            return {}
        names = (*self.regime, *self.x)
        points = curve_labels(table, *names) if names else np.full(len(table[self.value]), "all")
        return {"runs": min(np.unique(table[self.runs][points == p]).size for p in np.unique(points))}
