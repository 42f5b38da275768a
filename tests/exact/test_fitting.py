"""The fitter against certified values, published fits and scipy; its statuses, draws and refusals."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares, minimize
from scipy.stats import betabinom

from rlaws import autoregression
from rlaws.errors import InputError
from rlaws.fitting import Fit, FitStatus, fit, fit_beta_binomial, interval_from_draws
from rlaws.laws import law
from rlaws.laws.base import Param
from rlaws.resampling import Points
from rlaws.solver import Bounds, Problem, minimise
from tests.nist import BENNETT5, ECKERLE4, HAHN1, MGH09, MISRA1A, PROBLEMS, THURBER

DATA = os.environ.get("RLAWS_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="RLAWS_DATA does not name the folder of public data")


def make_points(x, y, draws=None, clusters=50, series=None):
    """Points with the columns of ``x``."""
    y = np.asarray(y, dtype=float)
    series = np.full(y.size, "all") if series is None else np.asarray(series).astype(str)
    ids = np.array([f"p{i}" for i in range(y.size)])
    return Points({k: np.asarray(v, float) for k, v in x.items()}, y, draws, series, ids, clusters, "y", "1")


def table(*parts):
    if not DATA or not Path(DATA, *parts).exists():
        pytest.skip(f"{'/'.join(parts)} is not in RLAWS_DATA")
    with Path(DATA, *parts).open() as f:
        return list(csv.DictReader(f))


# ---------------------------------------------------------------------------------------------------------------- NIST


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_typed_in_data_reproduce_the_certified_residual(problem):
    rss = np.sum((problem.y - problem.model(problem.certified, problem.x)) ** 2)
    assert rss == pytest.approx(problem.rss, rel=1e-9)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_nist_parameters_to_six_digits_from_both_of_nists_starts(problem, start):
    p = len(problem.certified)
    bounds = Bounds(np.full(p, -np.inf), np.full(p, np.inf))
    u0 = np.array([problem.starts[start]])

    def model(theta):
        return problem.model([theta[:, j : j + 1] for j in range(p)], problem.x)

    typical = 1e-3 * np.abs(u0[0])
    batch = Problem(model, bounds, problem.y[None], np.ones((1, problem.y.size)), False, None, np.inf, typical)
    found = minimise(batch, u0, max_iter=1000, ftol=1e-15, gtol=1e-11)
    assert found.converged[0]
    np.testing.assert_allclose(found.u[0], problem.certified, rtol=5e-7)
    assert 2 * found.loss[0] == pytest.approx(problem.rss, rel=1e-9)


class NistLaw:
    """A NIST form as a law with bounds, so that the multi-start has to find the way from random starts."""

    limits = ()
    formula = source = ""
    x = ("x",)
    scale = "linear"

    def __init__(self, problem, ranges):
        self.name = problem.name
        self.model = problem.model
        self.params = tuple(Param(f"b{i}", "b", "1", *r[:2], start=r[2:]) for i, r in enumerate(ranges))

    def predict(self, theta, x):
        return self.model(theta, x)


RANGES = {
    MISRA1A: [(1e-2, 1e5, 10, 5e3), (1e-8, 1.0, 1e-6, 1e-1)],
    MGH09: [(1e-3, 1e2, 0.01, 10.0), (-50, 50, 0, 2), (-50, 50, 0, 2), (1e-4, 1e2, 0.01, 10.0)],
    ECKERLE4: [(1e-3, 1e3, 0.1, 50), (0.1, 100, 0.5, 50), (400, 500, 410, 490)],
    BENNETT5: [(-np.inf, 0.0, -1e4, -500), (-7.0, np.inf, 5, 100), (0.05, 10, 0.2, 5)],
    HAHN1: [(-np.inf, np.inf, 0, 10), *[(-np.inf, np.inf, -a, a) for a in (1, 0.05, 1e-5, 0.05, 1e-3, 1e-6)]],
    THURBER: [*[(-np.inf, np.inf, 0, a) for a in (2e3, 2e3, 1e3, 100)], *[(-5, 5, 0, a) for a in (2, 1, 0.1)]],
}


@pytest.mark.parametrize("problem", list(RANGES), ids=lambda p: p.name)
def test_multistart_finds_nists_parameters_from_wide_ranges(problem):
    points = make_points({"x": problem.x}, problem.y)
    found = fit(NistLaw(problem, RANGES[problem]), points, {"x": "x"}, loss="least_squares", draws=20, starts=64)
    np.testing.assert_allclose(found.theta, problem.certified, rtol=1e-6)
    assert 2 * found.loss == pytest.approx(problem.rss, rel=1e-8)


# ------------------------------------------------------------------------------------------------------ published fits


class Chinchilla:
    """L = A N^-alpha + B D^-beta + E (arXiv 2203.15556, eq. 2)."""

    name = "chinchilla"
    formula = source = ""
    x = ("N", "D")
    limits = ()
    scale = "log"
    params = (
        Param("A", "A", "y N^alpha", 1e-3, 1e9),
        Param("B", "B", "y D^beta", 1e-3, 1e9),
        Param("E", "E", "y", 1e-3, 100.0),
        Param("alpha", "a", "1", 0.01, 2.0, start=(0.1, 1.0)),
        Param("beta", "b", "1", 0.01, 2.0, start=(0.1, 1.0)),
    )

    def predict(self, theta, n, d):
        a, b, e, alpha, beta = theta
        return a * n**-alpha + b * d**-beta + e


@needs_data
def test_chinchilla():
    """Published (arXiv 2404.10102, Huber 1e-3): A 482.01, B 2085.43, E 1.8172, alpha .3478, beta .3658.

    The published values carry bootstrap standard errors of 124.58, 1293.23, 0.03, 0.02 and 0.02, and stop short of the
    minimum: the loss at them is 0.4 % above the one found here, which an independent optimiser confirms.
    """
    rows = table("chinchilla", "points.csv")
    n, flop, loss = (np.array([float(r[k]) for r in rows]) for k in ("Model Size", "Training FLOP", "loss"))
    d = flop / (6 * n)
    keep = np.argsort(d / n)[5:]
    n, d, loss = n[keep], d[keep], loss[keep]
    found = fit(Chinchilla(), make_points({"N": n, "D": d}, loss), {"N": "N", "D": "D"}, delta=1e-3, draws=20)
    published = np.array([482.01, 2085.43, 1.8172, 0.3478, 0.3658])
    errors = np.array([124.58, 1293.23, 0.03, 0.02, 0.02])
    assert np.all(np.abs(found.theta - published) < 0.1 * errors)
    assert found.value("E") == pytest.approx(1.8172, abs=1e-4)

    def objective(u):
        r = np.log(loss) - np.log(np.exp(u[0] - u[3] * np.log(n)) + np.exp(u[1] - u[4] * np.log(d)) + np.exp(u[2]))
        return np.sum(np.where(np.abs(r) <= 1e-3, r**2 / 2, 1e-3 * (np.abs(r) - 5e-4)))

    logs = np.concatenate([np.log(published[:3]), published[3:]])
    assert found.loss < objective(logs)
    options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 20000, "maxfev": 20000, "adaptive": True}
    other = minimize(lambda u: 1e3 * objective(u), logs, method="Nelder-Mead", options=options)
    assert found.loss <= 1e-3 * other.fun * (1 + 1e-9)
    np.testing.assert_allclose(np.concatenate([np.exp(other.x[:3]), other.x[3:]]), found.theta, rtol=1e-4)


def qwen(axis):
    """Base curves of 0.5 to 32 B; ``cum_flops`` drops at the last step of three sizes, left out for compute."""
    rows = [r for r in table("qwen25-grpo", "loss_curves.csv") if r["family"] == "base" and float(r["model_B"]) <= 32]
    size, step, x, loss = (np.array([float(r[k]) for r in rows]) for k in ("model_B", "step", axis, "test_loss"))
    keep = np.ones(size.size, dtype=bool)
    if axis == "cum_flops":
        for n in (1.5, 3.0, 7.0):
            own = np.flatnonzero(size == n)
            keep[own[np.argmax(step[own])]] = False
    return make_points({"N": size[keep], "X": x[keep]}, loss[keep], series=size[keep])


@needs_data
@pytest.mark.parametrize(("axis", "k_max", "n0"), [("cum_flops", 0.152, 17.4), ("samples", 0.163, 17.0)])
def test_qwen_post_training(axis, k_max, n0):
    """Published (arXiv 2509.25300): L(N,C) K_max 0.152, N0 17.4; L(N,D) 0.163, 17.0. Points read off vector figures."""
    found = fit(
        law("saturating_slope"), qwen(axis), {"N": "N", "X": "X"}, scale="linear", loss="least_squares",
        free_scale="N", draws=200,
    )  # fmt: skip
    assert found.status is FitStatus.OK
    assert found.value("K_max") == pytest.approx(k_max, rel=0.02)
    assert found.value("N0") == pytest.approx(n0, rel=0.02)
    low, high = found.interval("N0", 0.9)
    assert low < n0 < high
    assert set(found.groups) == {"0.5", "1.5", "3", "7", "14", "32"}


@needs_data
def test_pythia_difficulty():
    """Shapes of the success rates of six Pythia sizes on MATH: alpha .065 to .270 (refit of arXiv 2502.17578)."""
    rows = table("pythia-math-counts", "counts.csv")
    for model, alpha in {"Pythia 70M": 0.065, "Pythia 160M": 0.176, "Pythia 6.9B": 0.270}.items():
        own = [r for r in rows if r["model"] == model]
        n, c = (np.array([int(r[k]) for r in own]) for k in ("n_samples", "n_correct"))
        assert fit_beta_binomial(n, c, draws=2).alpha == pytest.approx(alpha, abs=6e-4)


# --------------------------------------------------------------------------------------------------------------- scipy


def noisy(name, theta, x, seed, spread=0.03):
    y = law(name).predict(theta, x)
    return y * np.exp(spread * np.random.default_rng(seed).standard_normal(x.size))


CASES = {
    "power": [0.8, 0.4],
    "power_floor": [0.7, 0.6, 0.1],
    "power_exponential": [-0.3, 0.5, 0.02],
    "exponential": [0.9, 0.05],
    "sigmoid": [0.2, 0.8, 20.0, 1.5],
    "beta_mixture": [0.4, 3.0],
}


@pytest.mark.parametrize("loss", ["least_squares", "huber"])
@pytest.mark.parametrize("name", list(CASES))
def test_no_worse_than_scipy_and_the_same_parameters(name, loss):
    x = np.geomspace(1, 60, 15)
    y = noisy(name, CASES[name], x, 3)
    y[4] *= 1.4  # an outlier, so that the two losses differ
    form = law(name)
    found = fit(form, make_points({"x": x}, y), {"x": "x"}, scale="log", loss=loss, delta=0.05, draws=2)

    def residual(theta):
        return np.log(y) - np.log(form.predict(theta, x))

    kind = {"loss": "huber", "f_scale": 0.05} if loss == "huber" else {}
    other = least_squares(
        residual, CASES[name], x_scale=np.abs(CASES[name]), xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=5000, **kind
    )
    assert found.loss <= other.cost * (1 + 1e-8)
    np.testing.assert_allclose(found.theta, other.x, rtol=2e-4)


def test_draws_are_the_fits_of_the_resampled_data_one_by_one():
    rng = np.random.default_rng(5)
    x = 2.0 ** np.arange(9)
    y = 0.8 * x**-0.4
    draws = y * (1 + 0.03 * rng.standard_normal((30, 9)))
    draws[3, 5] = np.nan
    points = make_points({"k": x}, y, draws)
    whole = fit(law("power"), points, {"x": "k"}, loss="least_squares")
    weight = 1 / np.nanstd(draws, axis=0, ddof=1)
    for b in range(30):
        seen = np.isfinite(draws[b])

        def residual(t, b=b, seen=seen):
            return (weight * (draws[b] - t[0] * x ** -t[1]))[seen]

        alone = least_squares(residual, [0.8, 0.4], xtol=1e-14, ftol=1e-14, gtol=1e-14)
        np.testing.assert_allclose(whole.draws[b], alone.x, rtol=1e-5)


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("loss", ["least_squares", "huber"])
def test_a_profiled_factor_is_the_fitted_one(scale, loss):
    """Projecting the factors out gives what fitting them beside the slope gives."""
    rng = np.random.default_rng(2)
    n, x = (a.ravel() for a in np.meshgrid([1.0, 3.0, 10.0], np.geomspace(10, 1e4, 12)))
    factor = np.select([n == 1, n == 3], [0.9, 1.4], 2.2)
    y = factor * law("saturating_slope").predict([0.2, 5.0], n, x) * np.exp(0.02 * rng.standard_normal(n.size))
    found = fit(
        law("saturating_slope"), make_points({"N": n, "X": x}, y), {"N": "N", "X": "X"}, scale=scale, loss=loss,
        delta=0.01, free_scale="N", draws=2,
    )  # fmt: skip

    def residual(t):
        f = np.select([n == 1, n == 3], [t[2], t[3]], t[4]) * law("saturating_slope").predict(t[:2], n, x)
        return np.log(y) - np.log(f) if scale == "log" else y - f

    kind = {"loss": "huber", "f_scale": 0.01} if loss == "huber" else {}
    other = least_squares(residual, [0.2, 5.0, 0.9, 1.4, 2.2], xtol=1e-15, ftol=1e-15, gtol=1e-15, **kind)
    np.testing.assert_allclose([*found.theta, *found.groups.values()], other.x, rtol=1e-4)
    assert found.loss <= other.cost * (1 + 1e-9)


def test_a_level_parameter_gives_way_to_the_free_factors():
    n, x = (a.ravel() for a in np.meshgrid([1.0, 2.0], np.geomspace(1, 100, 6)))
    points = make_points({"N": n, "x": x}, n * x**-0.3)
    found = fit(law("power"), points, {"x": "x"}, free_scale="N", draws=2)
    assert found.fixed == {"a": 1.0}
    assert found.value("a") == 1.0
    assert found.value("b") == pytest.approx(0.3, rel=1e-8)
    assert found.groups == pytest.approx({"1": 1.0, "2": 2.0})
    with pytest.raises(InputError, match="one free factor per curve"):
        fit(law("slope_constant"), points, {"N": "N", "X": "x"})


# ---------------------------------------------------------------------------------------------------- status and draws


def clustered(y, x, spread=0.02, seed=0, clusters=50):
    draws = y * (1 + spread * np.random.default_rng(seed).standard_normal((200, y.size)))
    return make_points({"x": x}, y, draws, clusters)


X = np.geomspace(1, 200, 10)


def status(name, y, x=X, **options):
    return fit(law(name), clustered(y, x), {"x": "x"}, **options).status


def test_a_sound_fit_is_ok():
    assert status("power", 0.8 * X**-0.4) is FitStatus.OK


def test_a_floor_at_zero_is_no_complaint():
    found = fit(law("power_floor"), clustered(0.8 * X**-0.4, X), {"x": "x"})
    assert found.status is FitStatus.OK
    assert found.interval("c", 0.9)[0] < 1e-6


def test_an_asymptote_that_the_data_do_not_show_is_at_its_bound():
    assert status("sigmoid", 0.1 * X**0.4) in (FitStatus.AT_BOUND, FitStatus.NOT_IDENTIFIED)


def test_a_parameter_at_a_meaningful_bound_is_reported():
    y = 1.0 - 0.6 * np.exp(-X / 20)  # rises to 1 faster than any sigmoid below 1
    noise = 1 + 0.002 * np.sin(np.arange(10))
    assert status("sigmoid", 1.05 * y * noise) is FitStatus.AT_BOUND


def test_too_few_points():
    assert status("power_floor", 0.8 * X[:2] ** -0.4, X[:2]) is FitStatus.TOO_FEW_POINTS
    alone = make_points({"x": X}, X**-0.4, np.tile(X**-0.4, (50, 1)), clusters=1)
    assert fit(law("power"), alone, {"x": "x"}).status is FitStatus.TOO_FEW_POINTS
    curve = make_points({"x": X[:2]}, X[:2] ** -0.4)
    assert fit(law("power"), curve, {"x": "x"}, draws=20).status is FitStatus.TOO_FEW_POINTS


def test_a_break_that_is_not_there_is_not_reported_as_found():
    assert status("broken_power", 0.8 * X**-0.4) in (FitStatus.NOT_IDENTIFIED, FitStatus.STARTS_DISAGREE)


def test_two_slopes_that_only_appear_as_a_sum_are_not_identified():
    class Twice:
        name = "twice"
        formula = source = ""
        x = ("x",)
        limits = ()
        scale = "linear"
        params = (Param("p", "p", "1", -np.inf, np.inf), Param("q", "q", "1", -np.inf, np.inf))

        def predict(self, theta, x):
            return (theta[0] + theta[1]) * x

    assert fit(Twice(), clustered(2 * X, X), {"x": "x"}).status is FitStatus.NOT_IDENTIFIED


def test_two_basins_as_good_disagree():
    class Square:
        """y = b^2 x: plus and minus b describe the data equally well."""

        name = "square"
        formula = source = ""
        x = ("x",)
        limits = ()
        scale = "linear"
        params = (Param("b", "b", "1", -5.0, 5.0), Param("c", "c", "1", -5.0, 5.0))

        def predict(self, theta, x):
            b, c = theta
            return b**2 * x + 0.001 * b + c

    x = np.linspace(1, 2, 10)
    y = 2 * x + 0.02 * np.sin(7 * x)
    assert fit(Square(), clustered(y, x), {"x": "x"}, loss="least_squares").status is FitStatus.STARTS_DISAGREE


def test_a_law_without_values_is_not_finite():
    class Nowhere:
        name = "nowhere"
        formula = source = ""
        x = ("x",)
        limits = ()
        scale = "linear"
        params = (Param("a", "a", "y", 0.1, 10.0),)

        def predict(self, theta, x):
            return np.sqrt(-theta[0] - x)

    found = fit(Nowhere(), clustered(X, X), {"x": "x"})
    assert found.status is FitStatus.NOT_FINITE
    assert "finite" in found.status.value


def test_every_status_names_a_cause_and_a_next_step():
    for s in FitStatus:
        assert s is FitStatus.OK or s.value.count(".") >= 2


def test_intervals_of_normal_draws():
    """Percentile, expanded percentile and t interval of exactly normal draws."""
    from scipy.special import ndtri, stdtrit

    z = ndtri((np.arange(20000) + 0.5) / 20000)
    low, high = interval_from_draws(0.0, z, 0.9)
    assert (low, high) == pytest.approx((-1.6449, 1.6449), abs=2e-3)
    for n in (30, 4):
        reach = np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.95)
        low, high = interval_from_draws(0.0, z, 0.9, dof=n - 1)
        assert (low, high) == pytest.approx((-reach, reach), abs=3e-3)


# --------------------------------------------------------------------------------------------- predictions and refusals


def test_beyond_the_data_only_when_asked():
    found = fit(law("power"), clustered(0.8 * X**-0.4, X), {"x": "x"})
    with pytest.raises(InputError, match="extrapolate=True"):
        found.predict({"x": [1e4]})
    assert found.predict({"x": [1e4]}, extrapolate=True)[0] == pytest.approx(0.8 * 1e4**-0.4, rel=1e-6)
    low, high = found.mean_interval({"x": X}, 0.9)
    new_low, new_high = found.new_run_interval({"x": X}, 0.9)
    assert np.all(new_low < low)
    assert np.all(high < new_high)


def test_a_new_run_scatters_as_the_runs_did():
    rng = np.random.default_rng(1)
    x = np.tile(np.arange(1.0, 51.0), 4)
    y = 0.9 * x**-0.2 * np.exp(0.05 * rng.standard_normal(200))
    found = fit(law("log_linear"), make_points({"x": x}, y, series=np.repeat(list("abcd"), 50)), {"x": "x"})
    low, high = found.new_run_interval({"x": x}, 0.9)
    inside = np.mean((y > low) & (y < high))
    assert 0.84 < inside < 0.96  # 0.90 +- 3 binomial standard errors of 200 points
    assert found.noise.sd == pytest.approx(0.05, rel=0.15)


def test_a_group_without_a_factor_cannot_be_predicted():
    n, x = (a.ravel() for a in np.meshgrid([1.0, 2.0], np.geomspace(1, 100, 6)))
    found = fit(law("power"), make_points({"N": n, "x": x}, n * x**-0.3), {"x": "x"}, free_scale="N", draws=20)
    with pytest.raises(InputError, match="'N' = 5 has no fitted factor"):
        found.predict({"N": [5.0], "x": [10.0]})


def test_a_fit_survives_json():
    n, x = (a.ravel() for a in np.meshgrid([1.0, 2.0], np.geomspace(1, 100, 6)))
    found = fit(law("power"), make_points({"N": n, "x": x}, n * x**-0.3), {"x": "x"}, free_scale="N", draws=20)
    back = Fit.from_json(found.to_json())
    np.testing.assert_array_equal(back.draws, found.draws)
    np.testing.assert_array_equal(back.group_draws, found.group_draws)
    assert back.status is found.status
    assert back.touched == found.touched
    at = {"N": [2.0], "x": [10.0]}
    assert back.mean_interval(at) == found.mean_interval(at)
    assert back.to_json() == found.to_json()


def test_the_same_seed_gives_the_same_fit():
    points = make_points({"x": X}, noisy("power", [0.8, 0.4], X, 1))
    one, two = (fit(law("power"), points, {"x": "x"}, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.draws, two.draws)
    assert one.to_json() == two.to_json()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "logs"}, "Did you mean 'log'"),
        ({"loss": "hubber"}, "Did you mean 'huber'"),
        ({"weights": "equals"}, "Did you mean 'equal'"),
        ({"free_scale": "z"}, "free_scale"),
        ({"fixed": {"bb": 1.0}}, "no parameter 'bb'"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(InputError, match=message):
        fit(law("power"), clustered(X**-0.5, X), {"x": "x"}, **options)


def test_a_wrong_column_or_a_negative_response_is_named():
    points = clustered(X**-0.5, X)
    with pytest.raises(InputError, match="needs a column for 'x'"):
        fit(law("power"), points, {"k": "x"})
    with pytest.raises(InputError, match="There is no column 'steps'"):
        fit(law("power"), points, {"x": "steps"})
    with pytest.raises(InputError, match="no logarithm"):
        fit(law("power"), replace(points, y=points.y - 0.2), {"x": "x"}, scale="log")
    with pytest.raises(InputError, match="no parameter 'c'"):
        fit(law("power"), points, {"x": "x"}).value("c")


def test_a_held_parameter_stays():
    found = fit(law("power_floor"), clustered(0.8 * X**-0.4 + 0.1, X), {"x": "x"}, fixed={"c": 0.1})
    assert found.value("b") == pytest.approx(0.4, rel=1e-7)
    assert found.interval("c") == (0.1, 0.1)


# --------------------------------------------------------------------------------------- autocorrelation, beta-binomial


def test_the_autocorrelation_is_found_where_the_textbook_estimate_is_too_small():
    """400 curves of 40 points, rho 0.6, a fitted cubic: mean of the estimates within four standard errors of 0.6."""
    rng = np.random.default_rng(0)
    t = np.linspace(-1, 1, 40)
    j = np.vander(t, 4)
    project = np.eye(40) - j @ np.linalg.pinv(j)
    series = np.full(40, "a")
    ours, textbook = [], []
    for _ in range(400):
        eta = rng.standard_normal(40)
        e = np.empty(40)
        e[0] = eta[0] / 0.8
        for i in range(1, 40):
            e[i] = 0.6 * e[i - 1] + eta[i]
        r = project @ e
        ours.append(autoregression.estimate(r, series, j).rho)
        textbook.append(r[1:] @ r[:-1] / (r @ r))
    spread = np.std(ours) / 20
    assert abs(np.mean(ours) - 0.6) < 4 * spread + 0.02
    assert np.mean(textbook) < 0.6 - 0.12  # the negative control


def test_replicas_have_the_noise_they_were_made_from():
    rng = np.random.default_rng(1)
    series = np.repeat(["a", "b"], 200)
    e = rng.standard_normal(400)
    for i in [*range(1, 200), *range(201, 400)]:
        e[i] += 0.5 * e[i - 1]
    noise = autoregression.estimate(e, series, np.ones((400, 1)))
    out = autoregression.simulate(noise, series, 2000, rng)
    assert out.std() == pytest.approx(noise.sd, rel=0.02)
    lag = np.mean(out[:, 1:200] * out[:, :199]) / np.mean(out[:, :200] ** 2)
    assert lag == pytest.approx(noise.rho, abs=0.01)
    assert abs(np.mean(out[:, 199] * out[:, 200])) < 0.1  # nothing runs on from one curve into the next


@pytest.mark.parametrize(("alpha", "beta", "samples"), [(0.3, 2.0, 64), (2.0, 5.0, 16), (0.15, 40.0, 1000)])
def test_beta_binomial_is_the_maximum(alpha, beta, samples):
    rng = np.random.default_rng(3)
    n = rng.integers(samples // 2, samples + 1, 300)
    c = rng.binomial(n, rng.beta(alpha, beta, 300))
    found = fit_beta_binomial(n, c, draws=100)
    other = minimize(
        lambda u: -betabinom.logpmf(c, n, *np.exp(u)).sum(), np.log([alpha, beta]), method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-9},
    )  # fmt: skip
    assert (found.alpha, found.beta) == pytest.approx(tuple(np.exp(other.x)), rel=1e-5)
    low, high = found.interval("alpha", 0.999)
    assert low < alpha < high
    assert found.status is FitStatus.OK


def test_one_sample_a_problem_shows_no_spread():
    c = np.array([1, 0] * 20)
    assert fit_beta_binomial(np.ones(40, int), c, draws=20).status is FitStatus.NOT_IDENTIFIED
    with pytest.raises(InputError, match="Row 1"):
        fit_beta_binomial(np.array([4, 4]), np.array([1, 5]))
