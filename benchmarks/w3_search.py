"""W3: PUCT and best-of-N on hashed trees, through ``sim.tree``, and the same work in plain C.

An implementation is ``setup(spec, threads) -> run`` and ``run(seed) -> output``; ``spec`` has kind ("puct" or "bon"),
Q problems, b, d, p, sims, world, and gap, noise, spread. The trees of the workload are those of ``sim.tree`` with
decoys, uneven wrong children and uniform noise, so no kernel is special to it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rlaws.search import Search
from sim.tree import TreePolicy, run

CASES: dict[str, dict[str, Any]] = {
    "puct_b4": {"kind": "puct", "Q": 4096, "b": 4, "d": 12, "p": 0.4, "sims": 256},
    "puct_b8": {"kind": "puct", "Q": 4096, "b": 8, "d": 12, "p": 0.25, "sims": 256},
    "bon_b4": {"kind": "bon", "Q": 4096, "b": 4, "d": 12, "p": 0.5, "sims": 256},
}
SHARED = {"gap": 0.1, "noise": 0.3, "spread": 0.75, "world": 20240607}
FLAGS = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-fopenmp", "-shared", "-fPIC"]


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
    lib = build("search_limit.c")
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


def build(source: str) -> ctypes.CDLL:
    """Compile a C file of this folder once for each version of it."""
    path = Path(__file__).parent / source
    out = Path(tempfile.gettempdir()) / f"rlaws-{path.stem}-{abs(hash(path.read_bytes()))}.so"
    subprocess.run([os.environ.get("CC", "gcc"), *FLAGS, "-o", str(out), str(path), "-lm"], check=True)
    return ctypes.CDLL(str(out))


def rate(go: Callable[[int], Any], work: int, seed: int) -> float:
    """Return work per second of one call."""
    start = time.perf_counter()
    go(seed)
    return work / (time.perf_counter() - start)


def compare(case: str, rounds: int, threads: int) -> dict[str, Any]:
    """Let both take turns; return rates, the median ratio and whether they did the same."""
    spec = {**CASES[case], **SHARED}
    ours, limit = setup(spec, threads), setup_c(spec, threads)
    a, b = ours(1), limit(1)
    same = bool(np.array_equal(a[0], b[0])) if spec["kind"] == "puct" else None
    work = spec["Q"] * spec["sims"]
    pairs = [(rate(ours, work, 2 + r), rate(limit, work, 2 + r)) for r in range(rounds)]
    return {
        "case": case,
        "threads": threads,
        "simulations_per_s": statistics.median(x for x, _ in pairs),
        "limit": statistics.median(y for _, y in pairs),
        "ratio": statistics.median(x / y for x, y in pairs),
        "identical_visits": same,
        "found": [float(np.mean(a[-2 if spec["kind"] == "bon" else 1])), float(np.mean(b[0 if same is None else 1]))],
    }


def main() -> None:
    """Print one JSON line a case."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--case", choices=[*CASES, "all"], default="all")
    ask.add_argument("--rounds", type=int, default=7)
    ask.add_argument("--threads", type=int, default=1)
    args = ask.parse_args()
    for case in CASES if args.case == "all" else [args.case]:
        print(json.dumps(compare(case, args.rounds, args.threads)))


if __name__ == "__main__":
    main()
