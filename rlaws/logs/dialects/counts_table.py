"""Tables of counts: a row a problem, with how many samples were drawn and how many of them were right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from rlaws.errors import InputError
from rlaws.logs.dialects.base import Count, Head, Tell
from rlaws.logs.readers import header_of, number, step_key, table

NAMES: Mapping[str, tuple[str, ...]] = {
    "problem": ("problem", "problem_idx", "problem_id", "question", "question_id", "task", "task_id", "id"),
    "n": ("n", "n_samples", "num_samples", "samples"),
    "c": ("c", "n_correct", "num_correct", "correct"),
    "model": ("model", "model_name", "policy"),
}


class CountsTable:
    """A CSV or TSV of counts."""

    NAME: ClassVar[str] = "counts_table"
    TITLE: ClassVar[str] = "table of right answers per problem"
    NEEDS: ClassVar[str] = "columns for the problem, the samples (n_samples) and the right ones (n_correct)"

    def sniff(self, head: Head) -> float:
        """Return 0.9 with a column for each of problem, n and c."""
        found = _columns(header_of(head.text))
        return 0.9 if {"problem", "n", "c"} <= set(found) else 0.15 * len(found)

    def counts(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Count]:
        """Yield the rows.

        Raises:
            InputError: If a column is missing, or n or c is no whole number with 0 <= c <= n.
        """
        for at, cells in table(path, tell, warn):
            found = _columns(list(cells))
            if not {"problem", "n", "c"} <= set(found):
                raise InputError(f"{path}, line {at}: problem, samples or right ones are blank; fill the cell.")
            n, c = (_whole(path, at, found[name], cells[found[name]]) for name in ("n", "c"))
            model = cells.get(found.get("model", ""), "")
            yield Count(number(cells.get(step_key(cells), "")), cells[found["problem"]].strip(), n, c, model.strip())


def _columns(header: list[str]) -> dict[str, str]:
    """Return which column is which."""
    first = {what: next((name for name in names if name in header), "") for what, names in NAMES.items()}
    return {what: name for what, name in first.items() if name}


def _whole(path: Path, at: int, name: str, cell: str) -> int:
    value = number(cell)
    if value is None or not value.is_integer():
        raise InputError(f"{path}, line {at}: '{name}' holds '{cell}', not a whole number.")
    return int(value)


DIALECT = CountsTable()
