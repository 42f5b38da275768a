"""Any Parquet table with a column of steps; read with pyarrow, which the extra ``rlaws[logs]`` brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from rlaws.errors import InputError
from rlaws.logs.dialects.base import Head, Key, Record, Tell
from rlaws.logs.dialects.plain_table import SCHEMA
from rlaws.logs.readers import missing, number, shown, step_key

_ROWS = 1024  # rows in memory at once


class PlainParquet:
    """A Parquet table of one's own."""

    NAME: ClassVar[str] = "parquet"
    TITLE: ClassVar[str] = "Parquet table"
    NEEDS: ClassVar[str] = "Parquet's magic bytes"
    BORROWS: ClassVar[bool] = True
    KEYS: ClassVar[tuple[Key, ...]] = SCHEMA

    def sniff(self, head: Head) -> float:
        """Return 0.5 with Parquet's magic bytes."""
        return 0.5 if head.raw.startswith(b"PAR1") else 0.0

    def records(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
        """Yield a record a row, its step from the column that is named as one; columns of lists are left out.

        Raises:
            InputError: If pyarrow is not installed, or the file is damaged.
        """
        try:
            import pyarrow as arrow
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise missing(path, "pyarrow", "a Parquet table") from error
        try:
            with parquet.ParquetFile(path) as file:
                yield from _rows(file, path, tell, warn)
        except (arrow.ArrowException, OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is a damaged Parquet table ({shown(str(error), 120)}); copy it again.") from error


def _rows(file: Any, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Record]:
    names = [field.name for field in file.schema_arrow if not str(field.type).startswith(("list", "large_list", "map"))]
    for name in set(file.schema_arrow.names) - set(names):
        warn(f"{path.name}: the column '{shown(name)}' holds lists and is left out.")
    step = step_key(names)
    share = path.stat().st_size // max(1, file.metadata.num_rows)
    at = 0
    for batch in file.iter_batches(batch_size=_ROWS, columns=names):
        for row in batch.to_pylist():
            at += 1
            tell(share)
            values = {name: _value(value) for name, value in row.items() if value is not None}
            yield Record(number(values.get(step)), values, at)


def _value(value: object) -> str | float:
    as_number = number(value)
    return str(value) if as_number is None else as_number


DIALECT = PlainParquet()
