"""Figures as SVG text: small, the same for the same input, and safe to stand beside others in one page."""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rlaws.errors import InputError
from rlaws.report.style import SETTINGS, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONTS = ", ".join(f"'{f}'" if " " in f else f for f in SETTINGS["font.sans-serif"])  # type: ignore[attr-defined]
_FONT = re.compile(r"font: ((?:(?:italic|oblique|bold|\d{3}) )*)([\d.]+)px [^;\"]*")
_GEOMETRY = re.compile(r' (d|transform|x|y|points|viewBox|width|height)="([^"]*)"')
_LONG = re.compile(r"-?\d*\.\d{3,}(?:e-?\d+)?")
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

    Coordinates are rounded to 0.01 pt, the font is named once, and only the ids that are used are kept, each with
    ``tag`` before it, so that two figures of a page never share one.
    """
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=_METADATA["svg"])
    found = buffer.getvalue()
    found = re.sub(r"<!--.*?-->\s*", "", found[found.index("<svg") :], flags=re.S)
    found = _FONT.sub(_font, found)
    found = _GEOMETRY.sub(lambda m: f' {m[1]}="{_LONG.sub(_rounded, m[2])}"', found)
    found = _short_ids(found, tag)
    found = re.sub(r">\s*\n\s*<", "><", found)
    found = re.sub(r"\s*\n\s*", " ", found)
    return found.replace("<svg ", f'<svg font-family="{FONTS}" ', 1).replace(' version="1.1"', "", 1)


def _font(match: re.Match[str]) -> str:
    words = match[1].split()
    kept = [f"font-size: {match[2]}px"]
    kept += [f"font-style: {w}" for w in words if w in ("italic", "oblique")]
    kept += [f"font-weight: {w}" for w in words if w == "bold" or w.isdigit()]
    return "; ".join(kept)


def _rounded(match: re.Match[str]) -> str:
    short = f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if short in ("-0", "") else short


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
    return write_atomically(path, buffer.getvalue())


def write_atomically(path: Path, content: bytes | str) -> Path:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path
