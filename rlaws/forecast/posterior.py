"""Posterior of one law on noisy curves: closed form given its shape, a grid over shapes and noise.

Model, for point t of run i on the scale of the fit, with g the columns of a law at shape phi (``members``):

    z_it = g(x_it; phi) beta + b_i + e_it,      e_it = rho e_i,t-1 + eta_it,
    eta ~ N(0, sigma^2),   b_i ~ N(0, kappa sigma^2).

Priors: the curve's values at as many anchors as there are coefficients are uniform over the range of the metric (that
fixes the density of beta for every shape), curves that leave the range are excluded, shapes are uniform over their
start ranges, rho and kappa over grids, and p(sigma^2) ~ sigma^-3 above a floor. Given (phi, rho, kappa), beta is
multivariate t and the marginal likelihood is

    |B| |G'PG|^-1/2 RSS^-(n-q+1)/2 prod_i (1 - rho^2)^1/2 (1 + kappa 1'P_i 1)^-1/2,

with P the precision of the noise, B the columns at the anchors. Shapes lie on a Kronecker sequence whose box is drawn
in until enough of its points carry weight. One run has kappa = 0: nothing in one run tells how far another would lie.

Source: conjugate regression given the shape (Zellner 1971, ch. III and IV.1), one integral left to quadrature.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.forecast.curves import Runs, Scale
from rlaws.forecast.members import Member, to_shapes, unit_points

Array = NDArray[np.float64]
Index = NDArray[np.intp]

SHAPES = 256
ROUNDS = 8
ENOUGH = 50.0  # effective number of shapes at which the search ends
DROP = 12.0  # log posterior below the best at which a shape leaves the box
RHO = np.array([-0.4, -0.2, 0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 0.95])
KAPPA = np.array([0.0, 0.1, 0.4, 1.5, 6.0, 25.0, 100.0])
FLOOR = 1e-7  # smallest noise, in widths of the range
TRIES = 30  # draws of a curve before its shape is given up because it leaves the range
LEAST = 0.02  # share of shapes that must give a curve inside the range


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Draws of a curve and its noise from the posterior of one member.

    Attributes:
        curve: The curve at the asked x, on the scale of the fit, [D, X].
        last: Residual of the last point of a single run, which its next points remember, [D]; 0 for several runs.
        rho: Correlation of neighbouring points, [D].
        sd: Stationary standard deviation of a point around its run's curve, [D].
        offset: Standard deviation of a run around the common curve, [D]; 0 for a single run.
    """

    curve: Array
    last: Array
    rho: Array
    sd: Array
    offset: Array

    def take(self, rows: Index) -> Sample:
        """Return some draws."""
        return Sample(self.curve[rows], self.last[rows], self.rho[rows], self.sd[rows], self.offset[rows])

    def put(self, rows: Index, new: Sample) -> None:
        """Replace some draws."""
        for name in ("curve", "last", "rho", "sd", "offset"):
            getattr(self, name)[rows] = getattr(new, name)

    def next_points(self, gaps: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the points of a run, each [D, X], ``gaps`` [X] steps after the last."""
        memory = np.sign(self.rho)[:, None] ** np.round(gaps) * np.abs(self.rho)[:, None] ** gaps
        variance = self.sd[:, None] ** 2 * np.where(self.last[:, None] != 0, 1.0 - memory**2, 1.0)
        return self.curve + memory * self.last[:, None], np.sqrt(variance + self.offset[:, None] ** 2)


def sample(member: Member, runs: Runs, scale: Scale, at: Array, draws: int, rng: np.random.Generator) -> Sample | None:
    """Return draws of a law's curve at ``at``, or None if it has too few points or no curve inside the range.

    Args:
        member: The law.
        runs: The data.
        scale: Its range.
        at: x of the forecast, [X].
        draws: Number of draws D.
        rng: Source of the draws.
    """
    if runs.z.size < member.size + 1:
        return None
    cloud = _search(member, runs, scale, at)
    if cloud is None:
        return None
    pick = rng.choice(cloud.weight.size, size=draws, p=cloud.weight)
    found = cloud.draw(pick, rng)
    slack = 1e-9 * (scale.high - scale.low)
    for _ in range(TRIES):
        out = np.flatnonzero(((found.curve < scale.low - slack) | (found.curve > scale.high + slack)).any(axis=1))
        if not out.size:
            return found
        found.put(out, cloud.draw(pick[out], rng))
    # a law that barely stays inside the range gives few curves; they stand for the rest
    good = np.setdiff1d(np.arange(draws), out)
    if good.size < LEAST * draws:
        return None
    found.put(out, found.take(rng.choice(good, out.size)))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Cloud:
    """Weighted shapes and noise levels, with the posterior of the coefficients at each, flat over [S, R, K]."""

    weight: Array
    beta: Array
    factor: Array
    rss: Array
    dof: int
    rho: Array
    kappa: Array
    shape_of: Index
    at_columns: Array
    at_offset: Array
    end_columns: Array
    end_value: Array
    single: bool

    def draw(self, pick: Index, rng: np.random.Generator) -> Sample:
        """Draw sigma and the coefficients at the picked combinations."""
        number = pick.size
        sigma = np.sqrt(self.rss[pick] / rng.chisquare(self.dof, number))
        normal = rng.standard_normal((number, self.beta.shape[1]))
        beta = self.beta[pick] + sigma[:, None] * back_substitute(self.factor[pick], normal)
        s, rho = self.shape_of[pick], self.rho[pick]
        curve = self.at_offset[s] + np.einsum("dq,dqx->dx", beta, self.at_columns[s])
        last = self.end_value[s] - np.einsum("dq,dq->d", beta, self.end_columns[s])
        return Sample(
            curve,
            last if self.single else np.zeros(number),
            rho,
            sigma / np.sqrt(1.0 - rho**2),
            sigma * np.sqrt(self.kappa[pick]),
        )


def back_substitute(factor: Array, normal: Array) -> Array:
    """Solve L' v = normal for lower triangular L, [..., q, q] and [..., q]: v has the covariance (L L')^-1."""
    q = normal.shape[-1]
    v = np.zeros_like(normal)
    for i in range(q - 1, -1, -1):
        rest = sum((factor[..., j, i] * v[..., j] for j in range(i + 1, q)), np.zeros(normal.shape[:-1]))
        v[..., i] = (normal[..., i] - rest) / factor[..., i, i]
    return v


def _search(member: Member, runs: Runs, scale: Scale, at: Array) -> _Cloud | None:
    """Draw the box of shapes in until enough points carry weight, and pack the last round."""
    everywhere = np.concatenate([runs.x, at])
    ranges = member.ranges(everywhere)
    points = unit_points(SHAPES, len(ranges))
    low, high = np.zeros(len(ranges)), np.ones(len(ranges))
    anchors = _anchors(len(member.linear), runs.x, at)
    for _ in range(ROUNDS):
        shapes = to_shapes(low + (high - low) * points, ranges)
        stage = _Stage.at(member, shapes, runs, scale, anchors, float(everywhere.max()))
        if not np.isfinite(stage.log_weight).any():
            return None
        by_shape = stage.log_weight.reshape(len(shapes), -1).max(axis=1)
        weight = np.exp(by_shape - by_shape.max())
        if not ranges or weight.sum() ** 2 / (weight**2).sum() >= ENOUGH:
            break
        inside = low + (high - low) * points[by_shape > by_shape.max() - DROP]
        margin = 1.5 * (high - low) * SHAPES ** (-1.0 / len(ranges))
        low, high = np.maximum(inside.min(axis=0) - margin, 0.0), np.minimum(inside.max(axis=0) + margin, 1.0)
    return stage.pack(member, shapes, runs, at)


def _anchors(number: int, x: Array, at: Array) -> Array:
    """Return the x at which the prior of the curve is uniform: the middle of the data, or its start to the horizon."""
    first, last, horizon = float(x.min()), float(x.max()), float(max(at.max(), x.max()))
    if number == 1:
        return np.array([np.sqrt(first * last)])
    return np.geomspace(first, max(horizon, 1.0001 * first), number)


@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    """One round of the search: log weight [S, R, K] and the Cholesky factors of the augmented Gram matrices.

    ``factor`` is [q + 1, q + 1] of arrays [S, R, K]: the last row holds L^-1 G'Pz and the root of RSS.
    """

    log_weight: Array
    factor: list[list[Array]]
    rss: Array
    dof: int
    kappa: Array
    norm: Array

    @classmethod
    def at(cls, member: Member, shapes: Array, runs: Runs, scale: Scale, anchors: Array, horizon: float) -> _Stage:
        """Evaluate the posterior at shapes [S, d]."""
        columns, offset = member.basis(shapes, np.concatenate([runs.x, anchors, [horizon]]))
        norm = np.maximum(np.abs(columns).max(axis=2), 1e-300)
        columns = columns / norm[..., None]
        n, q = runs.x.size, len(member.linear)
        target = runs.z[None] - offset[:, :n]
        rows = [columns[:, j, :n] for j in range(q)] + [target]
        kappa = KAPPA if runs.number > 1 else KAPPA[:1]
        gram, log_det = _gram(rows, runs.starts, kappa)
        factor = _cholesky(gram)
        floor = n * (FLOOR * (scale.high - scale.low)) ** 2
        rss = factor[q][q] ** 2 + floor
        dof = n - q + 1
        spread = np.linalg.slogdet(columns[:, :, n:-1])[1][:, None, None]
        log_weight = spread - sum(np.log(factor[j][j]) for j in range(q)) - 0.5 * dof * np.log(rss) + log_det
        log_weight = np.where(np.isfinite(log_weight), log_weight, -np.inf)
        likely = log_weight > log_weight.max() - 4 * DROP
        log_weight[likely] += _log_inside(factor, columns[:, :, -1], offset[:, -1], rss, dof, scale, likely)
        log_weight[~likely] = -np.inf
        return cls(log_weight, factor, rss, dof, kappa, norm)

    def pack(self, member: Member, shapes: Array, runs: Runs, at: Array) -> _Cloud:
        """Return the cloud with what its draws need, for the combinations that carry weight."""
        flat = self.log_weight.ravel()
        keep = np.flatnonzero(flat > flat.max() - 2 * DROP)
        weight = np.exp(flat[keep] - flat.max())
        s, r, k = np.unravel_index(keep, self.log_weight.shape)
        q = len(member.linear)
        factor = np.zeros((keep.size, q + 1, q + 1))
        for i in range(q + 1):
            for j in range(i + 1):
                factor[:, i, j] = np.broadcast_to(self.factor[i][j], self.log_weight.shape).ravel()[keep]
        beta = back_substitute(factor[:, :q, :q], factor[:, q, :q])
        columns, offset = member.basis(shapes, np.append(at, runs.x[-1]))
        columns = columns / self.norm[..., None]
        return _Cloud(
            weight / weight.sum(), beta, factor[:, :q, :q], self.rss.ravel()[keep], self.dof, RHO[r], self.kappa[k], s,
            columns[:, :, :-1], offset[:, :-1], columns[:, :, -1], runs.z[-1] - offset[:, -1], runs.number == 1,
        )  # fmt: skip


def _log_inside(
    factor: list[list[Array]], columns: Array, offset: Array, rss: Array, dof: int, scale: Scale,
    likely: NDArray[np.bool_],
) -> Array:  # fmt: skip
    """Return the log probability that the curve lies inside the range at the horizon (a t distribution), [likely].

    The t distribution by Wallace's normal approximation (Ann. Math. Stat. 30 (1959) 1121), good to 0.008 at one degree
    of freedom and to 0.0004 from five on.

    Args:
        factor: Cholesky factor of the augmented Gram matrix, see ``_Stage``.
        columns: The columns at the horizon, [S, q].
        offset: The offset there, [S].
        rss: Residual sum of squares, [S, R, K].
        dof: Degrees of freedom.
        scale: The range.
        likely: The combinations that are asked, [S, R, K].
    """
    from scipy.special import ndtr

    def below(t: Array) -> Array:
        z = np.sqrt(dof * np.log1p(t**2 / dof)) * (8.0 * dof + 1.0) / (8.0 * dof + 3.0)
        return np.asarray(ndtr(np.sign(t) * z))

    def some(values: Array) -> Array:
        return np.asarray(np.broadcast_to(values, likely.shape)[likely])

    q = columns.shape[1]
    solved: list[Array] = []
    for i in range(q):
        rest = some(columns[:, i, None, None]) - sum((some(factor[i][k]) * solved[k] for k in range(i)), np.zeros(1))
        solved.append(rest / some(factor[i][i]))
    mean = some(offset[:, None, None]) + sum(u * some(factor[q][i]) for i, u in enumerate(solved))
    sd = np.sqrt(sum(u**2 for u in solved) * some(rss) / dof)
    inside = below((scale.high - mean) / sd) - below((scale.low - mean) / sd)
    return np.asarray(np.log(np.maximum(inside, 1e-300)))


def _gram(rows: list[Array], starts: Index, kappa: Array) -> tuple[list[list[Array]], Array]:
    """Return the Gram matrix of rows [S, n] under the noise's precision, as arrays [S, R, K], and half its log det.

    The precision of AR(1) noise is tridiagonal, so rho enters through three sums:
    sum of all products + rho^2 (inner products) - rho (neighbouring products).
    """
    c = len(rows)
    gram: list[list[Array]] = [[np.zeros((1, 1, 1)) for _ in range(c)] for _ in range(c)]
    log_det = np.zeros((1, RHO.size, kappa.size))
    for first, end in itertools.pairwise(starts):
        part = [r[:, first:end] for r in rows]
        one = np.ones((1, end - first))
        ones = _product(one, one)
        share = kappa / (1.0 + kappa * ones)
        level = [_product(p, one) for p in part]
        for i in range(c):
            for j in range(i + 1):
                gram[i][j] = gram[i][j] + _product(part[i], part[j]) - share * level[i] * level[j]
        log_det = log_det + 0.5 * np.log(1.0 - RHO[None, :, None] ** 2) - 0.5 * np.log1p(kappa * ones)
    return gram, log_det


def _product(a: Array, b: Array) -> Array:
    """Return a'P b under every rho, [S, R, 1], for a, b [S, n] of one run."""
    whole = np.einsum("sn,sn->s", *np.broadcast_arrays(a, b))
    ends = a[:, 0] * b[:, 0] + a[:, -1] * b[:, -1]
    across = np.einsum("sn,sn->s", *np.broadcast_arrays(a[:, 1:], b[:, :-1]))
    across = across + np.einsum("sn,sn->s", *np.broadcast_arrays(a[:, :-1], b[:, 1:]))
    out = whole[:, None] + RHO**2 * (whole - ends)[:, None] - RHO * across[:, None]
    return np.asarray(out[:, :, None])


def _cholesky(gram: list[list[Array]]) -> list[list[Array]]:
    """Return the lower factor of matrices given entry by entry; a pivot that is not positive becomes tiny."""
    c = len(gram)
    factor: list[list[Array]] = [[np.zeros((1, 1, 1)) for _ in range(c)] for _ in range(c)]
    for i in range(c):
        for j in range(i + 1):
            rest = gram[i][j] - sum((factor[i][k] * factor[j][k] for k in range(j)), np.zeros((1, 1, 1)))
            if i == j:
                factor[i][i] = np.sqrt(np.maximum(rest, 1e-14 * np.abs(gram[i][i]) + 1e-300))
            else:
                factor[i][j] = rest / factor[j][j]
    return factor
