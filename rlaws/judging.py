"""One prediction judged on the evidence of one regime point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from rlaws.claims import (
    Check,
    Decision,
    Extrapolation,
    Form,
    Interval,
    Limit,
    Order,
    Outcome,
    PointVerdict,
    Prediction,
    Reading,
    Sign,
    by_region,
    margin,
)
from rlaws.compare import RIVAL_Z, Comparison
from rlaws.errors import InputError
from rlaws.fitted import Fit, FitStatus, interval_from_draws
from rlaws.resampling import Points

Array = NDArray[np.float64]
TREND_Z = 3.3  # slope and curvature of the residuals: one false alarm in 500 points
LEAST_RUNS = 3
SMALLEST = 1e-99  # below it a number is the zero of a solver


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a reading rests on at one regime point.

    Attributes:
        reading: The reading.
        regime: Values of the regime columns; ``link`` the link, or None.
        points: The design points in the reading's domain.
        fit: The fit of the claim's law (to the training part where something is held out).
        compared: Held-out comparison with the rivals, or None.
        runs: Independent training runs behind the rows, or None where the randomness is not in training.
    """

    reading: Reading
    regime: Mapping[str, Any]
    link: str | None
    points: Points
    fit: Fit
    compared: Comparison | None
    runs: int | None


def quantities(e: Evidence) -> int:
    """Return how many intervals a regime point contributes to the simultaneous level."""
    total = 0
    for p in e.reading.predictions:
        if isinstance(p, Order):
            total += max(1, np.unique(e.points.x[p.along]).size - 1) if p.along in e.points.x else 1
        else:
            total += len(e.reading.rivals) if isinstance(p, Form) else 1
    return max(1, total)


def sidak(level: float, quantities: int) -> float:
    """Return the level of each of ``quantities`` intervals that hold together with ``level`` (Šidák).

    Exact for independent regime points, conservative where they share clusters.
    """
    return float(level ** (1.0 / max(1, quantities)))


def widened(estimate: float, draws: Array, level: float, clusters: int) -> tuple[float, float]:
    """Return an interval at a level beyond what the draws resolve: each side of the 90 % interval, widened.

    The widths of the 90 % interval (``fitting.interval_from_draws``) are kept apart for the two sides, so skewness
    stays, and stretched by the ratio of Student's quantiles for the number of clusters; 400 draws then suffice for the
    levels of a grid of many points.

    Args:
        estimate: The estimate.
        draws: Its draws, [B].
        level: Level of the interval.
        clusters: Clusters behind it; 0 where draws are no resampled clusters.
    """
    dof = clusters - 1 if clusters > 1 else 0
    low, high = interval_from_draws(estimate, draws, 0.90, dof)
    if not (np.isfinite(low) and np.isfinite(high)):
        return -np.inf, np.inf
    stretch = float(stdtrit(dof or 1e9, 0.5 + level / 2) / stdtrit(dof or 1e9, 0.95))
    below, above = max(0.0, estimate - float(low)), max(0.0, float(high) - estimate)
    return estimate - stretch * below, estimate + stretch * above


def judge(p: Prediction, e: Evidence, level: float, decision: Decision) -> Check:
    """Return the check of one prediction.

    Args:
        p: The prediction.
        e: The evidence at a regime point.
        level: Level of this interval (see ``sidak``).
        decision: The claim's level and power.
    """
    if isinstance(p, Order):
        return _capped(_order(p, e, level), e, decision)
    if e.fit.status is not FitStatus.OK:
        reason = f"the fit of {e.reading.law} is not usable: {e.fit.status.value}"
        return Check(
            describe(p), Outcome.INVALID, {"en": reason, "zh": f"{e.reading.law} 拟合不可用：{e.fit.status.value}"}
        )
    if isinstance(p, Form):
        return _capped(_form(p, e, level, decision), e, decision)
    if isinstance(p, Extrapolation):
        return _capped(_extrapolation(p, e, level), e, decision)
    return _capped(_param(p, e, level), e, decision)


def _clusters(e: Evidence) -> int:
    """Return the number of resampled clusters, 0 for curves."""
    return e.points.clusters if e.points.draws is not None else 0


def describe(p: Prediction) -> str:
    """Return a prediction in words."""
    if isinstance(p, Interval):
        return f"{p.param} in [{p.low:g}, {p.high:g}]"
    if isinstance(p, Sign):
        return f"{p.param} is {p.sign}"
    if isinstance(p, Limit):
        return f"{p.param} = {p.value:g} ± {p.tolerance:g}"
    if isinstance(p, Order):
        return f"{p.direction} along {p.along}"
    if isinstance(p, Extrapolation):
        return f"held-out error at most {p.error:.0%}"
    return "the form holds against its rivals" if p.expect == "supported" else "the form does not hold"


def _param(p: Interval | Sign | Limit, e: Evidence, level: float) -> Check:
    """Judge a parameter against its region."""
    estimate = e.fit.value(p.param)
    interval = widened(estimate, e.fit.draws[:, e.fit.index(p.param)], level, _clusters(e))
    if isinstance(p, Sign) and p.sign == "nonzero":
        away = interval[0] > 0 or interval[1] < 0
        size = max(interval[1] - estimate, estimate - interval[0], 1e-300)
        outcome = Outcome.SUPPORTED if away else Outcome.UNDECIDED
        text = _told(p.param, estimate, interval, (-np.inf, np.inf))
        return Check(describe(p), outcome, text, estimate, interval, None, abs(estimate) / size)
    region = p.region()
    text = _told(p.param, estimate, interval, region)
    power = power_of_interval(interval, estimate, region, level)
    outcome = by_region(interval, region)
    return Check(describe(p), outcome, text, estimate, interval, region, margin(estimate, interval, region), power)


def power_of_interval(
    interval: tuple[float, float], estimate: float, region: tuple[float, float], level: float
) -> float | None:
    """Return the chance that this design supports a law planted at the region's centre, None for a half line.

    With a normal estimator of standard error s and interval half-width z s, the interval lies inside a region of
    half-width h with probability 2 Φ(h/s - z) - 1. ``power.plan_study`` finds the same by planting laws.
    """
    if not (isfinite(region[0]) and isfinite(region[1])):
        return None
    z = float(ndtri(0.5 + level / 2))
    stderr = (interval[1] - interval[0]) / (2 * z)
    if not isfinite(stderr) or stderr <= 0:
        return 0.0 if not isfinite(stderr) else 1.0
    return max(0.0, 2.0 * float(ndtr((region[1] - region[0]) / 2 / stderr - z)) - 1.0)


def _order(p: Order, e: Evidence, level: float) -> Check:
    """Judge that the response rises (falls) from each value of a design variable to the next."""
    if p.along not in e.points.x:
        raise InputError(f"Order along '{p.along}', which is not measured; there is {list(e.points.x)}.")
    if e.points.draws is None:
        reason = {
            "en": "an order needs clusters to resample, and these are single curves",
            "zh": "缺少可重抽样的独立样本",
        }
        return Check(describe(p), Outcome.INVALID, reason)
    values = np.unique(e.points.x[p.along])
    if values.size < 2:
        return Check(describe(p), Outcome.INVALID, {"en": "there is only one value", "zh": "只有一个取值"})
    member = np.array([e.points.x[p.along] == v for v in values], dtype=float)
    mean = member / member.sum(axis=1, keepdims=True)
    sign = 1.0 if p.direction == "rising" else -1.0
    steps = sign * np.diff(mean @ e.points.y)
    draws = sign * np.diff(e.points.draws @ mean.T, axis=1)
    intervals = [widened(float(s), draws[:, i], level, _clusters(e)) for i, s in enumerate(steps)]
    margins = [margin(float(s), i, (0.0, np.inf)) for s, i in zip(steps, intervals, strict=True)]
    worst = int(np.argmin(margins))
    outcomes = [by_region(i, (0.0, np.inf)) for i in intervals]
    outcome = (
        Outcome.REFUTED
        if Outcome.REFUTED in outcomes
        else Outcome.SUPPORTED
        if all(o is Outcome.SUPPORTED for o in outcomes)
        else Outcome.UNDECIDED
    )
    low, high = values[worst], values[worst + 1]
    told = f"{steps[worst]:.3g} [{intervals[worst][0]:.3g}, {intervals[worst][1]:.3g}]"
    text = {
        "en": f"weakest step, from {low:g} to {high:g}: {p.direction} by {told}",
        "zh": f"最弱的一步（{low:g} → {high:g}）：{told}",
    }
    return Check(describe(p), outcome, text, float(steps[worst]), intervals[worst], (0.0, np.inf), margins[worst])


def _extrapolation(p: Extrapolation, e: Evidence, level: float) -> Check:
    """Judge the relative error of the held-out prediction."""
    assert e.compared is not None
    estimate, draws = e.compared.relative_error, e.compared.relative_error_draws
    interval = widened(estimate, draws, level, _clusters(e))
    interval = (max(0.0, interval[0]), interval[1])
    region = p.region()
    text = _told("relative error", estimate, interval, region)
    upper = margin(estimate, (-np.inf, interval[1]), (-np.inf, p.error))
    m = upper if estimate <= p.error else margin(estimate, interval, region)
    outcome = by_region(interval, region)
    return Check(
        describe(p), outcome, text, estimate, interval, region, m, None, e.compared.differences, e.compared.label
    )


def _form(p: Form, e: Evidence, level: float, decision: Decision) -> Check:
    """Judge a form by its rivals' held-out scores and its residuals' trend."""
    assert e.compared is not None
    c = e.compared
    threshold = max(RIVAL_Z, float(ndtri(0.5 + level / 2)))
    advantage = {r: d / max(s, 1e-300) for r, (d, s) in c.differences.items()}
    beaten = {r: z for r, z in advantage.items() if z < -threshold}
    trend = max(abs(c.trend_slope), abs(c.trend_curvature))
    worst = min(advantage, key=lambda r: advantage[r]) if advantage else None
    m = min(advantage.values()) / threshold if advantage else None
    refuted = bool(beaten) or trend > max(TREND_Z, threshold)
    if refuted:
        outcome = Outcome.REFUTED
        why = (
            f"{worst} predicts the held-out points better by {-advantage[worst]:.1f} standard errors"
            if beaten and worst
            else f"its residuals show a trend ({trend:.1f} standard errors)"
        )
        m = min(m or 0.0, -trend / max(TREND_Z, threshold)) if not beaten else m
    else:
        blind = {r: w for r, w in c.power.items() if w < decision.power}
        outcome = Outcome.UNDECIDED if blind else Outcome.SUPPORTED
        why = (
            f"no rival predicts better, but the design would not tell it from {', '.join(sorted(blind))}"
            if blind
            else "no rival predicts the held-out points better, and the residuals show no trend"
        )
    if p.expect == "refuted":
        outcome = {Outcome.REFUTED: Outcome.SUPPORTED, Outcome.SUPPORTED: Outcome.REFUTED}.get(outcome, outcome)
        m = None if m is None else -m
    power = min(c.power.values()) if c.power else None
    text = {
        "en": f"{e.reading.law}: {why}",
        "zh": f"{e.reading.law}：{_zh_form(refuted, bool(beaten), outcome, worst)}",
    }
    return Check(describe(p), outcome, text, None, None, None, m, power, c.differences, c.label)


def _zh_form(refuted: bool, beaten: bool, outcome: Outcome, worst: str | None) -> str:
    if refuted:
        return f"对手 {worst} 对留出点的预测显著更好" if beaten else "残差存在趋势"
    return "没有对手预测得更好，但该设计无法区分" if outcome is Outcome.UNDECIDED else "没有对手预测得更好，残差无趋势"


def _told(name: str, estimate: float, interval: tuple[float, float], region: tuple[float, float]) -> dict[str, str]:
    """Return the numbers of a check in words."""
    value, low, high = (f"{v if abs(v) > SMALLEST else 0.0:.3g}" for v in (estimate, *interval))
    bounds = f"[{region[0]:.3g}, {region[1]:.3g}]"
    return {
        "en": f"{name} = {value} [{low}, {high}], predicted {bounds}",
        "zh": f"{name} = {value} [{low}, {high}]，预测区间 {bounds}",
    }


def _capped(check: Check, e: Evidence, decision: Decision) -> Check:
    """Withhold "supported" where the design lacks power, or training randomness has fewer than three runs behind it."""
    if check.outcome is not Outcome.SUPPORTED:
        return check
    if check.power is not None and check.power < decision.power:
        return replace(
            check,
            outcome=Outcome.UNDECIDED,
            reason={
                "en": f"{check.reason['en']}; power {check.power:.0%} is under {decision.power:.0%}",
                "zh": f"{check.reason['zh']}；检验功效 {check.power:.0%} 低于 {decision.power:.0%}",
            },
        )
    if e.runs is not None and e.runs < LEAST_RUNS:
        return replace(
            check,
            outcome=Outcome.UNDECIDED,
            reason={
                "en": f"{check.reason['en']}; only {e.runs} independent run(s), {LEAST_RUNS} are needed",
                "zh": f"{check.reason['zh']}；独立训练仅 {e.runs} 次，至少需要 {LEAST_RUNS} 次",
            },
        )
    return check


def sentence(outcome: Outcome, verdicts: Sequence[PointVerdict], edge: Mapping[str, Any] | None) -> dict[str, str]:
    """Return why a reading got its verdict, in one sentence."""
    if edge is not None:
        return {"en": f"It {edge['text']['en']}.", "zh": f"{edge['text']['zh']}。"}
    if len(verdicts) == 1:
        deciding = [c for c in verdicts[0].checks if c.outcome is verdicts[0].outcome] or list(verdicts[0].checks)
        return {k: "; ".join(c.reason[k] for c in deciding) + ("." if k == "en" else "。") for k in ("en", "zh")}
    counts = {o: sum(v.outcome is o for v in verdicts) for o in Outcome}
    en = ", ".join(f"{n} {o}" for o, n in counts.items() if n)
    names = {"supported": "成立", "refuted": "被否定", "undecided": "未定", "invalid": "无效", "conditional": "有条件"}
    zh = "，".join(f"{n} 个{names[o.value]}" for o, n in counts.items() if n)
    example = next((c for v in verdicts if v.outcome is outcome for c in v.checks if c.outcome is outcome), None)
    if example is None:
        example = next(c for v in verdicts for c in v.checks)
    return {
        "en": f"Of {len(verdicts)} regime points {en}; for one, {example.reason['en']}.",
        "zh": f"{len(verdicts)} 个条件点中{zh}；例如 {example.reason['zh']}。",
    }
