"""``trainer_state.json`` of transformers' Trainer, as TRL's trainers leave it in every checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from rlaws.errors import InputError
from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.rows import Warn, values
from rlaws.logs.dialects.trl_keys import GRPO, PPO, TRAINER
from rlaws.logs.readers import head as head_of
from rlaws.logs.readers import number, parsed, whole

_HISTORY = re.compile(r'"log_history"\s*:\s*\[')
_OTHERS = re.compile(r'"(?:is_world_process_zero|is_hyper_param_search|num_train_epochs|trial_params|max_steps)"\s*:')
_ENTRY = re.compile(r"\{[^{}]*\}")


class TrlState:
    """The whole history of a run in one document; several entries a step, the last one a summary."""

    NAME: ClassVar[str] = "trl_state"
    TITLE: ClassVar[str] = "TRL, trainer_state.json"
    NEEDS: ClassVar[str] = "one JSON document with log_history and the other keys of a TrainerState"
    KEYS: ClassVar[tuple[Key, ...]] = (*GRPO, *PPO, *TRAINER)

    def sniff(self, head: Head) -> float:
        """Return 0.98 for a JSON document with the keys of a TrainerState, and for an output folder with such, else 0.

        The beginning of a long document may show the history only, so one of its other keys or ``best_metric`` counts.
        """
        if head.members:
            return max((self.sniff(head_of(state)) for state in _states(head.path)), default=0.0)
        text = head.text.lstrip("\ufeff \t\r\n")
        first = parsed(text.split("\n", 1)[0])
        rows = isinstance(first, dict) and "log_history" not in first  # then it is JSON lines
        if not text.startswith("{") or rows or not _HISTORY.search(text):
            return 0.0
        known = _OTHERS.search(text) or re.search(r'"(?:best_metric|epoch|global_step)"\s*:', text[:2000])
        return 0.98 if known else 0.0

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record an entry of ``log_history``; of an output folder, of the newest state.

        Every state holds the history from the start. A document that was cut while it was written gives the entries
        before the cut.

        Raises:
            InputError: If it has no ``log_history``.
        """
        if path.is_dir():
            path = max(_states(path), key=_step)
        text = whole(path, tell, warn)
        state = parsed(text)
        history = state.get("log_history") if isinstance(state, dict) else None
        if not isinstance(history, list):
            history = self._saved(path, text, warn)
        for place, entry in enumerate(history, start=1):
            if isinstance(entry, dict):
                step = number(entry.get("step"))
                yield Record(step, values(entry, skip=("step",)), place)

    def _saved(self, path: Path, text: str, warn: Warn) -> list[dict[str, Any]]:
        """Return the entries of a damaged document that are whole."""
        start = _HISTORY.search(text)
        if start is None:
            raise InputError(
                f"{path} has no log_history; a trainer_state.json has one. "
                "The newest lies in the checkpoint folder with the highest number."
            )
        found = [parsed(entry[0]) for entry in _ENTRY.finditer(text, start.end())]
        entries = [entry for entry in found if isinstance(entry, dict) and "step" in entry]
        warn(f"{path.name} is no whole JSON document; the {len(entries)} entries before the damage are read.")
        return entries


def _states(folder: Path) -> list[Path]:
    """Return the states of one output folder: its own and those of its checkpoints."""
    return sorted([*folder.glob("trainer_state.json"), *folder.glob("checkpoint-*/trainer_state.json")])


def _step(state: Path) -> float:
    """Return the step of a state, which stands before its history."""
    found = re.search(r'"global_step"\s*:\s*(\d+)', head_of(state).text)
    return float(found[1]) if found else -1.0


DIALECT = TrlState()
