"""Reads run folders as they lie on disk. Nothing is measured, fitted or judged here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaws.errors import InputError
from rlaws.report.words import RUNGS, Text, short_hash

Panel = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder.

    Attributes:
        folder: group/name/budget-hash, without the machine's path.
        manifest: manifest.json, empty if absent.
        verdict: verdict.json, or None if there is none.
        panels: What panels.json lists.
        status: "judged", "no data", "failed" or "unfinished".
        sentence: Why there is no verdict, or which cells failed; None where all is well.
    """

    folder: str
    manifest: Mapping[str, Any]
    verdict: Mapping[str, Any] | None
    panels: tuple[Panel, ...]
    status: str
    sentence: Text | None

    def get(self, name: str, default: Any = "") -> Any:
        """Return a field of the verdict, or of the manifest where the verdict has none."""
        for source in (self.verdict or {}, self.manifest):
            if source.get(name) is not None:
                return source[name]
        return default

    @property
    def claim(self) -> str:
        """The claim's id; of a run that says nothing of it, the study's id in the same form."""
        return str(self.get("claim") or self.study.replace("/", "."))

    @property
    def study(self) -> str:
        """The study's id."""
        return str(self.get("study") or "/".join(self.folder.split("/")[:2]))

    @property
    def rung(self) -> str:
        """sim, toy, llm or logs."""
        return str(self.get("rung") or "sim")

    @property
    def outcome(self) -> str:
        """The verdict's outcome, or the status where there is no verdict."""
        return str(self.verdict.get("outcome", "invalid")) if self.verdict else self.status

    @property
    def readings(self) -> Sequence[Mapping[str, Any]]:
        """The judged readings; none without a verdict."""
        return (self.verdict or {}).get("readings") or ()

    @property
    def hash(self) -> str:
        """The run's short hash."""
        return short_hash({**self.manifest, **(self.get("hashes") or {})})


@dataclass(frozen=True, slots=True)
class Report:
    """Runs in a fixed order (claim, rung, study, folder), notes shown at the top of the page, and fits of logs."""

    runs: tuple[Run, ...]
    notes: tuple[Text, ...] = ()
    fits: tuple[Mapping[str, Any], ...] = ()

    @property
    def rungs(self) -> tuple[str, ...]:
        """The four rungs, then any other that the data has."""
        return (*RUNGS, *sorted({r.rung for r in self.runs} - set(RUNGS)))

    def by_claim(self) -> dict[str, list[Run]]:
        """Return the runs of each claim."""
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.claim, []).append(run)
        return found


def load(folders: Iterable[Path | str], notes: Sequence[Text] = (), fits: Iterable[Path | str] = ()) -> Report:
    """Read run folders.

    Args:
        folders: Folders that hold a manifest.json or a verdict.json; a folder given twice is read once.
        notes: Texts {en, zh} for the top of the page.
        fits: Folders of fits, whose claims' run folders are read too.

    Raises:
        InputError: A folder is not a run folder, or none was given.
    """
    stored = [_fit(place) for place in sorted({Path(f).resolve() for f in fits})]
    own = [Path(place) for _, places in stored for place in places]
    unique = sorted({Path(f).resolve() for f in [*folders, *own]})
    if not unique and not stored:
        raise InputError("A report needs at least one run folder; none was given. Run a study first: rlaws run.")
    runs = [_run(folder) for folder in unique]
    order = {rung: i for i, rung in enumerate(RUNGS)}
    runs.sort(key=lambda r: (r.claim, order.get(r.rung, len(order)), r.rung, r.study, r.folder))
    return Report(tuple(runs), tuple(notes), tuple(fit for fit, _ in stored))


def _fit(place: Path) -> tuple[dict[str, Any], list[Path]]:
    """Return what a fit stored, with its command, and the run folders of its claims.

    Raises:
        InputError: It is not the folder of a fit, or not readable.
    """
    broken: list[str] = []
    found = _read(place / "fit.json", broken)
    if not found or "forecasts" not in found:
        why = f" ({'; '.join(broken)})" if broken else ""
        raise InputError(f"{place} is not the folder of a fit{why}; give folders of the form fits/<hash>.")
    found["command"] = _read(place / "manifest.json", broken).get("command") or ""
    return found, [place / str(v["folder"]) for v in found.get("verdicts") or ()]


def _run(folder: Path) -> Run:
    if not ((folder / "manifest.json").is_file() or (folder / "verdict.json").is_file()):
        raise InputError(
            f"{folder} is not a run folder: it has neither manifest.json nor verdict.json. "
            "Give folders of the form runs/<group>/<name>/<budget>-<hash>."
        )
    broken: list[str] = []
    manifest = _read(folder / "manifest.json", broken)
    verdict = _read(folder / "verdict.json", broken) or None
    panels = _read(folder / "panels.json", broken).get("panels") or ()
    status, sentence = _status(manifest, verdict, broken)
    return Run("/".join(folder.parts[-3:]), manifest, verdict, tuple(panels), status, sentence)


def _read(path: Path, broken: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        broken.append(f"{path.name} ({error})")
        return {}
    if not isinstance(found, dict):
        broken.append(f"{path.name} (holds a {type(found).__name__}, not an object)")
        return {}
    return found


def _status(manifest: Mapping[str, Any], verdict: object, broken: Sequence[str]) -> tuple[str, Text | None]:
    cells = manifest.get("cells") or {}
    failed, total, done = (int(cells.get(k) or 0) for k in ("failed", "total", "done"))
    if broken:
        names = "; ".join(broken)
        return ("judged" if verdict else "failed"), {"en": f"Not readable: {names}.", "zh": f"无法读取：{names}。"}
    error = _text(manifest.get("error"))
    if verdict:
        return "judged", error or (_failed(failed, total) if failed else None)
    if manifest.get("status") == "missing data":
        return "no data", error or {"en": "A data file is missing.", "zh": "缺少数据文件。"}
    if error or failed:
        return "failed", error or _failed(failed, total)
    return "unfinished", {
        "en": f"{done} of {total} cells are done; the same command goes on with the rest.",
        "zh": f"{total} 个单元中已完成 {done} 个；再次执行同一命令即可继续。",
    }


def _failed(failed: int, total: int) -> Text:
    return {
        "en": f"{failed} of {total} cells failed; cells/*.error.json in the run folder say why.",
        "zh": f"{total} 个单元中有 {failed} 个失败；原因见运行文件夹中的 cells/*.error.json。",
    }


def _text(value: object) -> Text | None:
    if not value:
        return None
    return value if isinstance(value, Mapping) else {"en": str(value), "zh": str(value)}
