"""Forecasts of published curves from their first half; the whole table is ``python -m benchmarks.forecast``."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.forecast import hex_runs, qwen3, qwen25, verl
from rlaws.forecast import score, table, turn

FOLDER = Path(os.environ.get("RLAWS_DATA", "/nowhere"))
pytestmark = pytest.mark.skipif(
    not (FOLDER / "qwen25-grpo").is_dir(), reason="RLAWS_DATA does not name the folder of the tables (docs/data.md)"
)


@pytest.fixture(scope="module")
def chosen():
    """Source -> metric and curves; of hex every tenth run."""
    found = {"qwen25": qwen25(FOLDER, "loss_curves"), "qwen3": qwen3(FOLDER), "verl": verl(FOLDER)}
    metric, runs = hex_runs(FOLDER)
    return {**found, "hex": (metric, runs[::10])}


def test_half_a_curve_foretells_the_rest(chosen):
    options = {"draws": 300, "bends": False}
    scores = {n: [s for c in cs[-4:] for s in score(c, 0.5, m, **options)] for n, (m, cs) in chosen.items()}
    rows = {r.method: r for r in table(scores) if r.source == "all" and r.share == 0.0}
    mixture = rows["mixture"]
    assert 0.80 < mixture.covered < 0.99
    for naive in ("last_value", "straight_line"):
        assert mixture.error < rows[naive].error
        assert mixture.interval < rows[naive].interval


def test_no_language_model_curve_is_called_bent(chosen):
    for name in ("qwen25", "qwen3", "verl"):
        metric, curves = chosen[name]
        assert [c.run for c in curves if turn(c, metric)] == []


def test_the_validation_scores_of_a_console_log(chosen):
    curve = chosen["verl"][1][0]
    assert curve.x.size == 43
    assert (curve.y[0], curve.y.max()) == pytest.approx((0.013, 0.579))
    assert np.all(np.diff(curve.x) == 10)
