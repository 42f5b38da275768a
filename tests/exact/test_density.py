"""The density world against closed forms: Ornstein-Uhlenbeck, Gibbs, Kramers, order of convergence, free energy.

Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds.
"""

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal

from sim import density as d
from sim.exact import density as exact

Z = 4.4
WIDE = d.Grid(-3.0, 3.0, 600)


def l1(grid, p, q):
    return float(np.abs(p - q).sum() * grid.width)


def slowest_rate(process):
    """Return the smallest nonzero relaxation rate: the symmetrised tridiagonal matrix has the same spectrum."""
    r, left = process.right, process.left
    diagonal = np.concatenate([r, [0.0]]) + np.concatenate([[0.0], left])
    return float(eigh_tridiagonal(diagonal, -np.sqrt(r * left), select="i", select_range=(1, 1))[0][0])


# ------------------------------------------------------------------------------------------- Ornstein-Uhlenbeck
@pytest.mark.parametrize("scheme", ["adaptive", "rational"])
def test_ornstein_uhlenbeck_mean_variance_entropy(scheme):
    grid, k, temperature = d.Grid(-4.0, 4.0, 1200), 1.5, 0.2
    process, p = d.climb(grid, d.landscape("single", k), temperature), grid.gaussian(1.2, 0.3)
    for time in (0.05, 0.4, 3.0):
        how = {"tolerance": 1e-7} if scheme == "adaptive" else {"scheme": "rational"}
        got = d.evolve(process, p, time, **how).p
        mean, variance = exact.ornstein_uhlenbeck(k, temperature, 1.2, 0.09, time)
        assert d.moments(grid, got)[0] == pytest.approx(mean, abs=2 * grid.width**2)
        assert d.moments(grid, got)[1] == pytest.approx(variance, abs=2 * grid.width**2)
        assert d.entropy(grid, got) == pytest.approx(exact.normal_entropy(variance), abs=2e-4)
        assert l1(grid, got, grid.gaussian(mean, np.sqrt(variance))) < 2e-4


def test_drift_and_diffusion_given_directly():
    """A drift and a diffusion that are no reward's: p ~ exp(integral f/D)/1 in the Fick form, here D = 0.2 + 0.1 x²."""
    process = d.line(WIDE, lambda x: -x, lambda x: 0.2 + 0.1 * x**2)
    shape = (0.2 + 0.1 * WIDE.centres**2) ** -5.0  # integral of -x/(0.2 + 0.1 x²) is -5 log(0.2 + 0.1 x²)
    shape /= shape.sum() * WIDE.width
    got = d.evolve(process, WIDE.gaussian(1.0, 0.2), 200.0, tolerance=1e-8).p
    assert l1(WIDE, got, shape) < 2e-4


def test_a_reward_that_is_steep_over_one_cell_still_drifts_at_its_speed():
    """Péclet numbers up to 40 a cell: the mean decays as e^{-kt} to the first order in the cell, the width ends right.

    Rates from integrals over cells (averages of e^{U/T} with resistances from centre to centre) stall here: they fall
    as e^{-Péclet/2}, for a cell is not in local equilibrium.
    """
    grid, k, temperature = d.Grid(-3.0, 3.0, 300), 8.0, 0.0125
    process = d.climb(grid, d.landscape("single", k), temperature)
    got = d.evolve(process, grid.gaussian(2.0, 0.2), 0.2, tolerance=1e-5).p
    assert d.moments(grid, got)[0] == pytest.approx(2.0 * np.exp(-k * 0.2), abs=grid.width)
    end = d.evolve(process, grid.gaussian(2.0, 0.2), 5.0, tolerance=1e-5).p
    assert d.moments(grid, end)[1] == pytest.approx(temperature / k, abs=grid.width**2 / 6)


# ------------------------------------------------------------------------------------------- stationary density
@pytest.mark.parametrize("name", d.LANDSCAPES)
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_gibbs_density_is_stationary_even_on_a_coarse_grid(name, temperature):
    grid, reward = d.Grid(-3.0, 3.0, 48), d.landscape(name, 4.0)
    want = exact.gibbs_averages(reward, temperature, np.linspace(-3.0, 3.0, 49))
    process = d.climb(grid, reward, temperature)
    np.testing.assert_allclose(process.stationary(), want, rtol=1e-8, atol=1e-12)
    stays = d.evolve(process, want, 50.0, steps=20).p
    np.testing.assert_allclose(stays, want, rtol=1e-6, atol=1e-12)


def test_a_flat_reward_without_tilt_has_no_preferred_place():
    """Negative control: no reward, no collapse; the density becomes uniform and its entropy the largest there is."""
    flat = d.line(WIDE, 0.0, 0.3)
    got = d.evolve(flat, WIDE.gaussian(0.5, 0.2), 400.0, tolerance=1e-9).p
    assert d.entropy(WIDE, got) == pytest.approx(np.log(6.0), abs=1e-8)


# ------------------------------------------------------------------------------------------- mass, sign, free energy
@pytest.mark.parametrize("scheme", d.SCHEMES)
@pytest.mark.parametrize("steps", [1, 30])
def test_mass_is_kept_to_1e12(scheme, steps):
    grid = d.Grid(-3.0, 3.0, 2000)
    process, p = d.climb(grid, d.landscape("double", 8.0), 0.25), grid.gaussian(-0.5, 0.05)
    got = d.evolve(process, p, 10.0, steps=steps, scheme=scheme).p
    assert abs(d.mass(grid, got) - 1.0) < 1e-12


def test_backward_euler_is_positive_for_any_step_and_adaptive_steps_are_positive():
    grid = d.Grid(-3.0, 3.0, 400)
    process = d.climb(grid, d.landscape("tilted", 40.0), 0.05)
    spike = np.zeros(400)
    spike[100] = 1.0 / grid.width
    for time in (1e-6, 1e-3, 1.0, 1e6):
        assert d.evolve(process, spike, time, steps=1, scheme="euler").p.min() >= 0.0
        assert d.evolve(process, spike, time, tolerance=1e-3).p.min() >= 0.0
    flat = d.line(grid, 0.0, 1.0)
    assert d.evolve(flat, spike, 0.02, steps=1).p.min() < 0.0, "one long step of order 2 is not positive"
    assert d.evolve(flat, spike, 0.02, tolerance=1e-2).rejected > 0


@pytest.mark.parametrize("name", d.LANDSCAPES)
def test_free_energy_never_rises(name):
    process, p = d.climb(WIDE, d.landscape(name, 6.0), 0.2), WIDE.gaussian(-1.4, 0.3)
    path = [d.free_energy(process, p)]
    for time in np.diff(np.concatenate([[0.0], np.geomspace(1e-4, 300.0, 25)])):
        p = d.evolve(process, p, float(time), tolerance=1e-6).p
        path.append(d.free_energy(process, p))
    assert np.all(np.diff(path) < 1e-12)
    assert path[0] > 5 * path[-1]


# ------------------------------------------------------------------------------------------- order of convergence
def test_second_order_in_space():
    """Against the exact normal density: halving the width divides the error by 4 (order 1.9 to 2.1)."""
    errors = []
    for cells in (100, 200, 400):
        grid = d.Grid(-4.0, 4.0, cells)
        reward = -0.5 * 1.5 * grid.centres**2
        got = d.evolve(d.hill(grid, reward, 0.2), grid.gaussian(1.0, 0.4), 0.5, scheme="rational").p
        mean, variance = exact.ornstein_uhlenbeck(1.5, 0.2, 1.0, 0.16, 0.5)
        errors.append(l1(grid, got, grid.gaussian(mean, np.sqrt(variance))))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(orders - 2.0) < 0.1), orders


@pytest.mark.parametrize(("scheme", "order"), [("euler", 1.0), ("sdirk", 2.0)])
def test_order_in_time(scheme, order):
    process, p = d.climb(WIDE, d.landscape("double", 8.0), 0.25), WIDE.gaussian(-0.5, 0.2)
    want = d.evolve(process, p, 1.0, scheme="rational").p
    errors = [l1(WIDE, d.evolve(process, p, 1.0, steps=n, scheme=scheme).p, want) for n in (64, 128, 256)]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(orders - order) < 0.15), orders


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("start", [0.03, 0.5])
def test_the_stated_error_bounds_the_error(tolerance, start):
    process, p = d.climb(WIDE, d.landscape("double", 8.0), 0.25), WIDE.gaussian(-0.5, start)
    done = d.evolve(process, p, 2.0, tolerance=tolerance)
    error = l1(WIDE, done.p, d.evolve(process, p, 2.0, scheme="rational").p)
    assert done.error <= tolerance
    assert error <= 1.5 * done.error + 1e-12


def test_the_rational_approximation_is_the_exponential():
    x = -np.concatenate([[0.0], np.logspace(-3, 5, 200)])
    y = np.ones_like(x)
    for a, t in zip(d.ALPHAS, d.THETAS, strict=True):
        y = y + 2 * np.real(a * y / (x - t))
    np.testing.assert_allclose(y / y[0], np.exp(x), atol=1e-13)


# ------------------------------------------------------------------------------------------- escape
@pytest.mark.parametrize("ratio", [4.0, 6.0, 8.0, 12.0, 16.0])
def test_kramers_escape_rate(ratio):
    """Relaxation between two equal wells is twice the escape rate; Kramers' formula is off by a few T/dU.

    For U = -h (x²-1)² its next order is a correction of about -3/8 x ... T/h; the bound is 1.5 T/h.
    """
    height = 1.0
    grid = d.Grid(-3.0, 3.0, 1200)
    process = d.climb(grid, d.landscape("double", 8.0 * height), height / ratio)
    rate = slowest_rate(process) / 2.0
    kramers = exact.kramers_rate(height, height / ratio, 8.0 * height, 4.0 * height)
    assert rate / kramers == pytest.approx(1.0, abs=1.5 / ratio)
    if ratio >= 12:
        assert rate / kramers == pytest.approx(1.0, abs=0.1)


def test_kramers_exponent_is_the_barrier():
    """Slope of log rate in 1/T between dU/T = 8 and 16 is the barrier to 2 %; a wrong barrier (0.9) would be seen."""
    grid, reward = d.Grid(-3.0, 3.0, 1200), d.landscape("double", 8.0)
    inverse = np.array([8.0, 10.0, 12.0, 14.0, 16.0])
    rates = [slowest_rate(d.climb(grid, reward, 1 / b)) for b in inverse]
    assert -np.polyfit(inverse, np.log(rates), 1)[0] == pytest.approx(1.0, abs=0.02)


def test_mean_first_passage_of_density_and_particles():
    """Survival on [-3, 0.9] with an absorbing end, integrated over time, is the exact double integral."""
    temperature, reward = 0.3, d.landscape("double", 8.0)
    want = exact.first_passage(reward, temperature, -3.0, -1.0, 0.9)
    grid = d.Grid(-3.0, 0.9, 780)
    process = d.climb(grid, reward, temperature)
    n, last = grid.cells, temperature / grid.width**2
    diagonal = np.concatenate([process.right, [2.0 * last]]) + np.concatenate([[0.0], process.left])
    matrix = np.diag(-diagonal) + np.diag(process.right, -1) + np.diag(process.left, 1)
    at = np.zeros(n)
    at[int((-1.0 + 3.0) / grid.width)] = 1.0
    assert float(-np.linalg.solve(matrix, at).sum()) == pytest.approx(want, rel=5e-3)


# ------------------------------------------------------------------------------------------- two dimensions
def test_separable_rectangle_is_the_product_of_lines():
    x, y, temperature, time = d.Grid(-3.0, 3.0, 60), d.Grid(-2.0, 2.5, 45), 0.3, 0.7
    ux, uy = d.landscape("double", 6.0)(x.centres), d.landscape("single", 2.0)(y.centres)
    px, py = x.gaussian(-0.6, 0.3), y.gaussian(0.5, 0.4)
    both = d.evolve_2d(d.hill_2d(x, y, ux[:, None] + uy[None, :], temperature), np.outer(px, py), time, steps=40).p
    lines = [
        d.evolve(d.hill(g, u, temperature), p, time, scheme="rational").p for g, u, p in ((x, ux, px), (y, uy, py))
    ]
    coarse = d.evolve_2d(d.hill_2d(x, y, ux[:, None] + uy[None, :], temperature), np.outer(px, py), time, steps=20).p
    error, before = np.abs(both - np.outer(*lines)).max(), np.abs(coarse - np.outer(*lines)).max()
    assert error < 2e-3
    assert np.log2(before / error) == pytest.approx(2.0, abs=0.2)
    assert both.sum() * x.width * y.width == pytest.approx(1.0, abs=1e-12)


def test_plane_of_drifts_is_the_hill_and_its_gibbs_density_is_stationary():
    """A reward that does not separate: U = -(x²-1)² - 2 (y - x/2)²; adaptive steps state their error."""
    x, y, temperature = d.Grid(-3.0, 3.0, 64), d.Grid(-3.0, 3.0, 64), 0.25
    u = -((x.centres[:, None] ** 2 - 1) ** 2) - 2 * (y.centres[None, :] - 0.5 * x.centres[:, None]) ** 2
    process = d.hill_2d(x, y, u, temperature)
    gibbs = np.exp((u - u.max()) / temperature)
    gibbs /= gibbs.sum() * x.width * y.width
    stays = d.evolve_2d(process, gibbs, 5.0, steps=400).p
    assert np.abs(stays - gibbs).sum() * x.width * y.width < 2e-3
    drifts = (np.diff(u, axis=0) / x.width, np.diff(u, axis=1) / y.width)
    same = d.plane(x, y, drifts, (temperature, temperature))
    np.testing.assert_allclose(same.along_x, process.along_x, rtol=1e-12)
    np.testing.assert_allclose(same.along_y, process.along_y, rtol=1e-12)
    start = np.outer(x.gaussian(-0.5, 0.3), y.gaussian(0.5, 0.3))
    done = d.evolve_2d(process, start, 0.5, tolerance=1e-4)
    finer = d.evolve_2d(process, start, 0.5, steps=8 * done.steps).p
    assert np.abs(done.p - finer).sum() * x.width * y.width < 1.5 * done.error
    assert done.p.min() >= 0.0


# ------------------------------------------------------------------------------------------- particles
def test_particles_have_weak_order_two():
    """Mean of x² under Ornstein-Uhlenbeck in few long steps, whose Heun moments are known exactly.

    A step multiplies x by a = 1 - hk + h²k²/2 and adds s (1 - hk/2) with variance 2Th: the bias against the exact
    variance falls fourfold when h halves, and the particles match the recursion within z = 4.4.
    """
    k, temperature, time = 1.0, 0.3, 1.0
    bias = []
    for steps in (4, 8):
        h, mean, variance = time / steps, 1.0, 0.0
        a, noise = 1 - h * k + h**2 * k**2 / 2, 2 * temperature * h * (1 - h * k / 2) ** 2
        for _ in range(steps):
            mean, variance = a * mean, a**2 * variance + noise
        cloud = d.particles(d.Cloud(np.ones((400, 256))), lambda x: -k * x, temperature, time, steps, 7, (-8.0, 8.0))
        x = cloud.x.ravel()
        assert x.mean() == pytest.approx(mean, abs=Z * np.sqrt(variance / x.size))
        assert x.var() == pytest.approx(variance, abs=Z * variance * np.sqrt(2 / x.size))
        truth = exact.ornstein_uhlenbeck(k, temperature, 1.0, 0.0, time)
        bias.append(mean**2 + variance - truth[0] ** 2 - truth[1])
    assert np.log2(bias[0] / bias[1]) == pytest.approx(2.0, abs=0.3)


def test_particles_and_density_agree_in_a_double_well():
    """102400 particles: share in the right well, and variance, against the density; z = 4.4."""
    grid, reward, temperature = d.Grid(-3.0, 3.0, 600), d.landscape("double", 8.0), 0.4
    p = d.evolve(d.climb(grid, reward, temperature), grid.gaussian(-1.0, 0.2), 3.0, tolerance=1e-6).p
    start = -1.0 + 0.2 * np.random.default_rng(3).standard_normal((400, 256))
    cloud = d.particles(d.Cloud(start), lambda x: -4.0 * x * (x**2 - 1.0), temperature, 3.0, 300, 11, (-3.0, 3.0))
    share = float(p[grid.centres > 0].sum() * grid.width)
    n = cloud.x.size
    assert np.mean(cloud.x > 0) == pytest.approx(share, abs=Z * np.sqrt(share * (1 - share) / n) + 1e-3)
    mean, variance = d.moments(grid, p)
    assert cloud.x.mean() == pytest.approx(mean, abs=Z * np.sqrt(variance / n) + 2e-3)


def test_particles_do_not_depend_on_how_the_time_is_cut():
    start, force = np.zeros((3, 10)), lambda x: -x
    whole = d.particles(d.Cloud(start), force, 0.5, 1.0, 20, 5, (-4.0, 4.0))
    half = d.particles(d.Cloud(start), force, 0.5, 0.5, 10, 5, (-4.0, 4.0))
    again = d.particles(half, force, 0.5, 0.5, 10, 5, (-4.0, 4.0))
    np.testing.assert_array_equal(whole.x, again.x)
    alone = d.particles(d.Cloud(start[:1]), force, 0.5, 1.0, 20, 5, (-4.0, 4.0))
    np.testing.assert_array_equal(whole.x[:1], alone.x)


# ------------------------------------------------------------------------------------------- errors
def test_errors_say_what_is_possible():
    process = d.climb(WIDE, d.landscape("single", 1.0), 0.2)
    p = WIDE.gaussian(0.0, 0.5)
    with pytest.raises(ValueError, match="not known"):
        d.evolve(process, p, 1.0, steps=3, scheme="sdrik")
    with pytest.raises(ValueError, match="give steps"):
        d.evolve(process, p, 1.0)
    with pytest.raises(ValueError, match="600 values"):
        d.evolve(process, p[:5], 1.0, steps=3)
    with pytest.raises(ValueError, match="positive"):
        d.line(WIDE, 0.0, 0.0)
    with pytest.raises(ValueError, match="not known"):
        d.landscape("wel", 1.0)
