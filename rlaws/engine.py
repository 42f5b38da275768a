"""Where cells run: in this process, in local worker processes, or elsewhere (``rlaws/engines``).

An engine takes cells and yields their results in any order; it writes nothing and no result depends on it. The driver
(``runner``) is the only one that writes into a run folder.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from rlaws.engines.worker import (
    THREAD_VARIABLES,
    Pace,
    Result,
    Rules,
    died,
    environment,
    one,
    past_limit,
    read_marks,
    start_worker,
    work,
)
from rlaws.errors import CellError, InputError
from rlaws.study import Cell

if TYPE_CHECKING:
    from concurrent.futures import Future

    from joblib.externals.loky import ProcessPoolExecutor

__all__ = ["Engine", "LocalEngine", "Result", "cores"]


class Engine(Protocol):
    """Runs cells.

    Attributes:
        NAME: What the configuration calls it.
    """

    NAME: ClassVar[str]

    def slots(self) -> int:
        """Return how many cells run at the same time, as far as is known before the start."""
        ...

    def run(self, cells: Sequence[Cell], sources: str = "") -> Iterator[Result]:
        """Yield (index, bytes, failure) as cells finish, in any order, each once.

        Args:
            cells: Independent cells.
            sources: Hash of the code that their keys were made with; a worker with other code refuses.

        Raises:
            CellError: If the engine itself broke; what was yielded so far is good.
        """
        ...


@functools.cache
def cores() -> int:
    """Return the cores that this process may use (affinity and container limits counted)."""
    from joblib.externals.loky import cpu_count

    return int(cpu_count())


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Worker processes on this machine (loky: spawned, never forked after a parallel kernel ran).

    A worker that dies takes nothing with it but the cells it ran: those are tried again, each alone, and one that ends
    its process every time is a failed cell.

    Attributes:
        workers: Number of processes; 0 takes all cores, 1 stays in this process unless a limit is set.
        threads: Threads of BLAS, OpenMP and torch within a cell.
        limit_s: Seconds a cell may take; 0 for no limit.
        retries: How often a cell is tried again after its process died.
    """

    NAME: ClassVar[str] = "local"
    workers: int = 0
    threads: int = 1
    limit_s: float = 0.0
    retries: int = 2

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError(f"engine.workers = {self.workers}: give 0 for all cores, or a positive number.")
        if self.threads < 1 or self.limit_s < 0 or self.retries < 0:
            raise InputError("engine: threads must be at least 1, limit_s and retries not negative.")

    def slots(self) -> int:
        """Return how many cells run at the same time."""
        return self.workers or cores()

    def run(self, cells: Sequence[Cell], sources: str = "") -> Iterator[Result]:
        """See ``Engine.run``."""
        workers = min(self.slots(), len(cells))
        if workers > 1 or self.limit_s or os.environ.get(THREAD_VARIABLES[0], str(self.threads)) != str(self.threads):
            yield from _Sweep(self, cells, max(workers, 1), sources).results()
            return
        for i, cell in enumerate(cells):
            yield one(i, cell, Rules(sources=sources))


class _Sweep:
    """One call of ``LocalEngine.run``: rounds of a process pool, a new one whenever the last broke."""

    def __init__(self, engine: LocalEngine, cells: Sequence[Cell], workers: int, sources: str) -> None:
        self.engine, self.cells, self.workers, self.sources = engine, cells, workers, sources
        self.todo = deque(range(len(cells)))
        self.suspects: deque[int] = deque()  # ran when a worker died: each is tried alone
        self.deaths: Counter[int] = Counter()
        self.barren = 0  # pools that broke before any cell ran
        self.pace = Pace()

    def results(self) -> Iterator[Result]:
        """Yield the result of every cell."""
        while self.todo or self.suspects:
            alone = bool(self.suspects)
            marks = Path(tempfile.mkdtemp(prefix="rlaws-"))
            try:
                broken = yield from self._round(self.suspects if alone else self.todo, 1 if alone else None, marks)
                if broken is not None:
                    yield from self._blame(read_marks(marks), alone, broken)
            finally:
                shutil.rmtree(marks)

    def _round(self, queue: deque[int], alone: int | None, marks: Path) -> Generator[Result, None, str | None]:
        """Empty the queue through one pool; return the error if the pool broke, its cells back in the queue."""
        from concurrent.futures import FIRST_COMPLETED, wait

        from joblib.externals.loky import BrokenProcessPool

        workers = alone or self.workers
        pool = _pool(workers, self.engine.threads, marks)
        rules = Rules(self.engine.limit_s, self.sources, watch=True, marks=str(marks))
        flight: dict[Future[tuple[float, list[Result]]], list[int]] = {}
        try:
            while queue or flight:
                while queue and len(flight) < (1 if alone else 2 * workers):
                    size = 1 if alone else self.pace.share(len(queue), workers)
                    chunk = [queue.popleft() for _ in range(size)]
                    try:
                        flight[pool.submit(work, [(i, self.cells[i]) for i in chunk], rules)] = chunk
                    except BrokenProcessPool:
                        queue.extendleft(reversed(chunk))
                        raise
                for future in wait(flight, return_when=FIRST_COMPLETED).done:
                    seconds, results = future.result()
                    del flight[future]
                    self.pace.learn(seconds, len(results))
                    yield from results
        except BrokenProcessPool as error:
            for future, chunk in flight.items():
                if future.done() and future.exception() is None:
                    yield from future.result()[1]
                else:
                    queue.extendleft(reversed(chunk))
            return str(error)
        finally:
            pool.shutdown(kill_workers=True)
        return None

    def _blame(self, marks: dict[int, str], alone: bool, error: str) -> Iterator[Result]:
        """Sort the cells that ran when the pool broke: past the limit, dead too often, or to be tried alone."""
        queue = self.suspects if alone else self.todo
        ran = [i for i in queue if i in marks]
        self.barren = 0 if ran else self.barren + 1
        if self.barren > self.engine.retries:
            raise CellError(
                f"Worker processes die before they run a cell ({error.splitlines()[0]}). Finished cells are stored; "
                "with engine.workers=1 the same command runs in this process and shows why."
            )
        for i in ran:
            queue.remove(i)
            self.deaths[i] += alone
            if marks[i]:
                yield i, None, past_limit(self.cells[i], self.engine.limit_s, marks[i])
            elif self.deaths[i] > self.engine.retries:
                yield i, None, died(self.cells[i], self.deaths[i], error, self.engine.limit_s)
            else:
                self.suspects.append(i)


def _pool(workers: int, threads: int, marks: Path) -> ProcessPoolExecutor:
    """Return a pool whose processes share the cores evenly."""
    from joblib.externals.loky import ProcessPoolExecutor

    return ProcessPoolExecutor(
        workers,
        initializer=start_worker,
        initargs=(os.getpid(), str(marks)),
        env=environment(threads, max(1, cores() // workers)),
    )
