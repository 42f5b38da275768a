"""A pilot: learning curves already measured, and the noise and the tokens of a run that they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws import autoregression
from rlaws.build import build
from rlaws.designs.curves import BACKWARD, BILLION, FORWARD, Noise
from rlaws.errors import InputError, suggest
from rlaws.logs.curves import LAYOUTS
from rlaws.logs.tables import read
from rlaws.probes.learning_curve import AXES
from rlaws.store import RunFolder, open_cell
from rlaws.study import Study

Array = NDArray[np.float64]
Table = Mapping[str, NDArray[Any]]
COLUMNS = ("family", "model_B", "step", "samples", "cum_flops", "test_loss")
LEAST = 8  # evaluations of a curve from which its noise is taken
DEGREE = 3  # of the polynomial in log samples that stands for the curve while its noise is measured
HIGHEST_RHO = 0.99


@dataclass(frozen=True, slots=True)
class Pilot:
    """Learning curves already measured.

    Attributes:
        name: Where they come from.
        table: Columns ``COLUMNS``; a curve is the mean of its runs.
        runs: Runs behind every curve.
    """

    name: str
    table: Table
    runs: int

    def of_family(self, family: str | None) -> Pilot:
        """Return the curves of one family of models, the first where none is asked.

        Raises:
            InputError: If the pilot has no such family.
        """
        there = list(dict.fromkeys(self.table["family"].tolist()))
        asked = there[0] if family is None else family
        if asked not in there:
            raise InputError(f"The pilot {self.name} has no curves of family '{asked}'.{suggest(asked, there)}")
        rows = self.table["family"] == asked
        return replace(self, table={k: v[rows] for k, v in self.table.items()})

    def tokens(self) -> float:
        """Return the tokens of one sample, all its answers together: compute over 8 N samples, median of all rows."""
        per_token = (2 * FORWARD + BACKWARD) * self.table["model_B"] * BILLION
        return float(np.median(self.table["cum_flops"] / (per_token * self.table["samples"])))

    def noise(self, questions: int | None, between: float) -> Noise:
        """Return the noise of a run, from the residuals of every curve around a cubic in log samples.

        The residuals' variance is that of the mean of the runs: v = (sd^2 + w^2) / runs, w^2 = (1 - L) / (L questions)
        the questions' share; the covariance of neighbours is rho sd^2 / runs (taken as 0 within two standard errors).
        From these sd and rho follow. Curves of runs that are averaged cannot show what lies between runs.

        Args:
            questions: Questions of the pilot's evaluation set, or None.
            between: What is assumed to lie between runs.

        Raises:
            InputError: If no curve has enough evaluations.
        """
        total = covariance = share = gaps = 0.0
        count = 0
        for size in np.unique(self.table["model_B"]):
            rows = np.flatnonzero(self.table["model_B"] == size)
            rows = rows[np.argsort(self.table["step"][rows], kind="stable")]
            if rows.size < LEAST:
                continue
            sd, rho = _residuals(self.table["samples"][rows], self.table["test_loss"][rows])
            loss = self.table["test_loss"][rows]
            total += rows.size * sd**2 * self.runs
            covariance += rows.size * rho * sd**2 * self.runs
            share += 0.0 if questions is None else float(np.sum((1.0 - loss) / loss)) / questions
            gaps += rows.size * float(np.median(np.diff(self.table["step"][rows])))
            count += rows.size
        if not count:
            raise InputError(f"No curve of the pilot {self.name} has {LEAST} evaluations to take its noise from.")
        if covariance < 2.0 * total / np.sqrt(count):  # two standard errors: no memory can be seen
            covariance = 0.0
        own = max(total - share, covariance) / count
        rho = 0.0 if own <= 0 else float(np.clip(covariance / count / own, 0.0, HIGHEST_RHO))
        return Noise(float(np.sqrt(own)), rho ** (count / max(gaps, 1.0)), between)


def _residuals(samples: Array, loss: Array) -> tuple[float, float]:
    """Return standard deviation and neighbour correlation of a curve's log loss around its polynomial."""
    if np.any(loss <= 0):
        raise InputError("A pilot's losses must be above 0.")
    x = np.log(samples)
    span = max(float(x.max() - x.min()), 1e-12)
    design = np.polynomial.legendre.legvander(2.0 * (x - x.min()) / span - 1.0, DEGREE)
    residual = np.log(loss) - design @ np.linalg.lstsq(design, np.log(loss), rcond=None)[0]
    found = autoregression.estimate(residual, np.full(x.size, "curve"), design)
    return found.sd, found.rho


def from_file(path: Path, runs: int) -> Pilot:
    """Read a table of learning curves; see ``logs.curves`` for its columns."""
    return Pilot(str(path), read(path, LAYOUTS["loss_curves"]), runs)


def from_study(study: Study, runs: int) -> Pilot:
    """Read the table that a study of recorded curves rests on.

    Raises:
        InputError: If it rests on none.
    """
    policy = build(study.policy, study.allow)
    table = policy.table() if hasattr(policy, "table") else {}
    if not set(COLUMNS) <= set(table):
        raise InputError(f"pilot={study.id} rests on no table of learning curves ({', '.join(COLUMNS)}).")
    return Pilot(study.id, table, int(study.probe.get("runs", runs)))


def from_folder(path: Path, runs: int, flops_per_sample: float) -> Pilot:
    """Read the curves that a run of the probe learning_curve stored.

    Args:
        path: The run folder.
        runs: Runs behind every curve, where the rows do not say.
        flops_per_sample: Training compute a sample and 1e9 parameters: turns samples into compute or back, as a run
            stores one of them only.

    Raises:
        InputError: If the folder holds no such rows.
    """
    folder = RunFolder(path)
    cells = [open_cell(folder.cell(key)) for key in sorted(folder.listing()[0])]
    cells = [c for c in cells if {"family", "model_B", "resource", "total"} <= set(c.columns)]
    if not cells:
        raise InputError(f"pilot={path}: the folder holds no loss along runs (probe learning_curve).")
    joined = {k: np.concatenate([c.columns[k] for c in cells]) for k in ("family", "model_B", "resource", "total")}
    said = cells[0].meta["provenance"]
    axis = str(said.get("axis", "samples"))
    spent = joined["resource"] * AXES[axis][2]
    rate = flops_per_sample * joined["model_B"]
    samples = spent if axis == "samples" else spent / rate
    table = {
        "family": joined["family"].astype(str),
        "model_B": joined["model_B"],
        "step": _ranks(joined["family"].astype(str), joined["model_B"], samples),
        "samples": samples,
        "cum_flops": samples * rate if axis == "samples" else spent,
        "test_loss": joined["total"],
    }
    return Pilot(str(path), table, int(said.get("runs", runs)))


def _ranks(family: NDArray[np.str_], size: Array, samples: Array) -> NDArray[np.int64]:
    """Return the number of each row in its curve, from 1."""
    out = np.zeros(samples.size, dtype=np.int64)
    for name, n in dict.fromkeys(zip(family.tolist(), size.tolist(), strict=True)):
        rows = np.flatnonzero((family == name) & (size == n))
        out[rows[np.argsort(samples[rows], kind="stable")]] = 1 + np.arange(rows.size)
    return out
