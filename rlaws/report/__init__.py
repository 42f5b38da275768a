"""Reports from stored run folders: one HTML page, JSON, LaTeX, Markdown, and figures."""

from rlaws.report.stored import Report, Run, load
from rlaws.report.writing import FORMATS, write

__all__ = ["FORMATS", "Report", "Run", "load", "write"]
