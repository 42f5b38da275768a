"""The report's figures, drawn from stored panels and verdicts alone.

Each is a matplotlib ``Figure`` made without pyplot and without a change of global settings. Words in a figure are
English; the page puts a caption in both languages beside it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlaws.errors import InputError
from rlaws.report import legend, words
from rlaws.report.drawing import draw, rival_looks, room_for_groups, spread
from rlaws.report.maps import forest, regime_map
from rlaws.report.style import GREY, INK, extent, formula, plain, styled, symbol
from rlaws.report.svg import inline, save

__all__ = ["choose", "claim_figure", "forest", "formula_figure", "inline", "panel_figure", "regime_map", "save", "tile"]

LINE = 0.15  # height of a line of text, in inches
Panel = Mapping[str, Any]
Looks = Mapping[str, tuple[str, tuple[float, ...]]]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text above a panel: its words (mathtext where the data gave a symbol), colour and weight."""

    words: str
    colour: str = INK
    bold: bool = False


def as_mapping(verdict: Any) -> Mapping[str, Any]:
    """Return a verdict in its stored form."""
    if isinstance(verdict, Mapping):
        return verdict
    if not hasattr(verdict, "to_json"):
        raise InputError(f"A verdict is a Verdict or what verdict.json holds; got {type(verdict).__name__}.")
    stored: Mapping[str, Any] = verdict.to_json()
    return stored


# ------------------------------------------------------------------------------------------------ which panels
def outcomes(verdict: Mapping[str, Any] | None, key: str) -> list[tuple[str, str, float | None]]:
    """Return (reading, outcome, margin) of every reading judged on a panel."""
    found = []
    for reading in (verdict or {}).get("readings") or ():
        for point in reading.get("points") or ():
            if point.get("panel") == key:
                found.append((str(reading["id"]), str(point["outcome"]), words.deciding_margin(point)))
    return found


def choose(verdict: Any, panels: Sequence[Panel], most: int = 6) -> list[Panel]:
    """Return up to ``most`` panels that show every outcome of every reading, evenly over the grid, in grid order."""
    stored = as_mapping(verdict)
    if len(panels) <= most:
        return list(panels)
    kinds: dict[Any, list[int]] = {}
    for i, panel in enumerate(panels):
        judged = outcomes(stored, str(panel["key"]))
        kinds.setdefault((tuple(sorted(r for r, _, _ in judged)), tuple(sorted({o for _, o, _ in judged}))), []).append(
            i
        )
    order = sorted(kinds, key=lambda k: (len(kinds[k]), kinds[k][0]))
    quota = dict.fromkeys(order, 0)
    while sum(quota.values()) < most:
        open_ = [k for k in order if quota[k] < len(kinds[k])]
        quota[min(open_, key=lambda k: (quota[k], order.index(k)))] += 1
    chosen = [kinds[k][j] for k in order if quota[k] for j in spread(len(kinds[k]), quota[k])]
    return [panels[i] for i in sorted(chosen)]


# ------------------------------------------------------------------------------------------------ words above a panel
def heading(panel: Panel, verdict: Mapping[str, Any] | None, width: int) -> list[Line]:
    """Return the lines above a panel: regime, outcome of each reading, parameters with their intervals."""
    where = words.regime(panel.get("regime") or {}, panel.get("regime_units"))
    if panel.get("link"):
        where += f" · link: {panel['link']}"
    found = [Line(plain(part), bold=True) for part in textwrap.wrap(where, width)[:3]]
    judged = outcomes(verdict, str(panel.get("key")))
    for reading, outcome, margin in judged[:3]:
        mark = words.mark(outcome)
        edge = "" if margin is None else f", margin {words.margin(margin)}"
        found.append(Line(plain(_cut(f"{mark.icon} {reading}: {mark.word['en']}{edge}", width + 4)), mark.strong))
    if len(judged) > 3:
        found.append(Line(f"and {len(judged) - 3} more readings", GREY))
    if not panel.get("ok", True):
        found += [
            Line(plain(p), words.mark("invalid").strong)
            for p in textwrap.wrap(f"fit: {panel.get('status')}", width + 4)[:2]
        ]
    found += [Line(_param(p), GREY) for p in (panel.get("params") or ())[:3]]
    return found


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _param(param: Mapping[str, Any]) -> str:
    unit = str(param.get("unit") or "")
    ends = words.interval((param.get("low"), param.get("high")))
    tail = f" ({unit})" if unit not in ("", "1") else ""
    sign = symbol(str(param.get("symbol") or "")) or plain(param.get("name"))
    return f"{sign} = {words.number(param.get('estimate'))} {ends}{plain(tail)}"


# ------------------------------------------------------------------------------------------------ figures
@dataclass(frozen=True, slots=True)
class Box:
    """Where one panel stands on the figure, in inches: left edge, top edge, width and height of the axes' area."""

    left: float
    top: float
    width: float
    height: float
    heading: float


def _place(figure: Figure, panel: Panel, lines: Sequence[Line], box: Box, looks: Looks) -> Axes:
    """Draw one panel with its heading into a box."""
    wide, tall = figure.get_size_inches()
    room = int((box.height - 0.15) / 0.066)
    label = textwrap.wrap(words.with_unit(panel.get("response") or "response", panel.get("unit")), room)
    if len(label) > 2:  # the unit stays
        unit = words.with_unit("", panel.get("unit"))
        label = [label[0], _cut(" ".join(label[1:]).removesuffix(unit), room - len(unit)) + unit]
    groups = room_for_groups(panel)
    right, above = (groups, 0.24) if groups else (0.14, 0.08)
    below = 0.42
    bottom = tall - box.top - box.heading - box.height

    def frame(left: float) -> tuple[float, float, float, float]:
        inside = (box.left + left, bottom + below, box.width - left - right, box.height - below - above)
        return inside[0] / wide, inside[1] / tall, inside[2] / wide, inside[3] / tall

    axes = figure.add_axes(frame(0.56))
    draw(axes, panel, looks)
    axes.set_position(frame(0.2 + 0.14 * len(label) + _widest(axes)))
    figure.text((box.left + 0.06) / wide, (bottom + box.height / 2) / tall, plain("\n".join(label)),
                rotation=90, va="center", ha="left", linespacing=1.15)  # fmt: skip
    for i, line in enumerate(lines):
        y = tall - box.top - LINE * (i + 1)
        figure.text((box.left + 0.08) / wide, y / tall, line.words, color=line.colour,
                    weight="bold" if line.bold else "normal", fontsize=7.8, va="bottom")  # fmt: skip
    return axes


def _widest(axes: Axes) -> float:
    """Return the inches that the labels of the vertical axis take; signs of a formula's markup take none."""
    bottom, top = axes.get_ylim()
    ticks = [t for t in axes.get_yticks() if bottom <= t <= top]
    shown = axes.yaxis.get_major_formatter().format_ticks(ticks)
    return 0.062 * max((len(re.sub(r"[${}^]", "", w.replace(r"\times", "×"))) for w in shown), default=3)


def tile(panel: Panel, looks: Looks | None = None, width: float = 3.7, height: float = 2.55) -> Figure:
    """Return one panel without heading and legend: on the page both are text beside it, in the reader's language."""
    with styled():
        figure = Figure(figsize=(width, height))
        _place(figure, panel, [], Box(0.0, 0.0, width, height, 0.0), looks or rival_looks([panel]))
    return figure


def panel_figure(panel: Panel, verdict: Any = None) -> Figure:
    """Return one panel with heading, legend and caption.

    Args:
        panel: One entry of panels.json.
        verdict: The verdict it belongs to, for outcomes and caption; or None.
    """
    stored = None if verdict is None else as_mapping(verdict)
    return _compose(stored, [panel], 1, 1, 5.6, 3.7)


def claim_figure(verdict: Any, panels: Sequence[Panel], most: int = 6) -> Figure:
    """Return small multiples of up to ``most`` representative regime points, with one legend and a caption.

    Raises:
        InputError: There is no panel.
    """
    if not panels:
        raise InputError("The run has no panels: panels.json is absent or empty, so there is nothing to draw.")
    stored = as_mapping(verdict)
    chosen = choose(stored, panels, most)
    columns = len(chosen) if len(chosen) < 4 else 2 if len(chosen) == 4 else 3
    if len(chosen) == 1:
        return _compose(stored, chosen, 1, len(panels), 5.6, 3.7)
    return _compose(stored, chosen, columns, len(panels), 3.7, 2.55)


def _compose(
    verdict: Mapping[str, Any] | None, panels: Sequence[Panel], columns: int, total: int, width: float, height: float
) -> Figure:
    with styled():
        heads = [heading(p, verdict, int(width * 13)) for p in panels]
        rows = ceil(len(panels) / columns)
        tops = [max(len(h) for h in heads[r * columns : (r + 1) * columns]) * LINE + 0.06 for r in range(rows)]
        signs = legend.items(panels)
        across = max(1, int(columns * width / 2.75))
        foot = 0.205 * ceil(len(signs) / across) + 0.36
        gap = 0.14
        figure = Figure(figsize=(columns * width, sum(tops) + rows * (height + gap) + foot))
        looks = rival_looks(panels)
        for i, (panel, lines) in enumerate(zip(panels, heads, strict=True)):
            row, column = divmod(i, columns)
            top = sum(tops[:row]) + row * (height + gap) + 0.04
            _place(figure, panel, lines, Box(column * width, top, width, height, tops[row]), looks)
        _foot(figure, signs, across, foot, caption(verdict, len(panels), total))
    return figure


def _foot(figure: Figure, signs: Sequence[legend.Item], across: int, foot: float, note: str) -> None:
    handles, labels = legend.handles(signs)
    tall = figure.get_size_inches()[1]
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.0, foot / tall), ncols=across,
                  handlelength=2.4, columnspacing=1.4, borderaxespad=0.3, labelspacing=0.55)  # fmt: skip
    figure.text(0.08 / figure.get_size_inches()[0], 0.07 / tall, plain(note), color=GREY, fontsize=7)


def caption(verdict: Mapping[str, Any] | None, shown: int, total: int) -> str:
    """Return the line at a figure's foot: claim, rung, verdict, what is shown of the grid, seed, budget and hash."""
    if verdict is None:
        return "no verdict"
    mark = words.mark(verdict.get("outcome"))
    parts = [str(verdict.get("claim")), str(verdict.get("rung")), f"{mark.icon} {mark.word['en']}"]
    if total > shown:
        parts.append(f"{shown} of {total} panels")
    parts += [f"seed {verdict.get('seed')}", f"budget {verdict.get('budget')}"]
    return " · ".join([*parts, f"run {words.short_hash(verdict.get('hashes'))}"])


def formula_figure(source: str) -> Figure:
    """Return a formula on its own, as wide as it is, in the size of the page's text."""
    with styled():
        shown = formula(source)
        if not shown.startswith("$"):
            raise InputError(f"'{source}' is not a formula that matplotlib can set.")
        width, height, depth = (v / 72 for v in extent(shown))
        figure = Figure(figsize=(width + 0.08, height + 0.06))
        figure.text(
            0.03 / (width + 0.08), (depth + 0.03) / (height + 0.06), shown, fontsize=10, color=INK, va="baseline"
        )
    return figure
