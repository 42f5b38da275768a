"""Where cells run: in this process, or in local worker processes. Results do not depend on the choice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rlaws.errors import CellError, InputError
from rlaws.study import Cell, run_cell

Result = tuple[int, bytes | None, dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Worker processes on this machine (loky: spawned, never forked after a parallel kernel ran).

    Attributes:
        workers: Number of processes; 0 takes all cores, 1 stays in this process.
    """

    workers: int = 0

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError(f"engine.workers = {self.workers}: give 0 for all cores, or a positive number.")

    def run(self, cells: Sequence[Cell]) -> Iterator[Result]:
        """Yield (index, bytes, failure) as cells finish, in any order."""
        workers = min(self.workers or os.cpu_count() or 1, len(cells))
        if workers <= 1:
            for i, cell in enumerate(cells):
                yield (i, *run_cell(cell))
            return
        yield from self._pool(cells, workers)

    def _pool(self, cells: Sequence[Cell], workers: int) -> Iterator[Result]:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        pool = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        try:
            yield from pool(delayed(_indexed)(i, cell) for i, cell in enumerate(cells))
        except TerminatedWorkerError as error:
            raise CellError(
                "A worker process died (killed, or out of memory). Finished cells are stored; run the same command "
                "again to go on, with engine.workers=1 if memory is short."
            ) from error


def _indexed(index: int, cell: Cell) -> Result:
    return (index, *run_cell(cell))
