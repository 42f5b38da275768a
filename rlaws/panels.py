"""Panels: plain values from which a figure of one regime point is drawn, stored beside the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.claims import Check
from rlaws.errors import InputError
from rlaws.fitted import Fit, FitStatus
from rlaws.judging import Evidence
from rlaws.laws import law
from rlaws.measurement import Measurement
from rlaws.resampling import Points
from rlaws.store import digest

Array = NDArray[np.float64]
CURVE_POINTS = 60
RAW_CLUSTERS = 60  # a figure shows at most this many raw clusters
DIGITS = 6


def panel(e: Evidence, checks: Sequence[Check], measured: Measurement, level: float) -> dict[str, Any]:
    """Return the panel of one regime point (format: docs/report.md).

    Args:
        e: The evidence.
        checks: Its checks, for the scores.
        measured: The rows, for units.
        level: Level of the bands and bars.
    """
    reading = e.reading
    roles = law(reading.law).x
    along = reading.x[_main_role(e)]
    others = [reading.x[r] for r in roles if reading.x[r] != along]
    train = _points_of(e)
    held, label = (e.compared.held, e.compared.label) if e.compared else (None, None)
    key = digest(dict(e.regime), e.link, reading.law, sorted(reading.x.items()), str(reading.fit), str(reading.holdout),
                 sorted(reading.domain.items()), reading.rivals if e.compared else ())  # fmt: skip
    x_scale = "log" if np.min(e.points.x[along]) > 0 and _spans(e.points.x[along]) else "linear"
    return {
        "key": key,
        "regime": dict(e.regime),
        "regime_units": {k: measured.units.get(k, "1") for k in e.regime},
        "link": e.link,
        "readings": [reading.id],
        "law": reading.law,
        "formula": law(reading.law).formula,
        "source": law(reading.law).source,
        "x": along,
        "x_unit": measured.units.get(along, "1"),
        "response": e.points.response if e.link is None else f"{e.points.response} ({e.link})",
        "unit": e.points.unit,
        "x_scale": x_scale,
        "y_scale": "log" if np.nanmin(e.points.y) > 0 and _spans(e.points.y) else "linear",
        "points": _series(train, along, others, level),
        "raw": _raw(train, along),
        "held": {**_series(held, along, others, level), "label": label} if held is not None else None,
        "curves": _curves(e, along, others, x_scale, level),
        "params": _params(e.fit, level),
        "status": e.fit.status.value,
        "ok": e.fit.status is FitStatus.OK,
        "clusters": e.points.clusters,
        "scores": _scores(checks),
    }


def _main_role(e: Evidence) -> str:
    """Return the role drawn along the x-axis: the one with most distinct values."""
    roles = law(e.reading.law).x
    return max(roles, key=lambda r: np.unique(e.points.x[e.reading.x[r]]).size)


def _points_of(e: Evidence) -> Points:
    """Return the points that were fitted."""
    seen = np.isin(e.points.ids, list(e.fit.touched))
    return e.points.take(seen) if seen.any() else e.points


def _spans(values: Array) -> bool:
    """Whether positive values span more than a factor of 8."""
    return bool(np.nanmax(values) > 8 * np.nanmin(values))


def _numbers(values: Any) -> list[float | None]:
    """Return rounded plain numbers, null where not finite."""
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=float)]


def _groups(points: Points, others: Sequence[str]) -> list[str]:
    """Return the label of the curve each point belongs to."""
    if not others:
        return [""] * points.y.size
    return [", ".join(f"{n} = {points.x[n][i]:g}" for n in others) for i in range(points.y.size)]


def _series(points: Points, along: str, others: Sequence[str], level: float) -> dict[str, Any]:
    tail = 100 * (1 - level) / 2
    low = high = np.full(points.y.size, np.nan)
    if points.draws is not None:
        low, high = np.nanpercentile(points.draws, [tail, 100 - tail], axis=0)
    return {
        "x": _numbers(points.x[along]),
        "y": _numbers(points.y),
        "low": _numbers(low),
        "high": _numbers(high),
        "group": _groups(points, others),
    }


def _raw(points: Points, along: str) -> dict[str, Any] | None:
    """Return raw clusters, evenly thinned to what a figure can show; None for single curves."""
    if points.raw is None or points.raw.shape[0] < 2 or points.draws is None:
        return None
    rows = np.unique(np.linspace(0, points.raw.shape[0] - 1, RAW_CLUSTERS).astype(int))
    return {"x": _numbers(points.x[along]), "y": [_numbers(points.raw[r]) for r in rows]}


def _curves(e: Evidence, along: str, others: Sequence[str], x_scale: str, level: float) -> list[dict[str, Any]]:
    """Return the law and its rivals on a fine grid, one curve a group."""
    fits = {e.reading.law: e.fit, **(e.compared.fits if e.compared else {})}
    train = _points_of(e)
    out = []
    for name, fitted in fits.items():
        if fitted.status in (FitStatus.NOT_FINITE, FitStatus.TOO_FEW_POINTS):
            continue
        for group in dict.fromkeys(_groups(e.points, others)):
            rows = np.flatnonzero(np.array(_groups(e.points, others)) == group)
            seen = np.flatnonzero(np.array(_groups(train, others)) == group)
            made = _curve(e, fitted, along, rows, x_scale, level, band=name == e.reading.law)
            if made is not None:
                limit = float(np.max(train.x[along][seen])) if seen.size else None
                role = "law" if name == e.reading.law else "rival"
                out.append({"law": name, "formula": law(name).formula, "role": role, "group": group, **made,
                            "fitted_to": limit})  # fmt: skip
    return out


def _curve(
    e: Evidence, fitted: Fit, along: str, rows: NDArray[np.int64], x_scale: str, level: float, *, band: bool
) -> dict[str, Any] | None:
    """Return one curve with its bands, or None where the fit cannot be drawn there (a size without its own scale)."""
    values = e.points.x[along][rows]
    low, high = float(np.min(values)), float(np.max(values))
    grid = np.geomspace(low, high, CURVE_POINTS) if x_scale == "log" else np.linspace(low, high, CURVE_POINTS)
    grid = np.clip(grid, low, high)
    x = {n: grid if n == along else np.full(CURVE_POINTS, v[rows[0]]) for n, v in e.points.x.items()}
    nothing: list[float | None] = []
    try:
        y = fitted.predict(x, extrapolate=True)
        mean = fitted.mean_interval(x, level, extrapolate=True) if band else None
        new = fitted.new_run_interval(x, level, extrapolate=True) if band else None
    except InputError:
        return None
    return {
        "x": _numbers(grid),
        "y": _numbers(y),
        "low": _numbers(mean[0]) if mean is not None else nothing,
        "high": _numbers(mean[1]) if mean is not None else nothing,
        "new_low": _numbers(new[0]) if new is not None else nothing,
        "new_high": _numbers(new[1]) if new is not None else nothing,
    }


def _params(fitted: Fit, level: float) -> list[dict[str, Any]]:
    """Return estimate and interval of every parameter."""
    out = []
    for p in law(fitted.law).params:
        low, high = fitted.interval(p.name, level)
        estimate = fitted.value(p.name)
        numbers = dict(zip(("estimate", "low", "high"), _numbers([estimate, low, high]), strict=True))
        out.append({"name": p.name, "symbol": p.symbol, "unit": p.unit, "null": p.null, **numbers})
    return out


def _scores(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return the rivals' held-out score differences of the first check that has them."""
    found: Mapping[str, tuple[float, float]] = next((c.rivals for c in checks if c.rivals), {})
    return [
        dict(zip(("law", "difference", "stderr", "z"), (r, *_numbers([d, s, d / max(s, 1e-300)])), strict=True))
        for r, (d, s) in found.items()
    ]
