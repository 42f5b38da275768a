"""Batched Levenberg-Marquardt: many small curve fits at once, all starts or all bootstrap draws in one array.

Minimises, for every problem b of a batch, the sum over points x of rho(r[b, x]) with

    r = w (t - z)        z = log f(theta, x) on the log scale, f(theta, x) on the linear one
    rho(r) = r^2 / 2     inside delta, delta (|r| - delta / 2) outside (Huber); delta = inf is least squares

Parameters move in unbounded coordinates u (identity, log, logit, logit of the log), so bounds hold by construction.
A free factor per curve is profiled out (variable projection): its best value is found for every trial theta, and the
Jacobian is projected off it. Sources: Marquardt 1963; Golub & Pereyra 1973 with Kaufman's Jacobian; Huber 1964.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]

IDENTITY, ABOVE, BELOW, BETWEEN, BETWEEN_LOG = range(5)
EDGE = 36.0  # expit(-36) = 2e-16: nearer to a bound no double can tell
BLOCK = 4_000_000  # doubles in the largest temporary array
PROBE = 0.1  # share of the step at which its bend is measured
BEND = 0.375  # largest length of the bend's correction, in lengths of the step (half of Transtrum & Sethna's 0.75)
FACTORS = np.array([0.03, 1.0, 30.0])  # dampings tried side by side in each iteration


def _kind(low: float, high: float) -> int:
    """Return which map a parameter uses."""
    if np.isfinite(low) and np.isfinite(high):
        return BETWEEN_LOG if low > 0 and high / low >= 100 else BETWEEN
    return ABOVE if np.isfinite(low) else BELOW if np.isfinite(high) else IDENTITY


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of p parameters and the smooth map between theta and the unbounded coordinates u.

    A parameter between two positive bounds a factor of 100 or more apart moves on a log axis. ``kinds`` names the map
    of each parameter.
    """

    low: Array
    high: Array
    kinds: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(_kind(a, b) for a, b in zip(self.low, self.high, strict=True)))

    def theta(self, u: Array) -> Array:
        """Map u [..., p] to theta [..., p]."""
        out = np.array(u, dtype=float)
        for j, kind in enumerate(self.kinds):
            low, high, v = self.low[j], self.high[j], out[..., j]
            if kind == ABOVE:
                out[..., j] = low + np.exp(np.clip(v, -700, 700))
            elif kind == BELOW:
                out[..., j] = high - np.exp(np.clip(v, -700, 700))
            elif kind != IDENTITY:
                share = 1.0 / (1.0 + np.exp(-np.clip(v, -EDGE, EDGE)))
                if kind == BETWEEN_LOG:
                    out[..., j] = low * (high / low) ** share
                else:
                    out[..., j] = low + (high - low) * share
        return out

    def u(self, theta: Array) -> Array:
        """Map theta [..., p] to u; values at a bound are moved off it by the smallest step that counts."""
        out = np.array(theta, dtype=float)
        for j, kind in enumerate(self.kinds):
            low, high, v = self.low[j], self.high[j], out[..., j]
            if kind == ABOVE:
                out[..., j] = np.log(np.maximum(v - low, 1e-300))
            elif kind == BELOW:
                out[..., j] = np.log(np.maximum(high - v, 1e-300))
            elif kind != IDENTITY:
                share = np.log(v / low) / np.log(high / low) if kind == BETWEEN_LOG else (v - low) / (high - low)
                share = np.clip(share, 1e-15, 1 - 1e-15)
                out[..., j] = np.log(share / (1.0 - share))
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A batch of fits of one law to one design.

    Attributes:
        model: theta of the free parameters [B, p] -> response [B, X].
        bounds: Bounds of the free parameters.
        target: Responses on the fit scale, [T, X]; T = 1 where all problems share them. Finite everywhere.
        weight: Weight of each residual, [T, X]; zero where there is no data.
        log: Whether the residual is taken between logarithms.
        group: Curve of each point, one-hot [X, G], where every curve has a free factor; None without.
        delta: Huber threshold in units of the weighted residual; inf for least squares.
        typical: Typical size of each free parameter that has no bounds [p], for finite differences.
    """

    model: Callable[[Array], Array]
    bounds: Bounds
    target: Array
    weight: Array
    log: bool
    group: Array | None
    delta: float
    typical: Array

    def rows(self, index: Index) -> tuple[Array, Array]:
        """Return target and weight of some problems of the batch."""
        if self.target.shape[0] == 1:
            return self.target, self.weight
        return self.target[index], self.weight[index]

    def curve(self, u: Array) -> Array:
        """Return z [B, X] at u [B, p], without the free factors."""
        f = self.model(self.bounds.theta(u))
        return np.log(f) if self.log else np.array(f)

    def with_delta(self, delta: float) -> Problem:
        """Return the same batch under another Huber threshold."""
        return replace(self, delta=delta)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Where a batch stands: residuals [B, X], loss [B], free factors [B, G] (logs on the log scale), curve [B, X]."""

    residual: Array
    loss: Array
    factor: Array | None
    curve: Array


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Result of a batch: u [B, p], loss [B], free factors [B, G] or None, and whether each problem converged [B]."""

    u: Array
    loss: Array
    factor: Array | None
    converged: NDArray[np.bool_]


def huber(r: Array, delta: float) -> Array:
    """Return Huber's loss of residuals of any shape."""
    size = np.abs(r)
    inside = np.minimum(size, delta)
    return np.asarray(inside * (size - 0.5 * inside))


def huber_weights(r: Array, delta: float) -> tuple[Array, Array]:
    """Return the loss's reweighting psi(r) / r and its curvature psi'(r)."""
    if np.isinf(delta):
        return np.ones_like(r), np.ones_like(r)
    size = np.abs(r)
    return delta / np.maximum(size, delta), (size <= delta).astype(float)


def _profile(problem: Problem, d: Array, q: Array, w: Array) -> Array:
    """Return the factor m [B, G] that minimises the sum of rho(w (d - m q)) within each group.

    Least squares needs one step. Huber's loss is convex in m: reweighted steps bring it near, Newton steps end it.
    """
    group = problem.group
    assert group is not None
    top, bottom = (w * w * d * q) @ group, np.maximum((w * w * q * q) @ group, 1e-300)
    m = top / bottom
    if np.isinf(problem.delta):
        return np.asarray(m)
    for step in range(12):
        r = w * (d - (m @ group.T) * q)
        irls, curvature = huber_weights(r, problem.delta)
        slope = (w * q * irls * r) @ group
        safe = (w * w * q * q * irls) @ group
        newton = (w * w * q * q * curvature) @ group
        move = slope / np.maximum(safe if step < 5 else np.maximum(newton, 0.2 * safe), 1e-300)
        m = m + move
        if np.all(np.abs(move) <= 1e-13 * (1.0 + np.abs(m))):
            break
    return np.asarray(m)


def evaluate(problem: Problem, u: Array, index: Index) -> State:
    """Return residuals and loss at u [B, p] for the problems ``index`` [B]."""
    z = problem.curve(u)
    t, w = problem.rows(index)
    factor: Array | None = None
    if problem.group is None:
        r = w * (t - z)
    else:
        d, q = (t - z, np.ones_like(z)) if problem.log else (np.broadcast_to(t, z.shape), z)
        factor = _profile(problem, d, q, w)
        r = w * (d - (factor @ problem.group.T) * q)
    r = np.where(w > 0, r, 0.0)
    loss = huber(r, problem.delta).sum(axis=-1)
    return State(r, np.where(np.isfinite(loss), loss, np.inf), factor, z)


def jacobian(problem: Problem, u: Array, state: State, index: Index) -> Array:
    """Return d residual / d u, [B, p, X], by central differences at fixed free factors.

    The step is the cube root of the machine precision times the parameter's size: truncation and rounding balance
    near 1e-10 of the derivative.
    """
    batch, p = u.shape
    size = np.ones_like(u)
    for j, kind in enumerate(problem.bounds.kinds):
        if kind == IDENTITY:
            size[:, j] = np.maximum(np.abs(u[:, j]), problem.typical[j])
    step = 6.1e-6 * size
    shift = np.zeros((batch, 2 * p, p))
    for j in range(p):
        shift[:, 2 * j, j] = step[:, j]
        shift[:, 2 * j + 1, j] = -step[:, j]
    at = u[:, None, :] + shift
    z = problem.curve(at.reshape(batch * 2 * p, p)).reshape(batch, p, 2, -1)
    width = np.stack([at[:, 2 * j, j] - at[:, 2 * j + 1, j] for j in range(p)], axis=1)
    slope = (z[:, :, 0] - z[:, :, 1]) / width[:, :, None]
    _, w = problem.rows(index)
    if problem.group is not None and not problem.log and state.factor is not None:
        slope = slope * (state.factor @ problem.group.T)[:, None, :]
    return np.where(np.isfinite(slope), slope, 0.0) * -w[:, None, :]


def _project(problem: Problem, j: Array, state: State, weight: Array, index: Index) -> Array:
    """Remove from J [B, p, X] what the free factors can absorb, under Hessian weights [B, X]."""
    if problem.group is None:
        return j
    _, w = problem.rows(index)
    column = -w * (np.ones_like(state.curve) if problem.log else state.curve)
    scaled = (weight * column)[:, None, :] * j
    share = (scaled @ problem.group) / np.maximum((weight * column**2) @ problem.group, 1e-300)[:, None, :]
    return np.asarray(j - column[:, None, :] * (share @ problem.group.T))


@dataclass(frozen=True, slots=True, eq=False)
class _Local:
    """The quadratic model of a batch around its state, for three dampings each.

    ``jacobian`` [B, p, X] is free of what the factors absorb, ``irls`` [B, X] are the residual's weights, ``size``
    [B, p] the length of its columns, ``axes`` [B, p, p] and ``stiffness`` [B, 3, p] the eigenvectors and damped
    eigenvalues of the Hessian in units of size, ``cosine`` [B] the largest cosine between the residual and a column.
    """

    jacobian: Array
    irls: Array
    size: Array
    axes: Array
    stiffness: Array
    cosine: Array

    def solve(self, residual: Array) -> Array:
        """Return -(damped Hessian)^-1 J^T residual, [B, 3, p], for residuals [B, 3 or 1, X]."""
        pull = np.einsum("bpx,bdx->bdp", self.jacobian, self.irls[:, None] * residual) / self.size[:, None]
        along = (pull @ self.axes) / self.stiffness
        return np.asarray(-(along @ np.swapaxes(self.axes, 1, 2)) / self.size[:, None])


def _local(problem: Problem, u: Array, state: State, damping: Array, index: Index) -> _Local:
    """Build the quadratic model.

    Huber's true curvature drops the outliers, which is Newton's step near the minimum; far from it the reweighted
    matrix is safer. The damping blends from one to the other.
    """
    irls, curvature = huber_weights(state.residual, problem.delta)
    weight = np.maximum(curvature + np.minimum(damping, 1.0)[:, None] * (irls - curvature), 1e-12)
    j = _project(problem, jacobian(problem, u, state, index), state, weight, index)
    hessian = (j * weight[:, None, :]) @ np.swapaxes(j, 1, 2)
    size = np.maximum(np.sqrt(np.einsum("bpx,bpx,bx->bp", j, j, irls)), 1e-150)
    power = np.sqrt(np.maximum((irls * state.residual**2).sum(axis=-1), 1e-300))
    gradient = np.einsum("bpx,bx->bp", j, irls * state.residual)
    cosine = np.max(np.abs(gradient) / (size * power[:, None]), axis=1)
    scaled = hessian / (size[:, :, None] * size[:, None, :])
    values, axes = np.linalg.eigh(np.where(np.isfinite(scaled), scaled, 0.0))
    ridge = damping[:, None] * FACTORS + 1e-15
    return _Local(j, irls, size, axes, np.maximum(values, 0.0)[:, None] + ridge[:, :, None], cosine)


def _steps(problem: Problem, u: Array, state: State, local: _Local, index: Index) -> Array:
    """Return trial steps [B, 3, p]: the damped step, and half the acceleration along it where that is the smaller.

    The second derivative of the residual along the step costs one more evaluation and carries the step round the bend
    of a curved valley (geodesic acceleration, Transtrum & Sethna 2012, arXiv 1201.5885).
    """
    first = local.solve(state.residual[:, None])
    probe = evaluate(problem, (u[:, None] + PROBE * first).reshape(-1, u.shape[1]), np.repeat(index, FACTORS.size))
    ahead = probe.residual.reshape(*first.shape[:2], -1)
    slope = np.einsum("bpx,bdp->bdx", local.jacobian, first)
    bend = (2.0 / PROBE) * ((ahead - state.residual[:, None]) / PROBE - slope)
    second = 0.5 * local.solve(np.where(np.isfinite(bend), bend, 0.0))
    lengths = [np.linalg.norm(step * local.size[:, None], axis=-1) for step in (first, second)]
    use = (lengths[1] < BEND * lengths[0]) & np.isfinite(second).all(axis=-1)
    return np.where(use[..., None], first + second, np.nan)


def minimise(problem: Problem, u0: Array, *, max_iter: int = 100, ftol: float = 1e-10, gtol: float = 1e-8) -> Solution:
    """Minimise every problem of the batch from its start.

    Args:
        problem: The batch.
        u0: Starts, [B, p].
        max_iter: Most iterations of one problem.
        ftol: A problem ends after three steps in a row that lower its loss by less than this share.
        gtol: It also ends when no column of J has a larger cosine with the residual (MINPACK's test).

    Returns:
        The solution; a problem whose start has no finite loss keeps its start and infinite loss.
    """
    block = max(1, BLOCK // max(2 * u0.shape[1] * problem.target.shape[1], 1))
    with np.errstate(all="ignore"):
        parts = [
            _minimise(problem, u0[i : i + block], np.arange(i, min(i + block, len(u0))), max_iter, ftol, gtol)
            for i in range(0, len(u0), block)
        ]
    factor = None if parts[0].factor is None else np.concatenate([p.factor for p in parts if p.factor is not None])
    return Solution(
        np.concatenate([p.u for p in parts]),
        np.concatenate([p.loss for p in parts]),
        factor,
        np.concatenate([p.converged for p in parts]),
    )


def _take(state: State, rows: Index) -> State:
    factor = None if state.factor is None else state.factor[rows]
    return State(state.residual[rows], state.loss[rows], factor, state.curve[rows])


def _put(state: State, rows: Index, new: State, chosen: Index) -> None:
    """Write the chosen rows of a trial state into the state's arrays."""
    state.residual[rows] = new.residual[chosen]
    state.loss[rows] = new.loss[chosen]
    state.curve[rows] = new.curve[chosen]
    if state.factor is not None and new.factor is not None:
        state.factor[rows] = new.factor[chosen]


def _minimise(problem: Problem, u0: Array, index: Index, max_iter: int, ftol: float, gtol: float) -> Solution:
    """Run one block; rows that have converged leave the batch."""
    u = np.array(u0, dtype=float)
    batch, p = u.shape
    state = evaluate(problem, u, index)
    if p == 0:
        return Solution(u, state.loss, state.factor, np.isfinite(state.loss))
    bounded = np.array([k != IDENTITY for k in problem.bounds.kinds])
    t, w = problem.rows(index)
    nothing = 1e-28 * np.broadcast_to(((w * t) ** 2).sum(axis=-1), (batch,))
    damping = np.full(batch, 0.1 if np.isinf(problem.delta) else 1.0)
    stalled, converged = np.zeros(batch, dtype=int), np.zeros(batch, dtype=bool)
    active = np.flatnonzero(np.isfinite(state.loss))
    for _ in range(max_iter):
        if not active.size:
            break
        here = _take(state, active)
        local = _local(problem, u[active], here, damping[active], index[active])
        move = _steps(problem, u[active], here, local, index[active])
        move = np.where(bounded, np.clip(move, -6.0, 6.0), move)
        trial = (u[active][:, None, :] + move).reshape(-1, p)
        new = evaluate(problem, trial, np.repeat(index[active], FACTORS.size))
        pick = np.argmin(new.loss.reshape(-1, FACTORS.size), axis=1)
        chosen = np.arange(active.size) * FACTORS.size + pick
        gain = here.loss - new.loss[chosen]
        better = gain > 0
        rows = active[better]
        u[rows] = trial[chosen[better]]
        _put(state, rows, new, chosen[better])
        damping[active] = np.clip(damping[active] * np.where(better, FACTORS[pick], 1e3), 1e-12, 1e15)
        small = gain <= ftol * here.loss
        stalled[active] = np.where(small, stalled[active] + 1, 0)
        flat = (local.cosine < gtol) | (state.loss[active] <= nothing[active])
        done = flat | (stalled[active] >= 3) | (damping[active] >= 1e12)
        converged[active] = done
        active = active[~done]
    return Solution(u, state.loss, state.factor, converged)
