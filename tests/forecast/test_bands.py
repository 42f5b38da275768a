"""Forecast bands: exact cases, planted coverage with negative controls, several runs, links, and bad input.

False alarms: a coverage test passes a correct method unless the observed share leaves its expectation by more than 3.2
standard errors (0.14 %); the number of independent curves, not of points, sets the standard error.
"""


import numpy as np
import pytest

from rlaws import laws
from rlaws.errors import InputError
from rlaws.forecast import Curve, Metric, disagreement, forecast, forecast_links
from rlaws.forecast import posterior as engine
from rlaws.forecast.breaks import survival
from rlaws.forecast.curves import scale_of
from rlaws.forecast.members import linear_parameters, members_of, unit_points

from .planted import X, ar1, broken, lawful, noisy

ACC = Metric("accuracy", 0.0, 1.0)
AHEAD = X[50:]


def test_a_constant_stays():
    found = forecast(Curve(X[:40], np.full(40, 0.4)), AHEAD, metric=ACC, breaks=False)
    np.testing.assert_allclose(found.point(), 0.4, atol=1e-6)
    assert not np.isnan(found.new_run_interval()).any()


def test_a_power_law_without_noise_is_recovered():
    truth = 1 - 0.7 * X**-0.2
    found = forecast(Curve(X[:40], truth[:40]), AHEAD, metric=ACC, breaks=False)
    np.testing.assert_allclose(found.point(), truth[50:], atol=2e-5)
    contain = ("log_linear (ceiling - y)", "power_floor")
    assert sum(found.weights[n] for n in contain) > 0.6
    assert found.weights["constant"] < 0.05


def test_several_laws_share_the_weight():
    rng = np.random.default_rng(3)
    found = forecast(noisy(lawful(rng), rng, 0.01, 0.4).first(40), AHEAD, metric=ACC)
    weights = np.array(list(found.weights.values()))
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() > 0.0
    assert weights.max() < 0.9
    assert len(found.origins) >= 4


def test_the_law_alone_covers_at_its_level_and_without_memory_does_not(monkeypatch):
    """True law, AR(1) noise of 0.8: the 90 % band of the mean covers 90 % of 120 curves; with rho = 0, under 75 %."""

    def covered(seed, number=120):
        rng = np.random.default_rng(seed)
        inside = 0
        for _ in range(number):
            truth = 0.3 + 0.2 * np.log10(X)
            curve = noisy(truth, rng, 0.02, 0.8).first(50)
            low, high = forecast(
                curve, [100.0], metric=ACC, laws=["linear_log"], wandering=False, bends=False, breaks=False, draws=500
            ).mean_interval(0.9)
            inside += low[0] <= truth[99] <= high[0]
        return inside / number

    assert abs(covered(1) - 0.9) < 3.2 * np.sqrt(0.09 / 120)
    monkeypatch.setattr(engine, "RHO", np.array([0.0]))
    assert covered(1) < 0.75


def test_coverage_over_laws_that_are_not_known():
    """The mixture never knows the law. 18 curves; a curve's coverage has standard deviation 0.16 or less."""
    rng = np.random.default_rng(11)
    points, curves = [], []
    for i in range(18):
        truth = lawful(rng)
        curve = noisy(truth, rng, rng.choice([0.003, 0.01, 0.02]), rng.choice([0.0, 0.4, 0.7]))
        seen = (30, 50, 70)[i % 3]
        found = forecast(curve.first(seen), X[seen:], metric=ACC, bends=False, draws=300)
        low, high = found.new_run_interval(0.9)
        points.append(np.mean((curve.y[seen:] >= low) & (curve.y[seen:] <= high)))
        low, high = found.mean_interval(0.9)
        curves.append(np.mean((truth[seen:] >= low) & (truth[seen:] <= high)))
    slack = 3.2 * 0.16 / np.sqrt(18)
    for covered in (points, curves):
        assert np.mean(covered) > 0.9 - slack
        assert np.std(covered) < 0.25


def test_a_change_of_course_is_allowed_for():
    """On curves that change their course the bands with ``breaks`` cover more than those without."""
    rng = np.random.default_rng(5)
    shares = {True: [], False: []}
    for _ in range(6):
        truth = broken(rng)
        curve = noisy(truth, rng, 0.01, 0.4)
        for breaks in shares:
            found = forecast(curve.first(40), X[40:], metric=ACC, bends=False, breaks=breaks, draws=600)
            low, high = found.new_run_interval(0.9)
            shares[breaks].append(np.mean((curve.y[40:] >= low) & (curve.y[40:] <= high)))
    assert np.mean(shares[True]) > np.mean(shares[False])
    assert np.mean(shares[True]) > 0.85


def test_survival_is_jeffreys():
    """The hazard integral of Jeffreys' prior, by quadrature: int h^(-1/2) e^(-h (L + D)) / int h^(-1/2) e^(-h L)."""
    from scipy.integrate import quad

    def integral(length):
        return quad(lambda u: 2.0 * np.exp(-(u**2) * length), 0, np.inf)[0]

    seen, ahead = np.log(50.0), np.log(3.0)
    assert survival(np.array([150.0]), 1.0, 50.0)[0] == pytest.approx(integral(seen + ahead) / integral(seen), rel=1e-9)
    assert survival(np.array([50.0]), 1.0, 50.0)[0] == 1.0


def test_several_runs_show_the_spread_that_one_cannot():
    """Runs differ by 0.05, points by 0.01. New runs' points: five runs cover 90 %, the band of one run under 60 %."""
    rng = np.random.default_rng(8)
    truth = 0.3 + 0.15 * np.log10(X[:40])
    many, single = [], []
    for _ in range(12):
        runs = [
            Curve(X[:30], truth[:30] + 0.05 * rng.standard_normal() + ar1(30, 0.3, 0.01, rng), f"run {i}")
            for i in range(5)
        ]
        new = truth[30:] + 0.05 * rng.standard_normal((200, 1)) + 0.01 * rng.standard_normal((200, 10))
        options = {"laws": ["linear_log", "constant"], "wandering": False, "breaks": False, "bends": False}
        for out, given in ((many, runs), (single, runs[:1])):
            found = forecast(given, X[30:40], metric=ACC, draws=600, **options)
            low, high = found.new_run_interval(0.9)
            out.append(np.mean((new >= low) & (new <= high)))
    assert abs(np.mean(many) - 0.9) < 0.08
    assert np.mean(single) < 0.6


def test_one_run_says_what_it_leaves_out():
    rng = np.random.default_rng(1)
    one = forecast(noisy(lawful(rng), rng, 0.01, 0.0).first(30), AHEAD, metric=ACC)
    assert any("leave out the spread from seed to seed" in n for n in one.notes)
    two = forecast([noisy(lawful(rng), rng, 0.01, 0.0, run=r).first(30) for r in "ab"], AHEAD, metric=ACC, bends=False)
    assert not any("seed to seed" in n for n in two.notes)
    assert two.runs == 2
    np.testing.assert_array_less(two.mean_interval()[1] - two.mean_interval()[0],
                                 two.new_run_interval()[1] - two.new_run_interval()[0])  # fmt: skip


def test_every_link_gives_a_forecast_of_the_metric():
    rng = np.random.default_rng(2)
    curve = noisy(0.2 + 0.25 * np.log10(X), rng, 0.005, 0.3).first(50)
    found = forecast_links(curve, AHEAD, metric=ACC, reference=0.2, draws=500)
    assert set(found) == {"absolute", "headroom", "log_error", "logit"}
    for each in found.values():
        assert each.mean_draws.min() >= -1e-9
        assert each.mean_draws.max() <= 1 + 1e-9
        assert np.abs(each.point()[:10] - (0.2 + 0.25 * np.log10(AHEAD[:10]))).max() < 0.05
    assert disagreement(found) > 0.0


@pytest.mark.parametrize("link", ["absolute", "headroom", "log_error", "logit"])
@pytest.mark.parametrize("reference", [None, -80.0])
def test_a_link_and_its_inverse_cancel(link, reference):
    y = np.array([-98.0, -70.0, -33.0])
    scale = scale_of(Metric("score", -100.0, 0.0), link, reference, y)
    np.testing.assert_allclose(scale.back(scale.to(y)), y, rtol=1e-12)
    assert scale.low < scale.to(y).min() < scale.to(y).max() < scale.high


def test_a_long_log_is_averaged_and_keeps_its_scatter():
    rng = np.random.default_rng(4)
    x = np.arange(1.0, 3001.0)
    curve = Curve(x, 0.3 + 0.1 * np.log10(x) + 0.05 * rng.standard_normal(x.size))
    found = forecast(curve, np.linspace(3100, 6000, 30), metric=ACC, breaks=False)
    low, high = found.new_run_interval(0.9)
    assert np.mean(high - low) == pytest.approx(2 * 1.645 * 0.05, rel=0.15)
    low, high = found.mean_interval(0.9)
    assert np.mean(high - low) < 0.05


def test_the_same_seed_gives_the_same_forecast():
    rng = np.random.default_rng(6)
    curve = noisy(lawful(rng), rng, 0.01, 0.4).first(30)
    a, b = (forecast(curve, AHEAD, metric=ACC, draws=200, seed=3) for _ in range(2))
    assert a.to_json() == b.to_json()
    assert a.to_json() != forecast(curve, AHEAD, metric=ACC, draws=200, seed=4).to_json()


# ------------------------------------------------------------------------------------------------------------- members


@pytest.mark.parametrize("name", [n for n in laws.names() if len(laws.law(n).x) == 1])
def test_every_law_of_one_variable_becomes_members_or_says_why(name):
    form = laws.law(name)
    x = np.geomspace(1.0, 50.0, 20)
    scale = scale_of(ACC, "absolute", None, np.array([0.2, 0.6]))
    try:
        found, notes = members_of([name], scale, x)
    except InputError as error:
        assert "not linear" in str(error)  # noqa: PT017
        return
    assert found or notes
    for m in found:
        shapes = np.array([[0.5 * sum(r[:2]) for r in m.ranges(x)]]) if m.shape else np.zeros((1, 0))
        columns, offset = m.basis(shapes, x)
        theta = np.ones(len(form.params))
        theta[list(m.shape)] = shapes[0]
        beta = np.arange(1.0, len(m.linear) + 1)
        theta[list(m.linear)] = beta
        if form.params[m.linear[0]].unit.startswith("log"):
            theta[m.linear[0]], beta = 0.0, np.ones(1)
        expected = m.base + m.slope * np.broadcast_to(form.predict(list(theta), x), x.shape)
        np.testing.assert_allclose(offset[0] + beta @ columns[0], expected, rtol=1e-6, atol=1e-9)


def test_the_sigmoid_is_linear_in_its_two_levels():
    sigmoid = laws.law("sigmoid")
    assert [sigmoid.params[j].name for j in linear_parameters(sigmoid, X)] == ["R0", "A"]


def test_only_laws_that_turn_are_said_to_turn():
    scale = scale_of(Metric("gain"), "absolute", None, np.array([0.0, 1.0]))
    for name in ("constant", "linear_log", "power_floor", "exponential_floor", "sigmoid"):
        assert not any(m.turns(X) for m in members_of([name], scale, X)[0])
    low = scale_of(Metric("gain", 0.0), "absolute", None, np.array([0.0, 1.0]))
    for name in ("gao_bon", "gao_rl", "quadratic_log"):
        found = members_of([name], low, X)[0]
        assert found
        assert all(m.turns(X) for m in found)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_points_fill_the_cube(dimension):
    points = unit_points(512, dimension)
    edges = np.histogramdd(points, bins=4, range=[(0, 1)] * dimension)[0]
    assert edges.min() > 0.5 * 512 / 4**dimension


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: forecast(Curve([1.0], [0.5]), AHEAD), "has 1 point"),
        (lambda: forecast([], AHEAD), "no curve"),
        (lambda: Curve([1.0, 2.0, 3.0], [0.5, np.nan, 0.6], "r7"), "y of run 'r7' is nan in row 1"),
        (lambda: Curve([1.0, 3.0, 2.0], [0.5, 0.6, 0.7]), "must rise"),
        (lambda: Curve([1.0, 2.0], [0.5]), "one y per x"),
        (lambda: forecast(Curve([-1.0, 2.0, 3.0, 4.0], [0.1] * 4), AHEAD), "starts at -1"),
        (lambda: forecast(Curve(X[:9], X[:9]), AHEAD, metric=ACC), "outside the range"),
        (lambda: forecast(Curve(X[:9], X[:9]), [5.0, 4.0]), "rising"),
        (lambda: forecast(Curve(X[:9], X[:9]), [0.0, 4.0]), "positive"),
        (lambda: forecast(Curve(X[:9], X[:9]), [4.0, 40.0]), "starts where the data end, at x = 9"),
        (lambda: forecast(Curve(X[:9], X[:9]), AHEAD, link="logit"), "needs both ends"),
        (lambda: forecast(Curve(X[:9], X[:9] / 100), AHEAD, link="logitt"), "Did you mean 'logit'"),
        (lambda: forecast(Curve(X[:9], X[:9]), AHEAD, laws=["sigmoyd"]), "Did you mean 'sigmoid'"),
        (lambda: forecast(Curve(X[:9], X[:9]), AHEAD, laws=["saturating_slope"]), "needs N, X"),
        (lambda: forecast([Curve(X[:9], X[:9], "a")] * 2, AHEAD), "Two runs are called 'a'"),
        (lambda: Metric("m", 1.0, 0.0), "is empty"),
        (lambda: Metric("m", better="bigger"), "not known"),
        (lambda: forecast(Curve(X[:9], X[:9] / 100), AHEAD, metric=ACC, link="headroom", reference=2.0), "reference"),
    ],
)
def test_bad_input_is_answered_in_a_sentence(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_step_zero_is_left_out():
    x = np.arange(0.0, 20.0)
    found = forecast(Curve(x, 0.2 + 0.01 * x), [25.0, 30.0], metric=ACC)
    assert found.points == 19
