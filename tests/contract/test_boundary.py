"""The boundary sentence of a conditional verdict, on grids whose boundary is known."""

import itertools

import pytest

from rlaws.boundary import boundary
from rlaws.claims import Outcome, PointVerdict


def grid(rule, **axes):
    points = []
    for values in itertools.product(*axes.values()):
        regime = dict(zip(axes, values, strict=True))
        found = rule(**regime)
        outcome = Outcome.UNDECIDED if found is None else Outcome.SUPPORTED if found else Outcome.REFUTED
        points.append(PointVerdict(regime, outcome, (), ""))
    return points


@pytest.mark.parametrize(
    ("rule", "holds", "fails"),
    [
        (lambda r, s: r <= 0.1, "r ≤ 0.1", "r ≥ 0.2"),
        (lambda r, s: r >= 0.2, "r ≥ 0.2", "r ≤ 0.1"),
        (lambda r, s: 0.1 <= r <= 0.2, "r = 0.1 to 0.2", "r ≠ 0.1 to 0.2"),
        (lambda r, s: r == 0.1, "r = 0.1", "r ≠ 0.1"),
        (lambda r, s: r <= 0.1 and s == "b", "r ≤ 0.1 and s = b", "r ≥ 0.2"),
        (lambda r, s: None if r == 0.1 else r < 0.1, "r ≤ 0", "r ≥ 0.2"),
    ],
)
def test_a_planted_boundary_is_found(rule, holds, fails):
    found = boundary(grid(rule, r=[0.0, 0.1, 0.2, 0.3], s=["a", "b"]))
    assert found["errors"] == 0
    said_holds, said_fails = found["text"]["en"].removeprefix("holds where ").split("; fails where ")
    assert said_holds == holds
    assert fails in said_fails


def test_a_single_exception_is_named():
    axes = {"r": [0.0, 0.1, 0.2], "s": ["a", "b", "c"], "q": [1, 2]}
    found = boundary(grid(lambda r, s, q: (r, s, q) == (0.1, "b", 1), **axes))
    assert found["errors"] == 0
    assert "r = 0.1, s = b, q = 1" in found["text"]["en"]


def test_a_checkerboard_is_owned_up_to():
    found = boundary(grid(lambda r, s: (r + s) % 2 == 0, r=[0, 1, 2, 3], s=[0, 1, 2, 3]))
    assert found["errors"] > 0
    assert "lie on the other side" in found["text"]["en"]
