"""Recorded counts: how often each of many sampled solutions of each problem was right, for one or more models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.logs.tables import Column, Layout, Origin, Table, locate, read
from rlaws.policy import Counts
from rlaws.problems import ProblemSet

COUNTS = Layout(
    columns={
        "model": Column("text", "name"),
        "problem_idx": Column("count", "1", low=0),
        "n_samples": Column("count", "samples", low=1),
        "n_correct": Column("count", "samples", low=0),
    },
    key=("model", "problem_idx"),
    file="pythia-math-counts/counts.csv",
    origin=Origin(
        paper="arXiv 2502.17578 (Large Language Monkeys on Pythia models, 128 MATH problems, 10,000 samples each)",
        repository="RylanSchaeffer/KoyejoLab-Large-How-Do-Language-Monkey-Power-Get-Their-Power",
        commit="cd078ae",
        place="per-sample outcomes, summed to counts",
        licence="none stated",
    ),
)


@dataclass(frozen=True, slots=True)
class RecordedCounts:
    """One model of a table of counts, in place of a policy that is sampled.

    Attributes:
        data_dir: Folder of the data; see ``docs/data.md``.
        model: Name of the model in the table.
        file: The table, inside ``data_dir`` or an absolute path; columns model, problem_idx, n_samples, n_correct.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"model": "name", "file": "name"}

    data_dir: str
    model: str
    file: str = COUNTS.file

    def count(self, problems: ProblemSet | None, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return the recorded samples and right ones of each problem, each [P].

        Args:
            problems: None for all problems of the table in its order, else a set whose ids are among the table's.
            n: Samples asked; a table has what was recorded, which is returned whole.
            seed: Not used: nothing is drawn.

        Raises:
            MissingDataError: If the table is not there.
            InputError: Bad table, unknown model, or a problem the table does not have.
        """
        rows = self.rows()
        if problems is None:
            return rows["n_samples"], rows["n_correct"]
        at = {str(p): i for i, p in enumerate(rows["problem_idx"])}
        unknown = [str(p) for p in problems.ids if str(p) not in at]
        if unknown:
            raise InputError(
                f"Problem '{unknown[0]}' is not in the recorded counts of '{self.model}'; leave 'problems' empty: a "
                "recorded table brings its own problems."
            )
        order = [at[str(p)] for p in problems.ids]
        return rows["n_samples"][order], rows["n_correct"][order]

    def sources(self) -> list[Path]:
        """Return the files that the numbers come from."""
        return [locate(self.data_dir, self.file, COUNTS)]

    def rows(self) -> dict[str, NDArray[Any]]:
        """Return the rows of the model, checked."""
        table = read_counts(self.sources()[0])
        keep = table["model"] == self.model
        if not keep.any():
            raise InputError(f"Model '{self.model}' is not in {self.file}.{suggest(self.model, table['model'])}")
        return {name: values[keep] for name, values in table.items()}

    def provenance(self) -> dict[str, str]:
        """Return what the numbers are and where they come from."""
        cite = COUNTS.origin.sentence() if COUNTS.origin and self.file == COUNTS.file else "the user's own table"
        return {"table": self.file, "model": self.model, "origin": cite}


@dataclass(frozen=True, slots=True)
class RecordedProblems:
    """The problems of a table of counts, for probes that want a problem set beside the policy.

    Attributes:
        data_dir: Folder of the data.
        file: The table, as in ``RecordedCounts``.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"file": "name"}

    data_dir: str
    file: str = COUNTS.file

    def draw(self, seed: np.random.SeedSequence) -> ProblemSet:
        """Return the problems that every model of the table was given; nothing is drawn.

        Raises:
            MissingDataError: If the table is not there.
            InputError: Bad table, or models that were given different problems.
        """
        path = locate(self.data_dir, self.file, COUNTS)
        table = read_counts(path)
        given = [set(table["problem_idx"][table["model"] == m].tolist()) for m in np.unique(table["model"])]
        odd = sorted(set.union(*given) - set.intersection(*given))
        if odd:
            raise InputError(
                f"{path}: problem_idx = {odd[0]} is missing for some model; give every model the same problems, or "
                "split the table."
            )
        ids = np.array([str(p) for p in sorted(given[0])])
        return ProblemSet(ids=ids, difficulty={}, settings={"table": self.file, "problems": ids.size})


def read_counts(path: Path) -> Table:
    """Read a table of counts.

    Raises:
        InputError: As ``tables.read``, and where n_correct exceeds n_samples.
    """
    table = read(path, COUNTS)
    bad = np.flatnonzero(table["n_correct"] > table["n_samples"])
    if bad.size:
        i = int(bad[0])
        raise InputError(
            f"{path} (model = {table['model'][i]}, problem_idx = {table['problem_idx'][i]}): n_correct = "
            f"{table['n_correct'][i]} exceeds n_samples = {table['n_samples'][i]}."
        )
    return table
