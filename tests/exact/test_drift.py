"""The policy world against closed forms: replicator, Gibbs tilts, Kimura, exit times, escape exponents, anchors.

Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds.
"""

import numpy as np
import pytest
from scipy.special import expit, logit

from sim import drift as w
from sim.exact import drift as exact
from sim.exact import flows as exact_flows

Z = 4.4


def two(p, runs=1, rewards=(1.0, 1.0)):
    return w.answers([1, 1], rewards, np.tile([logit(p), 0.0], (runs, 1)))


def random_world(synonyms, rewards, seed=1, problems=3):
    logits = np.random.default_rng(seed).normal(0, 1, (problems, sum(synonyms)))
    return w.answers(synonyms, rewards, logits)


# ------------------------------------------------------------------------------------------- flows
def test_natural_gradient_is_the_replicator():
    world = random_world([2, 3, 1], [1.0, 0.4, 0.0])
    times = [0.3, 2.0, 9.0]
    for t, logits in zip(times, w.flow(world, times, "npg"), strict=True):
        for i in range(3):
            want = exact.replicator(np.exp(w.log_softmax(world.logits[i])), world.rewards[i], t)
            np.testing.assert_allclose(np.exp(w.log_softmax(logits[i])), want, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("algorithm", ["pg", "npg", "grpo"])
def test_regularised_flows_end_at_the_gibbs_tilt(algorithm):
    """Token bonus: e^{r/τ}; static anchor: start x e^{r/β}; semantic bonus: mode masses e^{r_m/τ} for any synonyms."""
    synonyms, rewards, strength = [4, 1, 2], np.array([1.0, 0.8, 0.0]), 0.4
    world = random_world(synonyms, rewards)
    for kind in ("token", "static", "semantic"):
        end = w.flow(world, [3000.0], algorithm, w.Pull(kind, strength))[0]
        for i in range(3):
            pi = np.exp(w.log_softmax(end[i]))
            if kind == "semantic":
                np.testing.assert_allclose(pi @ world.members, exact.semantic_gibbs(rewards, strength), atol=1e-4)
                continue
            start = np.full(7, 1 / 7) if kind == "token" else np.exp(w.log_softmax(world.logits[i]))
            np.testing.assert_allclose(pi, exact.gibbs(start, world.rewards[i], strength), atol=1e-4)


@pytest.mark.parametrize(("algorithm", "exponent"), [("pg", 1.0), ("grpo", 0.5), ("npg", 0.0)])
def test_escape_exponents(algorithm, exponent):
    """Time from p0 to 1/2 of one right mode: p0^-1, p0^-1/2, log 1/p0; and the times themselves."""
    starts = np.array([1e-3, 1e-4])
    times = []
    for p0 in starts:
        grid = np.geomspace(0.5, 2.0, 4001) * exact_flows.escape_time(algorithm, 1.0, p0)
        p = w.mode_mass(two(p0, rewards=(1.0, 0.0)), w.flow(two(p0, rewards=(1.0, 0.0)), grid, algorithm, rtol=1e-9))
        times.append(float(np.interp(0.5, p[:, 0, 0], grid)))
        assert times[-1] == pytest.approx(exact_flows.escape_time(algorithm, 1.0, p0), rel=2e-3)
    slope = np.log(times[1] / times[0]) / np.log(10.0)
    assert slope == pytest.approx(exponent if exponent else np.log(np.log(1e4) / np.log(1e3)) / np.log(10), abs=0.03)


@pytest.mark.parametrize("algorithm", ["pg", "npg"])
def test_two_right_answers_rich_get_richer_or_neutral(algorithm):
    world = w.answers([1, 1, 1], [1.0, 1.0, 0.0], [[1.2, 0.3, 0.0]])
    pi = np.exp(w.log_softmax(world.logits))[0]
    h = 1e-4
    moved = w.flow(world, [h], algorithm, rtol=1e-10)[0, 0] - world.logits[0]
    want = exact.log_ratio_drift(algorithm, 1.0 - pi[:2].sum(), pi[0], pi[1])
    assert (moved[0] - moved[1]) / h == pytest.approx(want, abs=1e-3)
    late = w.flow(world, [1000.0], algorithm)[0, 0]
    ratio = late[0] - late[1]
    assert ratio > 1.5 if algorithm == "pg" else ratio == pytest.approx(0.9, abs=1e-4)


def test_ema_anchor_delays_and_does_not_prevent():
    world, alpha, beta = random_world([1, 1, 1], [1.0, 0.9, 0.0]), 0.05, 0.5
    times = [1.0, 20.0, 300.0]
    found = w.flow(world, times, "npg", w.Pull("ema", beta, alpha))
    for t, logits in zip(times, found, strict=True):
        same = w.flow(world, [exact.ema_slowdown(beta, alpha, t)], "npg")[0]
        np.testing.assert_allclose(np.exp(w.log_softmax(logits)), np.exp(w.log_softmax(same)), atol=1e-5)
    assert exact.ema_slowdown(beta, alpha, 1e6) == pytest.approx(1e6 * alpha / (alpha + beta), rel=1e-4)


def test_no_reward_no_drift():
    """Negative control: equal rewards move neither flow; a step of 0 moves no run."""
    world = random_world([2, 2], [0.5, 0.5])
    for algorithm in ("pg", "npg"):
        np.testing.assert_allclose(w.flow(world, [50.0], algorithm)[0], world.logits, atol=1e-9)
    still = w.train(world, w.start(world), w.Batch("pg", 8, 0.0), 50, 3)
    np.testing.assert_array_equal(still.logits, world.logits)


# ------------------------------------------------------------------------------------------- finite batches
@pytest.mark.parametrize("selection", [0.0, 0.5, 2.0])
def test_kimura_fixation_probability(selection):
    """Imitation of a batch of 50 with step 1 is Wright-Fisher; reward difference s/B gives selection s per B updates.

    4000 runs; the diffusion's own error is of order s/B, allowed for with s/B on top of z = 4.4.
    """
    size, p, runs = 50, 0.3, 4000
    s = selection / size
    world = two(p, runs, rewards=(1.0, 1.0 - s))
    done = w.train(world, w.start(world), w.Batch("imitate", size, 1.0), 4000, 5, level=1 - 1e-9)
    share = float(np.mean(w.mode_mass(world, done.logits)[:, 0] > 0.5))
    assert np.all(done.fixed > 0)
    want = exact.kimura_fixation(p, s, size)
    assert share == pytest.approx(want, abs=Z * np.sqrt(want * (1 - want) / runs) + s)


@pytest.mark.parametrize(("algorithm", "step"), [("imitate", 0.1), ("npg", 0.05), ("pg", 0.5)])
def test_exit_times_of_each_update(algorithm, step):
    """Mean updates until one of two equal answers holds 90 %: 600 runs, z = 4.4 plus 4 % for the finite step."""
    size, p, level = 16, 0.4, 0.9
    want = exact.exit_updates(algorithm, size, step, p, level)
    world = two(p, 600)
    done = w.train(world, w.start(world), w.Batch(algorithm, size, step), int(30 * want), 9, level=level)
    assert np.all(done.fixed > 0)
    assert done.fixed.mean() == pytest.approx(want, abs=Z * done.fixed.std() / np.sqrt(600) + 0.04 * want)


def test_kimuras_neutral_time_is_that_of_imitation_and_not_of_the_logits():
    """The formula -2B[p ln p + (1-p) ln(1-p)] is the mean time to absorption at *either* end, with B over step².

    A natural-gradient step in the logits has the same noise and yet takes 1.68 times as long to 95 %, ever longer
    beyond: Kimura's time is not its time.
    """
    p, size = 0.5, 30
    kimura = -2 * size * (p * np.log(p) + (1 - p) * np.log(1 - p))
    assert exact.exit_updates("imitate", size, 1.0, p, 1 - 1e-12) == pytest.approx(kimura, rel=1e-6)
    ratio = exact.exit_updates("npg", size, 0.1, p, 0.95) / exact.exit_updates("imitate", size, 0.1, p, 0.95)
    assert ratio == pytest.approx(1.68, abs=0.01)
    far = [exact.exit_updates("npg", size, 0.1, p, 1 - x) for x in (1e-3, 1e-6)]
    assert far[1] > 1.9 * far[0], "grows with the logarithm of the distance to the edge: no fixation"


def test_the_logit_walk_has_ito_drift_towards_the_middle():
    """Natural gradient on equal rewards: E[Δu] = 0, E[Δp] = v (1-2p)/2; imitation: E[Δp] = 0. 200000 updates each."""
    p, size, step, runs = 0.2, 8, 0.2, 200_000
    world = two(p, runs)
    u = {}
    for algorithm in ("npg", "imitate"):
        done = w.train(world, w.start(world), w.Batch(algorithm, size, step), 1, 17)
        u[algorithm] = done.logits[:, 0] - done.logits[:, 1]
    dp = {k: expit(v) - p for k, v in u.items()}
    du = u["npg"] - logit(p)
    assert du.mean() == pytest.approx(0.0, abs=Z * du.std() / np.sqrt(runs))
    assert dp["imitate"].mean() == pytest.approx(0.0, abs=Z * dp["imitate"].std() / np.sqrt(runs))
    ito = 0.5 * step**2 / size * (1 - 2 * p)
    assert dp["npg"].mean() == pytest.approx(ito, abs=Z * dp["npg"].std() / np.sqrt(runs) + 0.1 * ito)
    assert dp["npg"].mean() > 4 * dp["npg"].std() / np.sqrt(runs)
    assert dp["imitate"].var() == pytest.approx(step**2 * p * (1 - p) / size, rel=0.02)
    assert du.var() == pytest.approx(step**2 / (size * p * (1 - p)), rel=0.02)


def test_a_group_that_is_all_right_moves_nothing():
    world = two(0.3, 50)
    done = w.train(world, w.start(world), w.Batch("grpo", 8, 0.5, baseline=True), 200, 1)
    np.testing.assert_array_equal(done.logits, world.logits)
    done = w.train(world, w.start(world), w.Batch("pg", 8, 0.5, baseline=True), 200, 1)
    np.testing.assert_allclose(done.logits, world.logits, atol=1e-12)


def test_distinct_answers_of_known_tails():
    n = np.array([1, 10, 1000])
    np.testing.assert_allclose(exact.distinct(np.full(50, 0.02), n), 50 * (1 - 0.98**n), rtol=1e-12)
    geometric = 0.5 ** np.arange(1, 200)
    grown = exact.distinct(geometric, np.array([1e3, 1e6]))
    assert (grown[1] - grown[0]) / np.log(1e3) == pytest.approx(1 / np.log(2), rel=0.02)


def test_errors_say_what_is_possible():
    world = two(0.3)
    with pytest.raises(ValueError, match="not known"):
        w.flow(world, [1.0], "ppg")
    with pytest.raises(ValueError, match="rise"):
        w.flow(world, [1.0, 0.5], "pg")
    with pytest.raises(ValueError, match="at most 1"):
        w.Batch("imitate", 8, 1.5)
    with pytest.raises(ValueError, match="Did you mean"):
        w.Pull("tokens", 0.1)
