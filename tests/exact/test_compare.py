"""Held-out comparison: sealed points, scores by hand, planted winners, forecasts, power and trends."""

import json

import numpy as np
import pytest

from rlaws.compare import compare
from rlaws.errors import InputError
from rlaws.forecasts import last_value, straight_line
from rlaws.laws import law
from rlaws.resampling import Points

X = 2.0 ** np.arange(10)
NAMES = ("exponential", "power_floor", "constant", "linear_log")


def clusters(curve, spread=0.02, seed=0, x=X, draws=200):
    """Points with draws as resampled clusters would give them."""
    rng = np.random.default_rng(seed)
    y = curve * (1 + spread * rng.standard_normal(curve.size))
    replicas = y + spread * curve * rng.standard_normal((draws, curve.size))
    ids = np.array([f"p{i}" for i in range(y.size)])
    return Points({"k": x}, y, replicas, np.full(y.size, "all"), ids, 60, "y", "1")


def runs(curve, seed=0, rho=0.6, spread=0.02, number=3):
    """Training curves with AR(1) noise in the logarithm."""
    rng = np.random.default_rng(seed)
    e = rng.standard_normal((number, curve.size)) / np.sqrt(1 - rho**2)
    for t in range(1, curve.size):
        e[:, t] = rho * e[:, t - 1] + rng.standard_normal(number)
    y = (curve * np.exp(spread * e)).ravel()
    steps = np.arange(1.0, curve.size + 1)
    x = {"step": np.tile(steps, number), "run": np.repeat(np.arange(float(number)), curve.size)}
    series = np.repeat([f"r{i}" for i in range(number)], curve.size)
    return Points(x, y, None, series, np.array([f"p{i}" for i in range(y.size)]), number, "loss", "1")


def laws(*names):
    return [law(n) for n in names]


def against(points, *rivals, primary="power", **options):
    options = {"along": "k", "largest": 3, "starts": 8, **options}
    column = "k" if "k" in points.x else "step"
    return compare(law(primary), laws(*rivals), points, {"x": column}, **options)


def test_scores_and_differences_by_hand():
    points = clusters(0.8 * X**-0.4)
    found = against(points, "exponential")
    held = points.x["k"] >= 128
    stderr = points.draws[:, held].std(axis=0, ddof=1)
    assert set(found.held.ids) == {"p7", "p8", "p9"}
    scores = {}
    draws = {}
    for name, fitted in found.fits.items():
        a, b = fitted.theta
        curve = {"power": lambda x, a=a, b=b: a * x**-b, "exponential": lambda x, a=a, b=b: a * np.exp(-b * x)}[name]
        scores[name] = np.mean(((points.y[held] - curve(X[held])) / stderr) ** 2)
        assert found.scores[name] == pytest.approx(scores[name], rel=1e-9)
        predicted = fitted.predict_draws({"k": X[held]}, extrapolate=True)
        draws[name] = np.mean(((points.draws[:, held] - predicted) / stderr) ** 2, axis=1)
    difference, error = found.differences["exponential"]
    assert difference == pytest.approx(scores["exponential"] - scores["power"])
    paired = np.subtract(*np.quantile(draws["exponential"] - draws["power"], [0.95, 0.05], method="weibull")) / 3.2897
    assert error == pytest.approx(paired, rel=0.05)  # 60 clusters: the small-sample factor is 1.03
    assert error > paired


def test_no_fit_sees_a_held_out_point():
    points = clusters(0.8 * X**-0.4)
    found = against(points, *NAMES)
    assert found.label == "predicted"
    for fitted in found.fits.values():
        assert fitted.touched == {f"p{i}" for i in range(7)}
        assert fitted.x_range["x"] == (1.0, 64.0)
    moved = points.y.copy()
    moved[7:] *= 1.3
    other = against(Points(points.x, moved, points.draws, points.series, points.ids, 60, "y", "1"), *NAMES)
    for name in found.fits:
        np.testing.assert_array_equal(found.fits[name].theta, other.fits[name].theta)
    assert other.scores["power"] > found.scores["power"] + 100


@pytest.mark.parametrize("truth", ["power", "exponential"])
def test_the_planted_law_wins(truth):
    curve = 0.8 * X**-0.4 if truth == "power" else 0.8 * np.exp(-0.01 * X)
    found = against(clusters(curve), "exponential")
    difference, stderr = found.differences["exponential"]
    assert (difference if truth == "power" else -difference) > 3 * stderr


def test_the_planted_law_wins_on_curves():
    step = np.arange(1.0, 101.0)
    options = {"along": "step", "largest": 0, "after": 0.4, "draws": 100, "primary": "log_linear"}
    right = against(runs(0.9 * step**-0.15), "exponential", "constant", **options)
    assert all(d > 2 * s for d, s in right.differences.values())
    assert right.scores["log_linear"] < 0.001
    wrong = against(runs(0.9 * np.exp(-0.01 * step)), "exponential", **options)
    difference, stderr = wrong.differences["exponential"]
    assert difference < -2 * stderr
    assert wrong.trend_slope != 0.0


def test_curves_are_cut_each_at_its_own_share():
    step = np.arange(1.0, 51.0)
    found = against(
        runs(0.9 * step**-0.15), "constant", along="step", after=0.4, largest=0, draws=60, primary="log_linear"
    )
    assert found.held.y.size == 3 * 30
    assert found.held.x["step"].min() == 21


def test_equal_laws_are_not_told_apart_by_rounding():
    step = np.arange(1.0, 61.0)
    found = against(
        runs(0.9 * step**-0.15), "power", along="step", after=0.5, largest=0, draws=60, primary="log_linear"
    )
    difference, stderr = found.differences["power"]
    assert abs(difference) < 0.01 * stderr


def test_power_leaves_out_what_contains_the_law_and_sees_what_can_be_told_apart():
    wide = against(clusters(0.8 * X**-0.4), *NAMES, "quadratic_log")
    assert set(wide.power) == {"exponential", "constant", "linear_log"}
    assert min(wide.power.values()) > 0.95
    narrow = np.linspace(10.0, 11.0, 8)  # on a tenth of x a power law and an exponential are the same line
    found = against(clusters(0.8 * narrow**-0.4, x=narrow), "exponential")
    assert found.power["exponential"] < 0.2


def test_two_sizes_tell_no_laws_of_size_apart():
    def power(sizes):
        x = {"x": np.tile(np.geomspace(10.0, 1000.0, 12), sizes.size), "n": np.repeat(sizes, 12)}
        y = 0.8 * x["x"] ** -(0.16 / (1 + 4.0 / x["n"]))
        draws = y * np.exp(0.01 * np.random.default_rng(1).standard_normal((200, y.size)))
        ids = np.array([f"p{i}" for i in range(y.size)])
        points = Points({k: v.astype(float) for k, v in x.items()}, y, draws, np.full(y.size, "all"), ids, 60, "y", "1")
        options = {"along": "x", "after": 0.5, "scale": "log", "free_scale": "n", "starts": 8}
        found = compare(law("saturating_slope"), laws("slope_power"), points, {"X": "x", "N": "n"}, **options)
        return found.power["slope_power"]

    assert power(np.array([0.5, 7.0])) == 0.0
    assert power(np.array([0.5, 1.5, 4.0, 14.0, 32.0])) > 0.5


def test_relative_error_of_the_held_out_curve():
    points = clusters(0.8 * X**-0.4, spread=1e-4)
    bent = points.y.copy()
    bent[7:] *= 1.1
    draws = points.draws.copy()
    draws[:, 7:] *= 1.1
    found = against(Points(points.x, bent, draws, points.series, points.ids, 60, "y", "1"), "constant")
    assert found.relative_error == pytest.approx(1 - 1 / 1.1, abs=1e-3)
    assert np.mean(found.relative_error_draws) == pytest.approx(found.relative_error, abs=1e-3)
    assert np.all(found.relative_error_draws > 0)


def test_forecasts_by_hand():
    x = np.array([1.0, np.e, np.e**2, np.e**3])
    y = np.array([5.0, 4.0, 3.0, 2.0])
    ids = np.array(list("abcd"))
    points = Points({"x": x}, y, None, np.full(4, "one"), ids, 1, "y", "1")
    train, held = points.take(x < 10), points.take(x > 10)
    assert last_value(train, held, "x", train.y[None])[0] == pytest.approx([3.0])
    assert straight_line(train, held, "x", train.y[None])[0] == pytest.approx([2.0])
    found = against(clusters(0.9 - 0.03 * np.log(X)), "constant")
    assert found.scores["straight_line"] < 5
    assert found.scores["last_value"] > found.scores["straight_line"]
    assert found.naive["straight_line"][0] < 0  # a straight line beats a power law where the truth is one


def test_each_size_has_its_own_forecast():
    size, x = (a.ravel() for a in np.meshgrid([1.0, 2.0], [1.0, 2.0, 4.0], indexing="ij"))
    y = size * 10 + x
    points = Points({"N": size, "x": x}, y, None, np.full(6, "all"), np.arange(6).astype(str), 1, "y", "1")
    train, held = points.take(x < 4), points.take(x >= 4)
    assert last_value(train, held, "x", train.y[None])[0] == pytest.approx([12.0, 22.0])


def test_a_trend_that_the_law_absorbs_is_not_tested():
    """A constant leaves the slope; a power law leaves only what is bent."""
    curve = 0.8 * X**-0.1
    assert abs(against(clusters(curve), primary="constant").trend_slope) > 10
    assert abs(against(clusters(curve), primary="power").trend_slope) < 3.3
    bent = 0.8 * X**-0.1 * np.exp(-0.08 * np.log(X) ** 2)
    assert abs(against(clusters(bent), primary="power").trend_slope) > 10


def test_as_many_parameters_as_points_leave_no_trend():
    found = against(clusters(0.8 * X[:5] ** -0.4, x=X[:5]), primary="power", largest=3)
    assert (found.trend_slope, found.trend_curvature) == (0.0, 0.0)


def test_sizes_with_free_factors_are_compared_by_their_later_part():
    n, x = (a.ravel() for a in np.meshgrid([1.0, 4.0, 16.0], np.geomspace(10, 1e4, 30), indexing="ij"))
    rng = np.random.default_rng(3)
    y = law("saturating_slope").predict([0.2, 5.0], n, x) * np.exp(0.01 * rng.standard_normal(n.size))
    points = Points({"N": n, "X": x}, y, None, np.char.mod("%g", n), np.arange(n.size).astype(str), 3, "loss", "1")
    rivals = laws("slope_constant", "slope_power")
    found = compare(
        law("saturating_slope"), rivals, points, {"N": "N", "X": "X"}, along="X", after=0.5, free_scale="N", draws=60
    )
    difference, stderr = found.differences["slope_constant"]
    assert difference > 3 * stderr
    assert found.power["slope_constant"] > 0.9
    with pytest.raises(InputError, match="has no fitted factor"):
        compare(
            law("saturating_slope"), rivals, points, {"N": "N", "X": "X"}, along="N", largest=1, free_scale="N",
            draws=60,
        )  # fmt: skip


def test_a_comparison_is_plain_json_and_reproducible():
    points = clusters(0.8 * X**-0.4)
    one, two = (against(points, "exponential", seed=3) for _ in range(2))
    assert one.to_json() == two.to_json()
    record = json.loads(one.to_json())
    assert record["label"] == "predicted"
    assert set(record["fits"]) == {"power", "exponential"}
