"""The section "Your runs": what was read of training logs, forecasts with their bands, advice, and what is missing.

Everything comes from the fit's stored values; the template escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from rlaws.report import figures, legend, words
from rlaws.report.drawing import rival_looks, spread
from rlaws.report.own_words import ORIGINS, OWN
from rlaws.report.style import EXTRAPOLATED, LAW, RANGE
from rlaws.report.words import LANGUAGES, Text
from rlaws.sentences import english, text_of

Fit = Mapping[str, Any]
MOST_DRAWN = 24  # figures of one fit
MOST_POINTS = 400  # points of one run in a figure
MOST_RUNS = 40  # runs whose keys are listed
MOST_OPTIONS = 9  # rows of the advice
NAIVE = ("last_value", "straight_line")
LEAST_WEIGHT = 0.005
MOST_DRAWN_MODELS = 12  # models in the figure of pass@k
MOST_KS = 6  # columns of the table of pass@k, of each model


def say(key: str, **values: object) -> dict[str, str]:
    """Return a sentence of the section in each language; a value may itself be a text by language."""
    return {n: OWN[key][n].format(**{k: words.text(v, n) for k, v in values.items()}) for n in LANGUAGES}


def sections(studio: Any, fits: Sequence[Fit]) -> list[dict[str, Any]]:
    """Return what the template shows of each fit.

    Args:
        studio: Draws and names the page's figures (``page.Studio``).
        fits: Stored fits, each with its command.
    """
    return [_section(studio, fit, f"own{i}" if i else "own") for i, fit in enumerate(fits)]


def _section(studio: Any, fit: Fit, name: str) -> dict[str, Any]:
    drawn = fit["forecasts"][:MOST_DRAWN]
    panels = [panel(f) for f in drawn]
    looks = rival_looks(panels)
    shared = _shared(drawn)
    return {
        "anchor": name,
        "runs": [_run(run) for run in fit["runs"][:MOST_RUNS]],
        "judged": len(fit["verdicts"]),
        "not_judged": fit["not_judged"],
        "answers": _answers(studio, fit, name),
        "chosen": _chosen(fit) if fit["axis"] else "",
        "axis": _axis(fit["axis"]) if fit["axis"] else "",
        "forecasts": [
            _forecast(studio, f, p, looks, f"{name}-f{i}", shared)
            for i, (f, p) in enumerate(zip(drawn, panels, strict=True))
        ],
        "notes": shared,
        "more": len(fit["forecasts"]) - len(drawn),
        "signs": [{"swatch": Markup(legend.swatch(i)), "label": i.label} for i in signs(drawn, looks)],
        "scores": scores(fit["forecasts"]),
        "level": f"{fit['settings']['level']:.0%}",
        "families": [_family(f) for f in fit.get("families") or ()],
        "command": fit.get("command") or "",
        "facts": _facts(fit),
        "mapping": (fit.get("mapping") or {}).get("mapping") or "",
    }


def _axis(axis: Mapping[str, Any]) -> Text:
    return say("axis", name=axis["name"], origin=ORIGINS[axis["origin"]], rule=axis["rule"])


# ------------------------------------------------------------------------------------------------ answers
def _answers(studio: Any, fit: Fit, name: str) -> dict[str, Any] | None:
    """Return the table and the figure of pass@k; None without answers per problem."""
    tables = fit.get("counts") or ()
    left_out = list(fit.get("counts_left_out") or ())
    if not tables:
        return {"rows": [], "left_out": left_out} if left_out else None
    ks = sorted({k for table in tables for k in shown_ks(table["k"])})
    panel = answers_panel(tables[:MOST_DRAWN_MODELS])
    drawn = len(set(panel["points"]["x"])) > 1
    return {
        "ks": ks,
        "rows": [_answers_row(table, ks) for table in tables],
        "svg": studio.svg(figures.tile(panel, {}, 6.4, 3.6), f"{name}-pass") if drawn else "",
        "notes": [(table["name"], [*table["notes"], *({"en": w} for w in table["warnings"])]) for table in tables],
        "left_out": left_out,
        "more": max(len(tables) - MOST_DRAWN_MODELS, 0),
    }


def shown_ks(ks: Sequence[int]) -> list[int]:
    """Return 1, the largest k, and up to four between them."""
    return [ks[i] for i in spread(len(ks), MOST_KS)]


def _answers_row(table: Mapping[str, Any], ks: Sequence[int]) -> dict[str, Any]:
    at = {k: i for i, k in enumerate(table["k"])}
    fewest, most = table["fewest"], table["most"]
    return {
        "name": table["name"],
        "step": "–" if table["step"] is None else words.number(table["step"], 7),
        "problems": table["problems"],
        "answers": str(fewest) if fewest == most else f"{fewest}–{most}",
        "cells": [_pass(table, at[k]) if k in at else "–" for k in ks],
    }


def _pass(table: Mapping[str, Any], i: int) -> str:
    low, high = table["low"][i], table["high"][i]
    band = "" if low is None else f" {words.interval((low, high))}"
    return f"{words.number(table['pass'][i])}{band}"


def answers_panel(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return pass@k of every model in the form of a stored panel, which ``drawing.draw`` draws."""
    rows = [(k, *(t[n][i] for n in ("pass", "low", "high")), t["name"]) for t in tables for i, k in enumerate(t["k"])]
    names = ("x", "y", "low", "high", "group")
    points = {n: [row[j] for row in rows] for j, n in enumerate(names)}
    if len(tables) == 1:
        points["group"] = [""] * len(rows)
    return {
        "x": "k", "x_unit": "samples", "response": "pass@k", "unit": "1", "x_scale": "log", "y_scale": "linear",
        "points": points, "raw": None, "held": None, "curves": [], "show_x": [], "show_y": [0.0],
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ what was read
def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    steps = run["steps"]
    keys = [{**k, "share": f"{k['coverage']:.0%}"} for k in run["keys"]]
    return {
        "name": run["name"],
        "recipe": run["recipe"],
        "dialect": run["dialect"],
        "steps": f"{words.number(steps['first'], 7)}–{words.number(steps['last'], 7)} ({steps['number']})",
        "size": "–" if run["size"] is None else f"{words.number(run['size'], 4)} × 1e9",
        "columns": sum(c["origin"] == "logged" for c in run["columns"]),
        "unknown": run["unknown"],
        "keys": keys,
        "derived": [_derived(c) for c in run["columns"] if c["origin"] != "logged"],
        "notes": [*_stretches(run), *({"en": w} for w in run["warnings"])],
    }


def _derived(column: Mapping[str, Any]) -> dict[str, str]:
    origin = ORIGINS.get(column["origin"], {"en": column["origin"]})
    return say("derived_row", name=column["name"], unit=column["unit"], origin=origin, source=", ".join(column["from"]))


def _stretches(run: Mapping[str, Any]) -> list[Text]:
    """Return how the run was stitched: segments, doubled steps and gaps."""
    found: list[Text] = []
    if len(run["segments"]) > 1:
        parts = [f"{words.number(s['first'], 7)}–{words.number(s['last'], 7)}" for s in run["segments"][:12]]
        found.append(say("segments", n=len(run["segments"]), list=", ".join(parts)))
    if run["duplicates"]["steps"]:
        found.append(say("duplicates", n=run["duplicates"]["steps"], differing=run["duplicates"]["differing"]))
    if run["gaps"]:
        parts = [f"{words.number(g['after'], 7)} – {words.number(g['before'], 7)}" for g in run["gaps"][:8]]
        found.append(say("gaps", n=run["gaps_total"], list=", ".join(parts)))
    return found


def _chosen(fit: Fit) -> dict[str, str]:
    said = fit["responses"]
    others = [f"{p['column']} ({p['points']})" for p in said["possible"] if p["column"] not in said["chosen"]]
    return say("chosen", rule=said["rule"], others=", ".join(others[:12]) or OWN["none"])


# ------------------------------------------------------------------------------------------------ one forecast
def panel(f: Mapping[str, Any]) -> dict[str, Any]:
    """Return a forecast in the form of a stored panel, which ``drawing.draw`` draws."""
    bands, naive = f.get("bands") or {}, f.get("naive") or {}
    xs = [x for run in f["runs"] for x in run["x"] if x is not None and x > 0]
    far = max([*xs, *(bands.get("x") or [])], default=1.0)
    log = bool(xs) and far > 8 * min(xs)
    rows = [
        (run["x"][i], run["y"][i])
        for run in f["runs"]
        for i in spread(len(run["x"]), MOST_POINTS)
        if not log or run["x"][i] > 0
    ]
    nothing: list[Any] = [None] * len(rows)
    points = {"x": [x for x, _ in rows], "y": [y for _, y in rows], "low": nothing, "high": nothing}
    empty: dict[str, list[float]] = {k: [] for k in ("low", "high", "new_low", "new_high")}
    rivals = {n: (naive["x"], naive[n]) for n in NAIVE if n in naive}
    target = (f.get("target") or {}).get("value")
    if target is not None and bands:
        rivals["target"] = ([bands["x"][0], bands["x"][-1]], [target, target])
    curves = [{"law": n, "role": "rival", "group": "", "x": x, "y": y, **empty} for n, (x, y) in rivals.items()]
    if bands:
        curves.append({"law": "mixture", "role": "law", "group": "", **bands, "fitted_to": f["last_x"]})
    return {
        "x": f["x"]["name"], "x_unit": f["x"]["unit"], "response": f["response"], "unit": f["unit"],
        "x_scale": "log" if log else "linear", "y_scale": "linear", "points": {**points, "group": [""] * len(rows)},
        "raw": None, "held": None, "curves": curves, "show_x": [far] if bands else [],
        "show_y": [] if target is None else [target],
    }  # fmt: skip


def _forecast(
    studio: Any, f: Mapping[str, Any], drawn: Mapping[str, Any], looks: figures.Looks, name: str, shared: Sequence[Text]
) -> dict[str, Any]:
    figure = figures.tile(drawn, looks, 5.6, 3.3) if drawn["points"]["x"] else None
    return {
        "label": name,
        "recipe": f["recipe"],
        "response": f["response"],
        "svg": studio.svg(figure, name) if figure is not None else "",
        "at_end": _at_end(f),
        "refusal": f.get("refusal"),
        "bends": [s for s in (b["sentence"] for b in f["bends"]) if english(s) not in english(f.get("refusal") or "")],
        "diagnoses": [say("diagnosis", name=d.get("title") or d["name"], text=d["evidence"]) for d in f["diagnoses"]],
        "target": _target(f),
        "advice": _advice(f),
        "options": _options(f),
        "by_regret": any(o["regret"] is not None for o in (f.get("advice") or {}).get("options") or ()),
        "weights": _weights(f),
        "weights_caption": _weights_caption(f),
        "links": _links(f),
        "notes": [n for n in _notes(f) if n not in shared],
    }


def _notes(f: Mapping[str, Any]) -> list[Text]:
    return [*f["notes"], *(f.get("forecast_notes") or ())]


def _shared(forecasts: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Return the notes that all forecasts have, which are shown once."""
    if len(forecasts) < 2:
        return []
    return [n for n in _notes(forecasts[0]) if all(n in _notes(f) for f in forecasts)]


def _of_points(f: Mapping[str, Any]) -> Text:
    return OWN["this_run"] if len(f["runs"]) == 1 else OWN["new_run"]


def _x(f: Mapping[str, Any], value: object) -> str:
    return f"{f['x']['name']} = {words.number(value, 4)}"


def _at_end(f: Mapping[str, Any]) -> dict[str, str] | None:
    if not f.get("bands"):
        return None
    ends = {k: words.number(f["bands"][k][-1]) for k in ("y", "low", "high", "new_low", "new_high")}
    return say("at_end", x=_x(f, f["bands"]["x"][-1]), level=f"{f['level']:.0%}", points=_of_points(f), **ends)


def _target(f: Mapping[str, Any]) -> Text | None:
    found = f.get("target")
    if not found:
        return None
    if found.get("refusal"):
        return text_of(found["refusal"])
    median = next((q["x"] for q in found["quantiles"] if q["share"] == 0.5), None)
    at = OWN["never"] if median is None else _x(f, median)
    return say("target_words", chance=f"{found['chance']:.2f}", response=f["response"],
               value=words.number(found["value"]), by=_x(f, found["by"]), median=at)  # fmt: skip


def _advice(f: Mapping[str, Any]) -> Text | None:
    found = f.get("advice")
    if not found:
        return None
    if found["stop"] is None:
        return OWN["open"]
    tail = OWN["equal"] if english(found["sentence"]).endswith("as good as equal.") else {}
    go_on = OWN["go_on_plain"] if found["best"] is None else say("go_on", x=_x(f, found["best"]))
    chosen = OWN["stop"] if found["stop"] else go_on
    return {n: " ".join(filter(None, (chosen[n], tail.get(n)))) for n in LANGUAGES}


def _options(f: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return some options of the advice, the best one among them."""
    found = f.get("advice")
    if not found:
        return []
    options = found["options"]
    known = [i for i, o in enumerate(options) if o["regret"] is not None]
    best = min(known, key=lambda i: options[i]["regret"], default=0)
    rows = sorted({*spread(len(options), MOST_OPTIONS), best})
    return [_option(f, options[i], i == best and bool(known), i == 0) for i in rows]


def _option(f: Mapping[str, Any], o: Mapping[str, Any], best: bool, first: bool) -> dict[str, Any]:
    regret = f"{words.number(o['regret'])} {words.interval((o['regret_low'], o['regret_high']))}"
    return {
        "x": OWN["now"] if first else {"en": _x(f, o["x"])},
        "gain": f"{words.number(o['gain'])} {words.interval((o['gain_low'], o['gain_high']))}",
        "regret": "–" if o["regret"] is None else regret,
        "small": "–" if o["small"] is None else f"{o['small']:.2f}",
        "best": best,
    }


def _weights(f: Mapping[str, Any]) -> list[dict[str, str]]:
    score = (f.get("rolling") or {}).get("log_density") or {}
    heavy = sorted((f.get("weights") or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        {"law": n, "weight": f"{w:.2f}", "score": words.number(score.get(n))} for n, w in heavy if w >= LEAST_WEIGHT
    ]


def _weights_caption(f: Mapping[str, Any]) -> Text:
    origins = (f.get("rolling") or {}).get("origins") or ()
    return say("weights_caption", n=len(origins)) if origins else OWN["weights_equal"]


def _links(f: Mapping[str, Any]) -> dict[str, Any] | None:
    found = f.get("links")
    if not found:
        return None
    rows = [
        {"link": r["link"], "y": words.number(r["y"]), "band": words.interval((r["low"], r["high"]))}
        for r in found["ends"]
    ]
    return {"rows": rows, "caption": say("links_caption", n=words.number(found["disagreement"], 2))}


# ------------------------------------------------------------------------------------------------ legend, tables
def signs(forecasts: Sequence[Mapping[str, Any]], looks: figures.Looks) -> list[legend.Item]:
    """Return the signs of the figures: points, median, bands, range of the data, naive forecasts and the target."""
    if not forecasts:
        return []
    counts = sorted({len(f["runs"]) for f in forecasts})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    found = [legend.Item("points", say("points", n=number))]
    banded = [f for f in forecasts if f.get("bands")]
    if banded:
        level = f"{banded[0]['level']:.0%}"
        kinds = list(dict.fromkeys("this_run" if len(f["runs"]) == 1 else "new_run" for f in banded))
        points = {n: " / ".join(OWN[k][n] for k in kinds) for n in LANGUAGES}
        found += [
            legend.Item("law", OWN["mean_line"], LAW),
            legend.Item("beyond", OWN["beyond"], LAW, EXTRAPOLATED),
            legend.Item("band", say("mean_band", level=level), LAW),
            legend.Item("newband", say("new_band", level=level, points=points), LAW),
            legend.Item("range", OWN["data_range"], RANGE),
        ]
    for name, (colour, dashes) in looks.items():
        label = OWN["target"] if name == "target" else say("naive", name=OWN[name])
        found.append(legend.Item("rival", label, colour, dashes))
    return found


def scores(forecasts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the table of how forecasts of the rest of each run did."""
    return [
        {
            "run": s["run"],
            "response": f["response"],
            "seen": f"{s['share']:.0%}",
            "method": OWN.get(s["method"], {"en": s["method"]}),
            "covered": f"{s['covered']:.0%} ({s['points']})",
            "error": words.number(s["error"]),
            "crps": words.number(s["crps"]),
            "interval": words.number(s["interval"]),
        }
        for f in forecasts
        for s in f["scoring"]
        if "method" in s
    ]


def _family(f: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a fit over sizes found: parameters by size, the law of size that describes each, what it predicts."""
    if f.get("refusal"):
        return {"response": f["response"], "sentences": [text_of(f["refusal"])], "heads": [], "rows": []}
    names = list(f["params"])
    rows = [
        [f"{words.number(size, 4)} × 1e9", *(_plus_minus(f["params"][n], i) for n in names)]
        for i, size in enumerate(f["sizes"])
    ]
    weights = {n: sorted(f["size_laws"][n].items(), key=lambda pair: -pair[1]) for n in names}
    said = "; ".join(f"{n}: " + ", ".join(f"{law} {w:.2f}" for law, w in weights[n] if w >= 0.05) for n in names)
    sentences = [say("family_laws", law=f["law"], x=words.number(f["reference_x"], 3), laws=said)]
    if f.get("held"):
        h = f["held"]
        sentences.append(say("family_held", size=words.number(h["size"], 4), error=f"{h['relative_error']:.1%}",
                             covered=f"{h['covered']:.0%}", n=h["points"]))  # fmt: skip
    if f.get("predicted"):
        p = f["predicted"]
        ends = {k: words.number(p[k][-1]) for k in ("x", "y", "low", "high", "new_low", "new_high")}
        label = say(f"label_{p['label']}")
        sentences.append(say("family_predicted", size=words.number(p["size"], 4), label=label, **ends))
    return {"response": f"{f['metric']}, {f['family']}", "sentences": sentences, "heads": ["N", *names], "rows": rows}


def _plus_minus(param: Mapping[str, Any], i: int) -> str:
    return f"{words.number(param['estimate'][i])} ± {words.number(param['stderr'][i], 2)}"


def _facts(fit: Fit) -> list[tuple[str, str]]:
    kept = {k: v for k, v in fit["settings"].items() if v not in (None, [], {}, "", False) and k != "logs"}
    said = "; ".join(f"{k}: {words.value(v)}" for k, v in kept.items())
    files = "; ".join(f"{s['name']} ({s['bytes']} B, sha256 {s['sha256'][:12]})" for s in fit["sources"][:40])
    return [("files", files), ("settings", said), ("code", str(fit["code"])), ("hash", str(fit["hash"]))]


def slim(fit: Fit) -> dict[str, Any]:
    """Return a fit without what only figures and the table of keys need."""
    bare = [{k: v for k, v in f.items() if k not in ("runs", "naive")} for f in fit["forecasts"]]
    runs = [{k: v for k, v in r.items() if k != "keys"} for r in fit["runs"]]
    return {**fit, "forecasts": bare, "runs": runs}
