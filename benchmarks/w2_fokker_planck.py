"""Fokker-Planck in a double well: seconds to a stated L1 error, in one and two dimensions.

dp/dt = d/dx(p V') + D d²p/dx² on [-3, 3], no flux through the ends, D = 1/4, V = (x²-1)², from N(-0.5, 0.05²) to
t = 10; in two dimensions V = (x²-1)² + 2 (y - x/2)², from N((-0.5, 0.5), 0.15² I).

| case | L1 error asked | grid and steps of the finite volumes |
|---|---|---|
| 1d_e2, 1d_e3 | 1e-2, 1e-3 | 125 and 250 cells, 8 SDIRK steps |
| 1d_2000 | 1.4e-5 | 2000 cells, rational exponential |
| 1d_tilted | fixed work: V + 0.5 cos(2 pi t) x, 2000 cells, 1000 backward Euler steps with new rates each | |
| 2d_e2, 2d_e3 | 1e-2, 2e-3 | 128² cells and 50 steps, 256² and 120 |

Entries: this project's public functions (a reward U = -V, so that the drift climbs); the same schemes by hand in C
(``density_limit.c``); SciPy (BDF with a sparse Jacobian, banded LSODA, and for the tilted case LAPACK's banded solver);
py-pde and FiPy where they can be imported. Every result is compared with a reference of 16 times as many cells.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.run import LIMIT, Contest, Skip, compile_c
from sim import density as d

TITLE = "W2 Fokker-Planck"
UNIT = "solutions"
HALF, D, TIME = 3.0, 0.25, 10.0
TILT = 0.5

Array = NDArray[np.float64]
Run = Callable[[int], Array]

CASES: Mapping[str, Mapping[str, Any]] = {
    "1d_e2": {"dim": 1, "cells": 125, "steps": 8, "scheme": "sdirk", "error": 1e-2},
    "1d_e3": {"dim": 1, "cells": 250, "steps": 8, "scheme": "sdirk", "error": 1e-3},
    "1d_2000": {"dim": 1, "cells": 2000, "steps": 1, "scheme": "rational", "error": 1.4e-5},
    "1d_tilted": {"dim": 1, "cells": 2000, "steps": 1000, "scheme": "moving", "error": 1e-9},
    "2d_e2": {"dim": 2, "cells": 128, "steps": 50, "scheme": "split", "error": 1e-2},
    "2d_e3": {"dim": 2, "cells": 256, "steps": 120, "scheme": "split", "error": 2e-3},
}


# ---------------------------------------------------------------- the problem
def grid(cells: int) -> d.Grid:
    return d.Grid(-HALF, HALF, cells)


def reward(cells: int, dim: int) -> Array:
    """U = -V at the centres, [N] or [N, N]."""
    x = grid(cells).centres
    if dim == 1:
        return -((x**2 - 1.0) ** 2)
    return -((x[:, None] ** 2 - 1.0) ** 2) - 2.0 * (x[None, :] - 0.5 * x[:, None]) ** 2


def start(cells: int, dim: int) -> Array:
    g = grid(cells)
    return g.gaussian(-0.5, 0.05) if dim == 1 else np.outer(g.gaussian(-0.5, 0.15), g.gaussian(0.5, 0.15))


def amplitudes(steps: int) -> Array:
    return TILT * np.cos(2 * np.pi * np.arange(1, steps + 1) * (TIME / steps))


def coarsen(p: Array, cells: int) -> Array:
    k = p.shape[0] // cells
    return p.reshape(cells, k).mean(1) if p.ndim == 1 else p.reshape(cells, k, cells, k).mean((1, 3))


@functools.cache
def reference(dim: int) -> Array:
    """Cells averages of the solution: extrapolated in the cell width (1-D), and in width and step (2-D)."""
    if dim == 1:
        fine, half = (
            d.evolve(d.hill(grid(n), reward(n, 1), D), start(n, 1), TIME, scheme="rational").p for n in (64_000, 32_000)
        )
        return coarsen(fine, 32_000) + (coarsen(fine, 32_000) - half) / 3.0
    parts = [(512, 500), (512, 1000), (1024, 1000)]
    a, b, c = (
        coarsen(d.evolve_2d(d.hill_2d(grid(n), grid(n), reward(n, 2), D), start(n, 2), TIME, steps=s).p, 256)
        for n, s in parts
    )
    return c + (b - a) / 3.0 + (c - b) / 3.0


@functools.cache
def tilted_by_lapack(cells: int, steps: int) -> Array:
    """The moving case by SciPy's banded solver on rates written with expm1."""
    return scipy_tilted(CASES["1d_tilted"], 1)(0)


def check(case: Mapping[str, Any], p: Array) -> str | None:
    """L1 error, mass and sign."""
    n, area = p.shape[0], (2 * HALF / p.shape[0]) ** case["dim"]
    tilted = case["scheme"] == "moving"
    want = tilted_by_lapack(case["cells"], case["steps"]) if tilted else coarsen(reference(case["dim"]), n)
    error, lost = float(np.abs(p - want).sum() * area), abs(float(p.sum() * area) - 1.0)
    if not error <= case["error"]:
        return f"L1 error {error:.1e} over {case['error']:g}"
    return None if lost < 1e-9 and p.min() > -1e-6 else f"mass off by {lost:.1e}, smallest value {p.min():.1e}"


# ---------------------------------------------------------------- this project
def ours(case: Mapping[str, Any], threads: int) -> Run:
    n, g, p0 = case["cells"], grid(case["cells"]), start(case["cells"], case["dim"])
    u, steps, scheme = reward(n, case["dim"]), case["steps"], case["scheme"]
    if scheme == "moving":
        wave, x = amplitudes(steps), -g.centres
        return lambda seed: d.moving(g, u, x, D).evolve(p0, TIME, wave, scheme="euler")
    if scheme == "split":
        return lambda seed: d.evolve_2d(d.hill_2d(g, g, u, D), p0, TIME, steps=steps).p
    return lambda seed: d.evolve_hill(g, u, D, p0, TIME, steps, scheme)


# ---------------------------------------------------------------- C
def limit(case: Mapping[str, Any], threads: int) -> Run:
    if threads > 1:
        raise Skip("the limit is one thread's")
    lib, n = compile_c("density_limit.c"), case["cells"]
    long, real, at = ctypes.c_long, ctypes.c_double, ctypes.c_void_p
    lib.limit_steps.argtypes = [long, at, real, real, real, long, ctypes.c_int, at]
    lib.limit_rational.argtypes = [long, at, real, real, real, long, at, at, at]
    lib.limit_moving.argtypes = [long, at, at, at, real, real, real, long, at]
    lib.limit_split.argtypes = [long, at, real, real, real, long, at]
    u, p0, width, steps = reward(n, case["dim"]), start(n, case["dim"]), 2 * HALF / n, case["steps"]
    poles = [np.ascontiguousarray(c.view(np.float64)) for c in (d.ALPHAS, d.THETAS)]
    wave, x = amplitudes(steps), -grid(n).centres
    kept = (u, *poles, wave, x)
    data = [a.ctypes.data for a in kept]

    def run(seed: int) -> Array:
        p = p0.copy()
        if case["scheme"] == "rational":
            lib.limit_rational(n, data[0], D, width, TIME, d.ALPHAS.size, data[1], data[2], p.ctypes.data)
        elif case["scheme"] == "moving":
            lib.limit_moving(n, data[0], data[4], data[3], D, width, TIME / steps, steps, p.ctypes.data)
        elif case["scheme"] == "split":
            lib.limit_split(n, data[0], D, width, TIME, steps, p.ctypes.data)
        else:
            lib.limit_steps(n, data[0], D, width, TIME, steps, 2, p.ctypes.data)
        return p if kept else p0

    return run


# ---------------------------------------------------------------- SciPy
def rates(cells: int, u: Array) -> tuple[Array, Array]:
    """Hop rates with expm1, written apart from the kernels."""
    w = -np.diff(u) / D
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        b = np.where(np.abs(w) < 1e-4, 1 - w / 2 + w * w / 12, w / np.expm1(w))
    k = D / (2 * HALF / cells) ** 2
    return k * b, k * (b + w)


def bands(cells: int, u: Array) -> Array:
    """A in the layout of scipy.linalg.solve_banded, [3, N]."""
    r, left = rates(cells, u)
    a = np.zeros((3, cells))
    a[0, 1:], a[2, :-1] = left, r
    a[1, :-1] -= r
    a[1, 1:] -= left
    return a


def scipy_tilted(case: Mapping[str, Any], threads: int) -> Run:
    from scipy.linalg import solve_banded

    if case["scheme"] != "moving":
        raise Skip("for the moving case")
    n, steps = case["cells"], case["steps"]
    u, x, p0 = reward(n, 1), grid(n).centres, start(n, 1)

    def run(seed: int) -> Array:
        p = p0
        for a in amplitudes(steps):
            matrix = -(TIME / steps) * bands(n, u - a * x)
            matrix[1] += 1.0
            p = solve_banded((1, 1), matrix, p)
        return p

    return run


def scipy_ode(method: str) -> Callable[[Mapping[str, Any], int], Run]:
    """SciPy's solve_ivp on the same finite volumes: LSODA with a band, or BDF with a sparse Jacobian."""

    def make(case: Mapping[str, Any], threads: int) -> Run:
        from scipy import sparse
        from scipy.integrate import solve_ivp

        if case["dim"] == 2 or case["scheme"] == "moving":
            raise Skip("for fixed landscapes in one dimension")
        n, p0 = case["cells"], start(case["cells"], 1)
        a = bands(n, reward(n, 1))
        matrix = sparse.diags([a[2, :-1], a[1], a[0, 1:]], [-1, 0, 1], format="csc")
        rtol = {1e-2: 1e-2, 1e-3: 1e-3}.get(case["error"], 1e-5)
        how = {"lband": 1, "uband": 1} if method == "LSODA" else {"jac": matrix}

        def run(seed: int) -> Array:
            done = solve_ivp(lambda t, p: matrix @ p, (0, TIME), p0, method, [TIME], rtol=rtol, atol=rtol * 1e-3, **how)
            return np.asarray(done.y[:, -1])

        return run

    return make


def scipy_splu(case: Mapping[str, Any], threads: int) -> Run:
    """Two dimensions without splitting: one sparse LU, 8 SDIRK steps."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    if case["dim"] == 1:
        raise Skip("for two dimensions")
    n, u, root = case["cells"], reward(case["cells"], 2), 2**0.5

    def run(seed: int) -> Array:
        index = np.arange(n * n).reshape(n, n)
        parts = []
        for axis in (0, 1):
            a, b = (np.take(index, s, axis=axis).ravel() for s in (range(n - 1), range(1, n)))
            w = -np.diff(u, axis=axis).ravel() / D
            r = np.where(np.abs(w) < 1e-4, 1 - w / 2, w / np.expm1(np.where(w == 0, 1, w))) * D / (2 * HALF / n) ** 2
            left = r + w * D / (2 * HALF / n) ** 2
            parts += [(r, b, a), (-r, a, a), (left, a, b), (-left, b, b)]
        values, rows, columns = (np.concatenate([p[i] for p in parts]) for i in range(3))
        matrix = sparse.csc_matrix((values, (rows, columns)), shape=(n * n, n * n))
        lu = splu(sparse.identity(n * n, format="csc") - (1 - 1 / root) * TIME / 8 * matrix, permc_spec="MMD_AT_PLUS_A")
        p = start(n, 2).ravel()
        for _ in range(8):
            x = lu.solve(p)
            p = (1 + root) * lu.solve(x) - root * x
        return p.reshape(n, n)

    return run


# ---------------------------------------------------------------- packages
def pypde(case: Mapping[str, Any], threads: int) -> Run:
    """py-pde: central differences, Runge-Kutta 4 near its stability limit, numba; the stepper is made before."""
    try:
        import pde
    except ImportError:
        raise Skip("py-pde is not installed") from None
    if case["dim"] == 2 or case["error"] < 1e-3:
        raise Skip("out of its reach: explicit steps")
    n = {1e-2: 125, 1e-3: 500}[case["error"]]
    h = 2 * HALF / n
    dt = TIME / np.ceil(TIME / (0.7 / (4 * D / h**2 / 2.7 + 96.0 / h / 2.8)))
    form = pde.PDE({"p": f"d_dx(p * (4*x**3 - 4*x)) + {D} * laplace(p)"}, bc={"value": 0})
    cells = pde.CartesianGrid([[-HALF, HALF]], n)
    stepper = pde.RungeKuttaSolver(form, backend="numba").make_stepper(pde.ScalarField(cells, start(n, 1)), dt=dt)

    def run(seed: int) -> Array:
        state = pde.ScalarField(cells, start(n, 1))
        out = stepper(state, 0.0, TIME)
        return np.asarray((out if isinstance(out, pde.ScalarField) else state).data)

    return run


def fipy(case: Mapping[str, Any], threads: int) -> Run:
    """FiPy: exponentially fitted convection, implicit steps."""
    try:
        import fipy as fp
    except ImportError:
        raise Skip("FiPy is not installed") from None
    if case["dim"] == 2 or case["error"] < 1e-3:
        raise Skip("not tried: minutes")
    n, steps = {1e-2: (125, 16), 1e-3: (250, 80)}[case["error"]]

    def run(seed: int) -> Array:
        mesh = fp.Grid1D(nx=n, dx=2 * HALF / n) + [[-HALF]]  # noqa: RUF005 (this sum shifts the mesh)
        x = mesh.faceCenters[0]
        drift = fp.FaceVariable(mesh=mesh, rank=1, value=[4 * x - 4 * x**3])
        drift.setValue(0.0, where=mesh.exteriorFaces)
        p = fp.CellVariable(mesh=mesh, value=start(n, 1))
        equation = fp.TransientTerm() == fp.DiffusionTerm(D) - fp.ExponentialConvectionTerm(drift)
        for _ in range(steps):
            equation.solve(var=p, dt=TIME / steps)
        return np.array(p.value)

    return run


# ---------------------------------------------------------------- the contest
PEERS: Mapping[str, Callable[[Mapping[str, Any], int], Run]] = {
    "SciPy LSODA, banded": scipy_ode("LSODA"),
    "SciPy BDF, sparse": scipy_ode("BDF"),
    "SciPy solve_banded": scipy_tilted,
    "SciPy splu": scipy_splu,
    "py-pde": pypde,
    "FiPy": fipy,
}


def contests(threads: int) -> Iterator[Contest]:
    """Yield the cases with the entries that apply to them."""
    for name, case in CASES.items():
        makers: dict[str, Callable[[Mapping[str, Any], int], Run]] = {LIMIT: limit, "sim.density": ours, **PEERS}
        slow = [k for k in PEERS if case["dim"] == 2 or case["scheme"] == "moving" or k in ("py-pde", "FiPy")]
        yield Contest(
            case=name,
            work=1.0,
            entries={k: functools.partial(m, case, threads) for k, m in makers.items()},
            check=functools.partial(check, case),
            share=dict.fromkeys(slow, 1.0),
        )


# ---------------------------------------------------------------- for a harness with its own description of the work
def setup_ours(spec: Mapping[str, Any], threads: int) -> Run:
    """The entry of this project for a specification with the key "case"."""
    return ours(CASES[spec["case"]], threads)


def setup_limit(spec: Mapping[str, Any], threads: int) -> Run:
    """The C program for a specification with the key "case"."""
    return limit(CASES[spec["case"]], threads)
