"""Targets, stopping, families and scores, mostly on draws whose answer is known exactly."""

import numpy as np
import pytest
from scipy.stats import norm

from rlaws.errors import InputError
from rlaws.forecast import Curve, Forecast, Metric, advise, extrapolate, family, forecast, reach, score, table
from rlaws.forecast.scoring import crps, interval_score, naive_draws
from rlaws.forecast.targets import crossing

from .planted import X, lawful, noisy

ACC = Metric("accuracy", 0.0, 1.0)


def given(at, draws, metric=ACC):
    """A forecast with these mean curves."""
    draws = np.asarray(draws, dtype=float)
    return Forecast(np.asarray(at, float), metric, "absolute", {}, {}, (), draws, draws, 1, 10, 1.0, 0.9, ())


# ------------------------------------------------------------------------------------------------------------- targets


def test_crossings_are_where_lines_in_log_x_cross():
    at = np.array([1.0, 10.0, 100.0])
    curves = np.array([[0.0, 0.2, 0.6], [0.5, 0.6, 0.7], [0.0, 0.1, 0.2], [0.0, 0.5, 0.1]])
    np.testing.assert_allclose(crossing(at, curves, 0.4), [10**1.5, 1.0, np.inf, 10**0.8])


def test_the_chance_is_the_share_of_curves():
    at = np.array([10.0, 100.0])
    ends = np.linspace(0.0, 1.0, 101)
    found = reach(given(at, np.column_stack([np.zeros(101), ends])), 0.75)
    assert found.chance == pytest.approx(26 / 101)
    assert found.chance_by.tolist() == pytest.approx([0.0, 26 / 101])
    assert found.quantiles[0.05] < 100.0
    assert np.isinf(found.quantiles[0.5])
    assert "chance 0.26" in found.sentence
    low = reach(given(at, np.column_stack([np.ones(101), ends]), Metric("loss", 0, 1, "lower")), 0.25)
    assert low.chance == pytest.approx(26 / 101)


def test_targets_that_were_reached_had_chances():
    """Calibration: over 14 curves the mean chance equals the share that reached, within 3.2 standard errors (0.43)."""
    rng = np.random.default_rng(3)
    said, came = [], []
    for _ in range(14):
        truth = lawful(rng)
        found = forecast(noisy(truth, rng, 0.01, 0.4).first(40), X[40:], metric=ACC, draws=200, bends=False)
        target = float(np.clip(truth[39] + rng.uniform(0.0, 0.1), 0.0, 1.0))
        said.append(reach(found, target).chance)
        came.append(truth[-1] >= target)
    assert abs(np.mean(said) - np.mean(came)) < 3.2 * np.sqrt(0.25 / 14)
    assert np.mean(np.array(said)[np.array(came)]) > np.mean(np.array(said)[~np.array(came)]) + 0.2


@pytest.mark.parametrize(
    ("target", "budget", "words"), [(1.2, None, "outside the range"), (0.5, 500.0, "outside the forecast")]
)
def test_a_target_that_cannot_be(target, budget, words):
    with pytest.raises(InputError, match=words):
        reach(given([1.0, 2.0], np.zeros((5, 2))), target, budget)


# ------------------------------------------------------------------------------------------------------------ stopping


def test_regrets_by_hand():
    """Half the curves gain 0.2, half nothing; 0.1 is worth 10, going on costs 8: U = 12 or -8."""
    draws = np.tile([[0.5, 0.7], [0.5, 0.5]], (500, 1))
    found = advise(given([10.0, 18.0], draws), cost=1.0, value=100.0)
    stop, on = found.options
    assert stop.regret == pytest.approx(6.0)
    assert on.regret == pytest.approx(4.0)
    assert (stop.regret_low, stop.regret_high) == pytest.approx((0.0, 12.0))
    assert found.stop is False
    assert found.best == 18.0
    assert "Go on to x = 18" in found.sentence
    dear = advise(given([10.0, 18.0], draws), cost=2.0, value=100.0)
    assert dear.stop is True
    assert "Stop now" in dear.sentence


def test_a_tie_is_called_one():
    rng = np.random.default_rng(0)
    draws = np.column_stack([np.zeros(400), rng.standard_normal(400)])
    draws[:, 1] -= draws[:, 1].mean()
    assert "as good as equal" in advise(given([1.0, 2.0], draws, Metric()), cost=0.0, value=1.0).sentence


def test_without_a_price_only_the_gain_counts():
    draws = np.tile([[0.5, 0.501], [0.5, 0.52]], (50, 1))
    draws[:10, 1] = 0.9
    found = advise(given([1.0, 2.0], draws), minimal_gain=0.005)
    assert found.stop is None
    assert np.isnan(found.options[1].regret)
    assert advise(given([1.0, 2.0], draws), minimal_gain=0.5).stop is True
    assert advise(given([1.0, 2.0], draws), minimal_gain=0.0005).stop is False


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "Give cost and value"), ({"cost": 1.0}, "give both"), ({"minimal_gain": -1.0}, "not negative")],
)
def test_advice_needs_a_price(options, words):
    with pytest.raises(InputError, match=words):
        advise(given([1.0, 2.0], np.zeros((5, 2))), **options)


# ------------------------------------------------------------------------------------------------------------ families


SAMPLES = np.geomspace(500.0, 5e4, 60)


def sized(rng, sizes, x=SAMPLES):
    """log10 L = -k(N) log10 x + E(N), k(N) = 0.15 / (1 + 10 / N), level at the middle linear in log N."""
    out = {}
    for n in sizes:
        middle = np.log10(np.sqrt(500.0 * 5e4))
        logs = -0.15 / (1 + 10 / n) * (np.log10(x) - middle) - 0.02 - 0.08 * np.log10(n)
        out[n] = Curve(x, 10 ** (logs + 0.004 * rng.standard_normal(x.size)), f"{n:g}B")
    return out


def test_a_family_foretells_its_next_size_and_labels_what_it_used():
    rng = np.random.default_rng(5)
    loss = Metric("loss", 0.0, 1.0, "lower")
    inside, errors = [], []
    for _ in range(2):
        curves = sized(rng, [0.5, 1.5, 3.0, 7.0, 14.0, 32.0])
        held = curves.pop(32.0)
        found = family(curves, metric=loss, draws=100)
        ahead = extrapolate(found, 32.0, held.x, draws=500)
        assert ahead.label == "predicted"
        low, high = ahead.new_run_interval()
        inside.append(np.mean((held.y >= low) & (held.y <= high)))
        errors.append(np.abs(np.log10(ahead.point() / held.y)).mean())
    assert np.mean(inside) > 0.6  # two families of one truth: the points of a curve stand or fall together
    assert np.mean(errors) < 0.05
    own = extrapolate(found, 32.0, held.x[20:], own=held.first(20), draws=500)
    assert own.label == "fitted"
    assert own.used == 20
    assert "a fit, not a prediction" in own.sentence
    assert np.abs(np.log10(own.point() / held.y[20:])).mean() < 0.02
    assert extrapolate(found, 14.0, held.x).label == "fitted"


def test_the_slopes_of_a_family_are_those_planted():
    found = family(sized(np.random.default_rng(6), [1.0, 4.0, 16.0, 64.0]), draws=100)
    np.testing.assert_allclose(found.params["k"], 0.15 / (1 + 10 / found.sizes), atol=0.004)
    assert sum(found.laws["k"].values()) == pytest.approx(1.0)
    assert found.laws["k"]["slope_saturation"] > found.laws["k"]["constant"]


def test_two_sizes_are_no_family():
    with pytest.raises(InputError, match="at least 3 positive sizes"):
        family(sized(np.random.default_rng(7), [1.0, 2.0]))


# -------------------------------------------------------------------------------------------------------------- scores


def test_crps_of_a_normal_forecast():
    """sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), Gneiting & Raftery 2007, eq. 21."""
    draws = 2.0 * norm.ppf((np.arange(20000) + 0.5) / 20000)[:, None] * np.ones(3)
    z = np.array([0.0, 1.0, -2.5])
    exact = 2.0 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(crps(draws, 2.0 * z), exact, rtol=1e-3)


def test_interval_score_by_hand():
    got = interval_score(np.zeros(3), np.ones(3), np.array([0.5, -0.1, 1.2]), 0.9)
    np.testing.assert_allclose(got, [1.0, 3.0, 5.0])


def test_naive_draws_centre_on_the_naive_forecast():
    curve = Curve(X[:20], 0.1 + 0.2 * np.log(X[:20]))
    line = naive_draws(curve, X[20:25], "straight_line", 50, np.random.default_rng(0))
    np.testing.assert_allclose(line, np.tile(0.1 + 0.2 * np.log(X[20:25]), (50, 1)), atol=1e-9)
    last = naive_draws(curve, X[20:25], "last_value", 200, np.random.default_rng(0))
    np.testing.assert_allclose(last[0], curve.y[-1])
    assert last[:, 4].std() > last[:, 0].std() > 0


def test_the_mixture_beats_the_naive_forecasts_on_lawful_curves():
    rng = np.random.default_rng(9)
    scores = [
        s
        for i in range(5)
        for s in score(noisy(lawful(rng), rng, 0.01, 0.4, run=f"r{i}"), 0.4, ACC, draws=400, bends=False)
    ]
    rows = {r.method: r for r in table({"planted": scores}) if r.source == "all" and r.share == 0.0}
    assert rows["mixture"].curves == 5
    for naive in ("last_value", "straight_line"):
        assert rows["mixture"].error < rows[naive].error
        assert rows["mixture"].crps < rows[naive].crps
        assert rows["mixture"].interval < rows[naive].interval


def test_too_little_is_left_to_score():
    with pytest.raises(InputError, match="seen and one left"):
        score(Curve(X[:5], X[:5] / 10), 0.3, ACC)
