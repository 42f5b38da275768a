"""W&B's own binary file (run-<id>.wandb): recognised, so that the refusal says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from rlaws.errors import InputError
from rlaws.logs import readers
from rlaws.logs.dialects.base import Head, Key, Record, Tell

_MAGIC = b":W&B"


class WandbOffline:
    """The binary transaction log."""

    NAME: ClassVar[str] = "wandb_offline"
    TITLE: ClassVar[str] = "binary log of an offline W&B run"
    NEEDS: ClassVar[str] = "W&B's magic bytes"
    KEYS: ClassVar[tuple[Key, ...]] = ()

    def sniff(self, head: Head) -> float:
        """Return 1 for the file, or the folder of an offline run that holds it."""
        if head.members:
            files = [name for name in head.members if name.endswith(".wandb")]
            return float(len(files) == 1 and self.sniff(readers.head(head.path / files[0])) == 1.0)
        return float(head.raw.startswith(_MAGIC))

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Refuse: the format is not public.

        Raises:
            InputError: Always, with the ways out.
        """
        raise InputError(
            f"{path} is W&B's binary log, whose format is not public. Import what the trainer wrote beside it "
            "(console, JSON lines, TensorBoard), or sync the run and export its history as CSV."
        )


DIALECT = WandbOffline()
