"""What the importer understood of a run, key by key, as plain data and as a table."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from rlaws.errors import InputError, suggest
from rlaws.logs.canonical import FIELDS, parse_id
from rlaws.logs.runs import KeyReport, Run

WORDS = {
    "en": {"none": "not understood", "aside": "understood; no column", "heads": ("key", "column", "unit", "steps")},
    "zh": {"none": "未能识别", "aside": "已识别；不成列", "heads": ("键", "列", "单位", "步占比")},
}
_MORE = {
    "en": ("not finite", "no numbers", "meaning"),
    "zh": ("非有限值", "非数值", "含义"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One key in words.

    Attributes:
        key: As logged.
        column: Column that it fills, or "".
        unit: Unit of the column, or "".
        meaning: What it is.
        coverage: Share of the run's steps that have it.
        nonfinite: NaN and infinite values.
        texts: Values that are no numbers.
        understood: False where nobody said what it is.
        note: What to know of it, as the dialect or the user wrote it.
    """

    key: str
    column: str
    unit: str
    meaning: str
    coverage: float
    nonfinite: int
    texts: int
    understood: bool
    note: str


def explain(run: Run, language: str = "en") -> tuple[Row, ...]:
    """Return what became of every key: those that fill a column in the schema's order, other ones, unknown ones.

    Args:
        run: The run.
        language: "en" or "zh".

    Raises:
        InputError: If the language is another.
    """
    if language not in WORDS:
        raise InputError(f"There is no language '{language}'.{suggest(language, WORDS)}")
    order = {name: i for i, name in enumerate(FIELDS)}

    def place(report: KeyReport) -> tuple[int, int, str]:
        if not report.column:
            return (1 if report.understood else 2, 0, report.key)
        return (0, order[parse_id(report.column)[0]], report.column)

    return tuple(_row(report, language) for report in sorted(run.keys, key=place))


def _row(report: KeyReport, language: str) -> Row:
    unit = meaning = ""
    if report.column:
        field = FIELDS[parse_id(report.column)[0]]
        unit, meaning = field.unit, field.meaning[language]
    else:
        meaning = str(WORDS[language]["aside" if report.understood else "none"])
    return Row(
        key=report.key,
        column=report.column,
        unit=unit,
        meaning=meaning,
        coverage=report.coverage,
        nonfinite=report.nonfinite,
        texts=report.texts,
        understood=report.understood,
        note=_noted(report),
    )


def _noted(report: KeyReport) -> str:
    parts = [report.note] if report.note else []
    if report.column and report.factor != 1.0:
        parts.append(f"× {report.factor:g}")
    if report.texts:
        parts.append(f"'{report.example}'")
    return "; ".join(parts)


def table(run: Run, language: str = "en") -> str:
    """Return the same as a table in text, with the run's segments, duplicates, gaps and warnings below it."""
    rows = explain(run, language)
    heads = (*WORDS[language]["heads"], *_MORE[language])
    body = [
        (
            printable(row.key),
            row.column or "-",
            row.unit or "-",
            f"{100 * row.coverage:.3g}%",
            str(row.nonfinite) if row.nonfinite else "",
            str(row.texts) if row.texts else "",
            printable(f"{row.meaning} ({row.note})" if row.note else row.meaning),
        )
        for row in rows
    ]
    return "\n".join([*_aligned([heads, *body]), *_below(run)])


def _below(run: Run) -> list[str]:
    out = [""]
    if len(run.segments) > 1:
        out += [f"segment {i}: steps {s.first:g} to {s.last:g}" for i, s in enumerate(run.segments, start=1)]
    differing = [d for d in run.duplicates if d.differing]
    if run.duplicates:
        out.append(f"{len(run.duplicates)} steps were logged more than once, {len(differing)} with other values.")
    out += [f"gap: no step between {gap.after:g} and {gap.before:g}" for gap in run.gaps[:10]]
    out += [f"and {len(run.gaps) - 10} more gaps"] if len(run.gaps) > 10 else []
    return [*out, *(printable(text) for text in run.warnings)]


def printable(text: str) -> str:
    """Return a text without the characters that no terminal or file can show."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(_width(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _width(text: str) -> int:
    """Return columns on a terminal, where Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
