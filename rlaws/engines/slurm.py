"""Cells as jobs of Slurm, through submitit; ``cluster: local`` runs the same jobs as processes of this machine.

submitit hands results back as pickles; these are never read. A job leaves each result as a sealed file in a spool,
where the driver takes it: so a job that is killed loses only the cell it ran, and nothing from a disk is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from rlaws.engines.worker import Result, Rules, died, environment, one
from rlaws.errors import CellError, InputError
from rlaws.lock import Holder
from rlaws.store import write_atomic, write_json
from rlaws.study import Cell

CLUSTERS = ("slurm", "local")
DRIVER = "driver.json"


@dataclass(frozen=True, slots=True)
class SlurmEngine:
    """A number of jobs that share the cells; the cells of a job that ends early go into new jobs.

    Attributes:
        cluster: "slurm", or "local" for jobs that are processes of this machine.
        folder: Where submissions, logs and results on their way lie: a disk that all nodes see.
        jobs: Jobs at once.
        cpus: Cores of a job.
        minutes: Time limit of a job; one that reaches it is followed by another.
        parameters: More for submitit's ``update_parameters``, for example {slurm_partition: gpu, mem_gb: 8}.
        threads: Threads of BLAS, OpenMP and torch within a cell.
        limit_s: Seconds a cell may take; 0 for no limit.
        retries: How often a cell is tried again after its job died.
        poll_s: Seconds between looks at the spool.
    """

    NAME: ClassVar[str] = "slurm"
    folder: Path
    cluster: str = "slurm"
    jobs: int = 8
    cpus: int = 1
    minutes: int = 60
    parameters: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    limit_s: float = 0.0
    retries: int = 2
    poll_s: float = 1.0

    def __post_init__(self) -> None:
        if self.cluster not in CLUSTERS:
            raise InputError(f"engine.cluster = '{self.cluster}': give one of {', '.join(CLUSTERS)}.")
        if min(self.jobs, self.cpus, self.minutes, self.threads) < 1 or min(self.limit_s, self.retries) < 0:
            raise InputError("engine: jobs, cpus, minutes, threads must be at least 1, limit_s and retries 0 or more.")
        if self.poll_s <= 0:
            raise InputError(f"engine.poll_s = {self.poll_s} must be positive.")

    def slots(self) -> int:
        """Return how many cells run at the same time."""
        return self.jobs

    def run(self, cells: Sequence[Cell], sources: str = "") -> Iterator[Result]:
        """See ``Engine.run``."""
        if not cells:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_orphans(self.folder)
        spool = Path(tempfile.mkdtemp(prefix="sweep-", dir=self.folder.resolve()))  # mode 700: ours alone
        write_json(spool / DRIVER, asdict(Holder.me()))
        sweep = _Sweep(self, cells, sources, spool)
        try:
            yield from sweep.results()
        finally:
            sweep.cancel()
            shutil.rmtree(spool, ignore_errors=True)


def job(cells: Sequence[tuple[int, Cell]], rules: Rules, spool: str) -> None:
    """Run cells one after another, leaving each result in the spool (this is what a job does)."""
    place = Path(spool)
    for index, cell in cells:
        result = one(index, cell, rules)
        if not place.exists():  # the driver is done or gone: nobody waits for the rest
            return
        put(place, result)


def remove_orphans(folder: Path) -> None:
    """Remove the spools of drivers that were killed; their jobs stop after the cell they run."""
    for spool in folder.glob("sweep-*"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            if Holder(**json.loads((spool / DRIVER).read_text())).alive() is False:
                shutil.rmtree(spool, ignore_errors=True)


def put(spool: Path, result: Result) -> None:
    """Leave a result: a line of JSON that says what it is and its SHA-256, then the cell's bytes."""
    index, content, failure = result
    body = content or b""
    head = {"failure": failure, "sha256": hashlib.sha256(body).hexdigest()}
    write_atomic(spool / f"{index}.result", json.dumps(head, default=str).encode() + b"\n" + body)


def take(path: Path) -> Result | None:
    """Read a result; None if it is not what was left."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        said = json.loads(head)
        if hashlib.sha256(body).hexdigest() != said["sha256"]:
            return None
        return int(path.stem), None if said["failure"] else body, said["failure"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _Sweep:
    """One call of ``SlurmEngine.run``."""

    def __init__(self, engine: SlurmEngine, cells: Sequence[Cell], sources: str, spool: Path) -> None:
        self.engine, self.cells, self.spool = engine, cells, spool
        self.left = dict.fromkeys(range(len(cells)))  # in order, and quick to remove from
        self.rules = Rules(engine.limit_s, sources, watch=True)
        self.deaths: Counter[int] = Counter()
        self.jobs: dict[Any, list[int]] = {}
        self.barren = 0  # jobs that ended before any job left a result
        self.fruitful = False
        self.executor = _executor(engine, spool)

    def results(self) -> Iterator[Result]:
        """Yield the result of every cell."""
        self._submit(list(self.left), self.engine.jobs)
        while self.left:
            time.sleep(self.engine.poll_s)
            ended = [j for j in self.jobs if j.done()]  # asked before the spool is read: what it left is all there is
            yield from self._collect()
            for ended_job in ended:
                yield from self._bury(ended_job, self.jobs.pop(ended_job))

    def cancel(self) -> None:
        """End the jobs that still run, and wait a moment until they have closed their logs."""
        if len(self.left):
            for running in self.jobs:
                running.cancel(check=False)
        until = time.monotonic() + 5
        while time.monotonic() < until and not all(running.done() for running in self.jobs):
            time.sleep(0.05)

    def _submit(self, cells: list[int], jobs: int) -> None:
        shares = [cells[k::jobs] for k in range(min(jobs, len(cells)))]
        with _exported(environment(self.engine.threads, self.engine.cpus)), self.executor.batch():
            made = [
                (self.executor.submit(job, [(i, self.cells[i]) for i in share], self.rules, str(self.spool)), share)
                for share in shares
            ]
        self.jobs.update(made)

    def _collect(self) -> Iterator[Result]:
        for path in list(self.spool.glob("*.result")):
            result = take(path)
            path.unlink()
            if result is not None and result[0] in self.left:
                del self.left[result[0]]
                self.fruitful = True
                yield result

    def _bury(self, ended: Any, share: list[int]) -> Iterator[Result]:
        """Send the unfinished cells of a job that ended into new jobs; the one it ran, alone, and not for ever."""
        lost = [i for i in share if i in self.left]
        if not lost:
            return
        first, *others = lost
        self.deaths[first] += 1
        self.barren += not self.fruitful
        why = f"job {ended.job_id}: {ended.state}\n{_tail(ended.paths.stderr)}"
        if self.barren > self.engine.jobs * (1 + self.engine.retries):
            raise CellError(f"engine=slurm: {self.barren} jobs ended and none left a result; the last was {why}")
        if self.deaths[first] > self.engine.retries:
            del self.left[first]
            yield first, None, died(self.cells[first], self.deaths[first], why, self.engine.limit_s)
        else:
            self._submit([first], 1)
        if others:
            self._submit(others, 1)


def _tail(path: Path, lines: int = 20) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return f"(no log at {path})"


def _executor(engine: SlurmEngine, spool: Path) -> Any:
    """Return submitit's executor."""
    try:
        import submitit
    except ImportError as error:
        raise InputError("engine=slurm needs the package 'submitit'; install rlaws[slurm].") from error
    if engine.cluster == "slurm" and shutil.which("srun") is None:
        raise InputError(
            f"engine=slurm: there is no 'srun' on {platform.node()}. Run on a login node of the cluster, or try the "
            "same jobs here with engine.cluster=local."
        )
    executor = submitit.AutoExecutor(folder=spool / "jobs", cluster=engine.cluster)
    given: dict[str, Any] = {"timeout_min": engine.minutes, "cpus_per_task": engine.cpus, "name": "rlaws"}
    if engine.cluster == "slurm":
        own = [f"export {k}={v}" for k, v in environment(engine.threads, engine.cpus).items()]
        given |= {"slurm_array_parallelism": engine.jobs}
        given["slurm_setup"] = [*own, *engine.parameters.get("slurm_setup", ())]
    try:
        executor.update_parameters(**{**engine.parameters, **given})
    except (NameError, ValueError, TypeError) as error:
        raise InputError(f"engine.parameters: {error}") from error
    return executor


@contextlib.contextmanager
def _exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Let jobs that are processes of this machine start with these variables."""
    before = {k: os.environ.get(k) for k in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for k, v in before.items():
            if v is None:
                del os.environ[k]
            else:
                os.environ[k] = v
