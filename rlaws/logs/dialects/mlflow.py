"""MLflow's folder store: ``metrics/<key>`` with lines ``timestamp value step``, nested keys as folders.

``meta.yaml`` and ``params/<key>`` lie beside. Read are a run's folder, an experiment's, the whole ``mlruns``, or one
metric's file. Names cannot hold an ``@`` there: verl writes ``mean_at_8`` for ``mean@8``, which its keys allow for.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import ClassVar, NamedTuple

import yaml

from rlaws.errors import InputError
from rlaws.logs.dialects.base import UNNAMED, Head, Key, Record, Tell, Value
from rlaws.logs.dialects.rows import Warn
from rlaws.logs.readers import Cut, lines, number, shown
from rlaws.logs.readers import head as head_of

_LINE = re.compile(r"(?P<time>\d{13}) (?P<value>\S+)(?: (?P<step>-?\d+)(?: .*)?)?")
_TIME = "timestamp"
_LOOKED_INTO = 20  # metrics that tell a folder of the store; some may be empty
_PARAM_LIMIT = 2000  # bytes; a longer setting is a text, not worth a place in a report


class _Point(NamedTuple):
    """One line of a metric: milliseconds since 1970, step, key, value, line."""

    time: int
    step: float | None
    key: str
    value: Value
    place: int


class Mlflow:
    """One file a metric; the metrics' names are the keys of the trainer that wrote them."""

    NAME: ClassVar[str] = "mlflow"
    TITLE: ClassVar[str] = "MLflow, mlruns folder"
    NEEDS: ClassVar[str] = "a folder with meta.yaml and metrics/ whose lines are 'timestamp value step'"
    KEYS: ClassVar[tuple[Key, ...]] = (
        Key(_TIME, "wall_s", factor=1e-3, note="milliseconds since 1970"),
        Key("params/.+", note="setting of the run"),
        Key("system/.+", note="speed and memory of the machine"),
    )
    BORROWS: ClassVar[bool] = True

    def sniff(self, head: Head) -> float:
        """Return 0.95 for a folder of the store and for the lines of one metric."""
        if not head.members:
            texts = [line for line in head.text.splitlines() if line.strip()]
            form = bool(texts) and all(_LINE.fullmatch(line) for line in texts[:-1] or texts)
            return 0.95 if form and "\n" in head.text else 0.0
        depth = _depth(head.members)
        if depth is None:
            return 0.0
        metrics = [name for name in head.members if name.split("/")[depth : depth + 1] == ["metrics"]][:_LOOKED_INTO]
        texts = [head_of(head.path / name).text for name in metrics]
        return 0.95 if any(_LINE.match(text) for text in texts) else 0.0

    def records(self, path: Path, tell: Tell, warn: Warn) -> Iterator[Record]:
        """Yield a record for the values of one step that were logged together, in the order of time.

        Raises:
            InputError: If a folder holds no run.
        """
        if path.is_file():
            yield from _records(_points(path, UNNAMED, tell, warn), "", {})
            return
        folders = _runs(path)
        if not folders:
            raise InputError(f"{path} holds no run of MLflow; a run's folder has meta.yaml and metrics/.")
        for folder in folders:
            yield from self._run(folder, "" if folder == path else _name(folder), tell, warn)

    def _run(self, folder: Path, name: str, tell: Tell, warn: Warn) -> Iterator[Record]:
        files = sorted(found for found in (folder / "metrics").rglob("*") if found.is_file())
        keys = {file: file.relative_to(folder / "metrics").as_posix() for file in files}
        points = [_points(file, key, tell, warn) for file, key in keys.items()]
        order = heapq.merge(*points, key=lambda point: (point.time, -1.0 if point.step is None else point.step))
        yield from _records(order, name, _params(folder))


def _records(points: Iterator[_Point], run: str, extra: dict[str, Value]) -> Iterator[Record]:
    """Yield the points of one time and step as a record; the settings go with the first."""
    for (time, step), together in groupby(points, key=lambda point: (point.time, point.step)):
        held = list(together)
        values: dict[str, Value] = {_TIME: float(time), **extra, **{point.key: point.value for point in held}}
        yield Record(step, values, held[0].place, run)
        extra = {}


def _points(file: Path, key: str, tell: Tell, warn: Warn) -> Iterator[_Point]:
    """Yield the lines of one metric; a last line without an end may be cut and is left out."""
    for place, line in lines(file, tell, warn):
        found = _LINE.fullmatch(line)
        if isinstance(line, Cut) and line.strip():
            warn(f"{file.name}, line {place}: the last line is cut off; it is left out.")
        elif found is not None:
            value = number(found["value"])
            step = None if found["step"] is None else float(found["step"])
            yield _Point(int(found["time"]), step, key, found["value"] if value is None else value, place)
        elif line.strip():
            warn(f"{file.name}, line {place} is not 'timestamp value step' ('{shown(line)}'); it is left out.")


def _depth(members: tuple[str, ...]) -> int | None:
    """Return how deep the runs lie in a folder: 0 a run, 1 an experiment, 2 mlruns; None where it is none of them."""
    names = set(members)
    for depth in (0, 1, 2):
        split = [name.split("/") for name in members]
        runs = {tuple(parts[:depth]) for parts in split if parts[depth : depth + 1] == ["metrics"]}
        if any("/".join((*run, "meta.yaml")) in names for run in runs):
            inside = {run[0] for run in runs if run}
            strangers = {name.split("/")[0] for name in members if "/" in name} - inside
            return depth if depth == 0 or not any(_strange(name, members) for name in strangers) else None
    return None


def _strange(folder: str, members: tuple[str, ...]) -> bool:
    """Return whether a folder beside runs or experiments is no run or experiment without metrics."""
    return f"{folder}/meta.yaml" not in members and folder not in ("models", "traces")


def _runs(path: Path) -> list[Path]:
    """Return the folders of runs, by the time they began."""
    metas = [path / "meta.yaml", *path.glob("*/meta.yaml"), *path.glob("*/*/meta.yaml")]
    folders = [meta.parent for meta in metas if (meta.parent / "metrics").is_dir()]
    return sorted(folders, key=lambda folder: (_begun(folder), folder.name))


def _begun(folder: Path) -> float:
    return number(_meta(folder).get("start_time")) or 0.0


def _name(folder: Path) -> str:
    """Return the name of a run, with the beginning of its id, since names repeat."""
    name = str(_meta(folder).get("run_name") or "")
    return f"{name} ({folder.name[:8]})" if name else folder.name


def _meta(folder: Path) -> dict[str, object]:
    try:
        found = yaml.safe_load((folder / "meta.yaml").read_text("utf-8", errors="replace"))
    except (yaml.YAMLError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _params(folder: Path) -> dict[str, Value]:
    """Return the settings of a run that are short."""
    found: dict[str, Value] = {}
    for file in sorted((folder / "params").rglob("*")):
        if file.is_file() and file.stat().st_size <= _PARAM_LIMIT:
            text = file.read_text("utf-8", errors="replace").strip()
            value = number(text)
            found[f"params/{file.relative_to(folder / 'params').as_posix()}"] = text if value is None else value
    return found


DIALECT = Mlflow()
