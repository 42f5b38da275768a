"""Tables that hold several runs of one curve: the column "seed" tells them apart, and the runs are then the clusters.

Runs of one curve share its design points, so where a resource differs a little from run to run (tokens, FLOPs) its mean
over the runs at the same step is the design value. A table without the column has one curve each, resampled by its own
autocorrelated residuals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError

SEED = "seed"


def seeded(table: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether the table holds several runs of its curves."""
    return SEED in table


def resampling(table: Mapping[str, NDArray[Any]]) -> str:
    """Return what a draw resamples: the runs ("clusters"), or the residuals of single curves ("series")."""
    return "clusters" if seeded(table) else "series"


def run_labels(table: Mapping[str, NDArray[Any]], curves: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return one label for each run: its curve, and its seed where there are several."""
    if not seeded(table):
        return curves
    return np.array([f"{c} seed {s}" for c, s in zip(curves, table[SEED], strict=True)], dtype=str)


def runs_behind(table: Mapping[str, NDArray[Any]], curves: NDArray[np.str_], stated: int) -> int:
    """Return the runs behind the curve that has fewest, or what the source states of a table of single curves."""
    if not seeded(table):
        return stated
    return min(np.unique(table[SEED][curves == c]).size for c in np.unique(curves))


def mean_over_runs(table: Mapping[str, NDArray[Any]], curves: NDArray[np.str_], column: str) -> NDArray[np.float64]:
    """Return a column's mean over the runs of each curve at the same step, [R]; the column itself without seeds.

    Raises:
        InputError: If the runs of a curve were not evaluated at the same steps.
    """
    values = np.asarray(table[column], dtype=np.float64)
    if not seeded(table):
        return values
    out = np.empty_like(values)
    for name in np.unique(curves):
        rows = np.flatnonzero(curves == name)
        seeds = np.unique(table[SEED][rows]).size
        _, at, count = np.unique(table["step"][rows], return_inverse=True, return_counts=True)
        if np.any(count != seeds):
            raise InputError(f"The runs of curve '{name}' differ in their evaluated steps; give those they share.")
        out[rows] = (np.bincount(at, weights=values[rows]) / count)[at]
    return out
