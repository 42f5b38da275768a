"""The words, icons, colours and number formats that the page, the tables and the figures share.

An outcome is never told by colour alone: each has an icon, a word in two languages and a margin beside it. Colours are
from Okabe and Ito's set, which colour-blind readers can tell apart; small text uses the darker tone of each hue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

Text = Mapping[str, str]
LANGUAGES = ("en", "zh")
RUNGS = ("sim", "toy", "llm", "logs")
MINUS = "−"
NO_UNIT = ("", "1", "name")  # units that a value is not followed by


@dataclass(frozen=True, slots=True)
class Mark:
    """How an outcome is shown: ``icon``, ``word`` by language, ``strong`` and ``pale`` colour."""

    icon: str
    word: Text
    meaning: Text
    strong: str
    pale: str


MARKS: Mapping[str, Mark] = {
    "supported": Mark(
        "✓",
        {"en": "supported", "zh": "成立"},
        {
            "en": "the simultaneous interval lies inside the predicted region",
            "zh": "同时置信区间完全落在预测区域之内",
        },
        "#00598C",
        "#D3E8F5",
    ),
    "refuted": Mark(
        "✗",
        {"en": "refuted", "zh": "被否定"},
        {"en": "the interval misses the predicted region altogether", "zh": "区间与预测区域完全不相交"},
        "#A63F00",
        "#FBE0CC",
    ),
    "conditional": Mark(
        "◐",
        {"en": "conditional", "zh": "有条件"},
        {
            "en": "supported in one part of the grid (or under one reading) and refuted in another",
            "zh": "在网格的一部分（或一种解读下）成立，在另一部分被否定",
        },
        "#8A3F70",
        "#F3DFEC",
    ),
    "undecided": Mark(
        "?",
        {"en": "undecided", "zh": "未定"},
        {
            "en": "the interval crosses the region's edge, or the design has too little power",
            "zh": "区间跨过区域边界，或实验设计的功效不足",
        },
        "#4D4D4D",
        "#ECECEC",
    ),
    "invalid": Mark(
        "⊘",
        {"en": "invalid", "zh": "无效"},
        {"en": "the fit is not usable, so nothing is judged", "zh": "拟合不可用，因此不作判断"},
        "#6B5300",
        "#FBF3C4",
    ),
    "no data": Mark(
        "∅",
        {"en": "no data", "zh": "缺数据"},
        {"en": "a data file that the study reads is not on this machine", "zh": "研究所读取的数据文件不在本机上"},
        "#4D4D4D",
        "#FFFFFF",
    ),
    "failed": Mark(
        "!",
        {"en": "failed", "zh": "失败"},
        {"en": "cells of the study failed; the sentence says which", "zh": "研究中有单元失败；原因见说明"},
        "#8C1D18",
        "#FFFFFF",
    ),
    "unfinished": Mark(
        "…",
        {"en": "unfinished", "zh": "未完成"},
        {"en": "the run was interrupted; the same command goes on", "zh": "运行被中断；用同一命令即可继续"},
        "#4D4D4D",
        "#FFFFFF",
    ),
    "not run": Mark(
        "·",
        {"en": "not run", "zh": "未运行"},
        {"en": "no run folder of this rung was given", "zh": "没有给出这一级的运行文件夹"},
        "#6B6B6B",
        "#FAFAFA",
    ),
}
OUTCOMES = ("supported", "refuted", "conditional", "undecided", "invalid")
MARGIN_MEANING: Text = {
    "en": "margin: distance of the estimate from the nearest edge of the predicted region, in half-widths of its "
    f"interval; above +1 supported, below {MINUS}1 refuted. For a form: the smallest standardised advantage over a "
    "rival. Of a whole grid: the margin closest to the edge.",
    "zh": f"余量：估计值到预测区域最近边界的距离，以区间半宽为单位；大于 +1 为成立，小于 {MINUS}1 为被否定。"
    "对函数形式：相对对手的最小标准化优势。对整个网格：取最接近边界的余量。",
}


def mark(outcome: object) -> Mark:
    """Return the mark of an outcome; an unknown word is shown as it stands, without colour."""
    name = str(outcome)
    return MARKS.get(name) or Mark("?", {"en": name, "zh": name}, {"en": "", "zh": ""}, "#4D4D4D", "#FFFFFF")


def text(value: object, language: str) -> str:
    """Return a text in a language, or in the other one where it was written in one only."""
    if not isinstance(value, Mapping):
        return "" if value is None else str(value)
    for name in (language, *LANGUAGES):
        if value.get(name):
            return str(value[name])
    return ""


def number(value: object, digits: int = 3) -> str:
    """Return a number with ``digits`` significant digits and a true minus; an en dash where there is none."""
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    if not isfinite(value):
        return "–"
    if isinstance(value, int) and abs(value) < 10**6:
        return str(value).replace("-", MINUS)
    short = f"{value:.{digits}g}"
    if "e" in short:
        mantissa, exponent = short.split("e")
        short = f"{mantissa}e{int(exponent)}"
    return short.replace("-", MINUS)


def margin(value: object) -> str:
    """Return a margin with its sign and one decimal; beyond 99 half-widths only that it is beyond."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value):
        return "–"
    if abs(value) > 99:
        return ">+99" if value > 0 else f"<{MINUS}99"
    return f"{value:+.1f}".replace("-", MINUS)


def interval(pair: object) -> str:
    """Return "[low, high]"; open ends are stored as null and shown as infinite."""
    low, high = ends(pair)
    if low is None and high is None:
        return "–"
    left = f"({MINUS}∞" if low is None else f"[{number(low)}"
    right = "∞)" if high is None else f"{number(high)}]"
    return f"{left}, {right}"


def ends(pair: object) -> tuple[float | None, float | None]:
    """Return the two ends of a stored pair; (None, None) where it is absent."""
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        return None, None
    low, high = (float(v) if isinstance(v, (int, float)) and isfinite(v) else None for v in pair)
    return low, high


def with_unit(name: object, unit: object) -> str:
    """Return "name [unit]"; a dimensionless quantity has the unit 1."""
    return f"{name} [{unit or 1}]"


def value(item: object) -> str:
    """Return a regime or setting value as short text."""
    if isinstance(item, Mapping):
        return ", ".join(f"{k} {value(v)}" for k, v in item.items())
    if isinstance(item, (list, tuple)):
        return ", ".join(value(v) for v in item)
    return number(item, 4)


def regime(point: Mapping[str, Any], units: Mapping[str, str] | None = None) -> str:
    """Return "alpha = 0.3 · L = 16 [steps]", or "single regime point"."""
    units = units or {}
    parts = []
    for name, item in point.items():
        unit = str(units.get(name) or "")
        parts.append(f"{name} = {value(item)}" + (f" [{unit}]" if unit not in NO_UNIT else ""))
    return " · ".join(parts) or "single regime point"


def short_hash(hashes: Mapping[str, Any] | None) -> str:
    """Return the first 12 characters of the run's hash."""
    found = hashes or {}
    for name in ("run_hash", "run", "config_hash", "config"):
        if found.get(name):
            return str(found[name])[:12]
    return "–"


def deciding_margin(point: Mapping[str, Any]) -> float | None:
    """Return the margin of the check that decides a regime point.

    Of the checks with the point's own outcome: the lowest where it is supported or refuted, the one nearest to the
    edge where it is open.
    """
    checks = point.get("checks") or ()
    own = [c for c in checks if c.get("outcome") == point.get("outcome")] or checks
    margins = [float(c["margin"]) for c in own if c.get("margin") is not None]
    if not margins:
        return None
    return min(margins, key=abs) if point.get("outcome") not in ("supported", "refuted") else min(margins)
