"""Mapping files: the user says in a few lines of YAML what the columns of a log are.

::

    step: iteration            # column of the trainer's step; not needed where the dialect knows it
    run: seed                  # column that tells several runs of one table apart, if there are several
    keys: verl                 # whose key names the other columns carry, if a trainer's
    metric: eval[set=gsm8k]    # what a W&B export shows that does not name its metric
    columns:
      acc: eval[set=math,metric=mean]
      reward (%): {field: reward_task, factor: 0.01}
      temperature: {what: sampling temperature}

Every line is optional.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rlaws.errors import InputError, suggest
from rlaws.logs.canonical import FIELDS, LABELS, check_field, check_labels, parse_id
from rlaws.logs.dialects import dialect
from rlaws.logs.dialects.base import Key
from rlaws.logs.readers import shown

OPTIONS = ("step", "run", "keys", "metric", "columns")
ENTRY = ("field", "factor", "what", *LABELS)
SIZE = 1 << 20
EXAMPLE = "step: <column of the step>\ncolumns:\n  <your column>: {field: reward_task, factor: 1}"


@dataclass(frozen=True, slots=True)
class Mapping_:
    """What the user says of a log's columns.

    Attributes:
        columns: Column of the log -> its meaning.
        step: Column of the step, or "".
        run: Column that tells runs apart, or "".
        keys: Dialect whose key names the other columns carry, or "".
        metric: Meaning of a metric that the file does not name, or None.
        text: The mapping as it was given, kept with the run.
    """

    columns: Mapping[str, Key] = field(default_factory=dict)
    step: str = ""
    run: str = ""
    keys: str = ""
    metric: Key | None = None
    text: str = ""

    def settings(self) -> dict[str, str]:
        """Return text and hash, to be kept with the run; nothing where there is no mapping."""
        if not self.text:
            return {}
        return {"mapping": self.text, "mapping_sha256": hashlib.sha256(self.text.encode()).hexdigest()}


def load(source: str | Path | Mapping[str, Any] | None, metric: str | None = None) -> Mapping_:
    """Read a mapping and check it.

    Args:
        source: Path of a YAML file, or what it would hold, or None for no mapping.
        metric: Meaning of a metric that the file does not name, as a column ("eval[set=gsm8k,metric=mean]").

    Raises:
        InputError: If the file is not there or no YAML, or says something that is not known; the nearest possible
            word is named.
    """
    text = _text(source)
    given = _parsed(text, str(source) if isinstance(source, (str, Path)) else "The mapping")
    if metric is not None:
        given = {**given, "metric": metric}
        text = f"{text.rstrip()}\nmetric: {metric}\n".lstrip()
    for name in given:
        if name not in OPTIONS:
            raise InputError(f"The mapping has no option '{name}'.{suggest(str(name), OPTIONS)}")
    columns = given.get("columns") or {}
    if not isinstance(columns, Mapping):
        raise InputError("The mapping's 'columns' must name columns, one a line: <your column>: <field>.")
    return Mapping_(
        columns={str(name): _meaning(str(name), entry) for name, entry in columns.items()},
        step=_name(given, "step"),
        run=_name(given, "run"),
        keys=dialect(_name(given, "keys")).NAME if given.get("keys") else "",
        metric=_meaning("metric", given["metric"]) if given.get("metric") else None,
        text=text,
    )


def check_used(wanted: Mapping_, present: Iterable[str], name: str) -> None:
    """Check that every column which the mapping names is in the log.

    Raises:
        InputError: If one is not, as after a typo; the nearest one that is there is named.
    """
    there = set(present)
    for column in (*wanted.columns, *filter(None, (wanted.step, wanted.run))):
        if column not in there:
            raise InputError(f"{name} has no column '{column}' that the mapping names.{suggest(column, there)}")


def _text(source: str | Path | Mapping[str, Any] | None) -> str:
    if source is None:
        return ""
    if isinstance(source, Mapping):
        try:
            return str(yaml.safe_dump(dict(source), sort_keys=False, allow_unicode=True))
        except yaml.YAMLError as error:
            raise InputError("The mapping must hold names and numbers only, as its YAML file would.") from error
    try:
        if Path(source).stat().st_size > SIZE:
            raise InputError(f"{source} is larger than 1 MiB; a mapping has a few lines. Is it the log itself?")
        return Path(source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not a text in UTF-8; a mapping is a YAML file.") from error
    except OSError as error:
        raise InputError(f"The mapping {source} cannot be read: {error.strerror or error}.") from error


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        _check_plain(text, name)
        given = yaml.safe_load(text)
    except InputError:
        raise
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{name} is no YAML ({' '.join(str(error).split())[:200]}). Write:\n{EXAMPLE}") from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InputError(f"{name} must name options, one a line. Write:\n{EXAMPLE}")
    return given


def _check_plain(text: str, name: str) -> None:
    """Refuse references, which a mapping does not need, and names given twice, where YAML lets the second one win."""
    if any(isinstance(token, (yaml.AliasToken, yaml.AnchorToken)) for token in yaml.scan(text)):
        raise InputError(f"{name} uses YAML references (& and *); write the entries out.")
    nodes = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while nodes:
        node = nodes.pop()
        if not isinstance(node, yaml.MappingNode):
            continue
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [word for word in names if names.count(word) > 1]
        if twice:
            raise InputError(f"{name} names '{twice[0]}' twice; keep one of the lines.")
        nodes.extend(value for _, value in node.value)


def _name(given: Mapping[str, Any], option: str) -> str:
    value = given.get(option)
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        raise InputError(f"The mapping's '{option}' must be one name, not {shown(repr(value))}.")
    return str(value)


def _meaning(name: str, entry: object) -> Key:
    """Return the meaning of one column from "reward_task", "eval[set=math]" or {field: ..., factor: ..., set: ...}."""
    if isinstance(entry, str):
        found, labels = parse_id(entry)
        return Key(re.escape(name), _allowed(name, found), labels=labels)
    if not isinstance(entry, Mapping):
        raise InputError(
            f"The mapping's column '{name}' must be a field or {{field: ..., factor: ...}}, not {shown(repr(entry))}."
        )
    for option in entry:
        if option not in ENTRY:
            raise InputError(f"The mapping's column '{name}' has no option '{option}'.{suggest(str(option), ENTRY)}")
    if "field" not in entry:
        return _other(name, entry)
    found = _allowed(name, check_field(str(entry["field"])))
    labels = {label: str(entry[label]) for label in LABELS if entry.get(label) is not None}
    check_labels(found, labels)
    return Key(re.escape(name), found, _factor(name, entry.get("factor", 1)), str(entry.get("what", "")), labels)


def _allowed(name: str, found: str) -> str:
    if found in ("step", "segment"):
        raise InputError(f"'{found}' is no column of values; name the column of the steps by 'step: {name}'.")
    return found


def _other(name: str, entry: Mapping[str, Any]) -> Key:
    if not entry.get("what"):
        raise InputError(
            f"The mapping's column '{name}' needs 'field' (one of {', '.join(FIELDS)}), or 'what' in words where the "
            "schema has no place for it."
        )
    return Key(re.escape(name), note=str(entry["what"]))


def _factor(name: str, value: object) -> float:
    try:
        factor = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        factor = math.nan
    if not math.isfinite(factor) or factor == 0.0 or isinstance(value, bool):
        raise InputError(
            f"The mapping's column '{name}' has the factor {shown(repr(value))}; give a finite number other than 0."
        )
    return factor
