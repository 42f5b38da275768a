"""What there is to run: the files of ``conf`` and of the user's own ``--config-dir``, found by looking."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaws.errors import InputError, suggest

GROUPS = {
    "claims": "claim",
    "probes": "probe",
    "policies": "policy",
    "problems": "problems",
    "studies": "study",
    "suites": "suite",
    "budgets": "budget",
}


def conf_dir() -> Path:
    """Return the folder of the shipped configuration: beside the package, whatever a user's own folder is called."""
    return Path(__file__).resolve().parents[1] / "conf"


def names(group: str, extra: Sequence[Path] = ()) -> list[str]:
    """Return the options of a config group, nested ones as group/name, in alphabetical order."""
    found = set()
    for root in (conf_dir(), *extra):
        base = root / group
        found |= {p.relative_to(base).with_suffix("").as_posix() for p in base.rglob("*.yaml")}
    return sorted(found)


def read(group: str, name: str, extra: Sequence[Path] = ()) -> dict[str, Any]:
    """Return one YAML of a group as plain values (safe loader, not composed)."""
    import yaml

    for root in (*extra, conf_dir()):
        path = root / group / f"{name}.yaml"
        if path.exists():
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
            return dict(loaded or {})
    raise InputError(f"There is no {group} '{name}'.{suggest(name, names(group, extra))}")


def suite_studies(suite: Mapping[str, Any], extra: Sequence[Path] = ()) -> list[str]:
    """Return the studies that a suite's patterns name, cheapest kind first: printed and recorded data, then the rest.

    Raises:
        InputError: If a pattern matches nothing.
    """
    known = names("study", extra)
    chosen: list[str] = []
    for pattern in suite["studies"]:
        hits = fnmatch.filter(known, pattern)
        if not hits:
            raise InputError(f"suite.studies: '{pattern}' matches no study.{suggest(pattern, known)}")
        chosen += [h for h in hits if h not in chosen]
    return sorted(chosen, key=lambda n: (read("study", n, extra)["study"]["rung"] != "logs", n))


def expand_globs(args: Sequence[str]) -> list[str]:
    """Expand ``study=glob(credit/*)``: Hydra's own glob does not look into nested groups.

    Raises:
        InputError: If a pattern matches nothing.
    """
    out = []
    for arg in args:
        match = re.fullmatch(r"(\w+)=glob\((.*)\)", arg)
        if not match or "/" not in match[2]:
            out.append(arg)
            continue
        known = names(match[1], given_dirs(args))
        hits = fnmatch.filter(known, match[2])
        if not hits:
            raise InputError(f"{arg} matches nothing.{suggest(match[2], known)}")
        out.append(f"{match[1]}={','.join(hits)}")
    return out


def given_dirs(args: Sequence[str]) -> list[Path]:
    """Return the folders given with --config-dir."""
    dirs = [a.partition("=")[2] for a in args if a.startswith("--config-dir=")]
    dirs += [args[i + 1] for i, a in enumerate(args[:-1]) if a in ("--config-dir", "-cd")]
    return [Path(d) for d in dirs]


def nearest_option(text: str, args: Sequence[str]) -> str:
    """Return a did-you-mean for an error that says an option of a group was not found, else ""."""
    option = re.search(r"Could not find '(\w+)/([\w/]+)'", text)
    return suggest(option[2], names(option[1], given_dirs(args))) if option else ""


def run_folders(runs: Path, *, optional: bool = False) -> list[Path]:
    """Return the newest run folder of every study under ``runs``.

    Args:
        runs: Folder of all runs.
        optional: Whether there may be none.

    Raises:
        InputError: If there is none.
    """
    newest: dict[str, tuple[str, Path]] = {}
    for manifest in sorted(runs.glob("*/*/*/manifest.json")):
        record = json.loads(manifest.read_text(encoding="utf-8"))
        stamp = str(record.get("started", ""))
        if record["study"] not in newest or stamp > newest[record["study"]][0]:
            newest[record["study"]] = (stamp, manifest.parent)
    if not newest and not optional:
        raise InputError(f"There is no finished run under '{runs}'; run `rlaws run suite=quick` first, or give runs=…")
    return [folder for _, (_, folder) in sorted(newest.items())]


def listing(kind: str, extra: Sequence[Path] = ()) -> list[dict[str, str]]:
    """Return name and one line of description of everything of a kind."""
    if kind == "laws":
        from rlaws import laws

        return [{"name": n, "text": (type(laws.law(n)).__doc__ or "").split("\n")[0]} for n in laws.names()]
    rows = []
    for name in names(GROUPS[kind], extra):
        values = read(GROUPS[kind], name, extra)
        if kind == "claims":
            text = values["statement"]["en"]
        elif kind == "studies":
            text = f"[{values['study']['rung']}] {values['study']['title']['en']}"
        else:
            text = str(values.get("_target_", ""))
        rows.append({"name": name, "text": text})
    return rows


def print_list(args: Sequence[str]) -> None:
    """Print what there is: ``rlaws list [kind] [--json]``.

    Raises:
        InputError: Unknown kind.
    """
    kinds = [a for a in args if not a.startswith("-") and a not in map(str, given_dirs(args))]
    for kind in kinds:
        if kind not in (*GROUPS, "laws"):
            raise InputError(f"There is no list of '{kind}'.{suggest(kind, (*GROUPS, 'laws'))}")
    extra = given_dirs(args)
    found = {kind: listing(kind, extra) for kind in (kinds or ["claims", "studies", "laws", "probes", "suites"])}
    if "--json" in args:
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for kind, rows in found.items():
        width = max((len(r["name"]) for r in rows), default=0)
        print(f"{kind} ({len(rows)})")
        for row in rows:
            print(f"  {row['name']:<{width}}  {row['text']}")
