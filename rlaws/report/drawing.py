"""Draws one stored panel on one pair of axes: raw clusters, points, law, bands, held-out stars and rivals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from rlaws.report.scales import apart, finite, fix, limits
from rlaws.report.style import EXTRAPOLATED, FAINT, GREY, INK, LAW, MARKERS, RANGE, RIVALS, STAR, plain
from rlaws.report.words import number, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_RAW = 60  # clusters drawn, fewer where each has many points: beyond it they are a grey field
MOST_RAW_POINTS = 1000
MOST_LABELS = 8
Curve = Mapping[str, Any]
Numbers = np.ndarray[Any, np.dtype[np.float64]]


def rival_looks(panels: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, tuple[float, ...]]]:
    """Return colour and dashes of each rival, the same in all panels of a figure."""
    names = dict.fromkeys(str(c["law"]) for p in panels for c in p.get("curves") or () if c.get("role") == "rival")
    return {name: RIVALS[i % len(RIVALS)] for i, name in enumerate(names)}


def groups(panel: Mapping[str, Any]) -> list[str]:
    """Return the labels of the panel's curves (sizes, methods); [""] for a single one."""
    named = [
        *((panel.get("points") or {}).get("group") or ()),
        *((panel.get("held") or {}).get("group") or ()),
        *(c.get("group") or "" for c in panel.get("curves") or () if c.get("role") == "law"),
    ]
    found = list(dict.fromkeys("" if g is None else str(g) for g in named)) or [""]
    try:
        return sorted(found, key=lambda name: [float(part.rsplit(" = ", 1)[-1]) for part in name.split(", ")])
    except ValueError:
        return found


def group_looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each group: dark to light, without the yellow that white swallows."""
    if len(names) == 1:
        return {names[0]: (INK, "o")}
    shades = np.linspace(0.0, 0.8, len(names))
    return {
        n: (to_hex(colormaps["viridis"](float(s))), MARKERS[i % len(MARKERS)])
        for i, (n, s) in enumerate(zip(names, shades, strict=True))
    }


def draw(axes: Axes, panel: Mapping[str, Any], rivals: Mapping[str, tuple[str, tuple[float, ...]]]) -> None:
    """Draw a panel; the axes carry name and unit of what was measured."""
    log_x, log_y = panel.get("x_scale") == "log", panel.get("y_scale") == "log"
    names = groups(panel)
    looks = group_looks(names)
    x_limits, y_limits = _frame(panel, log_x, log_y)
    fix(axes, x_limits, y_limits, log_x, log_y)
    axes.set_xlabel(plain(with_unit(panel.get("x") or "x", panel.get("x_unit"))))
    _fitted_range(axes, panel)
    _raw(axes, panel, log_x, log_y)
    curves = panel.get("curves") or ()
    for curve in curves:
        if curve.get("role") == "rival":
            _rival(axes, curve, rivals, log_y, several=len(names) > 1)
    for curve in curves:
        if curve.get("role") == "law":
            name = str(curve.get("group") or "")
            _law(axes, curve, LAW if len(names) == 1 else looks.get(name, (LAW, "o"))[0], log_y)
    _points(axes, panel, looks, log_y)
    _held(axes, panel, looks, log_y)
    if len(names) > 1:
        _label_groups(axes, panel, names, looks, log_x, log_y)


def _frame(panel: Mapping[str, Any], log_x: bool, log_y: bool) -> tuple[tuple[float, float], tuple[float, float]]:
    points, held, raw = (panel.get(k) or {} for k in ("points", "held", "raw"))
    laws = [c for c in panel.get("curves") or () if c.get("role") == "law"]
    x_core = [*_list(points, "x"), *_list(held, "x"), *_list(panel, "show_x")]
    curve_x = [v for c in laws for v in _list(c, "x")]
    y_core = [*_list(points, "y"), *_list(held, "y"), *_list(panel, "show_y")]
    y_wide = [v for part in (points, held) for k in ("low", "high") for v in _list(part, k)]
    y_wide += [v for c in laws for k in ("y", "low", "high", "new_low", "new_high") for v in _list(c, k)]
    y_wide += [v for row in _list(raw, "y") for v in row]
    if not any(v is not None for v in y_core):
        y_core = [v for c in laws for v in _list(c, "y")]
    return limits(x_core, curve_x, log_x, 0.25), limits(y_core, y_wide, log_y, 0.45)


def _list(part: Mapping[str, Any], name: str) -> list[Any]:
    return list(part.get(name) or ())


def _fitted_range(axes: Axes, panel: Mapping[str, Any]) -> None:
    """Shade lightly what the law was fitted to."""
    low, high = fitted_range(panel)
    if low is not None and high is not None and high > low:
        axes.axvspan(low, high, color=RANGE, lw=0, zorder=0)


def fitted_range(panel: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the smallest fitted x and the largest; (None, None) where all that is drawn was fitted."""
    laws = [c for c in panel.get("curves") or () if c.get("role") == "law" and c.get("fitted_to") is not None]
    xs = [v for v in (panel.get("points") or {}).get("x") or () if v is not None]
    beyond = any(v is not None and v > c["fitted_to"] * (1 + 1e-9) for c in laws for v in c.get("x") or ())
    if not xs or not laws or not (beyond or (panel.get("held") or {}).get("x")):
        return None, None
    return min(xs), max(c["fitted_to"] for c in laws)


def _raw(axes: Axes, panel: Mapping[str, Any], log_x: bool, log_y: bool) -> None:
    raw = panel.get("raw") or {}
    rows = raw.get("y") or ()
    if not rows:
        return
    x = finite(raw.get("x"), log_x)
    chosen = [finite(rows[i], log_y) for i in spread(len(rows), raw_shown(panel))]
    parts = _curves_of_raw(panel, x)
    lines = [np.column_stack([x[part], row[part]]) for row in chosen if len(row) == len(x) for part in parts]
    lines = [line[np.isfinite(line).all(axis=1)] for line in lines]
    alpha = float(np.clip(6.0 / max(len(chosen), 1), 0.12, 0.5))
    long = [line for line in lines if len(line) > 1]
    axes.add_collection(LineCollection(long, colors=FAINT, lw=0.6, alpha=alpha, zorder=1))
    dots = [line for line in lines if len(line) == 1]
    if dots:
        axes.plot(*np.concatenate(dots).T, ".", color=FAINT, ms=3, alpha=max(alpha, 0.3), zorder=1, mew=0)


def raw_shown(panel: Mapping[str, Any]) -> int:
    """Return how many raw clusters are drawn of a panel."""
    raw = panel.get("raw") or {}
    rows = raw.get("y") or ()
    most = max(12, min(MOST_RAW, MOST_RAW_POINTS // max(len(raw.get("x") or ()), 1)))
    return min(len(rows), most)


def _curves_of_raw(panel: Mapping[str, Any], x: Numbers) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the columns of each group's curve, in order of x: a cluster's row holds the curves of all groups."""
    labels = list((panel.get("points") or {}).get("group") or ())
    labels = labels if len(labels) == len(x) else [""] * len(x)
    order = np.argsort(x, kind="stable")
    return [order[np.array([labels[i] == name for i in order], bool)] for name in dict.fromkeys(labels)]


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` indices spread evenly over range(count), with both ends."""
    return sorted({round(float(v)) for v in np.linspace(0, count - 1, min(count, most))})


def _law(axes: Axes, curve: Curve, colour: str, log_y: bool) -> None:
    x = finite(curve.get("x"))
    y = finite(curve.get("y"), log_y)
    floor = axes.get_ylim()[0] if log_y else None
    for low, high, alpha in (("new_low", "new_high", 0.10), ("low", "high", 0.26)):
        if curve.get(low) and curve.get(high):
            bottom, top = _band(curve, low, floor), _band(curve, high, floor)
            keep = sorted({*_needed(axes, x, bottom), *_needed(axes, x, top)})
            axes.fill_between(x[keep], bottom[keep], top[keep], color=colour, alpha=alpha, lw=0, zorder=2)
    end = curve.get("fitted_to")
    inside = x <= end * (1 + 1e-9) if end is not None else np.ones(len(x), bool)
    _line(axes, x, np.where(inside, y, np.nan), color=colour, lw=1.6, zorder=4)
    beyond = np.flatnonzero(~inside)
    if beyond.size:
        part = slice(max(int(beyond[0]) - 1, 0), None)
        _line(axes, x[part], y[part], color=colour, lw=1.6, zorder=4, dashes=EXTRAPOLATED)


def _line(axes: Axes, x: Numbers, y: Numbers, **looks: Any) -> None:
    keep = _needed(axes, x, y)
    axes.plot(x[keep], y[keep], **looks)


def _needed(axes: Axes, x: Numbers, y: Numbers, tolerance: float = 0.15) -> list[int]:
    """Return the indices that draw the curve to within ``tolerance`` pixels (Ramer, Douglas and Peucker).

    Gaps keep their edges.
    """
    if not len(x):
        return []
    shown = np.clip(axes.transData.transform(np.column_stack([x, y])), -1e4, 1e4)
    keep = {0, len(x) - 1, *np.flatnonzero(np.diff(np.isnan(shown[:, 1]).astype(int))), *np.flatnonzero(np.isnan(y))}
    keep |= {min(int(k) + 1, len(x) - 1) for k in keep}
    ends = sorted(int(k) for k in keep)
    todo = list(pairwise(ends))
    found = set(ends)
    while todo:
        a, b = todo.pop()
        if b - a < 2:
            continue
        (x0, y0), (x1, y1) = shown[a], shown[b]
        away = np.abs((x1 - x0) * (shown[a + 1 : b, 1] - y0) - (y1 - y0) * (shown[a + 1 : b, 0] - x0))
        worst = int(np.argmax(away)) + a + 1
        if away[worst - a - 1] > tolerance * max(float(np.hypot(x1 - x0, y1 - y0)), 1e-9):
            found.add(worst)
            todo += [(a, worst), (worst, b)]
    return sorted(found)


def _band(curve: Curve, name: str, floor: float | None) -> Numbers:
    """Return a band's edge; on a log axis an edge at or below 0 lies at the frame."""
    edge = finite(curve.get(name))
    return edge if floor is None else np.where(edge > 0, edge, np.where(np.isnan(edge), np.nan, floor))


def _rival(axes: Axes, curve: Curve, looks: Mapping[str, Any], log_y: bool, several: bool) -> None:
    colour, dashes = looks[str(curve["law"])]
    _line(
        axes,
        finite(curve.get("x")),
        finite(curve.get("y"), log_y),
        color=colour,
        lw=0.8 if several else 1.2,
        dashes=dashes,
        zorder=3,
        alpha=0.75 if several else 1,
    )


def _points(axes: Axes, panel: Mapping[str, Any], looks: Mapping[str, tuple[str, str]], log_y: bool) -> None:
    points = panel.get("points") or {}
    size = 3.6 if len(points.get("x") or ()) <= 100 else 2.2
    for name, part in by_group(points):
        colour, marker = looks.get(name, (INK, "o"))
        _bars(axes, part, colour, log_y)
        axes.plot(part["x"], finite(part["y"], log_y), marker, color=colour, ms=size, mew=0, zorder=5, ls="none")
        _below(axes, part, colour, log_y)


def _below(axes: Axes, part: Mapping[str, Numbers], colour: str, log_y: bool) -> None:
    """Mark a mean of 0 or less, which a log axis cannot show, by an open triangle at the frame."""
    if not log_y:
        return
    low = part["x"][np.isfinite(part["y"]) & (part["y"] <= 0)]
    if low.size:
        axes.plot(
            low,
            np.full(low.size, axes.get_ylim()[0]),
            "v",
            mfc="white",
            mec=colour,
            ms=5,
            clip_on=False,
            zorder=6,
            ls="none",
        )


def has_below(panel: Mapping[str, Any]) -> bool:
    """Return whether a point lies at or below 0 on a log axis."""
    y = [v for v in (panel.get("points") or {}).get("y") or () if v is not None]
    return panel.get("y_scale") == "log" and any(v <= 0 for v in y)


def _bars(axes: Axes, part: Mapping[str, Numbers], colour: str, log_y: bool) -> None:
    bottom = axes.get_ylim()[0]
    low = (
        np.where(part["low"] > 0, part["low"], np.where(np.isnan(part["low"]), np.nan, bottom))
        if log_y
        else part["low"]
    )
    known = np.isfinite(low) & np.isfinite(part["high"])
    gap = np.full(int(known.sum()), np.nan)
    x = np.column_stack([part["x"][known], part["x"][known], gap]).ravel()
    axes.plot(x, np.column_stack([low[known], part["high"][known], gap]).ravel(), color=colour, lw=0.9, zorder=5)


def by_group(part: Mapping[str, Any]) -> list[tuple[str, dict[str, Numbers]]]:
    """Split stored points by group; columns that are absent become NaN."""
    count = len(part.get("x") or ())
    label = ["" if g is None else str(g) for g in part.get("group") or [""] * count]
    label += [""] * (count - len(label))
    columns = {k: finite(part.get(k) or [None] * count) for k in ("x", "y", "low", "high")}
    found = []
    for name in dict.fromkeys(label):
        mask = np.array([g == name for g in label], bool)
        found.append((name, {k: v[mask] for k, v in columns.items()}))
    return found


def _held(axes: Axes, panel: Mapping[str, Any], looks: Mapping[str, tuple[str, str]], log_y: bool) -> None:
    several = len(looks) > 1
    size, width = (10, 0.9) if len((panel.get("held") or {}).get("x") or ()) <= 30 else (4, 0.3)
    for name, part in by_group(panel.get("held") or {}):
        edge = looks.get(name, (INK, "o"))[0] if several else INK
        _bars(axes, part, edge, log_y)
        axes.plot(part["x"], finite(part["y"], log_y), "*", mfc=STAR, mec=edge, mew=width, ms=size, zorder=6, ls="none")


def _label_groups(
    axes: Axes,
    panel: Mapping[str, Any],
    names: Sequence[str],
    looks: Mapping[str, tuple[str, str]],
    log_x: bool,
    log_y: bool,
) -> None:
    """Write each group's name right of the axes, at the height of its last point."""
    last = {**_last(panel.get("points") or {}, log_y), **_last(panel.get("held") or {}, log_y)}
    shown = [n for n in names if n in last]
    shown = [shown[i] for i in spread(len(shown), MOST_LABELS)] if shown else []
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform((axes.get_xlim()[1], last[n]))[1]) for n in shown]
    title, labels = group_texts(names)
    for name, height in zip(shown, apart(wanted, 0.075, 0.02, 0.94), strict=True):
        axes.text(
            1.02, height, plain(labels[name]), color=looks[name][0], transform=axes.transAxes, va="center", fontsize=7
        )
    if title:
        axes.text(1.02, 1.02, plain(title), color=GREY, transform=axes.transAxes, va="bottom", fontsize=7)


def room_for_groups(panel: Mapping[str, Any]) -> float:
    """Return the inches that the group labels need right of the axes; 0 for a single curve."""
    names = groups(panel)
    if len(names) == 1:
        return 0.0
    title, labels = group_texts(names)
    return 0.12 + 0.063 * max(len(title), *map(len, labels.values()))


def group_texts(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return what all groups have in common ("N, alpha") and the short label of each ("1e3, 0.5")."""
    pairs = [[part.split(" = ", 1) for part in name.split(", ")] for name in names]
    if len({str(found[0]) for found in pairs}) == len(names):
        pairs = [found[:1] for found in pairs]  # the first setting tells the curves apart
    keys = {tuple(p[0] for p in found) for found in pairs if all(len(p) == 2 for p in found)}
    if len(keys) != 1 or not all(len(p) == 2 for found in pairs for p in found):
        return "", _all_cut({name: _short(name) for name in names})
    title = ", ".join(next(iter(keys)))
    labels = {n: ", ".join(_short(p[1]) for p in found) for n, found in zip(names, pairs, strict=True)}
    return _cut(title), _all_cut(labels)


def _short(name: str) -> str:
    try:
        return number(float(name))
    except ValueError:
        return name


def _all_cut(labels: Mapping[str, str]) -> dict[str, str]:
    """Cut long labels at their end, or at their beginning where they differ only later."""
    cut = {name: _cut(label) for name, label in labels.items()}
    if len(set(cut.values())) == len(set(labels.values())):
        return cut
    return {name: label if len(label) <= 13 else "…" + label[-12:] for name, label in labels.items()}


def _cut(name: str) -> str:
    return name if len(name) <= 13 else name[:12] + "…"


def _last(part: Mapping[str, Any], log_y: bool) -> dict[str, float]:
    found = {}
    for name, columns in by_group(part):
        y = finite(columns["y"], log_y)
        known = np.flatnonzero(np.isfinite(y) & np.isfinite(columns["x"]))
        if known.size:
            found[name] = float(y[known[np.argmax(columns["x"][known])]])
    return found
