"""Every law that is found, wherever it lives, keeps the promises of ``rlaws.laws.base``. No list to edit."""

import inspect
import itertools

import numpy as np
import pytest

from rlaws import laws
from rlaws.errors import InputError
from rlaws.fitting import fit
from rlaws.resampling import Points
from rlaws.solver import Bounds
from rlaws.starts import starting_points

NAMES = laws.names()
POINTS = 24


def domain(law, role):
    return getattr(law, "domain", {}).get(role, (1.0, 1e4))


def grid(law):
    """A grid over the law's domain: indicators take both values, the rest are evenly spaced (in the log)."""
    axes = []
    for role in law.x:
        low, high = domain(law, role)
        if (low, high) == (0.0, 1.0):
            axes.append(np.array([0.0, 1.0]))
        else:
            number = POINTS if len(law.x) == 1 else 8
            axes.append(np.geomspace(low, high, number) if low > 0 else np.linspace(low, high, number))
    return [np.array(column) for column in zip(*itertools.product(*axes), strict=True)]


def thetas(law, number=32, seed=0):
    """Parameters from the start ranges, at the level y = 1."""
    x = grid(law)
    return starting_points(law, x, np.ones(x[0].size), {}, number, np.random.default_rng(seed))


def curves(law, theta, x):
    return law.predict([theta[:, j : j + 1] for j in range(theta.shape[1])], *x)


@pytest.fixture(params=NAMES)
def law(request):
    return laws.law(request.param)


def test_the_catalogue_holds_the_laws_of_the_claims():
    wanted = {"constant", "power", "power_floor", "power_exponential", "exponential", "log_linear", "sigmoid"}
    assert wanted <= set(NAMES)
    assert len(NAMES) >= 21


def test_documentation_source_units_and_bounds(law):
    text = inspect.getdoc(type(law))
    assert "Source:" in text
    assert "Symbols:" in text or law.name == "constant"
    assert law.source
    assert law.scale in ("log", "linear")
    assert law.x
    assert isinstance(law, laws.Law)
    for p in law.params:
        assert p.unit, f"{law.name}.{p.name} has no unit"
        assert p.symbol
        assert p.low < p.high
        assert p.null is None or p.low <= p.null <= p.high
        if p.start is not None:
            assert p.low <= p.start[0] < p.start[1] <= p.high
            assert np.isfinite(p.start).all()


def test_no_wide_range_starts_at_zero(law):
    """A parameter from 0 to 1e30 would move on a linear axis, on which 17 and 0 are the same point; leave it open."""
    for p in law.params:
        if np.isfinite(p.low) and np.isfinite(p.high) and p.low <= 0:
            assert p.high - p.low <= 1e5, f"{law.name}.{p.name}"


def test_formula_is_mathtext(law):
    from matplotlib.mathtext import MathTextParser

    parser = MathTextParser("path")
    parser.parse(f"${law.formula}$")
    for p in law.params:
        parser.parse(f"${p.symbol}$")


def test_predict_is_finite_and_silent_on_its_domain(law):
    x, theta = grid(law), thetas(law)
    with np.errstate(all="raise"):
        y = curves(law, theta, x)
    assert y.shape == (len(theta), x[0].size)
    assert np.isfinite(y).all()
    for i in (0, 5):
        row = law.predict([float(v) for v in theta[i]], *x)
        np.testing.assert_allclose(np.broadcast_to(row, y[i].shape), y[i], rtol=1e-13)


def test_gradient_is_finite(law):
    x = grid(law)
    bounds = Bounds(np.array([p.low for p in law.params]), np.array([p.high for p in law.params]))
    u = bounds.u(thetas(law))
    for j in range(u.shape[1]):
        step = 1e-5 * np.maximum(np.abs(u[:, j]), 1.0)
        up, down = u.copy(), u.copy()
        up[:, j] += step
        down[:, j] -= step
        slope = (curves(law, bounds.theta(up), x) - curves(law, bounds.theta(down), x)) / (2 * step[:, None])
        assert np.isfinite(slope).all(), f"{law.name}: d y / d {law.params[j].name}"


def test_limits_hold(law):
    x = grid(law)
    assert law.limits
    names = [p.name for p in law.params]
    for limit in law.limits:
        for theta in thetas(law, 6):
            at = theta.copy()
            for name, value in limit.fixed.items():
                at[names.index(name)] = value
            expected = np.broadcast_to(limit.formula(at, *x), x[0].shape)
            got = np.broadcast_to(law.predict(list(at), *x), x[0].shape)
            np.testing.assert_allclose(got, expected, rtol=2e-9, atol=1e-280, err_msg=f"{law.name}: {limit.text}")


def test_bounds_map_back_and_forth(law):
    bounds = Bounds(np.array([p.low for p in law.params]), np.array([p.high for p in law.params]))
    theta = thetas(law)
    np.testing.assert_allclose(bounds.theta(bounds.u(theta)), theta, rtol=1e-9, atol=1e-12)


def planted(law, theta):
    """Noise-free points on a curve, with a factor per curve where the law has one."""
    x = grid(law)
    y = np.broadcast_to(law.predict(list(theta), *x), x[0].shape).copy()
    group = None
    if getattr(law, "free_scale", False):
        group = "axis" if "axis" in law.x else law.x[0]
        values = x[law.x.index(group)]
        y = y * (0.5 + 0.3 * np.unique(values, return_inverse=True)[1])
    ids = np.array([f"p{i}" for i in range(y.size)])
    columns = dict(zip(law.x, x, strict=True))
    return Points(columns, y, None, np.full(y.size, "all"), ids, 1, "y", "1"), group


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_recovered_from_noise_free_data(law, seed):
    theta = thetas(law, 8, seed)[seed]
    points, group = planted(law, theta)
    scale = "log" if np.all(points.y > 0) and law.scale == "log" else "linear"
    found = fit(law, points, {r: r for r in law.x}, scale=scale, free_scale=group, draws=20, loss="least_squares")
    size = np.sqrt(np.mean(points.y**2))
    away = found.predict(points.x) - points.y
    assert np.max(np.abs(away)) < 1e-5 * size, f"{law.name} at {theta} found {found.theta}"
    if law.name in ("power", "log_linear", "power_floor", "linear", "linear_log", "constant", "quadratic_log"):
        np.testing.assert_allclose(found.theta, theta, rtol=1e-6, atol=1e-6 * size)


def test_beta_mixtures_match_quadrature():
    from scipy.integrate import quad
    from scipy.special import betaln

    def exact(alpha, beta, s, k):
        def density(v):  # q = expit(v), so that both ends of the density are smooth
            log_q, log_r = -np.logaddexp(0, -v), -np.logaddexp(0, v)
            return np.exp(alpha * log_q + beta * log_r + k * np.log1p(-s * np.exp(log_q)) - betaln(alpha, beta))

        pieces = [(-700, -60), (-60, -12), (-12, -6), (-6, -3), (-3, 0), (0, 3), (3, 60), (60, 700)]
        return sum(quad(density, a, b, epsabs=0, epsrel=1e-11, limit=200)[0] for a, b in pieces)

    k = np.array([1.0, 7.0, 100.0, 1e4])
    for alpha, beta, s in [(0.3, 2.0, 0.6), (0.06, 0.7, 0.95), (1.5, 30.0, 0.2), (3.0, 0.5, 0.9)]:
        got = laws.law("scaled_beta_mixture").predict([alpha, beta, s], k)
        np.testing.assert_allclose(got, [exact(alpha, beta, s, n) for n in k], rtol=2e-8)
    for alpha, beta in [(0.3, 2.0), (0.06, 60.0), (2.5, 1.0)]:
        got = laws.law("beta_mixture").predict([alpha, beta], k)
        np.testing.assert_allclose(got, [exact(alpha, beta, 1 - 1e-16, n) for n in k], rtol=2e-8)


def test_the_ratio_of_gammas_keeps_its_digits():
    """Gamma(z + 1) / Gamma(z) = z, and the product rule, where a difference of log-gammas has lost six digits."""
    from rlaws.laws._special import log_gamma_ratio

    z = np.array([0.01, 3.0, 9.9, 10.1, 1e3, 1e6, 1e12])
    np.testing.assert_allclose(np.exp(log_gamma_ratio(z, 1.0)), z, rtol=3e-14)
    np.testing.assert_allclose(
        log_gamma_ratio(z, 0.3) + log_gamma_ratio(z + 0.3, 0.7), log_gamma_ratio(z, 1.0), rtol=1e-13, atol=1e-13
    )


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'power_floor'"):
        laws.law("power_flor")


MINE = '''
"""A law of a user."""
from rlaws.laws.base import Param


class Root:
    """y = a sqrt(x).

    Source: a test.
    """

    name = "root_{tag}"
    formula = "y = a x^{{1/2}}"
    source = "a test"
    x = ("x",)
    params = (Param("a", "a", "y", 0.0, 1e3),)
    limits = ()
    scale = "linear"

    def predict(self, theta, x):
        """Return a sqrt(x)."""
        return theta[0] * x**0.5
'''


def test_a_users_folder_adds_laws(tmp_path, monkeypatch):
    monkeypatch.setattr(laws, "_found", dict(laws._found))
    (tmp_path / "root_a.py").write_text(MINE.format(tag="a"))
    (tmp_path / "_helper.py").write_text("raise RuntimeError('must not be imported')")
    assert laws.register_folder(tmp_path) == ["root_a"]
    assert laws.law("root_a").predict([2.0], np.array([9.0]))[0] == 6.0
    assert "root_a" in laws.names()
    (tmp_path / "twice").mkdir()
    (tmp_path / "twice" / "other.py").write_text(MINE.format(tag="a"))
    with pytest.raises(InputError, match="Two laws are called 'root_a'"):
        laws.register_folder(tmp_path / "twice")
    with pytest.raises(InputError, match="does not exist"):
        laws.register_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="defines a class"):
        laws.register_folder(tmp_path / "empty")
