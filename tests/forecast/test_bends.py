"""Curves that turn back. False alarms: a monotone curve is called bent with probability 1 % (``bends.ALARM``); the test
allows 300 such curves 10 alarms, which a correct method exceeds with probability 0.03 %."""

import numpy as np
import pytest

from rlaws import autoregression
from rlaws.errors import InputError
from rlaws.forecast import BentError, Curve, Metric, diagnose, forecast, turn
from rlaws.forecast.bends import rising

from .planted import X, ar1, lawful, noisy

ACC = Metric("accuracy", 0.0, 1.0)


def hump(x=X, peak=50.0, gain=0.4, lost=0.5):
    """Rise to the peak, then lose a share of the gain."""
    up = 0.3 + gain * np.minimum(np.log1p(x) / np.log1p(peak), 1.0)
    return up - lost * gain * np.clip((x - peak) / (x[-1] - peak), 0.0, None)


def alarms(number, seed):
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(number):
        curve = noisy(lawful(rng), rng, rng.choice([0.003, 0.01, 0.03]), rng.choice([0.0, 0.5, 0.8]))
        found += turn(curve, ACC) is not None
    return found


def test_false_alarms_and_what_memory_costs(monkeypatch):
    assert alarms(300, 1) <= 10

    def forgetful(residual, series, jacobian):
        sd = float(residual.std())
        return autoregression.SeriesNoise(0.0, 0.0, sd, {}, (residual - residual.mean()))

    monkeypatch.setattr("rlaws.forecast.bends.autoregression.estimate", forgetful)
    rng = np.random.default_rng(1)
    remembering = [noisy(lawful(rng), rng, 0.03, 0.9) for _ in range(100)]
    assert sum(turn(c, ACC) is not None for c in remembering) > 10


@pytest.mark.parametrize(("rho", "least"), [(0.0, 23), (0.5, 21)])
def test_planted_bends_are_found_where_they_are(rho, least):
    """A loss of half the gain with noise of a twentieth of it: of 24 nearly all are found, the peak within a fifth."""
    rng = np.random.default_rng(2)
    found = [turn(noisy(hump(), rng, 0.02, rho), ACC) for _ in range(24)]
    seen = [b for b in found if b is not None]
    assert len(seen) >= least
    assert abs(np.median([b.x for b in seen]) - 50.0) < 10.0
    truth = hump()
    planted = (truth.max() - truth[-1]) / (truth.max() - truth[0])
    assert np.median([b.share for b in seen]) == pytest.approx(planted, abs=0.1)


def test_a_loss_that_rises_again_is_a_bend_too():
    rng = np.random.default_rng(3)
    up = noisy(hump(), rng, 0.01, 0.3)
    assert turn(Curve(up.x, 1 - up.y), Metric("loss", 0.0, 1.0, "lower")) is not None
    falls = Curve(X, 0.8 - 0.2 * np.log10(X) + ar1(100, 0.3, 0.005, rng))
    assert turn(falls, ACC) is None  # worse from the first point on is no turn


def test_monotone_laws_refuse_and_say_from_where():
    rng = np.random.default_rng(4)
    curve = noisy(hump(), rng, 0.01, 0.3)
    with pytest.raises(BentError, match=r"turns back at x = [45]\d.*No law of the list can turn back"):
        forecast(curve, [150.0, 200.0], metric=ACC)
    assert forecast(curve, [150.0], metric=ACC, bends=False).points == 100
    turning = forecast(curve, [120.0, 150.0], metric=ACC, laws=["quadratic_log", "sigmoid"])
    assert "quadratic_log" in turning.weights
    assert "sigmoid" not in turning.weights
    assert any("left out: sigmoid" in n for n in turning.notes)


def test_the_rising_fit_is_isotonic_regression():
    """Against the min-max formula: max over i <= t of min over j >= t of the mean from i to j."""
    rng = np.random.default_rng(5)
    y = rng.standard_normal(25)
    means = [[y[i : j + 1].mean() if j >= i else 0.0 for j in range(25)] for i in range(25)]
    slow = [max(min(means[i][t:]) for i in range(t + 1)) for t in range(25)]
    np.testing.assert_allclose(rising(y), slow, rtol=1e-12)


# ----------------------------------------------------------------------------------------------------------- diagnosis


def healthy(rng):
    reward = 0.2 + 0.25 * np.log10(X)
    return {
        "train": noisy(reward + 0.05, rng, 0.01, 0.4),
        "eval": noisy(reward, rng, 0.01, 0.4),
        "entropy": Curve(X, 0.6 - 0.2 * np.log10(X) + ar1(100, 0.4, 0.01, rng)),
        "length": Curve(X, 800 + 2 * X + ar1(100, 0.4, 20, rng)),
    }


def names(series):
    return [d.name for d in diagnose(series, ACC)]


def test_a_healthy_run_raises_no_alarm():
    """Two bend tests at 1 % each: 60 runs give 1.2 alarms on average, more than 6 with probability 0.03 %."""
    rng = np.random.default_rng(6)
    assert sum(bool(names(healthy(rng))) for _ in range(60)) <= 6


def test_each_failure_is_named():
    rng = np.random.default_rng(7)
    for _ in range(5):
        run = healthy(rng)
        assert names({**run, "eval": noisy(hump(lost=0.4), rng, 0.01, 0.3)}) == ["overfitting"]
        gold = noisy(hump(lost=0.4), rng, 0.01, 0.3)
        assert names({"proxy": run["train"], "gold": gold}) == ["reward hacking"]
        fallen = noisy(hump(lost=0.9), rng, 0.01, 0.3)
        assert "collapse" in names({"eval": fallen})
        flat = noisy(0.5 - 0.2 * np.exp(-X / 8), rng, 0.01, 0.3)
        gone = Curve(X, 0.6 * np.exp(-X / 10) + 0.005 * np.abs(rng.standard_normal(100)))
        assert "collapse" in names({"eval": flat, "entropy": gone})
        longer = Curve(X, 500 + np.where(X > 50, 40 * (X - 50), 0) + ar1(100, 0.4, 20, rng))
        assert "reward hacking" in names({"eval": flat, "length": longer})


def test_low_entropy_with_rising_reward_is_no_collapse():
    rng = np.random.default_rng(8)
    gone = Curve(X, 0.6 * np.exp(-X / 10) + 0.005 * np.abs(rng.standard_normal(100)))
    climbing = noisy(0.2 + 0.005 * X, rng, 0.01, 0.3)
    assert names({"eval": climbing, "entropy": gone}) == []


def test_an_unknown_series_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'entropy'"):
        diagnose({"entropi": Curve(X, X)})
