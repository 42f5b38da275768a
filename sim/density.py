"""The density world: a policy as a probability density that drifts up a reward and diffuses with a temperature.

    dp/dt = -d/dx (f p) + d/dx (D dp/dx)        no flux through the ends

f is the drift and D > 0 the diffusion; both may depend on x. A reward landscape U gives f = dU/dx and D = T, and then

    stationary density    exp(U/T) / Z
    free energy           F = E[-U] - T H, never rising, F - F_min = T KL(p || exp(U/T)/Z)

Method. Finite volumes: p_i is the average over a cell, the flux over a face is exponentially fitted (Scharfetter and
Gummel 1969, Chang and Cooper 1970), so the stationary density is kept exactly on the grid and the error is of second
order in the width. For a reward given as a function (``climb``) the stationary cell averages are those of exp(U/T)
itself. Mass is kept to rounding (``density_kernels``).

Time. "euler": backward Euler, positive for any step, first order. "sdirk": two solves a step, L-stable, second order,
no stability limit. "rational": exp(tA) p by a rational approximation of order 16, any t in one go. With a ``tolerance``
the steps of "sdirk" adapt and stay positive, and ``Evolution.error`` bounds the L1 error of the time stepping. In two
dimensions the directions are split (Strang), second order.

Particles of the same process: ``particles``, Heun's scheme, weak order 2.

How it is known to be right: ``sim.exact.density`` (Ornstein-Uhlenbeck, Gibbs, Kramers, mean first passage) and the slow
twin ``sim.slow.density`` (central differences, written from the equation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from rlaws.errors import suggest
from sim import density_kernels as kernels
from sim.rng import seed_word

Array = NDArray[np.float64]
Field = Callable[[Array], ArrayLike]
SCHEMES = ("sdirk", "euler", "rational")
ORDERS = {"sdirk": 2, "euler": 1, "rational": 0}
QUADRATURE = 8
TABLE = 8192
BLOCK = 256

# Rational approximation of exp on the negative axis, order 16 (M. Pusa, Nucl. Sci. Eng. 182, 155, 2016, table III):
# exp(z) = c prod_k (1 + 2 Re(alpha_k / (z - theta_k))), to 3e-16 for z <= 0.
ALPHAS = np.array([
    5464.930576870210 - 37979.83575308356j, 90.45112476907548 - 1115.537522430261j,
    234.4818070467641 - 422.8020157070496j, 94.53304067358312 - 295.1294291446048j,
    728.3792954673409 - 120564.6080220011j, 36.48229059594851 - 115.5509621409682j,
    25.47321630156819 - 26.39500283021502j, 23.94538338734709 - 5.650522971778156j,
])  # fmt: skip
THETAS = np.array([
    3.509103608414918 + 8.436198985884374j, 5.948152268951177 + 3.587457362018322j,
    -5.264971343442647 + 16.22022147316793j, 1.419375897185666 + 10.92536348449672j,
    6.416177699099435 + 1.194122393370139j, 4.993174737717997 + 5.996881713603942j,
    -1.413928462488886 + 13.49772569889275j, -10.84391707869699 + 19.27744616718165j,
])  # fmt: skip


# ---------------------------------------------------------------- the grid
@dataclass(frozen=True, slots=True)
class Grid:
    """Equal cells on an interval.

    Attributes:
        low: Lower end.
        high: Upper end.
        cells: Number of cells, at least 3.
    """

    low: float
    high: float
    cells: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high and self.cells >= 3):
            raise ValueError(f"Grid({self.low}, {self.high}, {self.cells}): needed are low < high and 3 cells or more.")

    @property
    def width(self) -> float:
        """Width of a cell."""
        return (self.high - self.low) / self.cells

    @property
    def centres(self) -> Array:
        """Middle of every cell, [N]."""
        return np.asarray(self.low + (np.arange(self.cells) + 0.5) * self.width, dtype=np.float64)

    @property
    def faces(self) -> Array:
        """Inner faces between cells, [N - 1]."""
        return np.asarray(self.low + np.arange(1, self.cells) * self.width, dtype=np.float64)

    def gaussian(self, mean: float, sd: float) -> Array:
        """Return the cell averages of a normal density, cut off at the ends and of unit mass, [N]."""
        if not sd > 0:
            raise ValueError(f"sd = {sd} must be positive.")
        edges = np.linspace(self.low, self.high, self.cells + 1)
        mass = np.diff(ndtr((edges - mean) / sd))
        return np.asarray(mass / (mass.sum() * self.width))


# ---------------------------------------------------------------- the process
@dataclass(frozen=True, slots=True)
class Line:
    """A process on a line, as hop rates between neighbouring cells.

    Attributes:
        grid: The cells.
        right: Rate from cell i to i + 1, one over time, [N - 1].
        left: Rate back, [N - 1].
    """

    grid: Grid
    right: Array
    left: Array

    def __post_init__(self) -> None:
        for name, rate in (("right", self.right), ("left", self.left)):
            if rate.shape != (self.grid.cells - 1,) or not np.all(np.isfinite(rate) & (rate >= 0)):
                raise ValueError(f"{name}: needed are {self.grid.cells - 1} finite rates that are not negative.")

    def stationary(self) -> Array:
        """Return the density that the rates leave unchanged, by detailed balance from cell to cell, [N]."""
        with np.errstate(divide="ignore"):
            log_p = np.concatenate([[0.0], np.cumsum(np.log(self.right) - np.log(self.left))])
        p = np.exp(log_p - log_p.max())
        return np.asarray(p / (p.sum() * self.grid.width))


def _at(field: Field | ArrayLike, x: Array, name: str) -> Array:
    """Return a field at the points x, given as a function, a number or an array of their length."""
    values = np.asarray(field(x) if callable(field) else field, dtype=np.float64)
    if values.shape not in ((), x.shape) or not np.all(np.isfinite(values)):
        raise ValueError(f"{name} must be a finite number or one for each of the {x.size} faces.")
    return np.broadcast_to(values, x.shape).copy()


def line(grid: Grid, drift: Field | ArrayLike, diffusion: Field | ArrayLike) -> Line:
    """Return the process with a drift and a diffusion.

    Args:
        grid: The cells.
        drift: f at the inner faces: a function of x, a number, or an array [N - 1]; length over time.
        diffusion: D at the inner faces, positive; length² over time.
    """
    f, d = _at(drift, grid.faces, "drift"), _at(diffusion, grid.faces, "diffusion")
    if not np.all(d > 0):
        raise ValueError("diffusion must be positive everywhere; a drift without diffusion has no density.")
    return _fitted(grid, -f * grid.width / d, d / grid.width**2)


def _fitted(grid: Grid, peclet: Array, conductance: Array) -> Line:
    right, left = np.empty(grid.cells - 1), np.empty(grid.cells - 1)
    kernels.hop_rates(peclet, conductance, right, left)
    return Line(grid, right, left)


def hill(grid: Grid, reward: ArrayLike, temperature: float) -> Line:
    """Return the climb of a reward known at the cell centres only: the stationary density is exp(U/T) there.

    Args:
        grid: The cells.
        reward: U at the centres, [N].
        temperature: T > 0.
    """
    u = np.asarray(reward, dtype=np.float64)
    if u.shape != (grid.cells,) or not temperature > 0:
        raise ValueError(f"reward needs {grid.cells} values and temperature = {temperature} must be positive.")
    return _fitted(grid, -np.diff(u) / temperature, np.full(grid.cells - 1, temperature / grid.width**2))


def climb(grid: Grid, reward: Field, temperature: float) -> Line:
    """Return the climb of a reward known as a function: the stationary cell averages are those of exp(U/T) itself.

    The reward of a cell is T log of the average of exp(U/T) over it (eight Gauss points), fitted exponentially like any
    other: exact in the Gibbs weights on coarse grids, and right in the drift where the reward is steep over one cell.

    Args:
        grid: The cells.
        reward: U as a function of x.
        temperature: T > 0, in units of the reward.
    """
    if not temperature > 0:
        raise ValueError(f"temperature = {temperature} must be positive.")
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE)
    inside = np.asarray(reward(grid.centres[:, None] + grid.width / 2 * nodes), dtype=np.float64) / temperature
    top = inside.max(axis=1, keepdims=True)
    log_average = top[:, 0] + np.log(np.exp(inside - top) @ (weights / 2))
    return hill(grid, temperature * log_average, temperature)


# ---------------------------------------------------------------- evolution
@dataclass(frozen=True, slots=True)
class Evolution:
    """A density after some time.

    Attributes:
        p: Cell averages, [N].
        steps: Steps taken; ``rejected`` those taken back.
        rejected: See above.
        error: Bound of the L1 error of the time stepping (adaptive steps), else NaN.
    """

    p: Array
    steps: int
    rejected: int
    error: float


def evolve(
    process: Line, p: ArrayLike, time: float, *, steps: int = 0, tolerance: float = 0.0, scheme: str = "sdirk"
) -> Evolution:
    """Return the density after a time.

    Args:
        process: The process.
        p: Cell averages at the start, [N], not negative.
        time: Positive.
        steps: Number of equal steps; 0 for adaptive steps ("sdirk") or for "rational", which takes one.
        tolerance: L1 error of the time stepping that adaptive steps may make; at least 1e-12.
        scheme: sdirk, euler or rational.

    Raises:
        ValueError: If an argument is out of range, or it is not said how long the steps may be.
    """
    density = _start(process.grid.cells, p, time, scheme)
    if scheme == "rational":
        kernels.rational_exponential(process.right, process.left, float(time), ALPHAS, THETAS, density)
        return Evolution(density, 1, 0, np.nan)
    if steps > 0:
        order = 1 if scheme == "euler" else 2
        kernels.fixed_steps(process.right, process.left, time / steps, int(steps), order, density)
        return Evolution(density, int(steps), 0, np.nan)
    if scheme != "sdirk" or not tolerance >= 1e-12:
        raise ValueError(f"scheme '{scheme}' with tolerance = {tolerance}: give steps, or 'sdirk' and 1e-12 or more.")
    fastest = max(float(process.right.max()), float(process.left.max()))
    control = kernels.StepControl(float(time), float(tolerance), 1.0 / fastest, process.grid.width)
    report = np.zeros(4)
    kernels.adaptive_steps(process.right, process.left, control, density, report)
    if report[3] < time * (1.0 - 1e-12):
        reached = f"{int(report[0])} steps reached {report[3]:.3g} of {time}"
        raise ValueError(f"tolerance = {tolerance}: {reached}; allow more error.")
    return Evolution(density, int(report[0]), int(report[1]), float(report[2]))


def evolve_hill(
    grid: Grid, reward: Array, temperature: float, p: Array, time: float, steps: int = 1, scheme: str = "sdirk"
) -> Array:
    """Return ``evolve(hill(grid, reward, temperature), p, time, steps)`` in one compiled call, for sweeps over rewards.

    Args:
        grid: The cells.
        reward: U at the centres, [N].
        temperature: T > 0.
        p: Cell averages at the start, [N], not negative.
        time: Positive.
        steps: Number of equal steps; "rational" takes one whatever is asked.
        scheme: sdirk, euler or rational.
    """
    density, n = np.array(p, dtype=np.float64), grid.cells
    order = ORDERS.get(scheme, -1)
    if order < 0 or density.shape != (n,) or len(reward) != n or not (temperature > 0 and time > 0 and steps >= 1):
        raise ValueError(f"scheme '{scheme}' is one of {SCHEMES}; p and reward need {n} values, the rest be positive.")
    how = kernels.Climb(float(temperature), grid.width, float(time), int(steps), order)
    if not kernels.climb_steps(reward, how, ALPHAS, THETAS, density):
        raise ValueError("p must be finite and not negative.")
    return density


def _start(cells: int, p: ArrayLike, time: float, scheme: str) -> Array:
    """Return a writable copy of the initial density, checked."""
    if scheme not in SCHEMES:
        raise ValueError(f"scheme = '{scheme}' is not known.{suggest(scheme, SCHEMES)}")
    density = np.array(p, dtype=np.float64)
    if density.shape != (cells,) or not density.min() >= 0.0 or not 0.0 < time < np.inf:
        raise ValueError(f"p needs {cells} values that are not negative, and time = {time} must be positive.")
    return density


@dataclass(frozen=True, slots=True)
class Moving:
    """A process whose drift changes with time: f(x, t) = f_0(x) + amplitude(t) f_1(x), D constant in time.

    Attributes:
        grid: The cells.
        peclet: -f_0 width / D at the faces, [N - 1]; ``moved`` the same of f_1.
        moved: See above.
        conductance: D / width², [N - 1].
    """

    grid: Grid
    peclet: Array
    moved: Array
    conductance: Array

    def evolve(self, p: ArrayLike, time: float, amplitude: ArrayLike, *, scheme: str = "sdirk") -> Array:
        """Return the density after as many equal steps as ``amplitude`` has values, one for each step, [N]."""
        density = _start(self.grid.cells, p, time, scheme)
        values = np.ascontiguousarray(amplitude, dtype=np.float64)
        h, order = time / values.size, 1 if scheme == "euler" else 2
        kernels.moving_steps(self.peclet, self.moved, values, self.conductance, h, order, density)
        return density


def moving(grid: Grid, reward: ArrayLike, moved: ArrayLike, temperature: float) -> Moving:
    """Return the climb of the reward U_0 + amplitude(t) U_1, both known at the cell centres, [N]."""
    u0, u1 = np.asarray(reward, dtype=np.float64), np.asarray(moved, dtype=np.float64)
    if u0.shape != (grid.cells,) or u1.shape != u0.shape or not temperature > 0:
        raise ValueError(f"reward and moved need {grid.cells} values each; temperature = {temperature} be positive.")
    conductance = np.full(grid.cells - 1, temperature / grid.width**2)
    return Moving(grid, -np.diff(u0) / temperature, -np.diff(u1) / temperature, conductance)


# ---------------------------------------------------------------- two dimensions
@dataclass(frozen=True, slots=True)
class Plane:
    """A process on a rectangle.

    Attributes:
        x: Cells along the first axis; ``y`` along the second.
        y: See above.
        along_x: Hop rates up and down along x, [2, Nx - 1, Ny].
        along_y: Hop rates up and down along y, with y as the first index, [2, Ny - 1, Nx].
    """

    x: Grid
    y: Grid
    along_x: Array
    along_y: Array


def plane(x: Grid, y: Grid, drift: tuple[Array, Array], diffusion: tuple[float, float]) -> Plane:
    """Return the process on a rectangle with a drift and a diffusion along each axis.

    Args:
        x: Cells along the first axis; ``y`` along the second.
        y: See above.
        drift: f_x at the faces along x, [Nx - 1, Ny], and f_y at the faces along y, [Nx, Ny - 1].
        diffusion: D_x and D_y, positive.
    """
    fx, fy = (np.asarray(f, dtype=np.float64) for f in drift)
    if fx.shape != (x.cells - 1, y.cells) or fy.shape != (x.cells, y.cells - 1) or not min(diffusion) > 0:
        raise ValueError(f"drift needs shapes {(x.cells - 1, y.cells)} and {(x.cells, y.cells - 1)}, diffusion > 0.")
    peclet = (-fx * x.width / diffusion[0], -fy.T * y.width / diffusion[1])
    along_x = _face_rates(peclet[0], diffusion[0] / x.width**2)
    return Plane(x, y, along_x, _face_rates(peclet[1], diffusion[1] / y.width**2))


def hill_2d(x: Grid, y: Grid, reward: ArrayLike, temperature: float) -> Plane:
    """Return the climb of a reward known at the cell centres, [Nx, Ny], with temperature T > 0."""
    u = np.asarray(reward, dtype=np.float64)
    if u.shape != (x.cells, y.cells) or not temperature > 0:
        raise ValueError(f"reward needs {(x.cells, y.cells)} values and temperature = {temperature} must be positive.")
    along_x = _face_rates(-np.diff(u, axis=0) / temperature, temperature / x.width**2)
    return Plane(x, y, along_x, _face_rates(-np.diff(u, axis=1).T / temperature, temperature / y.width**2))


def _face_rates(peclet: Array, conductance: float) -> Array:
    """Return hop rates up and down, [2, faces, lines]."""
    w = np.ascontiguousarray(peclet)
    rates = np.empty((2, *w.shape))
    kernels.hop_rates(w.ravel(), np.full(w.size, conductance), rates[0].reshape(-1), rates[1].reshape(-1))
    return rates


def evolve_2d(process: Plane, p: ArrayLike, time: float, *, steps: int = 0, tolerance: float = 0.0) -> Evolution:
    """Return the density on a rectangle after a time, by Strang splitting with a second-order step along each axis.

    Args:
        process: The process.
        p: Cell averages, [Nx, Ny], not negative.
        time: Positive.
        steps: Number of equal steps; 0 doubles it until a third of the change is below ``tolerance`` and no value is
            negative; that third is the stated L1 error.
        tolerance: See above; at least 1e-12.
    """
    start = np.array(p, dtype=np.float64)
    if start.shape != (process.x.cells, process.y.cells) or not start.min() >= 0 or not 0 < time < np.inf:
        raise ValueError(f"p needs {(process.x.cells, process.y.cells)} values >= 0, and time = {time} be positive.")
    if steps > 0:
        kernels.split_steps(process.along_x, process.along_y, time / steps, int(steps), start)
        return Evolution(start, int(steps), 0, np.nan)
    if not tolerance >= 1e-12:
        raise ValueError(f"tolerance = {tolerance}: give steps, or a tolerance of 1e-12 or more.")
    n, coarse, area = 8, start.copy(), process.x.width * process.y.width
    kernels.split_steps(process.along_x, process.along_y, time / n, n, coarse)
    while n <= 1 << 20:
        n, fine = 2 * n, start.copy()
        kernels.split_steps(process.along_x, process.along_y, time / n, n, fine)
        error = float(np.abs(fine - coarse).sum()) * area / 3.0
        if error <= tolerance and fine.min() >= 0.0:
            return Evolution(fine, n, 0, error)
        coarse = fine
    raise ValueError(f"tolerance = {tolerance} is not reached with {n} steps; allow more error or a shorter time.")


# ---------------------------------------------------------------- what a density tells
def mass(grid: Grid, p: Array) -> float:
    """Return the total probability."""
    return float(p.sum() * grid.width)


def moments(grid: Grid, p: Array) -> tuple[float, float]:
    """Return mean and variance; the variance holds the width²/12 of a cell."""
    x, w = grid.centres, p * grid.width
    mean = float(w @ x)
    return mean, float(w @ (x - mean) ** 2 + grid.width**2 / 12.0)


def entropy(grid: Grid, p: Array) -> float:
    """Return the differential entropy -integral p log p, in nats."""
    seen = p[p > 0]
    return float(-(seen * np.log(seen)).sum() * grid.width)


def free_energy(process: Line, p: Array) -> float:
    """Return KL(p || stationary density) = (F - F_min)/T in nats; no evolution raises it."""
    q = process.stationary()
    seen = (p > 0) & (q > 0)
    return float((p[seen] * np.log(p[seen] / q[seen])).sum() * process.grid.width)


# ---------------------------------------------------------------- reward landscapes
LANDSCAPES = ("single", "double", "tilted", "step")
TILT, TARGET = 0.3, 0.25


def landscape(name: str, steepness: float, depth: float = 1.0) -> Field:
    """Return a reward U(x) on [-3, 3].

    single: -s x²/2. double: -(s/8) (x² - 1)², equal tops at ±1 of curvature -s, barrier s/8. tilted: double plus
    0.3 (s/8) x, the right top is higher. step: the reward of a right answer, ``depth`` within 0.25 of 0 and 0
    elsewhere, its edges smoothed to steepness s: depth [tanh(s (x + 0.25)) - tanh(s (x - 0.25))]/2.

    Args:
        name: One of ``LANDSCAPES``.
        steepness: s > 0.
        depth: Height of the step.
    """
    if name not in LANDSCAPES:
        raise ValueError(f"landscape = '{name}' is not known.{suggest(name, LANDSCAPES)}")
    if not 0 < steepness < np.inf:
        raise ValueError(f"steepness = {steepness} must be positive and finite.")
    s = float(steepness)
    return {
        "single": lambda x: -0.5 * s * x**2,
        "double": lambda x: -s / 8.0 * (x**2 - 1.0) ** 2,
        "tilted": lambda x: -s / 8.0 * (x**2 - 1.0) ** 2 + TILT * s / 8.0 * x,
        "step": lambda x: 0.5 * depth * (np.tanh(s * (x + TARGET)) - np.tanh(s * (x - TARGET))),
    }[name]


# ---------------------------------------------------------------- particles
@dataclass(frozen=True, slots=True)
class Cloud:
    """Particles of a process, in blocks with streams of their own.

    Attributes:
        x: Positions, [blocks, particles].
        taken: Steps taken so far; the noise goes on from there.
    """

    x: Array
    taken: int = 0


def particles(
    cloud: Cloud, drift: Field, temperature: float, time: float, steps: int, seed: int, domain: tuple[float, float]
) -> Cloud:
    """Return the particles after a time: dx = f dt + sqrt(2 T) dW, reflected at the ends; Heun steps, weak order 2.

    Args:
        cloud: Where they are; not changed.
        drift: f as a function of x; a table of 8192 values stands for it (linear interpolation).
        temperature: T, not negative.
        time: Positive.
        steps: Number of steps.
        seed: One 64-bit word; the same seed and a running cloud continue the same noise.
        domain: Ends.
    """
    low, high = domain
    if not (low < high and temperature >= 0 and time > 0 and steps >= 1):
        raise ValueError(f"domain {domain}, temperature {temperature}, time {time}, steps {steps}: out of range.")
    table = np.asarray(drift(np.linspace(low, high, TABLE)), dtype=np.float64)
    h = time / steps
    noise = float(np.sqrt(2 * temperature * h))
    walk = kernels.Walk(low, high, (TABLE - 1) / (high - low), h, noise, steps, cloud.taken)
    x = np.array(cloud.x, dtype=np.float64, ndmin=2)
    kernels.walk_blocks(x, table, walk, seed_word(seed))
    return Cloud(x, cloud.taken + steps)
