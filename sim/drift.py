"""The policy world: a softmax over answers that fall into K modes (ideas) of S_m synonyms (wordings) each.

With π the policy, P_m the mass of mode m, r_a the reward of an answer and the regularised reward

    q_a = r_a - β log(π_a / anchor_a) - τ_token log π_a - τ_semantic log P_mode(a),     A_a = q_a - Σ π q

the flows of the logits are (time = learning rate x updates)

    pg     dθ_a/dt = π_a A_a              softmax policy gradient
    grpo   dθ_a/dt = π_a A_a / sd(r)      advantage divided by the rewards' standard deviation
    npg    dθ_a/dt = A_a                  natural gradient: the replicator equation dπ_a/dt = π_a A_a

An anchor is nothing (β = 0), the policy at the start ("static"), or a trailing mean of the logits ("ema"),
dφ/dt = α (θ - φ). Flows are solved as differential equations (``flow``, an adaptive Runge-Kutta method of SciPy).

With a finite batch of B answers an update is random (``train``; numba). A policy that imitates what it sampled and was
rewarded, π += step (share seen - π), is the Wright-Fisher process whose small-step limit is Kimura's diffusion. The
same batch in the logits is not: there the *logit* has no mean drift, and dp gains the Itô term (1 - 2p) of its noise,
which holds p off the edges (``sim.exact.drift``).

How it is known to be right: ``sim.exact.drift`` (replicator, Gibbs tilt, Kimura, exit times), ``sim.slow.drift``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from scipy.special import logsumexp

from rlaws.errors import suggest
from sim import drift_kernels as kernels
from sim.rng import seed_word

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
FLOWS = ("pg", "grpo", "npg")
SAMPLED = {"pg": kernels.PG, "grpo": kernels.GRPO, "npg": kernels.NPG, "imitate": kernels.IMITATE}
BONUSES = ("none", "token", "semantic", "static", "ema")


@dataclass(frozen=True, slots=True)
class Answers:
    """What can be answered, for P problems at once.

    Attributes:
        rewards: Reward of each answer, [P, A].
        mode: Mode of each answer, 0 .. K-1, [A].
        logits: Logits before training, [P, A].
    """

    rewards: Array
    mode: Ints
    logits: Array

    def __post_init__(self) -> None:
        if self.rewards.shape != self.logits.shape or self.mode.shape != self.rewards.shape[1:]:
            raise ValueError("rewards and logits need shape [P, A] and mode [A].")
        if set(self.mode.tolist()) != set(range(int(self.mode.max()) + 1)):
            raise ValueError("modes must be numbered 0 .. K-1 without gaps.")

    @property
    def members(self) -> Array:
        """Which answer belongs to which mode, [A, K], ones and zeros."""
        return np.eye(int(self.mode.max()) + 1)[self.mode]


@dataclass(frozen=True, slots=True)
class Pull:
    """What holds a policy back.

    Attributes:
        kind: none, token or semantic (entropy bonus), static or ema (KL penalty to an anchor).
        strength: Its weight, in units of reward; not negative.
        alpha: Rate at which the "ema" anchor follows, one over the unit of time.
    """

    kind: str = "none"
    strength: float = 0.0
    alpha: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in BONUSES:
            raise ValueError(f"bonus = '{self.kind}' is not known.{suggest(self.kind, BONUSES)}")
        if not (0 <= self.strength < np.inf and 0 < self.alpha < np.inf):
            raise ValueError(f"strength = {self.strength} must not be negative, alpha = {self.alpha} be positive.")


FREE = Pull()


def answers(synonyms: Sequence[int], rewards: ArrayLike, logits: ArrayLike) -> Answers:
    """Return problems whose modes have so many synonyms.

    Args:
        synonyms: S_m, [K].
        rewards: Reward of each mode, [K] or [P, K].
        logits: Logits of the answers, [P, A] with A = sum S_m.
    """
    mode = np.repeat(np.arange(len(synonyms)), synonyms)
    start = np.atleast_2d(np.asarray(logits, dtype=np.float64))
    per_mode = np.broadcast_to(np.asarray(rewards, dtype=np.float64), (len(start), len(synonyms)))
    return Answers(np.ascontiguousarray(per_mode[:, mode]), mode, start.copy())


def log_softmax(theta: Array) -> Array:
    """Return log π of logits [..., A]."""
    return np.asarray(theta - logsumexp(theta, axis=-1, keepdims=True))


def velocity(world: Answers, theta: Array, anchor: Array, algorithm: str, pull: Pull) -> Array:
    """Return dθ/dt of every problem, [P, A]."""
    log_pi = log_softmax(theta)
    pi, q = np.exp(log_pi), world.rewards
    if pull.kind == "token":
        q = q - pull.strength * log_pi
    elif pull.kind == "semantic":
        q = q - pull.strength * np.log(np.maximum(pi @ world.members, 1e-300))[:, world.mode]
    elif pull.kind != "none":
        q = q - pull.strength * (log_pi - log_softmax(anchor))
    advantage = q - (pi * q).sum(axis=1, keepdims=True)
    if algorithm == "npg":
        return np.asarray(advantage)
    if algorithm == "grpo":
        centred = world.rewards - (pi * world.rewards).sum(axis=1, keepdims=True)
        advantage = advantage / np.sqrt(np.maximum((pi * centred**2).sum(axis=1, keepdims=True), 1e-12))
    return np.asarray(pi * advantage)


def flow(world: Answers, times: Sequence[float], algorithm: str, pull: Pull = FREE, rtol: float = 1e-7) -> Array:
    """Return the logits at rising times, [T, P, A]: expected gradient, infinitely small steps.

    Args:
        world: The problems; they start from ``world.logits``.
        times: Learning rate x updates, rising.
        algorithm: pg, grpo or npg.
        pull: What holds the policy back.
        rtol: Relative tolerance of the solver.

    Raises:
        ValueError: Unknown algorithm, times that do not rise, or a solver that gives up.
    """
    if algorithm not in FLOWS:
        raise ValueError(f"algorithm = '{algorithm}' is not known.{suggest(algorithm, FLOWS)}")
    at = np.asarray(times, dtype=np.float64)
    if at.size == 0 or at[0] < 0 or np.any(np.diff(at) <= 0):
        raise ValueError("times must rise and not be negative.")
    shape, ema = world.logits.shape, pull.kind == "ema"

    def rhs(_: float, y: Array) -> Array:
        state = y.reshape(-1, *shape)
        anchor = state[1] if ema else world.logits
        moved = velocity(world, state[0], anchor, algorithm, pull)
        return np.concatenate([moved.ravel(), pull.alpha * (state[0] - state[1]).ravel()]) if ema else moved.ravel()

    start = np.tile(world.logits.ravel(), 2) if ema else world.logits.ravel()
    solved = solve_ivp(rhs, (0.0, float(at[-1])), start, method="RK45", t_eval=at, rtol=rtol, atol=1e-9)
    if not solved.success:
        raise ValueError(f"The flow could not be solved: {solved.message}")
    return np.asarray(solved.y.T.reshape(at.size, -1, *shape)[:, 0])


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs trained with finite batches.

    Attributes:
        logits: [runs, A].
        fixed: Update after which a mode held the level, [runs]; 0 for not yet.
        updates: Updates so far.
    """

    logits: Array
    fixed: Ints
    updates: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """How a finite batch moves a policy.

    Attributes:
        algorithm: pg, grpo, npg, or imitate (a move of the probabilities towards the rewarded answers).
        size: Answers B in a batch.
        step: Step size; for imitate at most 1.
        baseline: Whether the batch's mean reward is subtracted.
        flip: Chance that the verifier takes right for wrong and wrong for right, in [0, 1/2].
    """

    algorithm: str
    size: int
    step: float
    baseline: bool = False
    flip: float = 0.0

    def __post_init__(self) -> None:
        if self.algorithm not in SAMPLED:
            raise ValueError(f"algorithm = '{self.algorithm}' is not known.{suggest(self.algorithm, SAMPLED)}")
        if self.size < 1 or not 0 <= self.step < np.inf or not 0 <= self.flip <= 0.5:
            raise ValueError(f"size = {self.size}, step = {self.step}, flip = {self.flip}: out of range.")
        if self.algorithm == "imitate" and (self.step > 1 or self.baseline):
            raise ValueError("imitate moves probabilities: its step is at most 1, and it takes no baseline.")


def start(world: Answers) -> Runs:
    """Return the runs before training, one a problem."""
    return Runs(world.logits.copy(), np.zeros(len(world.logits), dtype=np.int64))


def train(world: Answers, runs: Runs, batch: Batch, updates: int, seed: int, level: float = 1.0) -> Runs:
    """Return the runs after further updates.

    Args:
        world: The problems, one a run.
        runs: Where they stand; not changed.
        batch: How a batch moves them.
        updates: Number of updates.
        seed: 64-bit word; the same seed continues the same run.
        level: A run in which a mode reaches this mass is stopped; 1 never stops.
    """
    how = kernels.Batches(
        SAMPLED[batch.algorithm], batch.size, float(batch.step), int(batch.baseline), float(batch.flip), float(level),
        int(updates), runs.updates,
    )  # fmt: skip
    logits, fixed = runs.logits.copy(), runs.fixed.copy()
    kernels.train_runs(logits, world.rewards, world.mode, how, seed_word(seed), fixed)
    return Runs(logits, fixed, runs.updates + int(updates))


# ---------------------------------------------------------------- what a policy tells
def mode_mass(world: Answers, logits: Array) -> Array:
    """Return the probability of each mode, [..., P, K]."""
    return np.asarray(np.exp(log_softmax(logits)) @ world.members)


def semantic_entropy(world: Answers, logits: Array) -> Array:
    """Return the entropy over modes in nats, [..., P]."""
    mass = mode_mass(world, logits)
    return np.asarray(-(mass * np.log(np.maximum(mass, 1e-300))).sum(axis=-1))


def token_entropy(logits: Array) -> Array:
    """Return the entropy over answers in nats, [..., P]."""
    log_pi = log_softmax(logits)
    return np.asarray(-(np.exp(log_pi) * log_pi).sum(axis=-1))


def mean_reward(world: Answers, logits: Array) -> Array:
    """Return the expected reward, [..., P]."""
    return np.asarray((np.exp(log_softmax(logits)) * world.rewards).sum(axis=-1))
