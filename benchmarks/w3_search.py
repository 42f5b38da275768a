"""W3: PUCT and best-of-N on hashed trees, through ``sim.tree``, and the same work in plain C (``search_limit.c``).

| case | trees | search |
|---|---|---|
| puct_b4 | b = 4, d = 12, p = 0.4 | PUCT, 256 simulations |
| puct_b8 | b = 8, d = 12, p = 0.25 | PUCT, 256 simulations |
| bon_b4 | b = 4, d = 12, p = 0.5 | best of 256 by a noisy score |

4096 trees with decoys, uneven wrong children and uniform value noise: settings of ``sim.tree``, so no kernel is special
to the workload. A ``setup(spec, threads)`` gives ``run(seed)``; spec has kind, Q, b, d, p, sims, world, gap, noise,
spread.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.run import LIMIT, Contest, Skip, compile_c
from rlaws.search import Search
from sim.exact import tree as exact
from sim.slow import tree as slow
from sim.tree import TreePolicy, run

TITLE = "W3 search on reasoning trees"
UNIT = "simulations"
CASES: dict[str, dict[str, Any]] = {
    "puct_b4": {"kind": "puct", "Q": 4096, "b": 4, "d": 12, "p": 0.4, "sims": 256},
    "puct_b8": {"kind": "puct", "Q": 4096, "b": 8, "d": 12, "p": 0.25, "sims": 256},
    "bon_b4": {"kind": "bon", "Q": 4096, "b": 4, "d": 12, "p": 0.5, "sims": 256},
}
SHARED = {"gap": 0.1, "noise": 0.3, "spread": 0.75, "world": 20240607}


def tree_of(spec: dict[str, Any], threads: int = 1) -> TreePolicy:
    """Return the workload's tree: values 0.5 +- gap with uniform noise, wrong children weighted 0.25 to 1.75."""
    return TreePolicy(
        branching=spec["b"],
        depth=spec["d"],
        value_noise=spec["noise"],
        value_law="uniform",
        value_right=float(np.float32(0.5) + np.float32(spec["gap"])),
        value_wrong=float(np.float32(0.5) - np.float32(spec["gap"])),
        unevenness=1.5,
        decoys=True,
        verifier_noise=spec["spread"] if spec["kind"] == "bon" else 0.0,
        verifier_law="uniform",
        threads=threads,
    )


def setup(spec: dict[str, Any], threads: int) -> Callable[[int], Any]:
    """Return the workload on ``sim.tree``."""
    tree, p = tree_of(spec, threads), np.full(spec["Q"], spec["p"])
    if spec["kind"] == "bon":
        search = Search("best_of_n", (1 + spec["sims"] * spec["d"],), "verifier")
    else:
        search = Search("mcts", (1 + spec["sims"],), "oracle")

    def go(seed: int) -> Any:
        done = run(tree, p, search, seed, root_key=spec["world"], whole=True)
        return (done.visits, done.found[:, 0]) if spec["kind"] == "puct" else (done.found[:, 0], done.right[:, 0])

    return go


def setup_c(spec: dict[str, Any], threads: int) -> Callable[[int], Any]:
    """Return the workload in C (``search_limit.c``)."""
    if threads != 1:
        raise Skip("the C limit is compiled for one thread")
    lib = compile_c("search_limit.c")
    q, b = spec["Q"], spec["b"]
    visits, found, picked = np.empty((q, b), np.int32), np.empty(q, np.uint8), np.empty(q, np.uint8)
    i, f, u, where = ctypes.c_int, ctypes.c_float, ctypes.c_uint32, ctypes.c_void_p
    lib.limit_puct.argtypes = [i, i, i, i, f, f, f, u, i, where, where]
    lib.limit_samples.argtypes = [i, i, i, i, f, f, u, ctypes.c_uint64, i, where, where]
    head = (q, b, spec["d"], spec["sims"], spec["p"])

    def go(seed: int) -> Any:
        if spec["kind"] == "puct":
            lib.limit_puct(
                *head, spec["gap"], spec["noise"], spec["world"], threads, visits.ctypes.data, found.ctypes.data
            )
            return visits, found
        lib.limit_samples(*head, spec["spread"], spec["world"], seed, threads, found.ctypes.data, picked.ctypes.data)
        return found, picked

    return go


def _checked(spec: dict[str, Any], make: Callable[[dict[str, Any], int], Any], threads: int) -> Callable[[], Any]:
    """Prepare an entry whose untimed run (seed 1) carries its result, the others nothing."""

    def prepare() -> Callable[[int], Any]:
        go = make(spec, threads)

        def run(seed: int) -> Any:
            result = go(seed)
            return [np.array(v) for v in result] if seed == 1 else None

        return run

    return prepare


def check(spec: dict[str, Any], result: Any) -> str | None:
    """Compare PUCT's root visits with the plain-Python twin on 16 problems, and sampling with 1 - (1 - p^d)^n."""
    if result is None:
        return None
    if spec["kind"] == "puct":
        for q in range(16):
            visits, _ = slow.puct(slow.Node(tree_of(spec), spec["p"], slow.root(q, spec["world"])), spec["sims"])
            if list(result[0][q]) != visits:
                return f"problem {q}: visits {list(result[0][q])}, not {visits}"
        return None
    want = 1 - float(exact.best_of_n_failure(spec["p"], spec["d"], spec["sims"]))
    z = (float(np.mean(result[0])) - want) / np.sqrt(want * (1 - want) / spec["Q"])
    return None if abs(z) < 5 else f"found {np.mean(result[0]):.4f}, expected {want:.4f}"


def contests(threads: int) -> Iterator[Contest]:
    """Yield the cases, each with this project's simulator and the C limit."""
    for case, settings in CASES.items():
        spec = {**SHARED, **settings}
        makers = {LIMIT: setup_c, "sim.tree": setup}
        yield Contest(
            case=case,
            work=float(spec["Q"] * spec["sims"]),
            entries={name: _checked(spec, make, threads) for name, make in makers.items()},
            check=partial(check, spec),
        )
