"""The credit-assignment chain: mean and standard deviation of the score-function gradient at each of 1000 steps.

| case | chain | reward and baseline |
|---|---|---|
| all | one error decides; p_t = 1 - (1/2 + t/(L-1))/L, so that P(success) is about 1/e | outcome, b = E[R] |
| rare | the same world, jumping from error to error | outcome, b = E[R] |
| group | the same world | outcome, b = mean of the other 7 of a group of 8 |
| linear | p_t from 0.3 to 0.9 | mean of the steps + 0.05 N(0, 1), b = E[R] |
| recovery | p = 0.9, r = 0.2 | outcome, b = E[R] |
| state | p = 0.9, r = 0.2, e = 0.05, f = 0.3, fp = 0.1, fn = 0.1 | outcome, b = E[R] |
| noise | the world of "all" with dense noise 0.05 a step | outcome + noise from the step on, b = E[R] |

Entries: this project's simulator through its public function; the same algorithm by hand in C (``chain_limit.c``);
NumPy as one writes it first; NumPy tuned (raw 32-bit words against integer thresholds, one float32 matrix product);
torch and jax where they can be imported. Rates count chain-steps, rollouts times L, also where right steps are never
visited.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.run import LIMIT, Contest, Skip, compile_c
from sim import chain_kernels as kernels
from sim.chain import ChainWorld, LinearReward, gradient_sums, thresholds
from sim.exact import chain as exact
from sim.rng import LANES

TITLE = "W1 credit-assignment chain"
UNIT = "chain-steps"
LENGTH, ROLLOUTS = 1000, 100_000
ALARM = 1e-6

Array = NDArray[np.float64]
Result = tuple[Array, Array]
Run = Callable[[int], Result]


@dataclass(frozen=True)
class Case:
    """A world and how its rollouts are paid."""

    world: ChainWorld
    groups: int = 1
    reward: LinearReward | None = None
    method: str = "dense"
    rollouts: int = ROLLOUTS

    def moments(self) -> exact.Moments:
        if self.reward is not None:
            return exact.linear_moments(self.world, self.reward.weights, self.reward.noise)
        return exact.gradient_moments(self.world, "mean", self.groups)

    def baseline(self) -> float:
        if self.reward is not None:
            return float(self.reward.weights @ self.world.right)
        return exact.success_probability(self.world)

    @property
    def still(self) -> bool:
        """Whether the advantage of a rollout is one number, and no state is needed."""
        return self.world.strict and self.world.dense_noise == 0.0


def cases() -> Mapping[str, Case]:
    x = np.arange(LENGTH) / (LENGTH - 1)
    rare = 1.0 - (0.5 + x) / LENGTH
    return {
        "all": Case(ChainWorld(LENGTH, rare)),
        "rare": Case(ChainWorld(LENGTH, rare), method="events"),
        "group": Case(ChainWorld(LENGTH, rare), groups=8),
        "linear": Case(ChainWorld(LENGTH, 0.3 + 0.6 * x), reward=LinearReward(np.full(LENGTH, 1 / LENGTH), 0.05)),
        "recovery": Case(ChainWorld(LENGTH, 0.9, recovery=0.2)),
        "state": Case(ChainWorld(LENGTH, 0.9, 0.2, 0.05, 0.3, 0.1, 0.1)),
        "noise": Case(ChainWorld(LENGTH, rare, dense_noise=0.05)),
    }


def check(case: Case, result: Result, rollouts: int) -> str | None:
    """Compare with the closed form: means by |z|, their mean square, and the pooled second moment.

    A right result fails with probability below 1e-5. With few rollouts the rare errors make z far from normal; then the
    pooled figures alone are looked at.
    """
    mean, std = result
    truth = case.moments()
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(std))):
        return "not finite"
    z = (mean - truth.mean) / (truth.std / np.sqrt(rollouts))
    worst = stats.norm.isf(ALARM / z.size / 2) * 1.2  # sums of rare errors have heavier tails than the normal
    if rollouts >= 50_000 and np.abs(z).max() > worst:
        return f"mean off by {np.abs(z).max():.1f} standard errors"
    if not 0.3 < np.mean(z**2) < 2.0:
        return f"mean square of z is {np.mean(z**2):.2f}"
    ratio = float(np.mean((std**2 + mean**2) / truth.second))
    return None if abs(ratio - 1.0) < 8.0 / np.sqrt(rollouts) else f"second moment off by {ratio - 1.0:.1e}"


def moments_of(sums: Array, totals: Array, p: Array, n: int) -> Result:
    """Turn sums of A and A^2 over wrong rollouts [L, 2] and over all [2] or [L, 2] into mean and std of g_t."""
    mean = ((1.0 - p) * totals[..., 0] - sums[:, 0]) / n
    second = ((1.0 - p) ** 2 * (totals[..., 1] - sums[:, 1]) + p**2 * sums[:, 1]) / n
    return mean, np.sqrt(np.maximum(second - mean**2, 0.0))


# ---------------------------------------------------------------- this project
def ours(case: Case, threads: int) -> Run:
    def run(seed: int) -> Result:
        sums = gradient_sums(
            case.world,
            case.rollouts,
            seed,
            groups=case.groups,
            reward=case.reward,
            method=case.method,  # type: ignore[arg-type]
            threads=threads,
        )
        return sums.mean, sums.std

    return run


# ---------------------------------------------------------------- C
def _address(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)


class Job(ctypes.Structure):
    """The struct of ``chain_limit.c``."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("length", "rollouts", "lanes", "group")),
        ("seed", ctypes.c_uint64),
        *((f"{what}_{part}", ctypes.c_void_p) for what in ("wrong",) for part in ("levels", "rest")),
        *((f"move_{part}", ctypes.c_void_p) for part in ("levels", "rest", "kind")),
        *((f"verdict_{part}", ctypes.c_void_p) for part in ("levels", "rest")),
        ("moves", ctypes.c_int64),
        ("linear", ctypes.c_int64),
        ("weights", ctypes.c_void_p),
        ("inverse_rate", ctypes.c_void_p),
        ("baseline", ctypes.c_float),
        ("noise", ctypes.c_float),
    ]


def limit(case: Case, threads: int) -> Run:
    """The C program on one thread; ``kept`` holds the arrays that the struct points to."""
    if threads > 1:
        raise Skip("the limit is one thread's")
    lib = compile_c("chain_limit.c")
    world, length = case.world, case.world.length
    odds = thresholds(world)
    padded = -(-length // kernels.ROWS) * kernels.ROWS
    weights = np.zeros(padded, dtype=np.float32)
    if case.reward is not None:
        weights[:length] = case.reward.weights
    kept = [np.ascontiguousarray(a) for a in (*odds[:-1], weights, -1.0 / np.log(world.right))]
    lanes = kernels.EVENT_LANES if case.method == "events" else LANES
    noise = case.reward.noise if case.reward is not None else world.dense_noise
    job = Job(
        length,
        case.rollouts,
        lanes // case.groups * case.groups,
        case.groups,
        0,
        *(_address(a) for a in kept[:-2]),
        int(odds.moves),
        int(case.reward is not None),
        _address(kept[-2]),
        _address(kept[-1]),
        0.0 if case.groups > 1 else case.baseline(),
        noise,
    )
    sums, totals, counts = np.empty((padded, 4)), np.empty(3), np.empty(2 * length + 1, dtype=np.int64)

    def run(seed: int) -> Result:
        job.seed = seed
        assert kept
        return _call_limit(lib, job, case, (sums, totals, counts))

    return run


def _call_limit(lib: ctypes.CDLL, job: Job, case: Case, arrays: tuple[Array, Array, NDArray[np.int64]]) -> Result:
    """Pick the loop that the case needs and finish its sums."""
    sums, totals, counts = arrays
    p, n, length = case.world.right, case.rollouts, case.world.length
    reference, b = ctypes.byref(job), case.baseline()
    if case.world.dense_noise > 0.0:
        lib.limit_noisy(reference, ctypes.c_void_p(_address(sums)), ctypes.c_void_p(_address(totals)))
        wide = sums.reshape(-1)[: 4 * length].reshape(length, 4)
        return moments_of(wide[:, :2], wide[:, 2:], p, n)
    if case.method == "events" or case.groups > 1 or case.reward is not None:
        call = lib.limit_events if case.method == "events" else lib.limit_weighted
        call(reference, ctypes.c_void_p(_address(sums)), ctypes.c_void_p(_address(totals)))
        return moments_of(sums.reshape(-1)[: 2 * length].reshape(length, 2), totals[:2], p, n)
    lib.limit_counts(reference, ctypes.c_void_p(_address(counts)))
    wrong, rewarded, hits = counts[:length], counts[length:-1], counts[-1]

    def pair(count: Any, good: Any) -> Array:
        return np.stack([good - b * count, (1 - b) ** 2 * good + b**2 * (count - good)], axis=-1)

    return moments_of(pair(wrong, rewarded), pair(np.int64(n), hits), p, n)


# ---------------------------------------------------------------- NumPy
def numpy_plain(case: Case, threads: int, chunk: int = 1000) -> Run:
    """What one writes first: uniform doubles, one loop over steps for the state, g materialised."""
    world, p, n = case.world, case.world.right, PEER_ROLLOUTS

    def rewards(rng: np.random.Generator, c: NDArray[np.bool_]) -> Array:
        if case.reward is not None:
            return c @ case.reward.weights + case.reward.noise * rng.standard_normal(len(c))
        if world.strict:
            on = c.all(1)
        else:
            u, on = rng.random(c.shape), np.ones(len(c), dtype=bool)
            for t in range(world.length):
                stay = np.where(c[:, t], 1.0 - world.slip, world.forgiveness * (1.0 - world.slip))
                on = u[:, t] < np.where(on, stay, world.recovery)
        return (rng.random(len(c)) < np.where(on, 1.0 - world.false_negative, world.false_positive)).astype(float)

    def run(seed: int) -> Result:
        rng = np.random.default_rng(seed)
        s1, s2 = np.zeros(world.length), np.zeros(world.length)
        for _ in range(n // chunk):
            c = rng.random((chunk, world.length)) < p
            returns = rewards(rng, c)[:, None]
            if world.dense_noise > 0.0:
                x = rng.normal(0.0, world.dense_noise, c.shape)
                returns = returns + np.cumsum(x[:, ::-1], axis=1)[:, ::-1]
            if case.groups > 1:
                member = returns.reshape(-1, case.groups)
                returns = (member - (member.sum(1, keepdims=True) - member) / (case.groups - 1)).reshape(-1, 1)
            else:
                returns = returns - case.baseline()
            g = (c - p) * returns
            s1 += g.sum(0)
            s2 += (g * g).sum(0)
        mean = s1 / n
        return mean, np.sqrt(s2 / n - mean**2)

    return run


def _still(case: Case, name: str) -> None:
    """Refuse the cases that the tuned forms do not know."""
    if not case.still:
        raise Skip(f"{name} is written for chains without state and noise")


def _advantages(case: Case, rewards: Any) -> Any:
    """A = R - b for arrays of NumPy, torch or jax."""
    if case.groups == 1:
        return rewards - case.baseline()
    member = rewards.reshape(-1, case.groups)
    return (member - (member.sum(1).reshape(-1, 1) - member) / (case.groups - 1)).reshape(-1)


def numpy_tuned(case: Case, threads: int, chunk: int = 500) -> Run:
    """SFC64 words against integer thresholds, sums over wrong steps by one float32 matrix product."""
    _still(case, "tuned NumPy")
    p, n = case.world.right, PEER_ROLLOUTS
    level = np.minimum(np.rint(p * 2.0**32), 2.0**32 - 1).astype(np.uint32)
    chunk = chunk // case.groups * case.groups

    def run(seed: int) -> Result:
        rng = np.random.Generator(np.random.SFC64(seed))
        sums, totals, left = np.zeros((p.size, 2)), np.zeros(2), n
        while left:
            rows = min(chunk, left)
            left -= rows
            bad = rng.integers(0, 2**32, (rows, p.size), dtype=np.uint32) >= level
            wrong = bad.astype(np.float32)
            if case.reward is None:
                rewards = (~bad.any(1)).astype(np.float32)
            else:
                w = case.reward.weights.astype(np.float32)
                rewards = w.sum() - wrong @ w + case.reward.noise * rng.standard_normal(rows, dtype=np.float32)
            a = _advantages(case, rewards).astype(np.float32)
            powers = np.stack([a, a * a])
            sums += (powers @ wrong).T
            totals += powers.sum(1, dtype=np.float64)
        return moments_of(sums, totals, p, n)

    return run


# ---------------------------------------------------------------- torch, jax
def torch_peer(case: Case, threads: int, chunk: int = 200) -> Run:
    _still(case, "torch")
    try:
        import torch
    except ImportError:
        raise Skip("torch is not installed") from None
    torch.set_num_threads(threads)
    p, n = case.world.right, PEER_ROLLOUTS
    chance = torch.tensor(p, dtype=torch.float32)

    @torch.no_grad()
    def run(seed: int) -> Result:
        generator = torch.Generator().manual_seed(seed)
        sums, totals = np.zeros((p.size, 2)), np.zeros(2)
        for _ in range(n // chunk):
            wrong = torch.rand((chunk, p.size), generator=generator).ge_(chance)
            if case.reward is None:
                rewards = (wrong.amax(1) < 0.5).float()
            else:
                w = torch.tensor(case.reward.weights, dtype=torch.float32)
                rewards = w.sum() - wrong @ w + case.reward.noise * torch.randn(chunk, generator=generator)
            a = _advantages(case, rewards)
            powers = torch.stack([a, a * a])
            sums += (powers @ wrong).T.double().numpy()
            totals += powers.double().sum(1).numpy()
        return moments_of(sums, totals, p, n)

    return run


def jax_peer(case: Case, threads: int, chunk: int = 40) -> Run:
    _still(case, "jax")
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        raise Skip("jax is not installed") from None
    p, n = case.world.right, PEER_ROLLOUTS
    level = jnp.asarray(np.minimum(np.rint(p * 2.0**32), 2.0**32 - 1).astype(np.uint32))

    def body(state: Any, key: Any) -> tuple[Any, None]:
        bits, normal = jax.random.split(key)
        wrong = (jax.random.bits(bits, (chunk, p.size), jnp.uint32) >= level).astype(jnp.float32)
        if case.reward is None:
            rewards = (wrong.max(1) < 0.5).astype(jnp.float32)
        else:
            w = jnp.asarray(case.reward.weights, jnp.float32)
            rewards = w.sum() - wrong @ w + case.reward.noise * jax.random.normal(normal, (chunk,))
        a = _advantages(case, rewards)
        powers = jnp.stack([a, a * a])
        return (state[0] + powers @ wrong, state[1] + powers.sum(1)), None

    @jax.jit
    def go(key: Any) -> Any:
        start = (jnp.zeros((2, p.size)), jnp.zeros(2))
        return jax.lax.scan(body, start, jax.random.split(key, n // chunk))[0]

    def run(seed: int) -> Result:
        sums, totals = jax.device_get(go(jax.random.key(seed)))
        return moments_of(np.asarray(sums, dtype=float).T, np.asarray(totals, dtype=float), p, n)

    return run


# ---------------------------------------------------------------- the contest
PEER_ROLLOUTS = 20_000  # a fifth of the work is enough to time a peer
PEERS: Mapping[str, Callable[[Case, int], Run]] = {
    "NumPy, plain": numpy_plain,
    "NumPy, tuned": numpy_tuned,
    "torch": torch_peer,
    "jax": jax_peer,
}


def contests(threads: int) -> Iterator[Contest]:
    """Yield the cases; peers are left out of "rare", which is "all" by another way."""
    for name, case in cases().items():
        makers: dict[str, Callable[[Case, int], Run]] = {LIMIT: limit, "sim.chain": ours}
        if name != "rare":
            makers.update(PEERS)
        peers = makers.keys() & PEERS.keys()
        yield Contest(
            case=name,
            work=float(case.world.length * case.rollouts),
            entries={key: _checked(case, make, threads, key in peers) for key, make in makers.items()},
            check=lambda result: result[2],
            share=dict.fromkeys(peers, PEER_ROLLOUTS / ROLLOUTS),
        )


def _checked(case: Case, make: Callable[[Case, int], Run], threads: int, peer: bool) -> Callable[[], Any]:
    """Prepare an entry whose results carry the verdict of their check when the seed is 1, the untimed run."""
    rollouts = PEER_ROLLOUTS if peer else case.rollouts

    def prepare() -> Callable[[int], Any]:
        run = make(case, threads)

        def checked(seed: int) -> Any:
            mean, std = run(seed)
            return mean, std, check(case, (mean, std), rollouts) if seed == 1 else None

        return checked

    return prepare


# ---------------------------------------------------------------- for a harness with its own description of the work
def _from_spec(spec: Mapping[str, Any], method: str) -> Case:
    """Build a case from {L, M, p, G, reward, w, sigma}."""
    reward = LinearReward(spec["w"], spec["sigma"]) if spec["reward"] == "linear" else None
    return Case(ChainWorld(spec["L"], spec["p"]), spec["G"], reward, method, spec["M"])


def setup_dense(spec: Mapping[str, Any], threads: int) -> Run:
    """Every step drawn."""
    return ours(_from_spec(spec, "dense"), threads)


def setup_auto(spec: Mapping[str, Any], threads: int) -> Run:
    """Whatever form pays."""
    return ours(_from_spec(spec, "auto"), threads)


def setup_limit(spec: Mapping[str, Any], threads: int) -> Run:
    """The C program."""
    return limit(_from_spec(spec, "dense"), threads)
