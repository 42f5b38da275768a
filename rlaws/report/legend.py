"""What a figure's signs mean: one list, used by matplotlib's legend and by the page's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlaws.report.drawing import fitted_range, groups, has_below, raw_shown, rival_looks
from rlaws.report.style import EXTRAPOLATED, FAINT, GREY, INK, LAW, RANGE, STAR, formula, plain
from rlaws.report.words import Text

if TYPE_CHECKING:
    from matplotlib.artist import Artist


@dataclass(frozen=True, slots=True)
class Item:
    """One sign: its kind, what it means, and for a law its colour, dashes and formula."""

    kind: str
    label: Text
    colour: str = INK
    dashes: tuple[float, ...] = ()
    formula: str = ""


def items(panels: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Return the signs that occur in the panels, each once."""
    return [*_data(panels), *_laws(panels), *_held(panels)]


def _data(panels: Sequence[Mapping[str, Any]]) -> list[Item]:
    bars = any(v is not None for p in panels for v in (p.get("points") or {}).get("low") or ())
    found = [
        Item("points", _both("mean and 95 % interval", "均值与 95% 区间") if bars else _both("measured", "测量值"))
    ]
    shown = [(n, p) for p in panels if (n := raw_shown(p))]
    if shown:
        found.append(Item("raw", _clusters(shown), FAINT))
    if any(has_below(p) for p in panels):
        found.append(Item("below", {"en": "0 or less (log axis)", "zh": "不大于 0（对数轴）"}))
    return found


def _clusters(shown: Sequence[tuple[int, Mapping[str, Any]]]) -> Text:
    """Return how many clusters are drawn, and of how many where they are more."""
    drawn = [n for n, _ in shown]
    total = [max(len(p["raw"]["y"]), int(p.get("clusters") or 0)) for _, p in shown]
    if drawn == total:
        return {"en": f"each cluster ({_span(total)})", "zh": f"每个聚类（{_span(total)}）"}
    return {"en": f"{_span(drawn)} of {_span(total)} clusters", "zh": f"{_span(total)} 个聚类中的 {_span(drawn)} 个"}


def _span(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"


def _laws(panels: Sequence[Mapping[str, Any]]) -> list[Item]:
    curves = [c for p in panels for c in p.get("curves") or ()]
    several = any(len(groups(p)) > 1 for p in panels)
    colour = GREY if several else LAW
    laws = {str(c["law"]): str(c.get("formula") or "") for c in curves if c.get("role") == "law"}
    found = [Item("law", _both(f"law: {n}", f"律：{n}"), colour, (), f) for n, f in laws.items()]
    for kind, low, en, zh in (("band", "low", "mean", "均值"), ("newband", "new_low", "one new run", "一次新运行")):
        if any(c.get(low) for c in curves if c.get("role") == "law"):
            found.append(Item(kind, _both(f"95 %: {en}", f"95%：{zh}"), colour))
    if any(fitted_range(p)[1] is not None for p in panels):
        found.append(Item("range", _both("fitted range", "拟合范围"), RANGE))
    if any(_beyond(c) for c in curves):
        found.append(Item("beyond", _both("law extrapolated", "律的外推"), colour, EXTRAPOLATED))
    formulas = {str(c["law"]): str(c.get("formula") or "") for c in curves if c.get("role") == "rival"}
    for name, (hue, dashes) in rival_looks(panels).items():
        found.append(Item("rival", _both(f"rival: {name}", f"对手：{name}"), hue, dashes, formulas[name]))
    return found


def _beyond(curve: Mapping[str, Any]) -> bool:
    end = curve.get("fitted_to")
    return curve.get("role") == "law" and end is not None and any(v and v > end * (1 + 1e-9) for v in curve["x"])


def _both(en: str, zh: str) -> Text:
    return {"en": en, "zh": zh}


def _held(panels: Sequence[Mapping[str, Any]]) -> list[Item]:
    words = {
        "predicted": ("held out, predicted", "留出，预测"),
        "fitted": ("held out, but fitted", "留出，但参与过拟合"),
    }
    labels = dict.fromkeys((p.get("held") or {}).get("label") for p in panels if (p.get("held") or {}).get("x"))
    return [Item("held", _both(*words.get(str(n), ("held out", "留出"))), STAR) for n in labels]


def handles(found: Sequence[Item]) -> tuple[list[Artist], list[str]]:
    """Return matplotlib handles and English labels (with formulas)."""
    return [_handle(i) for i in found], [_words(i) for i in found]


def _words(item: Item) -> str:
    words = plain(item.label["en"])
    return f"{words}   {formula(item.formula)}" if item.formula else words


def _handle(item: Item) -> Artist:
    if item.kind in ("band", "newband"):
        return Patch(color=item.colour, alpha=0.26 if item.kind == "band" else 0.10, lw=0)
    if item.kind == "range":
        return Patch(facecolor=item.colour, edgecolor="#D8D3BD", lw=0.5)
    if item.kind == "points":
        return Line2D([], [], color=INK, marker="o", ms=3.6, lw=0.9, mew=0)
    if item.kind == "below":
        return Line2D([], [], marker="v", mfc="white", mec=INK, ms=5, ls="none")
    if item.kind == "held":
        return Line2D([], [], marker="*", mfc=STAR, mec=INK, ms=9, ls="none")
    line = Line2D([], [], color=item.colour, lw={"raw": 0.7, "rival": 1.2}.get(item.kind, 1.6))
    if item.dashes:
        line.set_dashes(item.dashes)
    return line


def swatch(item: Item) -> str:
    """Return the sign as a small SVG for the page's legend."""
    body = {
        "points": f'<line x1="14" y1="1" x2="14" y2="13" stroke="{INK}"/><circle cx="14" cy="7" r="2.6" fill="{INK}"/>',
        "band": f'<rect x="3" y="3" width="22" height="8" fill="{item.colour}" opacity=".26"/>',
        "newband": f'<rect x="3" y="3" width="22" height="8" fill="{item.colour}" opacity=".12"/>',
        "range": f'<rect x="3" y="2" width="22" height="10" fill="{RANGE}" stroke="#D8D3BD"/>',
        "below": f'<path d="M9 3h10l-5 9z" fill="#fff" stroke="{INK}"/>',
        "held": f'<path d="M14 0.5l1.9 4.3 4.7.5-3.5 3.1 1 4.6-4.1-2.4-4.1 2.4 1-4.6-3.5-3.1 4.7-.5z" '
        f'fill="{STAR}" stroke="{INK}" stroke-width=".8"/>',
    }.get(item.kind)
    if body is None:
        width = {"raw": "1", "rival": "1.6"}.get(item.kind, "2.2")
        dashes = f' stroke-dasharray="{" ".join(f"{d * 1.4:.3g}" for d in item.dashes)}"' if item.dashes else ""
        body = f'<line x1="1" y1="7" x2="27" y2="7" stroke="{item.colour}" stroke-width="{width}"{dashes}/>'
    return f'<svg class="swatch" width="28" height="14" viewBox="0 0 28 14" aria-hidden="true">{body}</svg>'
