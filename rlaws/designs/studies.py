"""From a claim to the study whose probe measures it on learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlaws.catalogue import names, read
from rlaws.errors import InputError, suggest

PROBES = ("rlaws.probes.learning_curve.LearningCurve", "rlaws.probes.curve_slope.CurveSlope")


def curve_study(claim: str, asked: str | None, extra: Sequence[Path] = ()) -> str:
    """Return the study of a claim that reads the loss along runs: the one asked for, or the first by name.

    Args:
        claim: The claim, as group.name or group/name.
        asked: A study, or None.
        extra: Folders of the user's own configuration.

    Raises:
        InputError: No such claim or study, a study of another claim, or none that designs can be made for.
    """
    known = names("claim", extra)
    name = claim.replace(".", "/")
    if name not in known:
        raise InputError(f"There is no claim '{claim}'.{suggest(claim, [k.replace('/', '.') for k in known])}")
    studies = [s for s in names("study", extra) if _part(s, "claim", extra) == name]
    if asked is not None and asked not in studies:
        known_studies = names("study", extra)
        wrong = f"is no study of {claim}" if asked in known_studies else "is not known"
        raise InputError(f"study={asked} {wrong}.{suggest(asked, studies or known_studies)}")
    fit = [s for s in studies if _target(s, extra) in PROBES and asked in (None, s)]
    if fit:
        return fit[0]
    values = read("claim", name, extra)
    columns = sorted({str(c) for r in [values, *values["readings"]] for c in r.get("x", {}).values()})
    how = f" `rlaws plan study={(asked or studies[0])}` gives cost and power of a study of it." if studies else ""
    raise InputError(
        f"Designs are made of training runs: the loss of several sizes along samples or compute. {claim} needs "
        f"{', '.join(columns)} from another probe, and no design generator knows that.{how}"
    )


def _part(study: str, group: str, extra: Sequence[Path]) -> str | None:
    """Return what a study names for a group among its defaults."""
    for entry in read("study", study, extra).get("defaults", []):
        if isinstance(entry, dict):
            for key, value in entry.items():
                if str(key).lstrip("/").removeprefix("override /") == group:
                    return str(value)
    return None


def _target(study: str, extra: Sequence[Path]) -> Any:
    """Return the ``_target_`` of a study's probe."""
    own = read("study", study, extra).get("probe") or {}
    probe = _part(study, "probe", extra)
    return own.get("_target_") or (read("probe", probe, extra).get("_target_") if probe else None)
