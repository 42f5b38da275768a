"""Two pictures of a whole grid: the map of outcomes over two regime axes, and the forest of intervals."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite, log2
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from rlaws.errors import InputError
from rlaws.report import words
from rlaws.report.drawing import spread
from rlaws.report.style import GREY, INK, plain, styled

MOST_ROWS = 60
MOST_LABEL = 58
Point = Mapping[str, Any]
Reading = Mapping[str, Any]


def _stored(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if hasattr(value, "to_json"):
        found: Mapping[str, Any] = value.to_json()
        return found
    from dataclasses import asdict

    return asdict(value)


# ------------------------------------------------------------------------------------------------ axes of the grid
def _hashable(value: Any) -> Any:
    return words.value(value) if isinstance(value, (list, dict, tuple)) else value


def varied(points: Sequence[Point]) -> dict[str, list[Any]]:
    """Return the regime columns that take at least two values, each with its sorted values."""
    names = dict.fromkeys(n for p in points for n in p.get("regime") or {})
    found = {n: {_hashable((p.get("regime") or {}).get(n)) for p in points} for n in names}
    return {n: sorted(v, key=_rank) for n, v in found.items() if len(v) > 1}


def _rank(value: Any) -> tuple[int, float, str]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    return (0, float(value), "") if number else (1, 0.0, str(value))


def _disorder(points: Sequence[Point], names: Sequence[str]) -> float:
    """Return the entropy of the outcome that is left once the named columns are known, in bits."""
    cells: dict[Any, Counter[str]] = {}
    for point in points:
        key = tuple(_hashable((point.get("regime") or {}).get(n)) for n in names)
        cells.setdefault(key, Counter())[str(point.get("outcome"))] += 1
    left = 0.0
    for counts in cells.values():
        total = sum(counts.values())
        left -= sum(c * log2(c / total) for c in counts.values())
    return left / max(len(points), 1)


def informative(points: Sequence[Point]) -> tuple[str, ...]:
    """Return the two regime columns that tell most about the outcome; fewer where fewer vary."""
    names = list(varied(points))
    if len(names) <= 2:
        return tuple(names)
    return min(combinations(names, 2), key=lambda pair: (round(_disorder(points, pair), 9), pair != tuple(names[:2])))


# ------------------------------------------------------------------------------------------------ map
@dataclass(frozen=True, slots=True)
class _Cell:
    outcome: str
    margin: float | None
    counts: Counter[str]


def _cell(points: Sequence[Point]) -> _Cell:
    """Join the points of a cell by the rule of the grid."""
    counts = Counter(str(p.get("outcome")) for p in points)
    if len(counts) == 1:
        outcome = next(iter(counts))
    else:
        outcome = "conditional" if {"supported", "refuted"} <= set(counts) else "undecided"
    margins = [m for p in points if (m := words.deciding_margin(p)) is not None]
    return _Cell(outcome, min(margins, key=abs) if margins else None, counts)


def boundary_text(reading: Reading, language: str = "en") -> str:
    """Return the boundary's sentence, wherever in the stored boundary it stands."""
    found = reading.get("boundary")
    if not isinstance(found, Mapping):
        return str(found or "")
    for candidate in (found, *(found.get(k) for k in ("text", "sentence", "reason"))):
        if isinstance(candidate, Mapping) and ("en" in candidate or "zh" in candidate):
            candidate = words.text(candidate, language)
        if isinstance(candidate, str) and candidate:
            return candidate[0].upper() + candidate[1:]
    return ""


def regime_map(reading: Any, units: Mapping[str, str] | None = None, *, with_words: bool = True) -> Figure:
    """Return the outcome over the two regime columns that tell most about it.

    Each cell has icon and margin (the one closest to the edge); a cell that joins points of further columns counts
    them. The thick line runs between supported and refuted cells.

    Args:
        reading: A ReadingVerdict, or its stored form.
        units: Unit of each regime column.
        with_words: Whether the outcome and the boundary's sentence stand on the figure (on the page they stand beside).

    Raises:
        InputError: No regime column takes two values.
    """
    reading = _stored(reading)
    points = list(reading.get("points") or ())
    names = informative(points)
    if not names:
        raise InputError(f"Reading '{reading.get('id')}' was judged at one regime point only: there is no map to draw.")
    values = varied(points)
    across = values[names[0]]
    up = values[names[1]] if len(names) > 1 else [None]
    cells = _cells(points, names)
    with styled():
        figure, axes, size = _map_frame(reading if with_words else None, names, across, up, units or {})
        found = {}
        for i, x in enumerate(across):
            for j, y in enumerate(up):
                cell = cells.get((x, y) if len(names) > 1 else (x,))
                if cell is not None:
                    found[i, j] = cell.outcome
                    _draw_cell(axes, i, j, cell, size)
        _boundary(axes, found)
    return figure


def _cells(points: Sequence[Point], names: Sequence[str]) -> dict[tuple[Any, ...], _Cell]:
    sorted_: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        key = tuple(_hashable((point.get("regime") or {}).get(n)) for n in names)
        sorted_.setdefault(key, []).append(point)
    return {key: _cell(found) for key, found in sorted_.items()}


def _map_frame(
    reading: Reading | None, names: Sequence[str], across: Sequence[Any], up: Sequence[Any], units: Mapping[str, str]
) -> tuple[Figure, Axes, float]:
    """Return figure, axes and the width of a cell in inches."""
    size = 0.72 if len(across) <= 9 else max(0.34, 6.5 / len(across))
    height = min(size, 0.6)
    labels = [words.value(v) if len(names) > 1 else "" for v in up]
    columns = [words.value(v) for v in across]
    turned = max(map(len, columns)) * 0.075 > size
    left = 0.5 + 0.068 * max(map(len, labels))
    width = left + size * len(across) + 0.2
    width = (
        max(width, 4.6) if reading else max(width, 0.3 + 0.085 * len(words.with_unit(names[0], units.get(names[0]))))
    )
    lines = textwrap.wrap(boundary_text(reading), int(width * 15)) if reading else []
    below = 0.5 + (0.068 * max(map(len, columns)) if turned else 0) + 0.15 * len(lines)
    tall = height * len(up) + below + (0.34 if reading else 0.06)
    figure = Figure(figsize=(width, tall))
    axes = figure.add_axes((left / width, below / tall, size * len(across) / width, height * len(up) / tall))
    axes.set(xlim=(-0.5, len(across) - 0.5), ylim=(-0.5, len(up) - 0.5))
    axes.set_xticks(range(len(across)), [plain(c) for c in columns], rotation=90 if turned else 0)
    axes.set_yticks(range(len(up)), [plain(label) for label in labels])
    axes.tick_params(length=0)
    axes.set_xlabel(plain(words.with_unit(names[0], units.get(names[0]))))
    if len(names) > 1:
        axes.set_ylabel(plain(words.with_unit(names[1], units.get(names[1]))))
    for spine in axes.spines.values():
        spine.set_visible(False)
    if reading:
        _map_words(figure, reading, lines)
    return figure, axes, size


def _map_words(figure: Figure, reading: Reading, lines: Sequence[str]) -> None:
    width, tall = figure.get_size_inches()
    mark = words.mark(reading.get("outcome"))
    title = plain(f"{mark.icon} {reading.get('id')}: {mark.word['en']}")
    figure.text(0.08 / width, 1 - 0.22 / tall, title, color=mark.strong, weight="bold")
    for i, line in enumerate(lines):
        figure.text(0.08 / width, (0.06 + 0.15 * (len(lines) - 1 - i)) / tall, plain(line), color=INK, fontsize=7.5)


def _draw_cell(axes: Axes, i: int, j: int, cell: _Cell, size: float) -> None:
    mark = words.mark(cell.outcome)
    axes.add_patch(Rectangle((i - 0.5, j - 0.5), 1, 1, facecolor=mark.pale, edgecolor="white", lw=1.2))
    if len(cell.counts) == 1:
        below = words.margin(cell.margin) if cell.margin is not None else ""
    else:
        below = " ".join(f"{n}{words.mark(o).icon}" for o, n in sorted(cell.counts.items()))
    room = len(below) * 0.062 <= size
    axes.text(
        i,
        j + (0.13 if below and room else 0),
        mark.icon,
        color=mark.strong,
        ha="center",
        va="center",
        fontsize=11 if size > 0.5 else 8,
    )
    if below and room:
        axes.text(i, j - 0.25, below, color=INK, ha="center", va="center", fontsize=7)


def _boundary(axes: Axes, outcomes: Mapping[tuple[int, int], str]) -> None:
    """Draw the edge between supported and refuted cells."""
    for (i, j), outcome in outcomes.items():
        for di, dj in ((1, 0), (0, 1)):
            if {outcome, outcomes.get((i + di, j + dj))} == {"supported", "refuted"}:
                xs = (i + 0.5, i + 0.5) if di else (i - 0.5, i + 0.5)
                ys = (j - 0.5, j + 0.5) if di else (j + 0.5, j + 0.5)
                axes.plot(xs, ys, color=INK, lw=2.2, solid_capstyle="round", zorder=5)


# ------------------------------------------------------------------------------------------------ forest
@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    outcome: str
    estimate: float
    low: float | None
    high: float | None
    margin: float | None


@dataclass(frozen=True, slots=True)
class _Block:
    """One prediction over the grid."""

    title: str
    region: tuple[float | None, float | None]
    rows: list[_Row]
    total: int


def blocks(readings: Iterable[Reading]) -> list[_Block]:
    """Return the predictions that have an interval at some regime point, each with its rows."""
    found: dict[tuple[str, str], tuple[tuple[float | None, float | None], list[_Row]]] = {}
    for reading in readings:
        points = list(reading.get("points") or ())
        changing = varied(points)
        for point in points:
            for check in point.get("checks") or ():
                if check.get("estimate") is None or words.ends(check.get("interval")) == (None, None):
                    continue
                key = (str(reading.get("id")), str(check.get("prediction")))
                rows = found.setdefault(key, (words.ends(check.get("region")), []))[1]
                low, high = words.ends(check.get("interval"))
                label = words.regime({k: v for k, v in (point.get("regime") or {}).items() if k in changing})
                rows.append(
                    _Row(label, str(check.get("outcome")), float(check["estimate"]), low, high, check.get("margin"))
                )
    return [
        _Block(f"{reading}: {prediction}", region, [rows[i] for i in spread(len(rows), MOST_ROWS)], len(rows))
        for (reading, prediction), (region, rows) in found.items()
    ]


def forest(verdict: Any) -> Figure:
    """Return the interval at every regime point against the predicted region, one block a prediction.

    Raises:
        InputError: No prediction of the verdict has an interval.
    """
    found = blocks(_stored(verdict).get("readings") or ())
    if not found:
        raise InputError(
            "No prediction of this verdict has an interval (forms are judged by held-out scores): no forest."
        )
    right, row = 0.9, 0.165
    left = 0.25 + 0.06 * max(min(len(r.label), MOST_LABEL) for b in found for r in b.rows)
    longest = max(len(b.title) for b in found)
    width = max(left + 3.9 + right, min(0.075 * longest + 0.3, 8.0))
    heights = [0.42 + row * len(b.rows) + 0.42 for b in found]
    with styled():
        figure = Figure(figsize=(width, sum(heights)))
        top = sum(heights)
        for block, height in zip(found, heights, strict=True):
            frame = (
                left / width,
                (top - height + 0.42) / sum(heights),
                (width - left - right) / width,
                row * len(block.rows) / sum(heights),
            )
            axes = figure.add_axes(frame)
            title = (
                block.title
                if block.total == len(block.rows)
                else f"{block.title} ({len(block.rows)} of {block.total} points)"
            )
            figure.text(
                0.08 / width,
                (top - 0.28) / sum(heights),
                plain(textwrap.shorten(title, 110, placeholder="…")),
                weight="bold",
            )
            _forest(axes, block)
            top -= height
    return figure


def _cut(label: str) -> str:
    return label if len(label) <= MOST_LABEL else label[: MOST_LABEL - 1] + "…"


def _forest(axes: Axes, block: _Block) -> None:
    count = len(block.rows)
    axes.set_ylim(count - 0.5, -0.5)
    low, high = _span(block)
    axes.set_xlim(low, high)
    first, last = block.region
    axes.axvspan(
        low if first is None else max(first, low),
        high if last is None else min(last, high),
        color="#E4EEDC",
        lw=0,
        zorder=0,
    )
    for edge in (first, last):
        if edge is not None and low <= edge <= high:
            axes.axvline(edge, color="#6F8F55", lw=0.8, zorder=1)
    for i, row in enumerate(block.rows):
        mark = words.mark(row.outcome)
        left = max(low if row.low is None else row.low, low)
        right = min(high if row.high is None else row.high, high)
        axes.plot((left, right), (i, i), color=mark.strong, lw=1.4, zorder=3, solid_capstyle="butt")
        if low <= row.estimate <= high:
            axes.plot([row.estimate], [i], "o", color=mark.strong, ms=3.6, mew=0, zorder=4)
        shown = f"{mark.icon} {words.margin(row.margin)}"
        axes.annotate(
            shown, (1, i), (6, 0), ("axes fraction", "data"), textcoords="offset points", va="center", color=mark.strong
        )
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_yticks(range(count), [plain(_cut(r.label)) for r in block.rows], fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("estimate and simultaneous interval; shaded: predicted region", color=GREY)


def _span(block: _Block) -> tuple[float, float]:
    """Return limits that show every estimate and the region's edges; a huge interval is cut at the frame."""
    core = [r.estimate for r in block.rows] + [e for e in block.region if e is not None]
    ends = [v for r in block.rows for v in (r.low, r.high) if v is not None]
    span = max(max(core) - min(core), 1e-9 + 0.05 * max(abs(v) for v in core))
    low = max(min([*ends, *core]), min(core) - span)
    high = min(max([*ends, *core]), max(core) + span)
    pad = 0.06 * (high - low or 1.0)
    return low - pad, high + pad
