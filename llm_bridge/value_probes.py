"""Probes that read the value of a state off a vector: linear ones in closed form, and small networks.

Every probe is fitted to states with the mean return of the visits to each, weighted by their number, and asked about
other states. Vectors are standardised by the fitted states. How strongly a linear probe is held back, and when a
network stops, is decided on problems that are held back from the fit: states of one problem stay together.

Shapes: N states to fit, M states to ask about, D numbers a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaws.policy import Array

FOLDS = 4
PENALTIES = tuple(10.0 ** np.arange(-4, 3))
"""Ridge penalties that are compared, in units of the number of visits."""
STEPS, LOOK, RATE, DECAY = 200, 10, 0.01, 1e-3
"""Steps of a network's fit (all states a step), steps from one look at the held-back problems to the next, Adam's
learning rate, and weight decay."""
FLOOR = -1.0
"""An explained variance below is told as this: how far below zero it lies says nothing."""


class Fitted(NamedTuple):
    """States with what is known of their values.

    Attributes:
        x: Vectors, [N, D].
        y: Mean return of the visits to each, [N].
        weight: Visits, [N].
        problem: Problem of each, [N].
    """

    x: Array
    y: Array
    weight: Array
    problem: NDArray[np.int64]

    def take(self, keep: NDArray[np.bool_]) -> Fitted:
        """Return the states where ``keep`` is true."""
        return Fitted(self.x[keep], self.y[keep], self.weight[keep], self.problem[keep])


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear probe on all directions, or on the first ``rank`` principal components of the vectors.

    Attributes:
        rank: Components; 0 for all directions.
    """

    rank: int = 0

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"rank {self.rank}" if self.rank else "linear"

    def size(self, dims: int) -> int:
        """Return the numbers that are fitted to returns; components are found without them."""
        return 1 + (min(self.rank, dims) if self.rank else dims)

    def said(self, data: Fitted, asked: Array, seed: int) -> Array:
        """Fit, and return the values of other states, [M]; nothing is random, so the seed is not used."""
        scale = Standard.of(data)
        x, other = scale(data.x), scale(asked)
        if self.rank:
            axes = np.linalg.eigh((x * data.weight[:, None]).T @ x)[1][:, ::-1][:, : self.rank]
            x, other = x @ axes, other @ axes
        part = fold_of(data.problem)
        errors = np.zeros(len(PENALTIES))
        for fold in range(FOLDS):
            fit, out = part != fold, part == fold
            several = ridge(x[fit], data.y[fit], data.weight[fit], x[out])
            errors += data.weight[out] @ (several - data.y[out][:, None]) ** 2
        return ridge(x, data.y, data.weight, other)[:, int(errors.argmin())]


@dataclass(frozen=True, slots=True)
class Network:
    """A network of one hidden layer.

    Attributes:
        width: Hidden units.
    """

    width: int

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"width {self.width}"

    def size(self, dims: int) -> int:
        """Return the weights."""
        return (dims + 2) * self.width + 1

    def said(self, data: Fitted, asked: Array, seed: int) -> Array:
        """Fit, and return the values of other states, [M], as of the step that served the held-back problems best."""
        import torch

        scale = Standard.of(data)
        kept = fold_of(data.problem) != 0
        x, y, w, other = (
            torch.from_numpy(np.asarray(a, np.float32)) for a in (scale(data.x), data.y, data.weight, scale(asked))
        )
        start = float(np.average(data.y[kept], weights=data.weight[kept]))
        net = _network(data.x.shape[1], self.width, start, seed)
        optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
        inside, outside = torch.from_numpy(kept), torch.from_numpy(~kept)
        best, told = np.inf, np.full(len(asked), start)
        for step in range(STEPS + 1):
            if step % LOOK == 0:
                with torch.no_grad():
                    error = float((w[outside] * (net(x[outside])[:, 0] - y[outside]) ** 2).sum())
                    if error < best:
                        best, told = error, net(other)[:, 0].double().numpy()
            loss = (w[inside] * (net(x[inside])[:, 0] - y[inside]) ** 2).sum() / w[inside].sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        return np.asarray(told)


def _network(dims: int, width: int, start: float, seed: int) -> Any:
    """Return a network that says ``start`` everywhere at first."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(dims, width), nn.GELU(), nn.Linear(width, 1))
    nn.init.zeros_(net[2].weight)
    nn.init.constant_(net[2].bias, start)
    return net


class Standard(NamedTuple):
    """Mean and standard deviation of each number over the visits, each [D]."""

    mean: Array
    sd: Array

    @staticmethod
    def of(data: Fitted) -> Standard:
        """Return those of states."""
        mean = np.average(data.x, axis=0, weights=data.weight)
        sd = np.sqrt(np.average((data.x - mean) ** 2, axis=0, weights=data.weight))
        return Standard(mean, np.where(sd > 1e-9 * (1 + abs(mean)), sd, 1.0))

    def __call__(self, x: Array) -> Array:
        """Return vectors in standard units, [., D]."""
        return np.asarray((x - self.mean) / self.sd)


def fold_of(problem: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fold of each state, [N]; all states of a problem are in one."""
    return np.unique(problem, return_inverse=True)[1] % FOLDS


def ridge(x: Array, y: Array, weight: Array, asked: Array) -> Array:
    """Return the values of other states under each of the penalties, [M, penalties].

    Args:
        x: [N, D].
        y: [N].
        weight: [N].
        asked: [M, D].
    """
    mean, level = np.average(x, axis=0, weights=weight), np.average(y, weights=weight)
    centred = x - mean
    values, axes = np.linalg.eigh((centred * weight[:, None]).T @ centred)
    along = axes.T @ (centred.T @ (weight * (y - level)))
    held = np.array(PENALTIES) * weight.sum()
    return np.asarray(level + (asked - mean) @ axes @ (along[:, None] / (np.maximum(values, 0.0)[:, None] + held)))


def explained(said: Array, first: Array, second: Array, weight: Array) -> float:
    """Return EV = 1 - Var(v - V)/Var(V), free of the noise of returns.

    V is known by two independent unbiased estimates a state, so that Cov(V1, V2) estimates Var(V) and
    Cov(v - V1, v - V2) estimates Var(v - V): their noise is independent and cancels on average.

    Args:
        said: v, [M].
        first: One estimate of V, [M].
        second: Another, [M].
        weight: Visits, [M].

    Returns:
        EV, at least ``FLOOR``; 0 where V does not vary measurably.
    """
    total = covariance(first, second, weight)
    return max(FLOOR, 1.0 - covariance(said - first, said - second, weight) / total) if total > 0 else 0.0


def covariance(a: Array, b: Array, weight: Array) -> float:
    """Return the weighted covariance."""
    return float(np.average((a - np.average(a, weights=weight)) * (b - np.average(b, weights=weight)), weights=weight))


def explained_returns(said: Array, mean: Array, weight: Array) -> float:
    """Return EV = 1 - Var(R - v)/Var(R) against the visits' own returns of 0 or 1, at least ``FLOOR``.

    Args:
        said: v, [M].
        mean: Mean return of the visits to each state, [M].
        weight: Visits, [M].
    """
    noise = float(np.average(mean * (1.0 - mean), weights=weight))
    total = noise + covariance(mean, mean, weight)
    return max(FLOOR, 1.0 - (noise + covariance(mean - said, mean - said, weight)) / total) if total > 0 else 0.0


def slopes(explained: Sequence[float], critic: Sequence[float], policy: Sequence[float]) -> tuple[float, float]:
    """Return c1 and c2 of EV = c0 + c1 log10 N_V - c2 log10 N_pi by least squares.

    Args:
        explained: EV, [n].
        critic: N_V, [n].
        policy: N_pi, [n].
    """
    design = np.stack([np.ones(len(critic)), np.log10(critic), np.log10(policy)], axis=1)
    found = np.linalg.lstsq(design, np.asarray(explained, dtype=float), rcond=None)[0]
    return float(found[1]), float(-found[2])
