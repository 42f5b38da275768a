"""Cells as tasks of a Ray cluster: started here for the run, or joined."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rlaws.engines.worker import Pace, Result, Rules, died, environment, work
from rlaws.errors import CellError, InputError
from rlaws.study import Cell

if TYPE_CHECKING:
    from collections.abc import Callable

OWN_STORE = 100_000_000  # bytes of the object store of a Ray started here: cells are small


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Plain Ray tasks, which Ray runs again elsewhere when a worker or a node dies.

    Attributes:
        address: null starts a Ray on this machine and ends it with the run; "auto", "host:port" or "ray://host:port"
            joins one whose nodes have this version of the code and see the same ``data_dir``.
        workers: Most cells at once; 0 for as many as the cluster has room for.
        cpus: Cores that Ray sets aside for a cell.
        threads: Threads of BLAS, OpenMP and torch within a cell.
        limit_s: Seconds a cell may take; 0 for no limit.
        retries: How often a cell is tried again after its process or node died.
    """

    NAME: ClassVar[str] = "ray"
    address: str | None = None
    workers: int = 0
    cpus: float = 1.0
    threads: int = 1
    limit_s: float = 0.0
    retries: int = 2

    def __post_init__(self) -> None:
        if self.workers < 0 or self.cpus <= 0 or self.threads < 1 or self.limit_s < 0 or self.retries < 0:
            raise InputError("engine: cpus must be positive, threads at least 1, the other numbers not negative.")

    def slots(self) -> int:
        """Return how many cells run at the same time; of a cluster not joined yet, as many as were asked for."""
        from rlaws.engine import cores

        return self.workers or max(1, int(cores() / self.cpus))

    def run(self, cells: Sequence[Cell], sources: str = "") -> Iterator[Result]:
        """See ``Engine.run``."""
        if not cells:
            return
        ray = _import(own=self.address is None)
        with _joined(ray, self):
            try:
                yield from _Sweep(ray, self, cells, sources).results()
            except ray.exceptions.RayError as error:
                reason = str(error).splitlines()[0]
                raise CellError(f"Ray is lost ({reason}). Finished cells are stored; run again to go on.") from error


def _import(*, own: bool) -> Any:
    """Return Ray, set up before it is loaded.

    A Ray of our own lets in only who knows a secret that lies in the environment of its processes and nowhere else.
    """
    if own:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise InputError("engine=ray needs the package 'ray'; install rlaws[ray].") from error
    return ray


@contextlib.contextmanager
def _joined(ray: Any, engine: RayEngine) -> Iterator[None]:
    """Connect to Ray, and disconnect from what was connected here."""
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if engine.address is None:
        cores = max(1, round(engine.slots() * engine.cpus))
        options |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OWN_STORE}
    options["address"] = engine.address or "local"  # without an address Ray would join one that it finds here
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises many kinds here, for one reason: there is nobody at the address
        where = engine.address or "this machine"
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"engine=ray: no Ray at {where} ({reason}); start one, or leave out the address.") from error
    try:
        yield
    finally:
        ray.shutdown()


class _Sweep:
    """One call of ``RayEngine.run``."""

    def __init__(self, ray: Any, engine: RayEngine, cells: Sequence[Cell], sources: str) -> None:
        self.ray, self.engine, self.cells = ray, engine, cells
        self.rules = Rules(engine.limit_s, sources, watch=True)
        self.todo = deque(range(len(cells)))
        self.suspects: deque[int] = deque()  # shared a task that died: each gets a task of its own
        self.flight: dict[Any, list[int]] = {}
        self.pace = Pace()

    def results(self) -> Iterator[Result]:
        """Yield the result of every cell."""
        send = self._remote()
        while self.todo or self.suspects or self.flight:
            room = max(1, int(self.ray.cluster_resources().get("CPU", 1) / self.engine.cpus))
            room = min(room, self.engine.workers or room)
            while (self.todo or self.suspects) and len(self.flight) < 2 * room:
                chunk = self._next(room)
                self.flight[send([(i, self.cells[i]) for i in chunk], self.rules)] = chunk
            for ref in self.ray.wait(list(self.flight), num_returns=1)[0]:
                yield from self._take(ref, self.flight.pop(ref))

    def _remote(self) -> Callable[[list[tuple[int, Cell]], Rules], Any]:
        """Return the function that starts a task."""
        options = {
            "num_cpus": self.engine.cpus,
            "max_retries": self.engine.retries,
            "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": environment(self.engine.threads, max(1, int(self.engine.cpus)))},
        }
        run: Callable[[list[tuple[int, Cell]], Rules], Any] = self.ray.remote(**options)(work).remote
        return run

    def _next(self, room: int) -> list[int]:
        if self.suspects:
            return [self.suspects.popleft()]
        return [self.todo.popleft() for _ in range(self.pace.share(len(self.todo), room))]

    def _take(self, ref: Any, chunk: list[int]) -> Iterator[Result]:
        """Yield what a task returned; of one that died every time, the record, or its cells one by one again."""
        e = self.ray.exceptions
        try:
            seconds, results = self.ray.get(ref)
        except (e.WorkerCrashedError, e.OutOfMemoryError, e.NodeDiedError, e.ObjectLostError) as error:
            if len(chunk) > 1:
                self.suspects.extend(chunk)
                return
            cell = self.cells[chunk[0]]
            yield chunk[0], None, died(cell, 1 + self.engine.retries, str(error), self.engine.limit_s)
            return
        self.pace.learn(seconds, len(results))
        yield from results
