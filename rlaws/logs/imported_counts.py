"""Answers per problem of the user's own, imported: in place of a policy, as the recorded tables of counts are.

A table is one model at one step. Of counts along training the last step of each model is taken, or the step that is
asked for. Models that share the names of their problems are told apart and never added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.logs.counting import import_counts
from rlaws.logs.detection import Parts, parted
from rlaws.logs.dialects.base import Tell
from rlaws.logs.recipes import expand, files_in, named
from rlaws.logs.runs import Counts
from rlaws.policy import Counts as Counted
from rlaws.problems import ProblemSet


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """How often one model at one step answered each problem right.

    Attributes:
        name: The model's name, told apart from all others; the file's or folder's where it names no model.
        dialect: Name of the dialect it was read in.
        sources: Files or folders it was read from.
        step: The trainer's step, or None where the file names none.
        steps: All steps of the model, rising.
        problem: [P] names of the problems.
        n: [P] answers.
        c: [P] right ones among them.
        warnings: What a reader must know, in sentences.
        settings: How it was imported.
    """

    name: str
    dialect: str
    sources: tuple[str, ...]
    step: float | None
    steps: tuple[float, ...]
    problem: NDArray[np.str_]
    n: NDArray[np.int64]
    c: NDArray[np.int64]
    warnings: tuple[str, ...]
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answers:
    """Which answers per problem are read, and how.

    Attributes:
        paths: Files, folders or patterns; training logs among them are passed over.
        dialect: See ``import_counts``; ``threshold`` likewise.
        step: The trainer's step whose answers count; None for the last of each model.
        threshold: See ``import_counts``.
    """

    paths: tuple[str, ...]
    dialect: str | None = None
    step: float | None = None
    threshold: float | None = None

    def parts(self) -> Parts:
        """Return the paths by what they hold."""
        return parted(expand(self.paths), self.dialect)

    def files(self) -> list[Path]:
        """Return the files that hold answers."""
        return files_in(self.parts().counts)

    def read(self, tell: Tell | None = None) -> tuple[tuple[Table, ...], tuple[str, ...]]:
        """Return the tables, each with a name of its own, and why answers beside training logs were left out.

        The same files are read once in a process. Answers that merely lie in the folder of a training run and cannot
        be imported are no reason to refuse the run; those that were named themselves are.

        Raises:
            InputError: As ``import_counts``, or if no answers are of the step that was asked for.
        """
        stamp = tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in self.files() if p.exists())
        key = (self, stamp)
        if key not in _READ:
            if len(_READ) > 3:
                _READ.clear()
            _READ[key] = self._read(tell)
        return _READ[key]

    def _read(self, tell: Tell | None) -> tuple[tuple[Table, ...], tuple[str, ...]]:
        parts = self.parts()
        found: list[Counts] = []
        left_out: list[str] = []
        for path in parts.counts:
            try:
                found += import_counts([path], dialect=self.dialect, threshold=self.threshold, tell=tell)
            except InputError as error:
                if path not in parts.beside:
                    raise
                left_out.append(str(error))
        tables = [table for counts in found for table in _by_model(counts, self.step)]
        if self.step is not None and tables and all(table.step is None for table in tables):
            raise InputError(f"step = {self.step:g}: these answers name no step; leave step out.")
        return named(tables), tuple(left_out)


_READ: dict[Any, tuple[tuple[Table, ...], tuple[str, ...]]] = {}


def _by_model(counts: Counts, step: float | None) -> list[Table]:
    """Return a table a model, at one step each.

    Raises:
        InputError: If a model has answers at steps, and none at the one that was asked for.
    """
    out = []
    for model in dict.fromkeys(counts.model.tolist()):
        mine = counts.model == model
        steps = np.unique(counts.step[mine & np.isfinite(counts.step)])
        name = model or counts.name
        if step is not None and steps.size and step not in steps:
            some = ", ".join(f"{s:g}" for s in steps[:12]) + (", ..." if steps.size > 12 else "")
            raise InputError(f"step = {step:g}: '{name}' has no answers there; they are at {some}.")
        at = None if not steps.size else float(steps[-1] if step is None else step)
        keep = mine if at is None else mine & (counts.step == at)
        out.append(Table(
            name, counts.dialect, counts.sources, at, tuple(steps.tolist()), counts.problem[keep], counts.n[keep],
            counts.c[keep], counts.warnings, counts.settings,
        ))  # fmt: skip
    return out


@dataclass(frozen=True, slots=True)
class ImportedCounts:
    """One model of imported answers, in place of a policy that is sampled.

    Attributes:
        logs: Files, folders or patterns.
        model: Name of the model, as ``rlaws fit logs=… --explain`` tells it; "" where there is one only.
        dialect: See ``Answers``; ``step`` and ``threshold`` likewise.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"model": "name", "step": "steps", "threshold": "1"}

    logs: tuple[str, ...]
    model: str = ""
    dialect: str | None = None
    step: float | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not self.logs:
            raise InputError("No logs are given: policy.logs=[counts.csv] names your answers per problem.")

    def count(self, problems: ProblemSet | None, n: int, seed: np.random.SeedSequence) -> Counted:
        """Return the imported answers and right ones of each problem, each [P].

        Args:
            problems: None for all problems in their order, else a set whose ids are among theirs.
            n: Samples asked; what was imported is returned whole.
            seed: Not used: nothing is drawn.

        Raises:
            InputError: As the import, or for an unknown model or problem.
        """
        table = self.table_of()
        if problems is None:
            return table.n, table.c
        at = {str(p): i for i, p in enumerate(table.problem)}
        unknown = [str(p) for p in problems.ids if str(p) not in at]
        if unknown:
            raise InputError(
                f"Problem '{unknown[0]}' is not among the answers of '{table.name}'; leave 'problems' empty: imported "
                "answers bring their own."
            )
        order = [at[str(p)] for p in problems.ids]
        return table.n[order], table.c[order]

    def problem_set(self) -> ProblemSet:
        """Return the problems of the model."""
        table = self.table_of()
        return ProblemSet(ids=table.problem, difficulty={}, settings={"answers": table.name, "problems": table.n.size})

    def table_of(self) -> Table:
        """Return the model's answers.

        Raises:
            InputError: As the import, or for an unknown model.
        """
        tables, _ = self._answers().read()
        found = [t for t in tables if t.name == self.model or (not self.model and len(tables) == 1)]
        if not found:
            raise InputError(f"There are no answers of '{self.model}'.{suggest(self.model, [t.name for t in tables])}")
        return found[0]

    def sources(self) -> list[Path]:
        """Return the files that the numbers come from."""
        return self._answers().files()

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are and where they come from."""
        table = self.table_of()
        return {"table": "answers", "model": table.name, "step": table.step, "origin": "the user's own answers"}

    def _answers(self) -> Answers:
        return Answers(tuple(self.logs), self.dialect, self.step, self.threshold)
