"""The credit-assignment chain: many steps, one outcome at the end, and how much of it reaches each step.

**World.** L steps; at step t = 1 ... L the policy acts right with probability p_t. A state says whether the solution is
on track, z_0 = 1; after the last step a verifier looks at it and pays R, 1 or 0.

| symbol | field | meaning |
|---|---|---|
| L | ``length`` | steps |
| p_t | ``p`` | P(c_t = 1), the step is right; one number or L of them |
| r | ``recovery`` | P(z_t = 1 given z_{t-1} = 0), whatever the step |
| e | ``slip`` | P(z_t = 0 given z_{t-1} = 1, c_t = 1) |
| f | ``forgiveness`` | P(z_t = 1 given z_{t-1} = 1, c_t = 0) = f (1 - e) |
| fp | ``false_positive`` | P(R = 1 given z_L = 0) |
| fn | ``false_negative`` | P(R = 0 given z_L = 1) |
| s | ``dense_noise`` | standard deviation of x_t ~ N(0, s^2), which every step adds to the return |
| G_t | | R + x_t + ... + x_L, the return from step t |
| b | ``baseline`` | what is subtracted from the return; with groups, the mean return of the others of the group |
| g_t | | (c_t - p_t)(G_t - b), score-function gradient of the logit of the right action at t |

With a_t = (1 - e)(p_t + (1 - p_t) f) and l_t = a_t - r the mean is
E[g_t] = p_t (1 - p_t)(1 - e)(1 - f) P(z_{t-1} = 1) (l_{t+1} ... l_L)(1 - fp - fn). ``sim/exact/chain.py`` has it and
the second moment in every regime.

**Functions.** ``gradient_sums`` (moments of g_t), ``state_counts`` (transitions of z and rewards), ``sample`` (raw
rows). ``rollouts`` is the number in *each* cluster; clusters are independent batches. Same seed, same numbers: results
are bitwise the same for any ``threads`` and ``chunk``. ``gradient_sums`` without groups, ``state_counts`` and
``sample`` with the same seed speak of the same rollouts (but for the event-driven form, which draws otherwise).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim import chain_kernels as kernels
from sim.exact import chain as exact
from sim.rng import LANES, WORDS, seed_word, split_threshold

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Method = Literal["auto", "dense", "events"]

# The event-driven form costs about as much an error as the dense one costs 100 chain-steps.
RARE = 0.01
UNIT_STEPS = 1 << 25  # chain-steps of a unit of work, about 2 ms
CALL_STEPS = 1 << 27  # chain-steps handed to a thread at a time, unless asked otherwise
_FRACTIONS = ("recovery", "slip", "forgiveness", "false_positive", "false_negative")


@dataclass(frozen=True, slots=True, eq=False)
class ChainWorld:
    """Parameters of the chain; the module's table has the symbols.

    Attributes:
        length: Steps L, at least 1.
        p: Probability of a right step, one number or [L].
        recovery: r.
        slip: e.
        forgiveness: f.
        false_positive: fp.
        false_negative: fn.
        dense_noise: s, at least 0, in units of the reward.

    Raises:
        ValueError: A parameter outside its range; the message names it.
    """

    length: int
    p: float | Array
    recovery: float = 0.0
    slip: float = 0.0
    forgiveness: float = 0.0
    false_positive: float = 0.0
    false_negative: float = 0.0
    dense_noise: float = 0.0

    def __post_init__(self) -> None:
        _check_whole("length", self.length, 1)
        p = np.asarray(self.p, dtype=np.float64)
        if p.shape not in ((), (self.length,)):
            raise ValueError(f"p must be one number or have one for each of the {self.length} steps, not {p.shape}.")
        if not np.all((p >= 0.0) & (p <= 1.0)):
            raise ValueError(f"p must lie in [0, 1] at every step; it runs from {np.min(p)} to {np.max(p)}.")
        for name in _FRACTIONS:
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], not {value}.")
        if not 0.0 <= self.dense_noise < np.inf:
            raise ValueError(f"dense_noise is a standard deviation: finite and at least 0, not {self.dense_noise}.")

    @property
    def right(self) -> Array:
        """p_t, [L]."""
        return np.ascontiguousarray(np.broadcast_to(np.asarray(self.p, dtype=np.float64), (self.length,)))

    @property
    def strict(self) -> bool:
        """Whether one error decides: no slip, no forgiveness, no recovery, so that z_t = c_1 ... c_t."""
        return self.recovery == self.slip == self.forgiveness == 0.0


@dataclass(frozen=True, slots=True, eq=False)
class LinearReward:
    """R = sum_t weights_t c_t + noise N(0, 1): a reward that adds up, in place of the chain's outcome.

    Attributes:
        weights: [L].
        noise: Standard deviation of the reward, at least 0.
    """

    weights: Array
    noise: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class GradientSums:
    """Sums over the rollouts of each cluster; moments follow, e.g. mean = s1.sum(0) / n.sum().

    Attributes:
        n: Rollouts, [clusters].
        s1: Sum of g_t, [clusters, L].
        s2: Sum of g_t^2, [clusters, L].
        hits: Sum of R, [clusters].
        baseline: The constant b, or NaN where it was the mean of a group.
        method: "dense" or "events", what was run.
    """

    n: Counts
    s1: Array
    s2: Array
    hits: Array
    baseline: float
    method: str

    @property
    def mean(self) -> Array:
        """Mean of g_t over all clusters, [L]."""
        return np.asarray(self.s1.sum(0) / self.n.sum(), dtype=np.float64)

    @property
    def std(self) -> Array:
        """Standard deviation of g_t over all clusters, [L]."""
        return np.asarray(np.sqrt(np.maximum(self.s2.sum(0) / self.n.sum() - self.mean**2, 0.0)), dtype=np.float64)

    @property
    def snr(self) -> Array:
        """Signal-to-noise ratio mean / std of one rollout's g_t, [L]; NaN where g_t never varies."""
        std = self.std
        return np.divide(self.mean, std, out=np.full_like(std, np.nan), where=std > 0)


@dataclass(frozen=True, slots=True, eq=False)
class StateCounts:
    """Transitions of the state and rewards of each cluster.

    Attributes:
        n: Rollouts, [clusters].
        transitions: [clusters, L, 2, 2]; entry [.., t, i, j] counts z_t = i, z_{t+1} = j for t = 0 ... L - 1 (z_0 = 1).
        hits: Rollouts with R = 1, [clusters].
    """

    n: Counts
    transitions: Counts
    hits: Counts


def gradient_sums(
    world: ChainWorld,
    rollouts: int,
    seed: int,
    *,
    baseline: Literal["mean", "zero"] | float = "mean",
    groups: int = 1,
    clusters: int = 1,
    reward: LinearReward | None = None,
    method: Method = "auto",
    threads: int | None = None,
    chunk: int | None = None,
) -> GradientSums:
    """Simulate the chain and sum g_t = (c_t - p_t)(G_t - b) and its square at every step.

    Args:
        world: The chain.
        rollouts: Rollouts of each cluster; a multiple of ``groups``.
        seed: From 0 to 2**64 - 1.
        baseline: b: "mean" is the exact E[R], "zero" is 0, or a number.
        groups: Rollouts of a group; above 1 (to 512), b is the mean return from t of the *other* rollouts of the group.
        clusters: Independent batches.
        reward: A linear reward in place of the outcome; only in a world without state parameters, verifier errors and
            dense noise.
        method: "dense" draws every step; "events" jumps from error to error (strict chains without dense noise), with
            the same distribution from other draws; "auto" takes events where fewer than 1 % of the steps are wrong.
        threads: Threads that share the work; 1 by default (studies run cells side by side).
        chunk: Units of work (about 2**25 chain-steps) handed to a thread at a time.

    Returns:
        Sums by cluster.

    Raises:
        ValueError: An argument outside its range, or a combination that does not exist; the message says which.
    """
    _check_work(rollouts, clusters, threads, chunk)
    _check_whole("groups", groups, 1)
    if groups > LANES or rollouts % groups:
        raise ValueError(f"groups must be at most {LANES} and divide rollouts; groups={groups}, rollouts={rollouts}.")
    if reward is not None:
        _check_linear(world, reward)
    b = _constant_baseline(world, baseline, groups, reward)
    events = _use_events(world, reward, method)
    run = _Run(world, rollouts, clusters, groups, seed_word(seed), threads or 1, chunk)
    pay = _pay(world, reward, b)
    if events:
        wrong, total, hits = _event_sums(run, pay)
    elif world.dense_noise > 0.0:
        wrong, total, hits = _noisy_sums(run, pay)
    elif groups > 1 or reward is not None:
        wrong, total, hits = _weighted_sums(run, pay)
    else:
        wrong, total, hits = _counted_sums(run, b)
    p = world.right
    return GradientSums(
        n=np.full(clusters, rollouts, dtype=np.int64),
        s1=(1.0 - p) * total[..., 0] - wrong[..., 0],
        s2=(1.0 - p) ** 2 * (total[..., 1] - wrong[..., 1]) + p**2 * wrong[..., 1],
        hits=hits,
        baseline=b if groups == 1 else float("nan"),
        method="events" if events else "dense",
    )


def state_counts(
    world: ChainWorld, rollouts: int, seed: int, clusters: int = 1, *, threads: int | None = None
) -> StateCounts:
    """Count the transitions z_t -> z_{t+1} and the rewards, to estimate I(z_t; z_{t+1}) and P(R = 1).

    Args:
        world: The chain; ``dense_noise`` plays no part.
        rollouts: Rollouts of each cluster.
        seed: From 0 to 2**64 - 1.
        clusters: Independent batches.
        threads: Threads that share the work; 1 by default.
    """
    _check_work(rollouts, clusters, threads, None)
    transitions = np.zeros((clusters, world.length, 2, 2), dtype=np.int64)
    hits = np.zeros(clusters, dtype=np.int64)
    run = _Run(world, rollouts, clusters, 1, seed_word(seed), threads or 1, None)
    for unit, _, states, outcome in _traces(run):
        cluster, held = run.held(unit)
        active = _lowest_ones(held)
        before = np.concatenate([active[None], states[:-1] & active])
        after = states & active
        came, went, stayed = (np.bitwise_count(x).sum(1, dtype=np.int64) for x in (before, after, before & after))
        now = transitions[cluster]
        now[:, 1, 1] += stayed
        now[:, 1, 0] += came - stayed
        now[:, 0, 1] += went - stayed
        now[:, 0, 0] += held - came - went + stayed
        hits[cluster] += int(np.bitwise_count(outcome).sum())
    return StateCounts(np.full(clusters, rollouts, dtype=np.int64), transitions, hits)


def sample(
    world: ChainWorld, rollouts: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return raw rows: right steps c [M, L], states z_1 ... z_L [M, L] and rewards R [M], as 0 and 1.

    Args:
        world: The chain; ``dense_noise`` plays no part.
        rollouts: M.
        seed: From 0 to 2**64 - 1.
    """
    _check_work(rollouts, 1, None, None)
    run = _Run(world, rollouts, 1, 1, seed_word(seed), 1, None)
    c = np.empty((rollouts, world.length), dtype=np.uint8)
    z, r = np.empty_like(c), np.empty(rollouts, dtype=np.uint8)
    for unit, wrong, states, outcome in _traces(run):
        rows = slice(unit * LANES, min((unit + 1) * LANES, rollouts))
        held = rows.stop - rows.start
        c[rows] = 1 - _unpack(wrong)[:, :held].T
        z[rows] = _unpack(states)[:, :held].T
        r[rows] = _unpack(outcome[None])[0, :held]
    return c, z, r


# ---------------------------------------------------------------- checks
def _check_whole(name: str, value: int, least: int) -> None:
    """Refuse what is not a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}.")


def _check_work(rollouts: int, clusters: int, threads: int | None, chunk: int | None) -> None:
    """Check how much is asked for."""
    for name, value in (("rollouts", rollouts), ("clusters", clusters), ("threads", threads), ("chunk", chunk)):
        if value is not None:
            _check_whole(name, value, 1)


def _check_linear(world: ChainWorld, reward: LinearReward) -> None:
    """A linear reward sees the steps alone."""
    others = (*_FRACTIONS, "dense_noise")
    used = [name for name in others if getattr(world, name) > 0.0]
    if used:
        raise ValueError(f"a LinearReward does not look at the state: set {', '.join(used)} to 0.")
    if np.shape(reward.weights) != (world.length,) or not np.all(np.isfinite(reward.weights)):
        raise ValueError(f"LinearReward.weights must be {world.length} finite numbers, one a step.")
    if not 0.0 <= reward.noise < np.inf:
        raise ValueError(f"LinearReward.noise must be finite and at least 0, not {reward.noise}.")


def _constant_baseline(world: ChainWorld, baseline: str | float, groups: int, reward: LinearReward | None) -> float:
    """Return b; with groups nothing but the default may be asked for."""
    if groups > 1:
        if baseline != "mean":
            raise ValueError(f"with groups={groups} the baseline is the group's; leave baseline at 'mean'.")
        return 0.0
    if baseline == "mean":
        if reward is not None:
            return float(np.dot(reward.weights, world.right))
        return exact.success_probability(world)
    if baseline == "zero":
        return 0.0
    if isinstance(baseline, str) or not np.isfinite(baseline):
        raise ValueError(f"baseline must be 'mean', 'zero' or a finite number, not {baseline!r}.")
    return float(baseline)


def _use_events(world: ChainWorld, reward: LinearReward | None, method: str) -> bool:
    """Choose between the two forms."""
    if method not in ("auto", "dense", "events"):
        raise ValueError(f"method must be 'auto', 'dense' or 'events', not {method!r}.")
    possible = world.strict and reward is None and world.dense_noise == 0.0
    if method == "events" and not possible:
        raise ValueError(
            "method='events' needs recovery, slip, forgiveness and dense_noise = 0 and the outcome reward."
        )
    return possible and (method == "events" or (method == "auto" and float(np.mean(1.0 - world.right)) < RARE))


# ---------------------------------------------------------------- work
@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What a call works on; ``shape`` cuts it into units."""

    world: ChainWorld
    rollouts: int
    clusters: int
    groups: int
    seed: np.uint64
    threads: int
    chunk: int | None

    def shape(self, lanes: int, unit_steps: int = UNIT_STEPS) -> kernels.Shape:
        """Cut into blocks of at most ``lanes`` rollouts (whole groups); the cut never depends on threads or chunk."""
        lanes = lanes // self.groups * self.groups
        blocks = -(-self.rollouts // lanes)
        slab = max(1, unit_steps // (lanes * self.world.length))
        units = -(-blocks // slab)
        return kernels.Shape(self.world.length, self.rollouts, lanes, slab, units, self.groups, self.seed)

    def held(self, unit: int) -> tuple[int, int]:
        """Return cluster and rollouts of a unit of one block."""
        cluster, block = divmod(unit, -(-self.rollouts // LANES))
        return cluster, min(LANES, self.rollouts - block * LANES)

    def sweep(self, shape: kernels.Shape, work: Callable[[int, int], Any]) -> Iterator[tuple[int, int, Any]]:
        """Call ``work(first, last)`` over all units and yield (first, last, result) in their order.

        Calls run in ``threads`` threads (kernels release the interpreter lock), a round of them at a time, so that
        memory stays bounded.
        """
        total = shape.units * self.clusters
        steps = shape.length * shape.lanes * min(shape.slab, -(-shape.rollouts // shape.lanes))
        size = self.chunk or max(1, min(CALL_STEPS // steps, -(-total // self.threads)))
        pieces = [(first, min(first + size, total)) for first in range(0, total, size)]
        if self.threads == 1:
            for first, last in pieces:
                yield first, last, work(first, last)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            for start in range(0, len(pieces), self.threads):
                batch = pieces[start : start + self.threads]
                results = pool.map(lambda piece: work(*piece), batch)
                for (first, last), result in zip(batch, results, strict=True):
                    yield first, last, result


def thresholds(world: ChainWorld) -> kernels.Odds:
    """Turn probabilities into thresholds."""
    stay, forgiven = 1.0 - world.slip, world.forgiveness * (1.0 - world.slip)
    chances = np.array([stay, forgiven, world.recovery])
    moves = np.repeat(chances[:, None], world.length, axis=1)
    kind = np.select([chances == 0.0, chances == 1.0], [kernels.NEVER, kernels.ALWAYS], kernels.DRAWN)
    verdict = [1.0 - world.false_negative, world.false_positive]
    wrong = split_threshold(1.0 - world.right)
    return kernels.Odds(*wrong, *split_threshold(moves), kind, *split_threshold(verdict), not world.strict)


def _pay(world: ChainWorld, reward: LinearReward | None, baseline: float) -> kernels.Pay:
    """Group what turns rollouts into advantages."""
    weights = np.zeros(_padded(world.length), dtype=np.float32)
    noise = world.dense_noise
    if reward is not None:
        weights[: world.length] = reward.weights
        noise = reward.noise
    return kernels.Pay(np.float32(baseline), reward is not None, weights, np.float32(noise))


def _padded(length: int) -> int:
    """Round up to whole rows of the kernels."""
    return -(-length // kernels.ROWS) * kernels.ROWS


def _add_units(into: NDArray[Any], rows: NDArray[Any], first: int, units: int) -> None:
    """Add each unit's row to its cluster, one after the other: a fixed order of floating-point sums."""
    if units == 1:
        into[first : first + len(rows)] += rows
    else:
        for unit, row in enumerate(rows, first):
            into[unit // units] += row


def _counted_sums(run: _Run, b: float) -> tuple[Array, Array, Array]:
    """Return sums of (A, A^2) over wrong rollouts [clusters, L, 2] and all [clusters, 1, 2], and of R [clusters]."""
    shape, odds = run.shape(LANES), thresholds(run.world)
    counts = np.zeros((run.clusters, 2, run.world.length), dtype=np.int64)
    hits = np.zeros(run.clusters, dtype=np.int64)

    def work(first: int, last: int) -> tuple[Counts, Counts]:
        rows = np.zeros((last - first, 2, run.world.length), dtype=np.int64)
        rewarded = np.zeros(last - first, dtype=np.int64)
        kernels.count_units(first, last, shape, odds, rows, rewarded)
        return rows, rewarded

    for first, _, (rows, rewarded) in run.sweep(shape, work):
        _add_units(counts, rows, first, shape.units)
        _add_units(hits, rewarded, first, shape.units)

    def moments(n: Any, rewarded: Any) -> Array:
        """Sums of A and A^2 over n rollouts of which ``rewarded`` have R = 1."""
        return np.stack([rewarded - b * n, (1.0 - b) ** 2 * rewarded + b**2 * (n - rewarded)], axis=-1)

    total = moments(np.full((run.clusters, 1), run.rollouts), hits[:, None])
    return moments(counts[:, 0], counts[:, 1]), total, hits.astype(np.float64)


def _swept_sums(run: _Run, shape: kernels.Shape, steps: int, columns: int, call: Any) -> tuple[Array, Array]:
    """Run a kernel that fills ``sums`` [units, steps, columns] and ``totals`` [units, 3]; return both by cluster."""
    sums, totals = np.zeros((run.clusters, steps, columns)), np.zeros((run.clusters, 3))

    def work(first: int, last: int) -> tuple[Array, Array]:
        rows, ends = np.zeros((last - first, steps, columns)), np.zeros((last - first, 3))
        call(first, last, rows, ends)
        return rows, ends

    for first, _, (rows, ends) in run.sweep(shape, work):
        _add_units(sums, rows, first, shape.units)
        _add_units(totals, ends, first, shape.units)
    return sums, totals


def _weighted_sums(run: _Run, pay: kernels.Pay) -> tuple[Array, Array, Array]:
    """Return what ``_counted_sums`` returns, for a group baseline or a linear reward."""
    shape, length, odds = run.shape(LANES), run.world.length, thresholds(run.world)

    def call(first: int, last: int, rows: Array, ends: Array) -> None:
        kernels.weigh_units(first, last, shape, odds, pay, rows, ends)

    sums, totals = _swept_sums(run, shape, _padded(length), 2, call)
    return sums[:, :length], totals[:, None, :2], totals[:, 2]


def _noisy_sums(run: _Run, pay: kernels.Pay) -> tuple[Array, Array, Array]:
    """Return what ``_counted_sums`` returns, with totals [clusters, L, 2], for returns with dense noise."""
    shape, odds = run.shape(LANES, UNIT_STEPS // 8), thresholds(run.world)

    def call(first: int, last: int, rows: Array, ends: Array) -> None:
        kernels.weigh_noisy_units(first, last, shape, odds, pay, rows, ends)

    sums, totals = _swept_sums(run, shape, run.world.length, 4, call)
    return sums[..., :2], sums[..., 2:], totals[:, 2]


def _event_sums(run: _Run, pay: kernels.Pay) -> tuple[Array, Array, Array]:
    """Return what ``_counted_sums`` returns, from the errors alone."""
    shape, world = run.shape(kernels.EVENT_LANES, 16 * UNIT_STEPS), run.world
    wrong = 1.0 - world.right
    with np.errstate(divide="ignore"):
        inverse_rate = -1.0 / np.log1p(-wrong)
    expected = float(wrong.sum()) * min(shape.lanes, shape.rollouts)
    room = int(expected + 8.0 * np.sqrt(expected)) + 64
    rare = (inverse_rate, np.array([1.0 - world.false_negative, world.false_positive]), room)

    def call(first: int, last: int, rows: Array, ends: Array) -> None:
        kernels.event_units(first, last, shape, rare, pay, rows, ends)

    sums, totals = _swept_sums(run, shape, world.length, 2, call)
    return sums, totals[:, None, :2], totals[:, 2]


Bits = NDArray[np.uint64]


def _traces(run: _Run) -> Iterator[tuple[int, Bits, Bits, Bits]]:
    """Yield (unit, wrong [L, 8], states [L, 8], outcome [8]) of every block."""
    length = run.world.length
    shape, odds = run.shape(LANES, 0), thresholds(run.world)

    def work(first: int, last: int) -> tuple[Bits, Bits, Bits]:
        wrong = np.empty((last - first, length, WORDS), dtype=np.uint64)
        states, outcome = np.empty_like(wrong), np.empty((last - first, WORDS), dtype=np.uint64)
        kernels.trace_units(first, last, shape, odds, wrong, states, outcome)
        return wrong, states, outcome

    for first, last, arrays in run.sweep(shape, work):
        for unit in range(first, last):
            wrong, states, outcome = (a[unit - first] for a in arrays)
            yield unit, wrong, states, outcome


def _lowest_ones(n: int) -> Bits:
    """Return eight words of which the lowest ``n`` bits are one."""
    return np.packbits(np.arange(LANES) < n, bitorder="little").view("<u8").astype(np.uint64)


def _unpack(bits: Bits) -> NDArray[np.uint8]:
    """Turn rows of eight words into rows of 512 zeros and ones."""
    return np.unpackbits(bits.astype("<u8").view(np.uint8), axis=-1, bitorder="little")
