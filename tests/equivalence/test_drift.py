"""Flows and batches of the policy world against the slow twin: enumerated gradients, answers drawn one by one."""

import random

import numpy as np
import pytest

from sim import drift as w
from sim.slow import drift as slow

Z = 4.4


@pytest.mark.parametrize("kind", w.BONUSES)
def test_velocity_is_the_gradient_of_the_objective(kind):
    rng = np.random.default_rng(4)
    world = w.answers([2, 1, 2], [1.0, 0.5, 0.0], rng.normal(0, 1, (1, 5)))
    theta, anchor = rng.normal(0, 1, (1, 5)), rng.normal(0, 1, (1, 5))
    rest = (world.rewards[0].tolist(), world.mode.tolist(), kind, 0.3, anchor[0].tolist())
    want = slow.gradient(theta[0].tolist(), *rest)
    pull = w.Pull(kind, 0.3)
    np.testing.assert_allclose(w.velocity(world, theta, anchor, "pg", pull)[0], want, atol=1e-8)
    got = w.velocity(world, theta, anchor, "npg", pull)[0]
    np.testing.assert_allclose(got - got.mean(), slow.natural(theta[0].tolist(), want), atol=1e-7)


@pytest.mark.parametrize("algorithm", list(w.SAMPLED))
@pytest.mark.parametrize("baseline", [False, True])
def test_batches_move_the_logits_alike(algorithm, baseline):
    """Mean and spread of one update over 4000 slow and 40000 fast batches: z = 4.4, and 8 % in the spread."""
    if algorithm == "imitate" and baseline:
        pytest.skip("imitation takes no baseline")
    theta, rewards, size, step = [0.4, -0.2, 0.1], [1.0, 1.0, 0.0], 6, 0.3
    rng = random.Random(8)
    slowly = np.array([slow.batch_update(theta, rewards, algorithm, size, step, baseline, rng) for _ in range(4000)])
    world = w.answers([1, 1, 1], rewards, np.tile(theta, (40_000, 1)))
    fast = w.train(world, w.start(world), w.Batch(algorithm, size, step, baseline), 1, 12).logits
    if algorithm == "imitate":
        slowly, fast = np.exp(slowly), np.exp(fast)
    for a in range(3):
        spread = np.sqrt(slowly[:, a].var() / 4000 + fast[:, a].var() / 40_000)
        assert slowly[:, a].mean() == pytest.approx(fast[:, a].mean(), abs=Z * spread + 1e-12)
        assert slowly[:, a].std() == pytest.approx(fast[:, a].std(), rel=0.08)


def test_runs_do_not_depend_on_how_updates_are_cut():
    world = w.answers([1, 2], [1.0, 0.0], np.zeros((5, 3)))
    batch = w.Batch("pg", 4, 0.3, baseline=True, flip=0.1)
    whole = w.train(world, w.start(world), batch, 30, 2)
    parts = w.start(world)
    for n in (7, 1, 22):
        parts = w.train(world, parts, batch, n, 2)
    np.testing.assert_array_equal(whole.logits, parts.logits)


def test_verifier_errors_occur_at_their_rate():
    """Without a baseline npg moves the logits by the mean observed reward: 1 - flip for answers that are all right."""
    world = w.answers([1, 1], [1.0, 1.0], np.zeros((20_000, 2)))
    done = w.train(world, w.start(world), w.Batch("npg", 4, 1.0, flip=0.25), 1, 6)
    moved = done.logits.sum(axis=1) / 4.0  # sum over answers of step x share seen x reward / (1/2), halved twice
    mean = 2 * moved
    assert mean.mean() == pytest.approx(0.75, abs=Z * mean.std() / np.sqrt(20_000))
