"""The finite volumes against their slow twin: other fluxes, other time steps, no linear algebra."""

import random

import numpy as np
import pytest

from sim import density as d
from sim.slow import density as slow

Z = 4.4


@pytest.mark.parametrize("name", ["double", "step"])
def test_density_is_that_of_central_differences(name):
    """Both are of second order, with other constants: the distance falls fourfold when the cells are halved."""
    reward = d.landscape(name, 5.0)

    def drift(x, width=1e-5):
        return float((reward(np.float64(x + width)) - reward(np.float64(x - width))) / (2 * width))

    distance = []
    for cells in (60, 120):
        grid = d.Grid(-3.0, 3.0, cells)
        p = grid.gaussian(-0.5, 0.4)
        want = np.array(slow.evolve(drift, 0.4, -3.0, 3.0, p.tolist(), 0.4))
        got = d.evolve(d.climb(grid, reward, 0.4), p, 0.4, tolerance=1e-8).p
        distance.append(np.abs(want - got).sum() * grid.width)
    assert distance[1] < 5e-3
    assert np.log2(distance[0] / distance[1]) == pytest.approx(2.0, abs=0.35)


def test_every_parity_of_cells_and_the_drift_form():
    """3 to 9 cells: both ends of the elimination, against a dense matrix built from the flux."""
    for cells in range(3, 10):
        grid = d.Grid(0.0, 1.0, cells)
        process = d.line(grid, lambda x: np.cos(3 * x), 0.3)
        a = np.zeros((cells, cells))
        for i, (r, left) in enumerate(zip(process.right, process.left, strict=True)):
            a[i : i + 2, i : i + 2] += [[-r, left], [r, -left]]
        p = np.linspace(1.0, 2.0, cells)
        step = np.linalg.solve(np.eye(cells) - 0.1 * a, p)
        np.testing.assert_allclose(d.evolve(process, p, 0.1, steps=1, scheme="euler").p, step, rtol=1e-13)


@pytest.mark.parametrize("scheme", d.SCHEMES)
def test_one_call_is_the_two_it_stands_for(scheme):
    grid = d.Grid(-3.0, 3.0, 151)
    u, p = d.landscape("tilted", 8.0)(grid.centres), grid.gaussian(-0.5, 0.2)
    want = d.evolve(d.hill(grid, u, 0.25), p, 2.0, steps=9, scheme=scheme).p
    np.testing.assert_allclose(d.evolve_hill(grid, u, 0.25, p, 2.0, 9, scheme), want, rtol=1e-12, atol=1e-300)
    with pytest.raises(ValueError, match="negative"):
        d.evolve_hill(grid, u, 0.25, -p, 2.0)


def test_a_moving_reward_with_a_constant_amplitude_is_the_tilted_one():
    grid = d.Grid(-3.0, 3.0, 200)
    u, p = d.landscape("double", 8.0)(grid.centres), grid.gaussian(-0.5, 0.2)
    got = d.moving(grid, u, grid.centres, 0.25).evolve(p, 1.0, np.full(50, 0.4))
    want = d.evolve(d.hill(grid, u + 0.4 * grid.centres, 0.25), p, 1.0, steps=50).p
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-14)


def test_particles_are_those_of_euler_and_maruyama():
    """4000 slow particles in a tilted well: mean and share above 0; z = 4.4 plus the slow twin's bias of one step."""
    rng = random.Random(5)

    def force(x):
        return -4.0 * x * (x * x - 1.0) + 0.3

    found = np.array([slow.walk(force, 0.4, -1.0, 1.0, 100, rng) for _ in range(4000)])
    crowd = d.Cloud(np.full((160, 250), -1.0))
    cloud = d.particles(crowd, lambda x: -4.0 * x * (x**2 - 1) + 0.3, 0.4, 1.0, 100, 3, (-4, 4))
    x = cloud.x.ravel()
    spread = np.sqrt(found.var() / found.size + x.var() / x.size)
    assert found.mean() == pytest.approx(x.mean(), abs=Z * spread + 0.01)
