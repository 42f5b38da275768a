"""One driver at a time: the lock of a run folder, which tells a living driver from one that was killed.

A process is named by its host, its id and the moment it started as the kernel counts it (ticks since boot, and which
boot), so neither an id that was given out again nor a clock that jumps is taken for the first driver.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rlaws.errors import RlawsError

NAME = "lock"


class LockedError(RlawsError):
    """Another driver works in the run folder."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, told from every other one that ever ran.

    Attributes:
        host: Name of the machine.
        pid: Its process id.
        start: When it started, in the kernel's own count.
        boot: Which boot of the machine that count belongs to, and which process namespace (container).
    """

    host: str
    pid: int
    start: str
    boot: str

    @staticmethod
    def me() -> Holder:
        """Return this process."""
        return Holder(platform.node(), os.getpid(), process_start(os.getpid()) or "", boot())

    def alive(self) -> bool | None:
        """Tell whether the process still runs; None where that cannot be told from this machine."""
        if self.host != platform.node():
            return None
        here = boot()
        if self.boot.partition(" ")[0] != here.partition(" ")[0]:
            return False
        if self.boot != here:
            return None  # another container of this host: its process ids are not ours
        return process_start(self.pid) == self.start


def process_start(pid: int) -> str | None:
    """Return when a process started, as the kernel counts it; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        state, *rest = stat.rpartition(")")[2].split()  # the name may hold blanks and brackets
        return None if state in "ZX" else rest[18]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def boot() -> str:
    """Return which boot of the machine this is, and which process namespace; "" where the system does not say."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def holder(folder: Path) -> Holder | None:
    """Return who holds the lock of a run folder; None if nobody does, or if the file says nothing."""
    try:
        found = json.loads((folder / NAME).read_text())
        return Holder(str(found["host"]), int(found["pid"]), str(found["start"]), str(found["boot"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a run folder; yields whether a killed driver had left one.

    Raises:
        LockedError: If another driver works there; its host and process id are named.
        RlawsError: If the folder cannot be written.
    """
    me = Holder.me()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            stale = _refuse_if_held(folder)
            _place(folder, me, over=stale)
    except OSError as error:
        where = folder / NAME
        raise RlawsError(f"Cannot write {where}: {error.strerror}. Choose another folder with out=….") from error
    try:
        yield stale
    finally:
        if holder(folder) == me:
            (folder / NAME).unlink(missing_ok=True)


def _refuse_if_held(folder: Path) -> bool:
    """Return whether a stale lock lies there."""
    path = folder / NAME
    if not os.path.lexists(path):
        return False
    other = holder(folder)
    if other is None or other.alive() is False:
        return True
    where = f"process {other.pid} on {other.host}"
    if other.alive():
        raise LockedError(f"{folder} is in use by {where}: one driver at a time. Wait for it, or stop it first.")
    raise LockedError(
        f"{folder} is locked by {where}, which cannot be looked up from {platform.node()}. "
        f"If that process is gone, delete {path} and run again."
    )


def _place(folder: Path, me: Holder, *, over: bool) -> None:
    """Put the lock there, whole from the first moment.

    Args:
        folder: The run folder.
        me: What the lock says.
        over: Replace a stale lock; otherwise it is linked, which fails if another machine was first.
    """
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".tmp-")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(me), file)
        if over:
            os.replace(temporary, folder / NAME)
        else:
            os.link(temporary, folder / NAME)
    except FileExistsError:
        _refuse_if_held(folder)
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process of this machine at a time look at the lock and replace it (the kernel frees it on any death)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
