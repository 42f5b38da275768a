"""Curves that turn back: collapse, overfitting and reward hacking are found and named, and monotone laws refuse them.

A curve turns back if a fit that rises and then falls leaves a smaller sum of squares than the best monotone fit by
more than autocorrelated noise explains,

    T = (RSS monotone - min over peaks RSS rise-then-fall) / sigma^2,

and if it has given back a tenth of its range. The null distribution of T is simulated: the monotone fit plus AR(1)
noise like that of the curve (``autoregression``, with the uncertainty of rho). A monotone curve is called bent with
probability ``ALARM``. "Up" is towards better.

Source: isotonic regression by pooling adjacent violators (Barlow et al. 1972, ch. 1); test by parametric bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws import autoregression
from rlaws.errors import InputError, suggest
from rlaws.forecast.curves import Curve, Metric
from rlaws.sentences import Said, said

Array = NDArray[np.float64]

ALARM = 0.01  # false alarms a monotone curve may give
REPLICAS = 399
FEWEST = 8  # points without which a turn cannot be told from noise
BLOCKS = 120  # a longer curve is averaged to this many points
GIVEN_BACK = 0.1  # share of its range that a curve must have lost, or must gain to rise on
SHARP = 0.5  # share of its gain whose loss is a collapse
GONE = 0.1  # share of its first value below which entropy counts as gone
TWICE = 2.0  # growth of the length that counts as an explosion
RISING = 2.326  # standard errors of a slope that counts as rising (1 % by chance)
SERIES = ("train", "eval", "proxy", "gold", "entropy", "length")


class BentError(InputError):
    """A law that cannot turn back was asked about a curve that does."""


@dataclass(frozen=True, slots=True)
class Bend:
    """Where a curve turns back.

    Attributes:
        run: Name of the run.
        x: x of its best point, from where it falls.
        lost: What it has given back since, in the metric, positive.
        share: The same as a share of its range.
        p: Chance that a monotone curve with such noise looks as bent.
        sentence: The finding.
    """

    run: str
    x: float
    lost: float
    share: float
    p: float
    sentence: Said

    def error(self) -> BentError:
        """Return the refusal of laws that cannot turn back."""
        return BentError(said("bend_refusal", bend=self.sentence, way_out=said("bend_way_out")))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A named way in which training goes wrong.

    Attributes:
        name: "collapse", "overfitting" or "reward hacking".
        x: Where it sets in.
        evidence: What was seen, in a sentence.
    """

    name: str
    x: float
    evidence: Said


def turn(curve: Curve, metric: Metric | None = None, *, alarm: float = ALARM, seed: int = 0) -> Bend | None:
    """Return where a curve turns back, or None.

    Args:
        curve: The curve; fewer than eight points never turn.
        metric: Its direction: "up" is towards better.
        alarm: Probability with which a monotone curve may be called bent.
        seed: Seed of the simulated null.
    """
    metric = metric or Metric()
    x, up = _short(curve, 1.0 if metric.better == "higher" else -1.0)
    if up.size < FEWEST:
        return None
    peak, excess = _excess(up)
    lost = _level_at(up, peak) - _end(up, peak)
    spread = _level_at(up, peak) - min(float(rising(up[: peak + 1])[0]), _end(up, peak))
    if spread <= 0 or lost < GIVEN_BACK * spread or excess <= 0:
        return None
    p = _chance(up, excess, alarm, np.random.default_rng([seed, 7]))
    if p > alarm:
        return None
    share = lost / spread
    sentence = said("bend", run=curve.run, x=float(x[peak]), metric=metric.name, share=share, p=p)
    return Bend(curve.run, float(x[peak]), lost, share, p, sentence)


def refuse(curves: Sequence[Curve], metric: Metric) -> Bend | None:
    """Return the first turn among the runs of a recipe, each run tested at ``ALARM`` over their number, or None."""
    for curve in curves:
        found = turn(curve, metric, alarm=ALARM / len(curves))
        if found is not None:
            return found
    return None


def _short(curve: Curve, sign: float) -> tuple[Array, Array]:
    """Return x and the response towards better, averaged to at most 120 points."""
    block = int(np.ceil(curve.x.size / BLOCKS))
    edges = np.arange(0, curve.x.size, block)
    count = np.diff([*edges, curve.x.size])
    return np.add.reduceat(curve.x, edges) / count, sign * np.add.reduceat(curve.y, edges) / count


def _prefix(y: Array) -> Array:
    """Return the residual sum of squares of the best rising fit to every first part of y, [n + 1]."""
    out = [0.0]
    sums: list[float] = []
    counts: list[int] = []
    total = 0.0
    for v in y.tolist():
        s, c = v, 1
        while sums and sums[-1] / counts[-1] >= s / c:
            a, b = sums.pop(), counts.pop()
            total += (a / b - s / c) ** 2 * b * c / (b + c)
            s, c = s + a, c + b
        sums.append(s)
        counts.append(c)
        out.append(total)
    return np.array(out)


def rising(y: Array) -> Array:
    """Return the best rising fit to y (pool adjacent violators), [n]."""
    sums: list[float] = []
    counts: list[int] = []
    for v in y.tolist():
        s, c = v, 1
        while sums and sums[-1] / counts[-1] >= s / c:
            s, c = s + sums.pop(), c + counts.pop()
        sums.append(s)
        counts.append(c)
    return np.repeat(np.array(sums) / np.array(counts), counts)


def _excess(up: Array) -> tuple[int, float]:
    """Return the peak and by how much rise-then-fall beats the best monotone fit."""
    rise, fall = _prefix(up), _prefix(up[::-1])[::-1]
    split = rise + fall
    best = int(np.argmin(split))
    monotone = min(float(rise[-1]), float(fall[0]))
    peak = min(best, up.size - 1)
    if best > 0 and up[best - 1] >= up[peak]:
        peak = best - 1
    return peak, monotone - float(split[best])


def _level_at(up: Array, peak: int) -> float:
    """Return the level at the peak: the larger of the two fits that meet there."""
    return float(max(rising(up[: peak + 1])[-1], rising(up[peak:][::-1])[-1]))


def _end(up: Array, peak: int) -> float:
    """Return the level at the end of the falling fit, or the mean of the last fifth if that is lower."""
    tail = float(up[-max(3, up.size // 5) :].mean())
    return tail if up.size - peak < 3 else min(float(rising(up[peak:][::-1])[0]), tail)


def _chance(up: Array, excess: float, alarm: float, rng: np.random.Generator) -> float:
    """Return the share of simulated monotone curves with as large an excess; stops once the alarm is out of reach."""
    degree = int(min(6, max(2, up.size // 8)))
    basis = np.asarray(np.polynomial.legendre.legvander(np.linspace(-1, 1, up.size), degree), dtype=float)
    residual = up - basis @ np.linalg.lstsq(basis, up, rcond=None)[0]
    series = np.full(up.size, "one")
    noise = autoregression.estimate(residual, series, basis)
    up_fit, down_fit = rising(up), -rising(-up)
    null = up_fit if np.sum((up - up_fit) ** 2) <= np.sum((up - down_fit) ** 2) else down_fit
    replicas = null + autoregression.simulate(noise, series, REPLICAS, rng)
    allowed = alarm * (REPLICAS + 1)
    above = 1
    for row in replicas:
        above += _excess(row)[1] >= excess
        if above > allowed:
            return 1.0
    return above / (REPLICAS + 1)


# ------------------------------------------------------------------------------------------------------------ diagnosis


def diagnose(series: Mapping[str, Curve], metric: Metric | None = None) -> tuple[Diagnosis, ...]:
    """Name what goes wrong in a run, from its curves.

    - overfitting: "eval" turns back while "train" rises on;
    - reward hacking: "gold" (or, without one, "eval") turns back while "proxy" rises on, or "length" doubles while the
      reward does not rise;
    - collapse: "entropy" falls below a tenth of its first value while the reward does not rise, or the reward gives
      back half of what it had gained (and that is not overfitting or hacking).

    Args:
        series: Some of "train", "eval", "proxy", "gold", "entropy", "length" -> its curve. x must be the same variable.
        metric: Direction of the rewards; entropy and length have none.

    Raises:
        InputError: Unknown series.
    """
    for name in series:
        if name not in SERIES:
            raise InputError(f"There is no series '{name}' to diagnose.{suggest(name, SERIES)}")
    metric = metric or Metric()
    bends = {n: turn(c, metric) for n, c in series.items() if n not in ("entropy", "length")}
    parted = _parted(series, bends, metric)
    own = {n: b for n, b in bends.items() if not parted or n in ("train", "proxy")}
    return (*parted, *_collapse(series, own, metric), *_longer(series, bends, metric))


def _parted(series: Mapping[str, Curve], bends: Mapping[str, Bend | None], metric: Metric) -> list[Diagnosis]:
    """Return where a measure that counts falls while the one that is trained on rises."""
    judge = "gold" if "gold" in series else "eval"
    found = []
    for name, trained, true in (("overfitting", "train", "eval"), ("reward hacking", "proxy", judge)):
        bend = bends.get(true)
        if bend is not None and trained in series and bends.get(trained) is None:
            z = _slope(series[trained], bend.x, metric)
            if z > RISING:
                text = said("parted", true=true, x=bend.x, trained=trained, z=z)
                found.append(Diagnosis(name, bend.x, text))
    return found


def _collapse(series: Mapping[str, Curve], bends: Mapping[str, Bend | None], metric: Metric) -> list[Diagnosis]:
    """Return a loss of half the gain, or of entropy without a gain of reward."""
    for bend in bends.values():
        if bend is not None and bend.share >= SHARP:
            return [Diagnosis("collapse", bend.x, bend.sentence)]
    reward = _reward(series)
    if "entropy" not in series or reward is None:
        return []
    entropy = series["entropy"]
    first = float(np.mean(entropy.y[: max(1, entropy.y.size // 10)]))
    low = np.flatnonzero(entropy.y < GONE * first)
    if first <= 0 or not low.size or float(np.mean(entropy.y[low[0] :])) > GONE * first:
        return []
    x = float(entropy.x[low[0]])
    if _rises(series[reward], x, metric):
        return []
    return [Diagnosis("collapse", x, said("entropy_gone", gone=GONE, x=x, reward=reward))]


def _longer(series: Mapping[str, Curve], bends: Mapping[str, Bend | None], metric: Metric) -> list[Diagnosis]:
    """Return a doubling of the length after the reward's best point."""
    reward = _reward(series)
    if "length" not in series or reward is None:
        return []
    bend = bends.get(reward)
    length = series["length"]
    x = bend.x if bend is not None else float(np.median(series[reward].x))
    if bend is None and _rises(series[reward], x, metric):
        return []
    before, after = length.y[length.x <= x], length.y[length.x > x]
    if before.size < 3 or after.size < 3:
        return []
    start, end = float(np.mean(before[-3:])), float(np.mean(after[-3:]))
    if start <= 0 or end < TWICE * start or _slope(length, x, Metric()) <= RISING:
        return []
    return [Diagnosis("reward hacking", x, said("longer", start=start, end=end, x=x, reward=reward))]


def _reward(series: Mapping[str, Curve]) -> str | None:
    """Return the reward that counts most among those given."""
    return next((n for n in ("gold", "eval", "train", "proxy") if n in series), None)


def _rises(curve: Curve, x: float, metric: Metric) -> bool:
    """Tell whether a curve still rises after x: significantly, and by at least a tenth of its range."""
    sign = 1.0 if metric.better == "higher" else -1.0
    after = sign * curve.y[curve.x > x]
    if _slope(curve, x, metric) <= RISING:
        return False
    fifth = max(1, after.size // 5)
    return float(after[-fifth:].mean() - after[:fifth].mean()) >= GIVEN_BACK * float(np.ptp(curve.y))


def _slope(curve: Curve, x: float, metric: Metric) -> float:
    """Return the slope after x in standard errors under AR(1) noise, positive towards better; 0 for under 5 points."""
    after = curve.x > x
    if after.sum() < 5:
        return 0.0
    t, y = curve.x[after], curve.y[after] * (1.0 if metric.better == "higher" else -1.0)
    basis = np.column_stack([np.ones(t.size), (t - t.mean()) / t.std()])
    solve = np.linalg.pinv(basis)
    beta = solve @ y
    noise = autoregression.estimate(y - basis @ beta, np.full(t.size, "one"), basis)
    lag = np.abs(np.subtract.outer(np.arange(t.size), np.arange(t.size)))
    cover = noise.sd**2 * float(noise.rho) ** lag
    error = float(np.sqrt(solve[1] @ cover @ solve[1]))
    return float(beta[1] / error) if error > 0 else float(np.sign(beta[1]) * np.inf) if beta[1] else 0.0
