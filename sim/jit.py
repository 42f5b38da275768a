# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"
"""The one decorator of every compiled loop, ``kernel``, and the place where compiled code is kept.

Compiled kernels are cached on disk in a folder named by the content of all Python sources of ``sim``. numba by itself
notices a change only in the file of the kernel, not in a module that the kernel calls; with the content in the folder's
name, any change anywhere in ``sim`` starts from an empty folder, so a stale kernel cannot be loaded.

An environment variable ``NUMBA_CACHE_DIR`` is respected as it stands (then staleness is the user's care). Otherwise the
folder is ``$XDG_CACHE_HOME/rlaws/numba/<hash>`` (``~/.cache`` by default); when that cannot be written, a folder of the
same name under the temporary directory; when that cannot be written or belongs to someone else, one for this process.

Use::

    from sim.jit import kernel

    @kernel
    def loop(x): ...

    @kernel(fastmath=True)
    def sums(x): ...
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

SOURCES = Path(__file__).resolve().parent


def source_hash(folder: Path = SOURCES) -> str:
    """Return 16 hex digits of the names and contents of every ``*.py`` below ``folder``."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _own_folder(path: Path) -> bool:
    """Make ``path`` (mode 700 where new) and tell whether this user may write there and owns it."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
            return False
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError:
        return False


def choose_cache_folder(home: Path, temporary: Path, name: str) -> Path:
    """Return the first of the per-user, the temporary and a fresh one-process folder that can be written.

    Args:
        home: Folder of per-user caches.
        temporary: The system's temporary directory.
        name: The hash that names the folder.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    for path in (home / "rlaws" / "numba" / name, temporary / f"rlaws-numba-{user}" / name):
        if _own_folder(path):
            return path
    return Path(tempfile.mkdtemp(prefix="rlaws-numba-"))


@functools.cache
def cache_folder() -> Path:
    """Return the folder where compiled kernels are kept; chosen once a process."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home directory known
        home = Path(tempfile.gettempdir())
    return choose_cache_folder(home, Path(tempfile.gettempdir()), source_hash())


def kernel(
    function: Callable[..., Any] | None = None,
    *,
    parallel: bool = False,
    inline: bool = False,
    fastmath: bool | set[str] = False,
) -> Any:
    """Compile a loop without Python objects, without the interpreter lock, with a cache on disk.

    Division follows numpy (no exception), indices are not checked, the interpreter lock is released, so that calls
    from several Python threads run side by side.

    Args:
        function: The function, when used without arguments (``@kernel``).
        parallel: Allow ``numba.prange`` (costs seconds of compilation; prefer calls from Python threads).
        inline: Inline into the caller before type inference (for functions of a few lines).
        fastmath: ``True``, or a set of LLVM flags such as ``{"contract"}``, to allow floating-point rearrangement.
    """
    if function is None:
        return functools.partial(kernel, parallel=parallel, inline=inline, fastmath=fastmath)
    # The folder is numba's global setting, read at decoration: put back, so that code of others keeps its own cache.
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder())
    try:
        return numba.njit(
            error_model="numpy",
            nogil=True,
            cache=True,
            boundscheck=False,
            parallel=parallel,
            inline="always" if inline else "never",
            fastmath=fastmath,
        )(function)
    finally:
        numba.config.CACHE_DIR = before
