"""Matplotlib settings of the report's figures, as a context: the user's own settings are neither read nor changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import matplotlib as mpl
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser

INK = "#1A1A1A"
GREY = "#5F5F5F"
FAINT = "#9A9A9A"
LAW = "#0072B2"
RANGE = "#F3F1E7"
STAR = "#F0E442"
# Okabe and Ito's hues for the rivals, each with dashes of its own.
RIVALS: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("#D55E00", (5, 2)),
    ("#009E73", (5, 1.6, 1, 1.6)),
    ("#CC79A7", (1.4, 1.4)),
    ("#E69F00", (8, 2, 2, 2)),
    ("#56B4E9", (3, 1)),
    ("#000000", (1, 3)),
)
EXTRAPOLATED: tuple[float, ...] = (3.2, 1.6)
MARKERS = "osD^vP*X"

FAMILY = ["DejaVu Sans", "Verdana", "Segoe UI", "Arial", "sans-serif"]
SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": FAMILY,
    "font.size": 8.0,
    "mathtext.fontset": "dejavusans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.0,
    "axes.unicode_minus": True,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 100.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "rlaws",
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
    "pdf.fonttype": 42,
}

GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega "
    "Delta Sigma Phi Omega"
)
GREEK = {rf"\{name}": letter for name, letter in zip(GREEK_NAMES.split(), "αβγδεζηθκλμνξπρστφχψωΔΣΦΩ", strict=True)}
SUBSCRIPTS = {str(i): letter for i, letter in enumerate("₀₁₂₃₄₅₆₇₈₉")}
_PARSER: Any = MathTextParser("path")


@contextmanager
def styled() -> Iterator[None]:
    """Use matplotlib's defaults with the report's settings, and put back what was set before."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


def extent(shown: str) -> tuple[float, float, float]:
    """Return width, height (over the lower edge) and depth of mathtext at 10 pt, in points."""
    width, height, depth, *_ = _PARSER.parse(shown, dpi=72, prop=FontProperties(size=10))
    return float(width), float(height), float(depth)


@lru_cache(maxsize=4096)
def formula(source: str) -> str:
    """Return the formula as mathtext, or as plain text where matplotlib cannot set it."""
    if not source:
        return ""
    try:
        _PARSER.parse(f"${source}$")
    except (ValueError, RuntimeError):
        return plain(source)
    return f"${source}$"


def plain(source: object) -> str:
    """Return text in which matplotlib sees no formula."""
    return str(source).replace("$", r"\$")


def symbol(source: str) -> str:
    """Return a parameter's symbol: a plain letter where it is one, so that any font can show it, else mathtext."""
    name, _, index = source.partition("_")
    letter = GREEK.get(name, name)
    if re.fullmatch(r"\w+", letter) and (not index or index in SUBSCRIPTS):
        return letter + SUBSCRIPTS.get(index, "")
    if re.fullmatch(r"\w+", letter) and re.fullmatch(r"\\?[A-Za-z]\w*", index):
        return f"{letter}_{GREEK.get(index, index).lstrip(chr(92))}"
    return formula(source)
