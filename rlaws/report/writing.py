"""Writes a report in each of its formats, every file whole or not at all, the same bytes for the same run folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rlaws.errors import InputError, suggest
from rlaws.report.stored import Report, load
from rlaws.report.words import Text
from rlaws.store import write_atomic

FORMATS = ("html", "json", "latex", "markdown")


def write(
    folders: Iterable[Path | str],
    out: Path | str,
    *,
    formats: Sequence[str] = FORMATS,
    notes: Sequence[Text] = (),
    fits: Iterable[Path | str] = (),
) -> dict[str, Path]:
    """Write a report of run folders.

    Args:
        folders: Run folders; they are only read.
        out: Folder of the report; made if absent.
        formats: Of "html" (index.html), "json" (verdicts.json), "latex" (verdicts.tex), "markdown" (verdicts.md) and
            "markdown-zh" (verdicts.zh.md).
        notes: Texts {en, zh} shown at the top of the page.
        fits: Folders of fits of training logs; the claims that were judged on them are shown among the others.

    Returns:
        The file of each format.

    Raises:
        InputError: A folder is no run folder, or a format is not known.
    """
    makers = _makers()
    for name in formats:
        if name not in makers:
            raise InputError(f"Report format '{name}' is not known.{suggest(name, makers)}")
    report = load(folders, notes, fits)
    written = {}
    for name in formats:
        file, make = makers[name]
        path = Path(out) / file
        write_atomic(path, make(report))
        path.chmod(0o644)
        written[name] = path
    return written


def _makers() -> dict[str, tuple[str, Callable[[Report], str]]]:
    """Return file name and maker of each format."""
    from rlaws.report import tables

    def html(report: Report) -> str:
        from rlaws.report.page import page  # matplotlib and jinja2 only where a page is made

        return page(report)

    return {
        "html": ("index.html", html),
        "json": ("verdicts.json", tables.to_json),
        "latex": ("verdicts.tex", tables.to_latex),
        "markdown": ("verdicts.md", tables.to_markdown),
        "markdown-zh": ("verdicts.zh.md", lambda report: tables.to_markdown(report, "zh")),
    }
