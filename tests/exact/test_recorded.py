"""Recorded data reproduce what was published of them; printed tables agree with themselves and with each other."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares

from rlaws.estimators import pass_at_k
from rlaws.logs.counts import COUNTS, RecordedCounts, RecordedProblems
from rlaws.logs.curves import LAYOUTS, RecordedCurves
from rlaws.logs.printed import PrintedTable
from rlaws.probes.base import Budget
from rlaws.probes.curve_slope import CurveSlope

DATA = os.environ.get("RLAWS_DATA", "data")
SEED = np.random.SeedSequence(20260401)


def needs(file: str) -> pytest.MarkDecorator:
    there = (Path(DATA) / file).exists()
    return pytest.mark.skipif(not there, reason=f"public table {file} is not under RLAWS_DATA = {DATA}; docs/data.md")


# b of -log pass@k = a k^-b by log-log least squares over 41 k, geometric from 1 to 10,000; published to three digits
# from another grid of k. Coarser grids move b by up to 0.007, so 0.005 is the tolerance.
EXPONENTS = {"70M": 0.194, "160M": 0.280, "410M": 0.286, "1B": 0.315, "2.8B": 0.336, "6.9B": 0.348}
GRID = np.unique(np.round(np.logspace(0, 4, 41)).astype(np.int64))


@needs(COUNTS.file)
@pytest.mark.parametrize("size", EXPONENTS)
def test_pythia_counts_reproduce_the_published_exponents(size: str) -> None:
    n, c = RecordedCounts(DATA, f"Pythia {size}").count(None, 10_000, SEED)
    mean = pass_at_k(n, c, GRID).mean(axis=0)
    b = -np.polyfit(np.log(GRID), np.log(-np.log(mean)), 1)[0]
    assert n.size == 128
    assert b == pytest.approx(EXPONENTS[size], abs=0.005)


@needs(COUNTS.file)
def test_pythia_counts_reproduce_the_printed_coverage() -> None:
    """pass@1 and pass@10,000 of every size that the table holds, to the printed digits."""
    printed = PrintedTable("pythia_math_coverage").table()
    checked = 0
    for model, k, value in zip(printed["model"], printed["k"], printed["pass_at_k"], strict=True):
        if model == "Pythia 12B":
            continue  # printed, but not in the table of counts
        n, c = RecordedCounts(DATA, str(model)).count(None, 10_000, SEED)
        half = 0.00005 if k == 1 else 0.0005
        assert pass_at_k(n, c, np.array([k])).mean() == pytest.approx(value, abs=1.01 * half)
        checked += 1
    assert checked == 12


@needs(COUNTS.file)
def test_every_pythia_model_was_given_the_same_problems() -> None:
    problems = RecordedProblems(DATA).draw(SEED)
    assert len(problems) == 128
    whole = RecordedCounts(DATA, "Pythia 1B").count(problems, 10_000, SEED)
    assert whole[1].sum() == RecordedCounts(DATA, "Pythia 1B").count(None, 10_000, SEED)[1].sum()


# Free slopes k_D of the base models, printed (as a comment) in the LaTeX source of arXiv 2509.25300.
SLOPES = {0.5: 0.0065, 1.5: 0.0247, 3.0: 0.0182, 7.0: 0.0450, 14.0: 0.0745, 32.0: 0.1072}


@needs(LAYOUTS["loss_curves"].file)
def test_curve_slopes_reproduce_the_published_ones() -> None:
    """Curves are read from vector figures; 0.0015 is an order below the differences between sizes."""
    policy = RecordedCurves(DATA, "loss_curves")
    m = CurveSlope(replicas=100).measure(policy, None, Budget("quick", 1.0, 100), SEED)
    base = m.columns["family"] == "base"
    found = dict(zip(m.columns["model_B"][base].tolist(), m.columns["total"][base].tolist(), strict=True))
    for size, k in SLOPES.items():
        assert found[size] == pytest.approx(k, abs=0.0015)


def saturating_fit(n: np.ndarray, x: np.ndarray, loss: np.ndarray) -> tuple[float, float]:
    """Least squares on L with one free intercept a size, each size of equal weight."""
    sizes, at = np.unique(n, return_inverse=True)
    weight = 1.0 / np.sqrt(np.bincount(at)[at])

    def residual(theta: np.ndarray) -> np.ndarray:
        k = theta[0] / (1.0 + np.exp(theta[1]) / n)
        return weight * (10.0 ** (theta[2 + at] - k * np.log10(x)) - loss)

    start = np.concatenate([[0.1, np.log(10.0)], np.full(sizes.size, 0.1)])
    theta = least_squares(residual, start, xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=2000).x
    return float(theta[0]), float(np.exp(theta[1]))


@needs(LAYOUTS["loss_curves"].file)
@pytest.mark.parametrize(("column", "k_max", "n0"), [("samples", 0.163, 17.0), ("cum_flops", 0.152, 17.4)])
def test_curves_reproduce_the_published_saturation(column: str, k_max: float, n0: float) -> None:
    """The inter-model fits of the base models, 0.5B to 32B; printed to three digits."""
    t = RecordedCurves(DATA, "loss_curves").table()
    keep = (t["family"] == "base") & (t["model_B"] <= 32)
    for size in np.unique(t["model_B"][keep]):
        rows = np.flatnonzero(keep & (t["model_B"] == size))
        peak = np.maximum.accumulate(t[column][rows])
        keep[rows[1:]] &= t[column][rows[1:]] > peak[:-1]  # a cumulative total cannot fall
    found = saturating_fit(t["model_B"][keep], t[column][keep], t["test_loss"][keep])
    assert found[0] == pytest.approx(k_max, abs=0.003)
    assert found[1] == pytest.approx(n0, abs=0.5)


@needs(LAYOUTS["loss_curves"].file)
def test_curves_end_at_the_printed_final_loss() -> None:
    """The printed "test loss" is the last evaluation of each curve (mean of three runs), not a mean over the run."""
    t = RecordedCurves(DATA, "loss_curves").table()
    printed = PrintedTable("qwen25_converged", "uncertainty").table()
    for size in np.unique(t["model_B"][t["family"] == "base"]):
        curve = (t["family"] == "base") & (t["model_B"] == size)
        last = t["test_loss"][curve][np.argmax(t["step"][curve])]
        row = (printed["family"] == "base") & (printed["model_B"] == size)
        assert last == pytest.approx(1.0 - printed["pass_at_1"][row][0], abs=6e-5)


@needs(LAYOUTS["group_size"].file)
def test_ablations_share_one_run() -> None:
    """G = 8 and tau = 1 are the same single run: the ablations have one run behind every curve."""
    groups, reuse = (RecordedCurves(DATA, name).table() for name in ("group_size", "data_reuse"))
    g, r = groups["group_size"] == 8, reuse["reuse_tau"] == 1
    shared = min(int(g.sum()), int(r.sum()))
    assert np.array_equal(groups["test_loss"][g][:shared], reuse["test_loss"][r][:shared])


# ------------------------------------------------------------------------------------------------------ printed tables
def test_printed_loss_falls_with_size_in_both_families_and_tables() -> None:
    t = PrintedTable("qwen25_converged").table()
    for table in ("uncertainty", "comparison"):
        for family in ("base", "instruct"):
            rows = (t["table"] == table) & (t["family"] == family)
            assert t["model_B"][rows].tolist() == [0.5, 1.5, 3.0, 7.0, 14.0, 32.0, 72.0]
            assert np.all(np.diff(t["pass_at_1"][rows]) > 0)


def test_the_two_printed_tables_differ_by_at_most_six_points() -> None:
    """pass@1 of the comparison table is never below 1 - loss of the other one: it is another (better) evaluation."""
    t = PrintedTable("qwen25_converged").table()
    mean, best = (t["pass_at_1"][t["table"] == name] for name in ("uncertainty", "comparison"))
    assert np.all(best > mean)
    assert np.max(best - mean) < 0.06


def test_printed_standard_errors_are_those_of_three_runs() -> None:
    """The paper prints the spread over repeats and its standard error; their ratio is sqrt(3)."""
    spread = {"base": [0.0082, 0.0091, 0.0129, 0.0147, 0.0149, 0.0056, 0.0143],
              "instruct": [0.0073, 0.0098, 0.0112, 0.0142, 0.0143, 0.0127, 0.0140]}  # fmt: skip
    t = PrintedTable("qwen25_converged", "uncertainty").table()
    for family, values in spread.items():
        ratio = np.array(values) / t["stderr"][t["family"] == family]
        assert ratio == pytest.approx(np.sqrt(3), rel=0.02)


def test_derived_standard_errors_are_binomial() -> None:
    t = PrintedTable("qwen25_converged", "comparison").table()
    p = t["pass_at_1"]
    assert t["stderr"] == pytest.approx(np.sqrt(p * (1 - p) / 500), abs=6e-5)


def test_printed_gains_are_after_less_before() -> None:
    t = PrintedTable("policy_gain", "gsm8k_grpo").table()
    assert t["gain"] == pytest.approx(t["after"] - t["before"], abs=1e-9)


def test_the_sign_of_the_printed_gain_depends_on_the_reading() -> None:
    """Slope of log gain against log non-embedding size: the absolute gain falls, the share of headroom does not.

    The sizes are printed in an earlier version of the same report (commit d8413ca).
    """
    t = PrintedTable("policy_gain", "gsm8k_grpo").table()
    u = np.log([0.44, 1.4, 3.6, 6.95, 13.2])
    absolute = np.polyfit(u, np.log(t["gain"]), 1)[0]
    headroom = np.polyfit(u, np.log(t["gain"] / (1 - t["before"])), 1)[0]
    assert absolute == pytest.approx(-0.49, abs=0.01)
    assert headroom == pytest.approx(-0.03, abs=0.01)
