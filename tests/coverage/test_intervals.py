"""Are nominal 90 % intervals honest? 400 planted data sets each, with fixed seeds.

The count of intervals that hold the true value must lie in 335..381: for a true coverage of 90 % it leaves that band
with probability 1e-4. Each test has a negative control, an interval made the wrong way, whose count must fall outside.
The truth is the pseudo-true parameter: the best fit to the exact curve on the same grid, not an asymptote.
"""

import numpy as np
import pytest
from scipy.special import betaln

from rlaws.compare import compare
from rlaws.estimators import pass_at_k
from rlaws.fitting import fit, fit_beta_binomial
from rlaws.laws import law
from rlaws.measurement import Measurement
from rlaws.resampling import Points, to_points

TRIALS = 400
LOW, HIGH = 335, 381  # false alarm 1e-4 at a true coverage of 0.90
QUICK = {"starts": 4, "loss": "least_squares"}


def honest(count):
    return LOW <= count <= HIGH


def count_inside(intervals, truth):
    return sum(low <= truth <= high for low, high in intervals)


def plain_points(x, y, draws=None, series=None, clusters=1):
    series = np.full(y.size, "all") if series is None else series
    return Points(x, y, draws, series, np.array([f"p{i}" for i in range(y.size)]), clusters, "y", "1")


# ------------------------------------------------------------------------------------------------- pass@k and tail

PROBLEMS, SAMPLES = 200, 256
K = np.array([4, 8, 16, 32, 64, 128])
SHAPES = (0.4, 2.0)


def failure_table(rng, problems):
    """Unbiased failure at each k of each problem, [P, K]."""
    n = np.full(problems, SAMPLES)
    return 1.0 - pass_at_k(n, rng.binomial(SAMPLES, rng.beta(*SHAPES, problems)), K)


def tail_points(failure, rng):
    rows = failure.size
    columns = {
        "k": np.tile(K.astype(float), len(failure)),
        "cluster": np.repeat(np.arange(len(failure)), K.size),
        "total": failure.ravel(),
        "weight": np.ones(rows),
    }
    units = dict.fromkeys(columns, "1")
    return to_points(Measurement(columns, units, ("k",), "mean", "failure", "1"), rng, 200)


def tail_truth():
    """Exponent of the power law that lies nearest to the exact curve, under the points' true standard errors."""
    a, b = SHAPES
    exact = np.exp(betaln(a, b + K) - betaln(a, b))
    spread = failure_table(np.random.default_rng(99), 40_000).std(axis=0) / np.sqrt(PROBLEMS)
    draws = exact + spread * np.array([[-1.0], [1.0]]) / np.sqrt(2)
    return fit(law("power"), plain_points({"k": K.astype(float)}, exact, draws), {"x": "k"}, **QUICK).value("b")


def test_the_pseudo_true_exponent_depends_on_the_grid_and_the_weights():
    """Asymptote 0.400; equal weights in the log give 0.363 on this grid, standard errors less: small k count more."""
    a, b = SHAPES
    exact = plain_points({"k": K.astype(float)}, np.exp(betaln(a, b + K) - betaln(a, b)))
    assert fit(law("power"), exact, {"x": "k"}, draws=20, **QUICK).value("b") == pytest.approx(0.363, abs=5e-4)
    assert tail_truth() == pytest.approx(0.351, abs=2e-3)


def test_the_tail_exponent_of_pass_at_k():
    truth = tail_truth()
    problems, points = [], []
    for seed in range(TRIALS):
        rng = np.random.default_rng([1, seed])
        data = tail_points(failure_table(rng, PROBLEMS), rng)
        found = fit(law("power"), data, {"x": "k"}, **QUICK)
        problems.append(found.interval("b", 0.9))
        residual = data.y - found.predict(data.x)
        resampled = found.predict(data.x) + rng.choice(residual, (200, K.size))
        wrong = plain_points(data.x, data.y, resampled, clusters=0)
        points.append(fit(law("power"), wrong, {"x": "k"}, weights="equal", **QUICK).interval("b", 0.9))
    inside, control = count_inside(problems, truth), count_inside(points, truth)
    assert honest(inside), f"problems resampled: {inside} of {TRIALS}"
    assert control < LOW, f"points resampled: {control} of {TRIALS}"


def test_the_beta_shape_of_difficulty():
    """Maximum likelihood over problems; the control pretends that every sample is a problem of its own."""
    intervals, wrong = [], []
    for seed in range(TRIALS):
        rng = np.random.default_rng([2, seed])
        n = np.full(150, 32)
        c = rng.binomial(n, rng.beta(*SHAPES, n.size))
        found = fit_beta_binomial(n, c, draws=200, seed=seed)
        intervals.append(found.interval("alpha", 0.9))
        mean = found.alpha + (found.draws[:, 0] - found.alpha) / np.sqrt(32)
        wrong.append(tuple(np.quantile(mean, [0.05, 0.95])))
    inside, control = count_inside(intervals, SHAPES[0]), count_inside(wrong, SHAPES[0])
    assert honest(inside), f"{inside} of {TRIALS}"
    assert control < LOW


# -------------------------------------------------------------------------------------- signal to noise of a chain

DISTANCE = np.arange(1.0, 9.0)
SNR = np.exp(-0.4) * DISTANCE**-0.5 * np.exp(-0.05 * DISTANCE)
BATCH = 300  # gradients a cluster holds at each distance
SHARED = 0.25  # relative spread of the mean gradient between clusters


def snr_rows(rng, clusters):
    """Sums of Gaussian gradients of unit variance around a mean that a cluster scales as a whole."""
    mean = SNR * (1.0 + SHARED * rng.standard_normal((clusters, 1)))
    average = mean + rng.standard_normal(mean.shape) / np.sqrt(BATCH)
    scatter = rng.chisquare(BATCH - 1, mean.shape)
    columns = {
        "k": np.tile(DISTANCE, clusters),
        "cluster": np.repeat(np.arange(clusters), DISTANCE.size),
        "n": np.full(mean.size, float(BATCH)),
        "s1": (BATCH * average).ravel(),
        "s2": (scatter + BATCH * average**2).ravel(),
    }
    return Measurement(columns, dict.fromkeys(columns, "1"), ("k",), "snr", "SNR", "1")


def snr_truth():
    """Parameters nearest to the pooled curve m / sqrt(1 + (shared m)^2), under standard errors of the data's shape."""
    exact = SNR / np.sqrt(1 + (SHARED * SNR) ** 2)
    spread = np.sqrt((SHARED * SNR) ** 2 + (1 + exact**2 / 2) / BATCH) / np.sqrt(45)
    draws = exact + spread * np.array([[-1.0], [1.0]]) / np.sqrt(2)
    points = plain_points({"k": DISTANCE}, exact, draws)
    found = fit(law("power_exponential"), points, {"x": "k"}, **QUICK)
    return {name: found.value(name) for name in ("A", "b", "kappa")}


def test_the_power_exponential_of_a_chains_signal_to_noise():
    truth = snr_truth()
    clusters, samples = [], []
    for seed in range(TRIALS):
        rng = np.random.default_rng([3, seed])
        points = to_points(snr_rows(rng, 30 + seed % 31), rng, 200)
        found = fit(law("power_exponential"), points, {"x": "k"}, **QUICK)
        clusters.append(found)
        alone = np.sqrt((1 + points.y**2 / 2) / (BATCH * points.clusters))
        wrong = plain_points(points.x, points.y, points.y + alone * rng.standard_normal((200, DISTANCE.size)))
        samples.append(fit(law("power_exponential"), wrong, {"x": "k"}, **QUICK).interval("A", 0.9))
    for name, value in truth.items():
        inside = count_inside([f.interval(name, 0.9) for f in clusters], value)
        assert honest(inside), f"{name}: {inside} of {TRIALS}"
    control = count_inside(samples, truth["A"])
    assert control < LOW, f"samples resampled: {control} of {TRIALS}"


def test_three_seeds_need_a_t_interval():
    """Mean of three seeds; the control is the plain percentile interval of the same draws."""
    ours, percentile = [], []
    x = np.array([1.0, 2.0])
    for seed in range(TRIALS):
        rng = np.random.default_rng([4, seed])
        seeds = 1.0 + 0.1 * rng.standard_normal((3, 1)) + 0.02 * rng.standard_normal((3, 2))
        columns = {"x": np.tile(x, 3), "cluster": np.repeat(range(3), 2), "total": seeds.ravel(), "weight": np.ones(6)}
        points = to_points(Measurement(columns, dict.fromkeys(columns, "1"), ("x",), "mean", "y", "1"), rng, 200)
        found = fit(law("constant"), points, {"x": "x"}, **QUICK)
        ours.append(found.interval("c", 0.9))
        percentile.append(tuple(np.quantile(found.draws[:, 0], [0.05, 0.95])))
    assert honest(count_inside(ours, 1.0)), f"{count_inside(ours, 1.0)} of {TRIALS}"
    assert count_inside(percentile, 1.0) < LOW


# ------------------------------------------------------------------------------------------------- training curves

STEPS = np.arange(1.0, 101.0)
RUNS = 3
SLOPE = 0.08


def curves(rng, rho=0.6, spread=0.02):
    """Three runs of 100 evaluations with AR(1) noise in log loss."""
    e = np.empty((RUNS, STEPS.size))
    e[:, 0] = rng.standard_normal(RUNS) / np.sqrt(1 - rho**2)
    for t in range(1, STEPS.size):
        e[:, t] = rho * e[:, t - 1] + rng.standard_normal(RUNS)
    y = (0.9 * STEPS**-SLOPE * np.exp(spread * e)).ravel()
    x = {"step": np.tile(STEPS, RUNS), "run": np.repeat(np.arange(float(RUNS)), STEPS.size)}
    return plain_points(x, y, series=np.repeat([f"run{r}" for r in range(RUNS)], STEPS.size), clusters=RUNS)


def test_the_slope_of_training_curves_with_autocorrelated_noise():
    """The control sees each curve's points in random order: the same fit, but no autocorrelation to be found."""
    ours, blind, predictions = [], [], []
    for seed in range(TRIALS):
        rng = np.random.default_rng([5, seed])
        points = curves(rng)
        found = fit(law("log_linear"), points, {"x": "step"}, draws=120, seed=seed, starts=4)
        ours.append(found.interval("k", 0.9))
        low, high = found.mean_interval({"step": [1000.0]}, 0.9, extrapolate=True)
        predictions.append((low[0], high[0]))
        shuffled = np.concatenate([r * STEPS.size + rng.permutation(STEPS.size) for r in range(RUNS)])
        mixed = plain_points({k: v[shuffled] for k, v in points.x.items()}, points.y[shuffled], series=points.series)
        blind.append(fit(law("log_linear"), mixed, {"x": "step"}, draws=60, **QUICK).interval("k", 0.9))
    inside, control = count_inside(ours, SLOPE), count_inside(blind, SLOPE)
    assert honest(inside), f"{inside} of {TRIALS}"
    ahead = count_inside(predictions, 0.9 * 1000.0**-SLOPE)
    assert honest(ahead), f"prediction: {ahead} of {TRIALS}"
    assert control < LOW, f"autocorrelation ignored: {control} of {TRIALS}"


# ----------------------------------------------------------------------------------------------------- comparisons


@pytest.mark.parametrize("true_law", [True, False])
def test_a_true_law_is_seldom_beaten_and_a_false_one_often(true_law):
    """60 planted sets: the true law loses to a rival by two standard errors, or shows a trend, at most 7 times.

    Were the rates at their nominal 2.3 % (one rival, one side) and 0.2 %, eight would have probability 2e-4. The
    control plants the rival: then the law must lose, and show a trend, nearly always.
    """
    x = 2.0 ** np.arange(9)
    curve = 0.8 * x**-0.5 if true_law else 0.8 * np.exp(-0.03 * x)
    beaten = trends = 0
    for seed in range(60):
        rng = np.random.default_rng([6, seed])
        seeds = curve * (1 + 0.03 * rng.standard_normal((60, 1)) + 0.06 * rng.standard_normal((60, x.size)))
        columns = {
            "x": np.tile(x, 60), "cluster": np.repeat(range(60), x.size), "total": seeds.ravel(),
            "weight": np.ones(seeds.size),
        }  # fmt: skip
        points = to_points(Measurement(columns, dict.fromkeys(columns, "1"), ("x",), "mean", "y", "1"), rng, 100)
        found = compare(
            law("power"), [law("exponential")], points, {"x": "x"}, along="x", largest=2, starts=4, seed=seed
        )
        difference, stderr = found.differences["exponential"]
        beaten += difference < -2 * stderr
        trends += max(abs(found.trend_slope), abs(found.trend_curvature)) > 3.3
    if true_law:
        assert beaten + trends <= 7, f"{beaten} losses, {trends} trends"
    else:
        assert beaten >= 57, f"{beaten} losses"
        assert trends >= 57, f"{trends} trends"


@pytest.mark.parametrize("bent", [False, True])
def test_the_trend_test_of_curves(bent):
    """Held-out later part of autocorrelated curves, 100 sets; |z| > 3.3 in two contrasts: 0.2 % of sets by chance.

    More than 4 alarms would have probability 1e-6 at 0.2 %, and 1e-3 at 1 %. The control bends the curve.
    """
    alarms = 0
    for seed in range(100):
        points = curves(np.random.default_rng([7, seed]))
        if bent:
            points = plain_points(
                points.x, points.y * np.exp(-0.03 * np.log(points.x["step"]) ** 2), series=points.series, clusters=RUNS
            )
        found = compare(
            law("log_linear"), [], points, {"x": "step"}, along="step", after=0.5, draws=150, starts=4, seed=seed
        )
        alarms += max(abs(found.trend_slope), abs(found.trend_curvature)) > 3.3
    assert alarms >= 95 if bent else alarms <= 4, f"{alarms} alarms"
