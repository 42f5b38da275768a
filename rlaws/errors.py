"""The errors a user can cause, each a sentence: what was asked, what is possible, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RlawsError(Exception):
    """Base of every error that is shown as one sentence, without a traceback."""


class InputError(RlawsError, ValueError):
    """Something the user wrote or supplied is not usable; the row, key or file is named."""


class CellError(RlawsError):
    """At least one cell of a study failed; its record lies in the run folder."""


class MissingDataError(InputError):
    """A public data file that the study reads is not on this machine."""


def suggest(name: str, possible: Iterable[str]) -> str:
    """Return " Did you mean ...?" for the nearest of ``possible``, else the list of what is possible."""
    options = sorted({str(p) for p in possible})
    near = difflib.get_close_matches(str(name), options, n=1, cutoff=0.5)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Possible: {', '.join(options)}." if options else ""
