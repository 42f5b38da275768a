"""The report as one HTML page: no network, figures inline, data embedded, English and Chinese.

What comes from run folders is escaped by the template engine; only figures, the style sheet, the script and the data
block (in which "<" is written as an escape) are put in as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rlaws.report import figures, legend, maps, own, words
from rlaws.report.drawing import rival_looks
from rlaws.report.stored import Panel, Report, Run
from rlaws.report.style import formula, symbol
from rlaws.report.svg import Sheet, inline
from rlaws.report.tables import run_json, statement
from rlaws.report.ui import UI
from rlaws.report.words import LANGUAGES, Text

MOST_PANELS = 6  # tiles shown of a run
MOST_TILES = 240  # tiles of the whole page, of which at most
FURTHER = 60  # wait behind "further regime points"
MOST_ROWS = 200  # rows of a table of numbers
ALL_ROWS = 4000  # rows of all tables together
FOREST_FROM = 4  # regime points from which the forest is worth its place
MOST_DATA = 2_000_000  # bytes of the embedded data; beyond it panels, then reasons are left to verdicts.json


# ------------------------------------------------------------------------------------------------ both languages
def both(text: object) -> Markup:
    """Return a text in both languages, one of which the page hides; one element where they are the same."""
    found = [words.text(text, language) for language in LANGUAGES]
    if found[0] == found[1]:
        return escape(found[0])
    spans = (f'<span class="{n}" lang="{n}">{escape(t)}</span>' for n, t in zip(LANGUAGES, found, strict=True))
    return Markup("".join(spans))


def ui(key: str, **values: object) -> Markup:
    """Return a sentence of the page in both languages; a value may itself be a text by language."""
    return both({n: UI[key][n].format(**{k: words.text(v, n) for k, v in values.items()}) for n in LANGUAGES})


# ------------------------------------------------------------------------------------------------ figures
@dataclass(slots=True)
class Studio:
    """Draws the page's figures; ``count`` gives each its own name, ``sheet`` collects their styles."""

    sheet: Sheet = field(default_factory=Sheet)
    count: int = 0
    formulas: dict[str, Markup] = field(default_factory=dict)

    def svg(self, figure: Any, label: str) -> Markup:
        """Return a figure as an image element named by the element ``label``."""
        self.count += 1
        found = self.sheet.classed(inline(figure, f"g{self.count}"))
        width, height = (float(v) for v in figure.get_size_inches() * 100)
        found = re.sub(r'width="[^"]*" height="[^"]*"', f'width="{width:.0f}" height="{height:.0f}"', found, count=1)
        return Markup(found.replace("<svg ", f'<svg class="plot" role="img" aria-labelledby="{label}" ', 1))

    def formula(self, source: str) -> Markup:
        """Return a formula as a small image with its source as the name, or as text where it cannot be set."""
        if source not in self.formulas:
            self.formulas[source] = self._formula(source)
        return self.formulas[source]

    def _formula(self, source: str) -> Markup:
        if not source:
            return Markup("")
        if not formula(source).startswith("$"):
            return escape(source)
        self.count += 1
        drawn = figures.formula_figure(source)
        width, height = drawn.get_size_inches() * 100
        found = self.sheet.classed(inline(drawn, f"g{self.count}"))
        found = re.sub(r'width="[^"]*" height="[^"]*"', f'width="{width:.0f}" height="{height:.0f}"', found, count=1)
        return Markup(found.replace("<svg ", f'<svg class="formula" role="img" aria-label="{escape(source)}" ', 1))


def tiles(studio: Studio, run: Run, panels: Sequence[Panel], name: str) -> list[dict[str, Any]]:
    """Return one tile a panel: image, regime, outcomes and parameters."""
    looks = rival_looks(run.panels)
    found = []
    for i, panel in enumerate(panels):
        label = f"{name}-t{i}"
        found.append(
            {
                "label": label,
                "svg": studio.svg(figures.tile(panel, looks), label),
                "regime": words.regime(panel.get("regime") or {}, panel.get("regime_units")),
                "link": panel.get("link") if "link" not in (panel.get("regime") or {}) else None,
                "law": panel.get("law"),
                "status": None if panel.get("ok", True) else panel.get("status"),
                "judged": [
                    {"reading": r, "mark": words.mark(o), "margin": words.margin(m) if m is not None else ""}
                    for r, o, m in figures.outcomes(run.verdict, str(panel.get("key")))
                ],
                "params": [param(p) for p in panel.get("params") or ()],
            }
        )
    return found


def param(p: Mapping[str, Any]) -> str:
    """Return "b = 1.02 [0.95, 1.09] unit"; a symbol that needs typesetting gives way to the parameter's name."""
    sign = symbol(str(p.get("symbol") or ""))
    unit = str(p.get("unit") or "")
    name = sign if sign and not sign.startswith("$") else str(p.get("name"))
    tail = f" ({unit})" if unit not in ("", "1") else ""
    return f"{name} = {words.number(p.get('estimate'))} {words.interval((p.get('low'), p.get('high')))}{tail}"


def signs(studio: Studio, panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Return the legend of a figure."""
    return [
        {"swatch": Markup(legend.swatch(i)), "label": i.label, "formula": studio.formula(i.formula)}
        for i in legend.items(panels)
    ]


def regime_maps(studio: Studio, run: Run, name: str) -> list[dict[str, Any]]:
    """Return a map for each reading that is conditional over the grid, or whose grid has two axes or more."""
    units = {k: u for p in run.panels for k, u in (p.get("regime_units") or {}).items()}
    found = []
    for i, reading in enumerate(run.readings):
        points = list(reading.get("points") or ())
        axes = maps.varied(points)
        if not axes or (len(axes) < 2 and reading.get("outcome") != "conditional"):
            continue
        label = f"{name}-m{i}"
        drawn = maps.regime_map(reading, units, with_words=False)
        found.append(
            {
                "label": label,
                "svg": studio.svg(drawn, label),
                "reading": reading.get("id"),
                "outcome": words.mark(reading.get("outcome")).word,
                "axes": ", ".join(maps.informative(points)),
                "boundary": boundary(reading),
            }
        )
    return found


def boundary(reading: Mapping[str, Any]) -> Text | None:
    """Return the boundary's sentence in both languages."""
    found = {n: maps.boundary_text(reading, n) for n in LANGUAGES}
    return found if any(found.values()) else None


def forest(studio: Studio, run: Run, name: str) -> Markup | None:
    """Return the forest where there are enough regime points and at least one interval."""
    if max((len(r.get("points") or ()) for r in run.readings), default=0) < FOREST_FROM:
        return None
    if not maps.blocks(run.readings):
        return None
    return studio.svg(maps.forest(run.verdict), f"{name}-forest")


# ------------------------------------------------------------------------------------------------ tables
def numbers(run: Run, reading: Mapping[str, Any], most: int = MOST_ROWS) -> dict[str, Any]:
    """Return the table of a reading: a row for each prediction at each regime point."""
    points = list(reading.get("points") or ())
    units = {k: u for p in run.panels for k, u in (p.get("regime_units") or {}).items()}
    columns = list(dict.fromkeys(n for p in points for n in p.get("regime") or {}))
    panels = {str(p.get("key")): p for p in run.panels}
    rows = [
        {
            "regime": [words.value((point.get("regime") or {}).get(c)) for c in columns],
            "fit": (panels.get(str(point.get("panel"))) or {}).get("status") or "–",
            **_check(check),
        }
        for point in points
        for check in point.get("checks") or ()
    ]
    heads = [words.with_unit(c, units[c]) if units.get(c, "") not in words.NO_UNIT else c for c in columns]
    return {"heads": heads, "rows": rows[:most], "total": len(rows), "shown": min(len(rows), most)}


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    rivals = (check.get("rivals") or {}).items()
    label = check.get("label")
    return {
        "prediction": check.get("prediction"),
        "mark": words.mark(check.get("outcome")),
        "estimate": words.number(check.get("estimate")),
        "interval": words.interval(check.get("interval")),
        "region": words.interval(check.get("region")),
        "margin": words.margin(check.get("margin")),
        "power": "–" if check.get("power") is None else f"{float(check['power']):.0%}",
        "label": UI[label] if label in ("predicted", "fitted") else {"en": str(label or "–")},
        "rivals": [f"{name}: {' ± '.join(words.number(v) for v in pair or (None, None))}" for name, pair in rivals],
        "why": check.get("reason"),
    }


def facts(run: Run) -> list[tuple[str, str | Text]]:
    """Return how a run was made: (key of the page's words, value)."""
    cells = run.manifest.get("cells") or {}
    source = run.get("source", {})
    if isinstance(source, Mapping):
        source = ", ".join(str(source[k]) for k in ("cite", "place") if source.get(k))
    hashes = {k: v for k, v in run.manifest.items() if k.endswith("_hash")}
    wall = run.manifest.get("wall_s")
    done = {k: cells.get(k, 0) for k in ("done", "total", "failed")}
    found: list[tuple[str, str | Text]] = [
        ("source", str(source)),
        ("grid", lines(run.get("grid", {}))),
        ("seed", str(run.get("seed"))),
        ("budget", str(run.get("budget"))),
        ("cost", lines(run.get("cost", {}))),
        ("wall", f"{words.number(wall)} s" if wall is not None else ""),
        ("cells", {n: UI["cells_text"][n].format(**done) for n in LANGUAGES} if cells else ""),
        ("data", lines(run.get("data", {}))),
        ("hashes", lines({**hashes, **(run.get("hashes") or {})})),
        ("host", lines(run.get("host", {}))),
        ("versions", lines(run.get("versions", {}))),
        ("folder", run.folder),
    ]
    return [(key, value) for key, value in found if value]


def lines(found: object) -> str:
    """Return a mapping as "name: value" separated by semicolons; what is null is left out."""
    if not isinstance(found, Mapping):
        return words.value(found) if found not in (None, "", ()) else ""
    return "; ".join(f"{k}: {_flat(v)}" for k, v in found.items() if v is not None and v != {})


def _flat(value: object) -> str:
    if isinstance(value, Mapping) and "value" in value:
        rest = [str(v) for k, v in value.items() if k != "value" and v]
        return " ".join([words.number(value["value"], 4), *rest[:1], *(f"({r})" for r in rest[1:])])
    return words.value(value)


# ------------------------------------------------------------------------------------------------ the page
def names(items: Iterable[str], prefix: str) -> dict[str, str]:
    """Return an anchor for each item: letters, digits and dashes, each only once."""
    found: dict[str, str] = {}
    for item in dict.fromkeys(items):
        base = prefix + (re.sub(r"[^A-Za-z0-9]+", "-", item).strip("-") or "x")
        name, n = base, 2
        while name in found.values():
            name, n = f"{base}-{n}", n + 1
        found[item] = name
    return found


def page(report: Report) -> str:
    """Return the page."""
    studio = Studio()
    claims = report.by_claim()
    anchors = names((r.folder for r in report.runs), "r-")
    claim_anchors = names(claims, "c-")
    share = _share(report)
    sections = [
        {
            "claim": claim,
            "anchor": claim_anchors[claim],
            "statement": statement(runs),
            "runs": [_run(studio, r, anchors[r.folder], share) for r in runs],
        }
        for claim, runs in claims.items()
    ]
    environment = Environment(
        loader=PackageLoader("rlaws.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(t=ui, both=both, marks=words.MARKS, margin_meaning=words.MARGIN_MEANING)
    environment.globals["o"] = lambda key, **values: both(own.say(key, **values))
    return environment.get_template("report.html").render(
        sections=sections,
        own=own.sections(studio, report.fits),
        rungs=report.rungs,
        notes=report.notes,
        data=Markup(data(report)),
        figure_css=Markup(studio.sheet.css()),
        icons=words.MARKS,
    )


@dataclass(frozen=True, slots=True)
class Share:
    """What one run may take of the page: tiles shown, tiles folded away, rows a table."""

    tiles: int
    further: int
    rows: int


def _share(report: Report) -> Share:
    """Divide the page among the runs, so that it opens quickly however many they are."""
    count = max(len(report.runs), 1)
    tiles = min(MOST_PANELS, max(2, MOST_TILES // count))
    used = sum(min(len(r.panels), tiles) for r in report.runs)
    long = sum(len(r.panels) > tiles for r in report.runs)
    readings = sum(len(r.readings) for r in report.runs)
    return Share(
        tiles,
        max(0, min(FURTHER, MOST_TILES - used)) // max(long, 1),
        min(MOST_ROWS, max(20, ALL_ROWS // max(readings, 1))),
    )


def _run(studio: Studio, run: Run, name: str, share: Share) -> dict[str, Any]:
    chosen = figures.choose(run.verdict, run.panels, share.tiles) if run.verdict else list(run.panels[: share.tiles])
    rest = [p for p in run.panels if all(p is not c for c in chosen)]
    further = figures.choose(run.verdict, rest, share.further) if run.verdict and share.further and rest else []
    readings = [
        {
            "id": r.get("id"),
            "text": r.get("text"),
            "mark": words.mark(r.get("outcome")),
            "margin": words.margin(r.get("margin")),
            "reason": r.get("reason"),
            "boundary": _boundary_line(r),
            "alarms": r.get("alarms") or (),
            "beside": r.get("decides") is False,
            "table": numbers(run, r, share.rows),
        }
        for r in run.readings
    ]
    return {
        "run": run,
        "anchor": name,
        "title": run.get("title", {}),
        "mark": words.mark(run.outcome),
        "readings": readings,
        "tiles": tiles(studio, run, chosen, name),
        "total": len(run.panels),
        "signs": signs(studio, chosen),
        "held": any((p.get("held") or {}).get("x") for p in chosen),
        "further": tiles(studio, run, further, f"{name}-f"),
        "left": len(rest) - len(further),
        "maps": regime_maps(studio, run, name),
        "forest": forest(studio, run, name),
        "facts": facts(run),
        "command": run.get("command"),
    }


def _boundary_line(reading: Mapping[str, Any]) -> Text | None:
    """Return the boundary unless the reason says it already."""
    found = boundary(reading)
    reason = words.text(reading.get("reason"), "en").lower()
    return None if found is None or found["en"].lower().rstrip(".") in reason else found


def data(report: Report) -> str:
    """Return the page's data as JSON that no HTML parser takes for markup.

    Verdicts and panels (without raw clusters and curves) where they fit into ``MOST_DATA``; else the verdicts; else the
    verdicts without the sentences of their checks. "embedded" says which.
    """
    runs = [run_json(r) for r in report.runs]
    panels = {r.folder: [_slim(p) for p in r.panels] for r in report.runs}
    fits = {"fits": [own.slim(fit) for fit in report.fits]} if report.fits else {}
    for kind, body in (
        ("verdicts and panels", {"runs": runs, "panels": panels, **fits}),
        ("verdicts", {"runs": runs}),
        ("verdicts without reasons", {"runs": [_without_reasons(r) for r in runs]}),
    ):
        found = json.dumps({"embedded": kind, **body}, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        if len(found.encode()) <= MOST_DATA:
            break
    for sign in "<>&\u2028\u2029":
        found = found.replace(sign, f"\\u{ord(sign):04x}")
    return found


def _slim(panel: Panel) -> dict[str, Any]:
    return {k: v for k, v in panel.items() if k not in ("raw", "curves")}


def _without_reasons(value: Any) -> Any:
    if isinstance(value, Mapping):
        checks = "prediction" in value
        return {k: _without_reasons(v) for k, v in value.items() if not (checks and k == "reason")}
    return [_without_reasons(v) for v in value] if isinstance(value, (list, tuple)) else value
