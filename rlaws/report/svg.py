"""Figures as SVG text: small, the same for the same input, and safe to stand beside others in one page."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rlaws.errors import InputError
from rlaws.report.style import FAMILY, styled
from rlaws.store import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONTS = ", ".join(f"'{f}'" if " " in f else f for f in FAMILY)
_FONT = re.compile(r"font: ((?:(?:italic|oblique|bold|\d{3}) )*)([\d.]+)px [^;\"]*")
_GEOMETRY = re.compile(r' (d|transform|x|y|width|height)="([^"]*)"')
_STYLE = re.compile(r' style="([^"]*)"')
_EMPTY = re.compile(r"<g>|<g [^>]*>|</g>")
_LONG = re.compile(r"-?\d*\.\d{2,}(?:e-?\d+)?")
_ID = re.compile(r' id="([^"]*)"')
_USED = re.compile(r'(?:href="#|url\(#)([^")]+)')
# No metadata: neither a date nor the library's version belongs to the result.
_METADATA: dict[str, dict[str, None]] = {
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
    "png": {"Software": None},
}


def inline(figure: Figure, tag: str) -> str:
    """Return the figure as one <svg> element for an HTML page.

    Coordinates are rounded to 0.1 pt (small shapes to 0.01 pt), the font is named once, and only the ids that are used
    are kept, each with ``tag`` before it, so that two figures of a page never share one.
    """
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=_METADATA["svg"])
    found = buffer.getvalue()
    found = re.sub(r"<!--.*?-->\s*", "", found[found.index("<svg") :], flags=re.S)
    found = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", found, flags=re.S)
    found = re.sub(r' (?:xmlns:xlink|version|xmlns)="[^"]*"', "", found).replace("xlink:href", "href")
    found = _FONT.sub(_font, found)
    found = re.sub(r" font-family: [^;\"]*;?", "", re.sub(r' transform="rotate\(-0 [^"]*"', "", found))
    found = _short_ids(found, tag)
    found = _GEOMETRY.sub(_coordinates, found)
    found = _without_empty_groups(found)
    found = re.sub(r">\s*\n\s*<", "><", found)
    found = re.sub(r"\s*\n\s*", " ", found)
    head = f'<svg font-family="{FONTS}" stroke-linejoin="round" '
    return found.replace("<svg ", head, 1)


class Sheet:
    """One style sheet for all figures of a page: each style is written once and named by a short class."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def classed(self, svg: str) -> str:
        """Return the figure with classes in the place of styles."""
        return _STYLE.sub(lambda m: f' class="{self._name(m[1])}"', svg)

    def _name(self, style: str) -> str:
        compact = re.sub(r"\s*([:;])\s*", r"\1", style.strip())
        return self._names.setdefault(compact, f"f{len(self._names)}")

    def css(self) -> str:
        """Return the rules."""
        return "\n".join(f".{name}{{{style}}}" for style, name in self._names.items())


def _without_empty_groups(found: str) -> str:
    """Drop groups that carry no attribute; what they hold stays."""
    kept: list[bool] = []

    def choose(match: re.Match[str]) -> str:
        if match[0] == "</g>":
            return "</g>" if kept.pop() else ""
        kept.append(match[0] != "<g>")
        return match[0] if kept[-1] else ""

    return _EMPTY.sub(choose, found)


def _font(match: re.Match[str]) -> str:
    words = match[1].split()
    kept = [f"font-size: {match[2]}px"]
    kept += [f"font-style: {w}" for w in words if w in ("italic", "oblique")]
    kept += [f"font-weight: {w}" for w in words if w == "bold" or w.isdigit()]
    return "; ".join(kept)


def _rounded(match: re.Match[str], digits: int = 2) -> str:
    short = f"{float(match[0]):.{digits}f}".rstrip("0").rstrip(".")
    return "0" if short in ("-0", "") else short


def _coordinates(match: re.Match[str]) -> str:
    name, numbers = match[1], match[2]
    if name != "d":
        return f' {name}="{_LONG.sub(lambda n: _rounded(n, 2 if name == "transform" else 1), numbers)}"'
    marker = len(numbers) < 500 and " C " in numbers  # a small round shape shows what a curve does not
    path = _LONG.sub(lambda n: _rounded(n, 2 if marker else 1), numbers)
    tight = re.sub(r"\s*([A-Za-z])\s*", r"\1", path)
    return f' d="{tight}"'


def _short_ids(found: str, tag: str) -> str:
    used = {name: f"{tag}-{i}" for i, name in enumerate(dict.fromkeys(_USED.findall(found)))}
    found = _ID.sub(lambda m: f' id="{used[m[1]]}"' if m[1] in used else "", found)
    return _USED.sub(lambda m: m[0].replace(m[1], used[m[1]]), found)


def save(figure: Figure, path: Path | str) -> Path:
    """Write a figure as SVG (or PDF or PNG, by the name's ending) under a temporary name, then rename it.

    Raises:
        InputError: The ending is none of these.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    if kind not in _METADATA:
        raise InputError(f"'{path.name}': a figure is saved as .svg, .pdf or .png.")
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format=kind, metadata=_METADATA[kind], dpi=200)
    write_atomic(path, buffer.getvalue())
    return path
