"""Measurement: tidy rows with units, the cluster each row belongs to, and sums rather than means."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.estimators import statistic

RESAMPLING = ("clusters", "series", "reported")


@dataclass(frozen=True, slots=True)
class Measurement:
    """Rows of one or more cells: one row per cluster and design point.

    Attributes:
        columns: Name -> array [rows]. Holds the design variables, the regime, the statistic's columns and "cluster".
        units: Name -> unit, for every column but "cluster"; "1" for a pure number.
        x: Design variables that a law may use as independent variables.
        statistic: Name of the statistic (``estimators.STATISTICS``) that turns column sums into the response.
        response: What the response is, in words, for axes and tables, and its unit.
        response_unit: Unit of the response.
        resample: The unit of resampling. "clusters": rows of a cluster are exchangeable draws of the population
            (problems, seeds, batches). "series": each cluster is one curve, resampled by its autocorrelated residuals.
            "reported": the table prints a standard error, column "stderr".
        regime: Columns that fix the world; one verdict is given for each combination of their values.
        provenance: What made the rows: policy, seeds, versions, cost, source of the data.
    """

    columns: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]
    x: tuple[str, ...]
    statistic: str
    response: str
    response_unit: str
    resample: str = "clusters"
    regime: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def select(self, values: Mapping[str, Any]) -> Measurement:
        """Return the rows where every named column has the given value."""
        keep = np.ones(self.rows, dtype=bool)
        for name, value in values.items():
            keep &= self.columns[name] == value
        return replace(self, columns={k: v[keep] for k, v in self.columns.items()})

    def with_regime(self, values: Mapping[str, Any], units: Mapping[str, str]) -> Measurement:
        """Return the same rows with constant columns that say in which world they were measured."""
        new = {k: np.full(self.rows, v) for k, v in values.items() if k not in self.columns}
        names = (*self.regime, *(k for k in values if k not in self.regime and k not in self.x))
        return replace(self, columns={**self.columns, **new}, units={**self.units, **units}, regime=names)

    def labelled(self, prefix: str) -> Measurement:
        """Return the same rows with cluster labels made distinct by a prefix (for independent replicates)."""
        labels = np.array([f"{prefix}:{c}" for c in self.columns["cluster"]])
        return replace(self, columns={**self.columns, "cluster": labels})

    def regimes(self) -> list[dict[str, Any]]:
        """Return the distinct regime points, in order of first appearance."""
        seen: dict[tuple[Any, ...], dict[str, Any]] = {}
        arrays = [self.columns[name] for name in self.regime]
        for row in zip(*arrays, strict=True):
            key = tuple(v.item() if isinstance(v, np.generic) else v for v in row)
            seen.setdefault(key, dict(zip(self.regime, key, strict=True)))
        return list(seen.values()) if self.regime else [{}]

    def digest(self) -> str:
        """Return a hash of the numbers (not of the provenance)."""
        h = hashlib.sha256()
        for name in sorted(self.columns):
            values = np.asarray(self.columns[name])
            h.update(name.encode())
            h.update(values.tobytes() if values.dtype.kind in "biuf" else "\x1f".join(map(str, values)).encode())
        return h.hexdigest()[:16]


def check(m: Measurement) -> None:
    """Refuse a table that no verdict may rest on, naming the row or column.

    Raises:
        InputError: Missing column or unit, no rows, lengths that differ, NaN or infinite entries, negative counts,
            more hits than trials.
    """
    stat = statistic(m.statistic)
    if m.resample not in RESAMPLING:
        raise InputError(f"resample = '{m.resample}' is not known.{suggest(m.resample, RESAMPLING)}")
    needed = (*m.x, *m.regime, *stat.columns, "cluster", *(("stderr",) if m.resample == "reported" else ()))
    for name in needed:
        if name not in m.columns:
            raise InputError(f"The measurement has no column '{name}'.{suggest(name, m.columns)}")
        if name != "cluster" and not m.units.get(name):
            raise InputError(f"Column '{name}' has no unit; give one (\"1\" for a pure number).")
    if not m.response_unit:
        raise InputError(f"The response '{m.response}' has no unit; give one (\"1\" for a pure number).")
    lengths = {name: len(v) for name, v in m.columns.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"Columns differ in length: {lengths}.")
    if m.rows == 0:
        raise InputError("The measurement has no rows; a probe must return at least one.")
    _check_numbers(m.columns, (*m.x, *stat.columns))
    _check_counts(m.columns, stat.columns)


def _check_numbers(columns: Mapping[str, NDArray[Any]], names: Iterable[str]) -> None:
    for name in names:
        values = np.asarray(columns[name])
        if values.dtype.kind not in "biuf":
            raise InputError(f"Column '{name}' holds {values.dtype}, not numbers.")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise InputError(f"Row {bad[0]}, column '{name}': {values[bad[0]]} is not a finite number.")


def _check_counts(columns: Mapping[str, NDArray[Any]], names: Sequence[str]) -> None:
    for name in ("n_hits", "n_trials", "weight", "n"):
        if name in names:
            bad = np.flatnonzero(np.asarray(columns[name]) < 0)
            if bad.size:
                raise InputError(f"Row {bad[0]}, column '{name}': {columns[name][bad[0]]} is negative.")
    if "n_hits" in names:
        bad = np.flatnonzero(np.asarray(columns["n_hits"]) > np.asarray(columns["n_trials"]))
        if bad.size:
            i = bad[0]
            raise InputError(f"Row {i}: n_hits = {columns['n_hits'][i]} exceeds n_trials = {columns['n_trials'][i]}.")


def concat(parts: Sequence[Measurement]) -> Measurement:
    """Stack the measurements of cells that share their columns.

    Raises:
        InputError: If there is nothing to stack or the columns differ.
    """
    if not parts:
        raise InputError("There is no finished cell to analyse; run the study first.")
    first = parts[0]
    for part in parts[1:]:
        if set(part.columns) != set(first.columns):
            raise InputError(f"Cells differ in columns: {sorted(set(part.columns) ^ set(first.columns))}.")
    columns = {name: np.concatenate([np.asarray(p.columns[name]) for p in parts]) for name in first.columns}
    return replace(first, columns=columns, provenance={**first.provenance, "cost": _total_cost(parts)})


def _total_cost(parts: Sequence[Measurement]) -> dict[str, Any]:
    """Return the sum of every entry of the parts' ledgers."""
    total: dict[str, Any] = {}
    for part in parts:
        for name, amount in part.provenance.get("cost", {}).items():
            total[name] = total.get(name, 0) + amount
    return total
