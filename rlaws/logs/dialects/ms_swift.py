"""ms-swift, which wraps TRL: ``logging.jsonl`` and the console dicts with the same keys.

The step is a text there, ``"global_step/max_steps": "240/960"``, and newer versions quote every number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.rows import Warn, head_json, sureness, values
from rlaws.logs.dialects.trl_keys import GRPO, TRAINER
from rlaws.logs.readers import Cut, lines, literal, number, parsed

STEP = "global_step/max_steps"
_OWN = (
    Key(STEP, "step", note="a text: the step, a slash, the last step"),
    Key(r"percentage|elapsed_time|remaining_time", note="progress as text"),
    Key(r"memory\(GiB\)", note="memory of one device"),
    Key(r"train_speed\((?:iter/s|s/it)\)", note="speed since the start of the process"),
    Key(r"completions/\w+|acc|token_acc|seq_acc", note="further statistics of completions and of supervised training"),
    Key("last_model_checkpoint|best_model_checkpoint|best_metric|log_history", note="summary"),
)
_DICT = re.compile(r"(?P<dict>\{['\"].*\})\s*$")


class MsSwift:
    """TRL's keys with a step that is a text."""

    NAME: ClassVar[str] = "ms_swift"
    TITLE: ClassVar[str] = "ms-swift, logging.jsonl or console"
    NEEDS: ClassVar[str] = "rows with 'global_step/max_steps'"
    KEYS: ClassVar[tuple[Key, ...]] = (*GRPO, *TRAINER, *_OWN)

    def sniff(self, head: Head) -> float:
        """Return how sure the keys make; the step as a text is the signature."""
        rows = head_json(head) or [row for line in head.text.splitlines() if (row := _row(line))]
        return sureness({key for row in rows for key in row}, self.KEYS, re.escape(STEP))

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record a row; the closing row with the paths of the checkpoints has no step and no metrics."""
        for place, line in lines(path, tell, warn):
            row = _row(line)
            if row and "last_model_checkpoint" not in row:
                yield Record(_step(row), values(row, skip=(STEP,)), place)
            elif row is None and ((isinstance(line, Cut) and line.strip()) or STEP in line):
                warn(f"{path.name}, line {place} is cut or damaged; it is left out.")


def _row(line: str) -> dict[str, Any] | None:
    """Return the dict of a line, JSON or printed by Python, or None."""
    match = _DICT.search(line)
    if match is None:
        return None
    row = parsed(match["dict"])
    return row if isinstance(row, dict) else literal(match["dict"])


def _step(row: Mapping[str, object]) -> float | None:
    """Return the step of "240/960", or None."""
    return number(str(row.get(STEP, "")).partition("/")[0])


DIALECT = MsSwift()
