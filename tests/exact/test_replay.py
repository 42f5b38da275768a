"""Replay against its mean updates and interference in closed form; z = 4.4 two-sided, fixed seeds."""

import numpy as np
import pytest

from rlaws.problems import SingleDifficulty
from sim import replay, replay_kernels
from sim.exact import replay as exact

Z = 4.4


def problems(n):
    return SingleDifficulty(p=0.5, size=n).draw(np.random.SeedSequence(1))


def test_one_update_a_sample_is_policy_gradient():
    """First update: π uniform, baseline 1/2; mean move of the reward over 200000 runs, to first order in the step."""
    means = np.array([0.8, 0.3, 0.2])
    step, runs = 0.01, 200_000
    how = replay_kernels.Bandit(1, step, 10, 0.0, 1)
    reward = replay.train_bandit(np.tile(means, (runs, 1)), how, [1], 5)[:, 0]
    pi = np.full(3, 1 / 3)
    gradient = step * exact.mean_update(pi, pi, means, 0.5, corrected=False)
    want = float((pi * (gradient - pi @ gradient)) @ means)
    moved = reward - means.mean()
    assert moved.mean() == pytest.approx(want, abs=Z * moved.std() / np.sqrt(runs) + 2 * step**2)
    assert moved.mean() > 10 * moved.std() / np.sqrt(runs)


def test_corrected_updates_are_unbiased_and_uncorrected_ones_follow_the_old_policy():
    pi, old, means = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.2, 0.7]), np.array([0.9, 0.5, 0.3])
    fair = exact.mean_update(pi, old, means, 0.4, corrected=True)
    np.testing.assert_allclose(fair, pi * (means - pi @ means), atol=1e-12)
    stay = old * means / (old @ means)
    np.testing.assert_allclose(exact.mean_update(stay, old, means, 0.0, corrected=False), 0.0, atol=1e-12)
    assert np.argmax(stay) != np.argmax(means), "the uncorrected rest point is not the best answer"


def test_neighbouring_tasks_interfere_by_their_overlap():
    tour = replay.TourPolicy(tasks=4, overlap=0.4)
    np.testing.assert_allclose(exact.interference(tour.features(), 0, 2.0), [2.0, -0.8, 0.8, -0.8])


def test_without_overlap_or_step_nothing_is_forgotten():
    """Negative control: separate features, or learning rate 0, lose no solved task; overlapping ones do."""
    lost = {}
    for name, settings in {"none": {"overlap": 0.0}, "still": {"step": 0.0}, "some": {"overlap": 0.6}}.items():
        *_, last = replay.TourPolicy(**settings).train(problems(20), [3000.0], np.random.SeedSequence(3))
        lost[name] = last.policy.recurrences(problems(20)).sum()
    assert lost["none"] == lost["still"] == 0
    assert lost["some"] > 20


def test_training_learns_and_a_step_of_zero_does_not():
    seed = np.random.SeedSequence(2)
    got = {}
    for step in (0.0, 0.2):
        *_, last = replay.ReplayPolicy(ratio=4, step=step).train(problems(200), [2000.0], seed)
        got[step] = last.policy.success(problems(200)).mean()
    assert got[0.0] == pytest.approx(0.0, abs=1e-9)
    assert got[0.2] > 0.5


def test_checkpoints_do_not_change_the_run():
    seed = np.random.SeedSequence(4)
    for policy in (replay.ReplayPolicy(ratio=2), replay.TourPolicy()):
        *_, once = policy.train(problems(5), [900.0], seed)
        *_, often = policy.train(problems(5), [100.0, 450.0, 900.0], seed)
        method = "success" if hasattr(once.policy, "success") else "recurrences"
        told = [getattr(end.policy, method)(problems(5)) for end in (once, often)]
        np.testing.assert_array_equal(*told)


def test_errors_say_what_is_possible():
    with pytest.raises(ValueError, match="at least 1"):
        replay.ReplayPolicy(ratio=0)
    with pytest.raises(ValueError, match="rise"):
        replay.train_bandit(np.ones((1, 2)), replay_kernels.Bandit(1, 0.1, 5, 0.0, 5), [9], 1)
