"""The verdicts as JSON, as a LaTeX table and as a Markdown table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rlaws.report import words
from rlaws.report.stored import Report, Run

SCHEMA = 1


# ------------------------------------------------------------------------------------------------ JSON
def to_json(report: Report) -> str:
    """Return all runs with their verdicts as JSON; a run without one has its status and sentence."""
    body = {"schema": SCHEMA, "notes": list(report.notes), "runs": [run_json(r) for r in report.runs]}
    if report.fits:
        body["fits"] = list(report.fits)
    return json.dumps(body, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def run_json(run: Run) -> dict[str, Any]:
    """Return a run as plain values."""
    return {
        "folder": run.folder,
        "claim": run.claim,
        "study": run.study,
        "rung": run.rung,
        "status": run.status,
        "outcome": run.outcome,
        "sentence": run.sentence,
        "manifest": dict(run.manifest),
        "verdict": run.verdict,
    }


# ------------------------------------------------------------------------------------------------ LaTeX
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "∝": r"$\propto$", "≤": r"$\leq$",
    "≥": r"$\geq$", "≠": r"$\neq$", "≈": r"$\approx$", "∞": r"$\infty$", "→": r"$\to$", "·": r"$\cdot$", "–": "--",
    "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "’": "'", "‘": "`", "°": r"$^\circ$", "√": r"$\surd$",
    "½": r"$\tfrac12$", "§": r"\S{}", "∂": r"$\partial$", "Σ": r"$\Sigma$", "Δ": r"$\Delta$", "Γ": r"$\Gamma$",
    "Φ": r"$\Phi$", "Ω": r"$\Omega$", "Λ": r"$\Lambda$", "Θ": r"$\Theta$", "Π": r"$\Pi$", "Ψ": r"$\Psi$",
    "\n": " ", "\t": " ",
}  # fmt: skip
GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi "
    "psi omega"
)
_GREEK = dict(zip("αβγδεζηθικλμνξπρστυφχψω", GREEK_NAMES.split(), strict=True))
_RAISED = {**{c: str(i) for i, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}, "⁻": "-", "⁺": "+"}
_LOWERED = {c: str(i) for i, c in enumerate("₀₁₂₃₄₅₆₇₈₉")}


def escape(text: object) -> str:
    """Return text as LaTeX shows it: specials escaped, mathematical signs as mathematics."""
    return "".join(_latex(c) for c in str(text))


def _latex(sign: str) -> str:
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    if sign in _GREEK:
        return rf"$\{_GREEK[sign]}$"
    if sign in _RAISED:
        return f"$^{{{_RAISED[sign]}}}$"
    if sign in _LOWERED:
        return f"$_{{{_LOWERED[sign]}}}$"
    return sign if sign.isprintable() else ""


def _breakable(identifier: str) -> str:
    """Return an id that may break after its dots, slashes and underscores."""
    return re.sub(r"(\.|/|\\_)", r"\1\\allowbreak{}", escape(identifier))


def to_latex(report: Report) -> str:
    """Return a booktabs table, one line a reading, that goes over pages where it must."""
    head = [
        "% Made by rlaws from stored verdicts. In the preamble: \\usepackage{booktabs,longtable,array}",
        r"\begin{longtable}{@{}>{\raggedright}p{0.24\linewidth}l>{\raggedright}p{0.34\linewidth}lr@{}}",
        r"\toprule",
        r"Claim & Rung & Reading & Verdict & Margin \\",
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
    ]
    lines = [line for run in report.runs for line in _latex_rows(run)]
    return "\n".join([*head, *lines, r"\end{longtable}", *_latex_forecasts(report)]) + "\n"


def _latex_forecasts(report: Report) -> list[str]:
    """Return a second table with a line a forecast of the user's own runs; nothing where there is none."""
    rows = _forecast_rows(report)
    if not rows:
        return []
    lines = [" & ".join(_breakable(cell) for cell in row) + r" \\" for row in rows]
    spec = r">{\raggedright}p{0.2\linewidth}>{\raggedright}p{0.26\linewidth}lrrr"
    heads = " & ".join(_FORECAST_HEAD["en"]) + r" \\"
    return [rf"\begin{{longtable}}{{@{{}}{spec}@{{}}}}", r"\toprule", heads, r"\midrule", r"\endhead",
            r"\bottomrule", r"\endfoot", *lines, r"\end{longtable}"]  # fmt: skip


_FORECAST_HEAD = {
    "en": ("Recipe", "Response", "At", "Forecast", "Mean", "One run"),
    "zh": ("配方", "响应变量", "位置", "预测", "均值", "单次运行"),
}


def _forecast_rows(report: Report) -> list[list[str]]:
    """Return recipe, response, x, median and both bands at the horizon of every forecast, as text."""
    rows = []
    for f in (f for fit in report.fits for f in fit["forecasts"] if f.get("bands")):
        bands = {k: v[-1] for k, v in f["bands"].items()}
        at = f"{f['x']['name']} {words.number(bands['x'], 4)}"
        ends = [words.interval((bands[a], bands[b])) for a, b in (("low", "high"), ("new_low", "new_high"))]
        rows.append([str(f["recipe"]), str(f["response"]), at, words.number(bands["y"]), *ends])
    return rows


def _latex_rows(run: Run) -> list[str]:
    first, rung = _breakable(run.claim), escape(run.rung)
    if not run.readings:
        reason = escape(words.text(run.sentence, "en"))
        return [rf"{first} & {rung} & {reason} & {escape(words.mark(run.outcome).word['en'])} & -- \\"]
    rows = []
    for i, reading in enumerate(run.readings):
        says = escape(words.text(reading.get("text"), "en") or reading.get("id"))
        outcome = escape(words.mark(reading.get("outcome")).word["en"])
        says += " (beside the verdict)" if reading.get("decides") is False else ""
        name = (first, rung) if i == 0 else ("", "")
        rows.append(rf"{name[0]} & {name[1]} & {says} & {outcome} & {escape(words.margin(reading.get('margin')))} \\")
    return rows


# ------------------------------------------------------------------------------------------------ Markdown
_HEAD = {"en": ("claim", "what it says"), "zh": ("论断", "内容")}


def to_markdown(report: Report, language: str = "en") -> str:
    """Return the matrix of claims and rungs as a Markdown table, a line a claim."""
    claims = report.by_claim()
    rungs = [g for g in report.rungs if any(r.rung == g for r in report.runs)]
    head = [*_HEAD[language], *rungs]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for claim, runs in claims.items():
        says = plain_markdown(words.text(statement(runs), language))
        cells = ["<br>".join(_markdown(r, language) for r in runs if r.rung == g) or "–" for g in rungs]
        lines.append("| " + " | ".join([f"`{claim.replace('`', '')}`".replace("|", "/"), says, *cells]) + " |")
    return "\n".join([*lines, *_markdown_forecasts(report, language)]) + "\n"


def _markdown_forecasts(report: Report, language: str) -> list[str]:
    """Return a second table with a line a forecast of the user's own runs; nothing where there is none."""
    rows = _forecast_rows(report)
    if not rows:
        return []
    heads = _FORECAST_HEAD[language]
    lines = ["| " + " | ".join(plain_markdown(cell) for cell in row) + " |" for row in rows]
    return ["", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *lines]


def statement(runs: list[Run]) -> Mapping[str, str]:
    """Return the claim's statement from the first run that has one."""
    return next((r.get("statement") for r in runs if r.get("statement")), {})


def _markdown(run: Run, language: str) -> str:
    if not run.readings:
        return _word(run.outcome, language)
    return "<br>".join(_markdown_reading(r, language) for r in run.readings)


def _markdown_reading(reading: Mapping[str, Any], language: str) -> str:
    name, margin = plain_markdown(str(reading.get("id"))), words.margin(reading.get("margin"))
    line = f"{name}: {_word(reading.get('outcome'), language)} ({margin})"
    return f"*{line}*" if reading.get("decides") is False else line


def _word(outcome: object, language: str) -> str:
    mark = words.mark(outcome)
    return f"{mark.icon} {plain_markdown(words.text(mark.word, language))}"


def plain_markdown(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line and inside a table cell."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", " ".join(text.split()))
