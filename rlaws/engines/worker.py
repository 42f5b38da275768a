"""What every engine runs in its workers: cells one after another, each within its limit, marked while it runs."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import os
import platform
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlaws.study import Cell, run_cell, source_hash, targets

Result = tuple[int, bytes | None, dict[str, Any] | None]
"""Index of the cell, and its bytes or the record of its failure."""

STDERR = 2
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Rules(NamedTuple):
    """What holds for every cell of a sweep.

    Attributes:
        limit_s: Seconds a cell may take; 0 for no limit.
        sources: Hash of the source code that the cells' keys were made with; "" to trust the machine.
        watch: Whether the process may be ended where compiled code holds out far beyond the limit.
        marks: Folder in which a worker says which cell it runs; "" for none.
    """

    limit_s: float = 0.0
    sources: str = ""
    watch: bool = False
    marks: str = ""


class TimeUp(BaseException):
    """A cell ran past its limit; no Exception, so that a cell that catches those does not catch this."""


def environment(threads: int, numba: int) -> dict[str, str]:
    """Return the variables that hold a worker to its share of the cores.

    Args:
        threads: Threads of BLAS, OpenMP and torch. The same on every engine, for the order of a sum may depend on it.
        numba: Threads of compiled loops, on which no result depends.
    """
    return {**dict.fromkeys(THREAD_VARIABLES, str(threads)), "NUMBA_NUM_THREADS": str(numba)}


def work(cells: Sequence[tuple[int, Cell]], rules: Rules) -> tuple[float, list[Result]]:
    """Run cells one after another; return the seconds they took and their results."""
    began = time.monotonic()
    results = [one(i, cell, rules) for i, cell in cells]
    return time.monotonic() - began, results


def one(index: int, cell: Cell, rules: Rules) -> Result:
    """Run one cell within its limit; never raises for what the cell did.

    A cell that no signal stops (compiled code that does not come back) ends its process where ``rules.watch`` allows.
    """
    refusal = _other_code(targets(cell.specs), rules.sources)
    if refusal:
        return index, None, {**cell.identity(), "error": refusal, "host": platform.node()}
    try:
        with _marked(index, rules), _alarm(rules.limit_s):
            content, failure = run_cell(cell)
    except TimeUp:
        return index, None, past_limit(cell, rules.limit_s, f"on {platform.node()}")
    return index, content, None if failure is None else {**failure, "host": platform.node()}


def past_limit(cell: Cell, limit_s: float, trace: str) -> dict[str, Any]:
    """Return the record of a cell that ran past its limit."""
    error = f"Still running after engine.limit_s = {limit_s:g} s; raise the limit or shrink the cell."
    return {**cell.identity(), "error": error, "traceback": trace}


def died(cell: Cell, times: int, why: str, limit_s: float) -> dict[str, Any]:
    """Return the record of a cell that took its process with it every time."""
    limit = f", or stuck past engine.limit_s = {limit_s:g} s where no signal reaches it" if limit_s else ""
    error = f"Its process died {times} times (killed, out of memory, crashed{limit}); each time it ran alone."
    return {**cell.identity(), "error": error, "traceback": why}


@functools.cache
def _other_code(names: tuple[str, ...], sources: str) -> str:
    """Return why this machine may not measure the cell: its code is not the code of the key; "" if it may."""
    if not sources or source_hash(names) == sources:
        return ""
    return (
        f"The code of {', '.join(names)} on {platform.node()} is not the code that the run began with. "
        "Install the same version there; after an edit, start the run again."
    )


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeUp in the main thread after some seconds of the monotonic clock; 0 for never."""
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _marked(index: int, rules: Rules) -> Iterator[None]:
    """Say which cell runs, and set the watchdog that ends the process."""
    file = _mark(rules.marks) if rules.marks else STDERR
    if rules.marks:
        os.ftruncate(file, 0)
        os.write(file, f"{index}\n".encode())
    watched = bool(rules.watch and rules.limit_s)
    if watched:
        faulthandler.dump_traceback_later(2 * rules.limit_s + 1, exit=True, file=file)
    try:
        yield
    finally:
        if watched:
            faulthandler.cancel_dump_traceback_later()
    if rules.marks:
        os.ftruncate(file, 0)


@functools.cache
def _mark(folder: str) -> int:
    """Open this process's mark, for appending: what the watchdog writes comes after the index."""
    return os.open(Path(folder) / str(os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def read_marks(folder: Path) -> dict[int, str]:
    """Return the cells that ran when their processes died, and where the watchdog found them ("" if killed)."""
    found = {}
    for path in folder.iterdir():
        index, _, trace = path.read_text(errors="replace").partition("\n")
        if index:
            found[int(index)] = trace
    return found


def start_worker(parent: int, marks: str) -> None:
    """Prepare a worker process: Ctrl-C is the driver's affair, and a worker does not outlive its driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(parent, marks), daemon=True).start()


def _follow(parent: int, marks: str) -> None:
    """End this process, and what the driver can no longer remove, when the driver is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    shutil.rmtree(marks, ignore_errors=True)
    os._exit(1)


class Pace:
    """How many cells go to a worker at once: enough that sending them costs little, few enough to share the rest.

    Results do not depend on it.
    """

    SECONDS = 0.05

    def __init__(self) -> None:
        self.size = 1

    def learn(self, seconds: float, cells: int) -> None:
        """Take note of how long some cells took."""
        self.size = max(1, min(64, int(self.SECONDS / max(seconds / cells, 1e-6))))

    def share(self, left: int, workers: int) -> int:
        """Return how many of the cells that are left to send next."""
        return max(1, min(self.size, left // (2 * workers)))
