"""Folders of large_language_monkeys: a YAML file a problem, with "is_correct", a list of true and false.

The files hold every sampled text, so they are read event by event and only that list is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import yaml

from rlaws.errors import InputError
from rlaws.logs import readers
from rlaws.logs.dialects.base import Count, Head, Tell

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LISTS = ("is_correct", "is_corrects")
_MARKS = ("question:", "prompt:", "samples:", "gt_answer:", "is_correct")
_SUFFIXES = (".yaml", ".yml")


class Monkeys:
    """A file a problem."""

    NAME: ClassVar[str] = "monkeys"
    TITLE: ClassVar[str] = "evaluated samples of large_language_monkeys (a YAML file a problem)"
    NEEDS: ClassVar[str] = "YAML files with 'samples' and the list 'is_correct', which its evaluation writes"

    def sniff(self, head: Head) -> float:
        """Return how sure a file is one, or a folder holds nothing else."""
        if head.members:
            files = [name for name in head.members if name.endswith(_SUFFIXES)]
            return self.sniff(readers.head(head.path / files[0])) if files and len(files) == len(head.members) else 0.0
        lines = head.text.splitlines()
        marks = sum(any(line.startswith(mark) for line in lines) for mark in _MARKS)
        return 0.9 if marks >= 2 else 0.2 * marks

    def counts(self, path: Path, tell: Tell, warn: Callable[[str], None]) -> Iterator[Count]:
        """Yield a count a file; the problem is named by its file, the folder is the model's.

        Raises:
            InputError: If a file is no YAML, or no file has the list.
        """
        files = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES) if path.is_dir() else [path]
        found = False
        for file in files:
            outcomes = _outcomes(file)
            tell(file.stat().st_size)
            if outcomes is None:
                warn(f"{file.name} has no list 'is_correct' of true and false (not evaluated?); it is left out.")
                continue
            found = True
            name = file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem
            yield Count(None, name, *outcomes)
        if not found:
            raise InputError(f"{path}: no file has a list 'is_correct'; run large_language_monkeys' evaluation first.")


def _outcomes(file: Path) -> tuple[int, int] | None:
    """Return samples and right ones of a file, or None where it has no such list.

    Raises:
        InputError: If it is no YAML.
    """
    try:
        with file.open("rb") as source:
            return _counted(yaml.parse(source, Loader=_LOADER))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{file} is no YAML ({readers.shown(text, 120)}); is it cut off?") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error


def _counted(events: Iterator[Any]) -> tuple[int, int] | None:
    """Return length and number of true of the list under the key, at the level of the document."""
    depth, inside, key = 0, False, ""
    words: list[str] = []
    found: list[str] | None = None
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            inside = inside or (depth == 1 and key in _LISTS and isinstance(event, yaml.SequenceStartEvent))
            words = [] if inside and depth == 1 else words
            depth += 1
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            if depth == 1:
                found = words if inside else found
                inside, key = False, ""
        elif isinstance(event, yaml.ScalarEvent) and inside:
            words.append(event.value.lower())
        elif isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent)) and depth == 1:
            key = "" if key else getattr(event, "value", "")
    if found is None or not set(found) <= {"true", "false"}:
        return None
    return len(found), found.count("true")


DIALECT = Monkeys()
