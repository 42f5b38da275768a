"""Recorded learning curves: loss against step, samples and compute, one curve per model (and setting)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rlaws.errors import InputError, suggest
from rlaws.logs.tables import Column, Layout, Origin, Table, locate, read

_FAMILY = Column("text", "name")
_SIZE = Column("number", "1e9 parameters", low=0, above=True)
_STEP = Column("count", "updates", low=0)
_SAMPLES = Column("number", "samples", low=0, above=True)
_FLOPS = Column("number", "FLOP", low=0, above=True)
_LOSS = Column("number", "1", low=0, high=1)


def _qwen(figure: str) -> Origin:
    return Origin(
        paper="arXiv 2509.25300 (GRPO on Qwen2.5, 500 held-out math problems)",
        repository="tanzelin430/The-Scaling-Law-for-Reinforcement-Learning",
        commit="1cc93dd",
        place=f"marker coordinates of the vector figure of {figure}",
        licence="Apache-2.0",
    )


LAYOUTS: dict[str, Layout] = {
    "loss_curves": Layout(
        columns={
            "family": _FAMILY,
            "model_B": _SIZE,
            "step": _STEP,
            "samples": _SAMPLES,
            "cum_flops": _FLOPS,
            "test_loss": _LOSS,
        },
        key=("family", "model_B", "step"),
        file="qwen25-grpo/loss_curves.csv",
        origin=_qwen("loss against compute and data, mean of three runs"),
    ),
    "group_size": Layout(
        columns={
            "family": _FAMILY,
            "model_B": _SIZE,
            "group_size": Column("count", "answers per prompt", low=1),
            "step": _STEP,
            "samples": _SAMPLES,
            "cum_flops": _FLOPS,
            "test_loss": _LOSS,
        },
        key=("family", "model_B", "group_size", "step"),
        file="qwen25-grpo/group_size_7B.csv",
        origin=_qwen("loss by rollout group size, 7B"),
    ),
    "data_reuse": Layout(
        columns={
            "family": _FAMILY,
            "model_B": _SIZE,
            "reuse_tau": Column("count", "1", low=1),
            "step": _STEP,
            "test_loss": _LOSS,
        },
        key=("family", "model_B", "reuse_tau", "step"),
        file="qwen25-grpo/data_reuse_7B.csv",
        origin=_qwen("loss by data reuse, 7B"),
    ),
}


@dataclass(frozen=True, slots=True)
class RecordedCurves:
    """A table of learning curves, in place of a policy that is trained.

    Attributes:
        data_dir: Folder of the data; see ``docs/data.md``.
        layout: loss_curves, group_size or data_reuse: which columns the table has.
        file: The table, inside ``data_dir`` or an absolute path; "" for the public copy's place.
    """

    UNITS: ClassVar[Mapping[str, str]] = {"layout": "name", "file": "name"}

    data_dir: str
    layout: str
    file: str = ""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise InputError(f"layout = '{self.layout}' is not known.{suggest(self.layout, LAYOUTS)}")

    def sources(self) -> list[Path]:
        """Return the files that the numbers come from.

        Raises:
            MissingDataError: If the table is not there.
        """
        layout = LAYOUTS[self.layout]
        return [locate(self.data_dir, self.file or layout.file, layout)]

    def table(self) -> Table:
        """Return the columns, checked and typed.

        Raises:
            MissingDataError: If the table is not there.
            InputError: As ``tables.read``.
        """
        return read(self.sources()[0], LAYOUTS[self.layout])

    def provenance(self) -> dict[str, str]:
        """Return what the numbers are and where they come from."""
        layout = LAYOUTS[self.layout]
        public = layout.origin is not None and self.file in ("", layout.file)
        cite = layout.origin.sentence() if public and layout.origin else "the user's own table"
        return {"table": self.file or layout.file, "origin": cite}
