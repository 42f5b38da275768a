"""Laws by name. A law is a class in a file of its own; it is found, never listed.

Three places are looked at: the files of this package, the entry points of the group ``rlaws.laws`` that other
distributions offer, and the folders a user registers. ``law("power")`` imports one file; ``names()`` imports all.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from rlaws.errors import InputError, suggest
from rlaws.laws.base import Law, Limit, Param

__all__ = ["Law", "Limit", "Param", "law", "names", "register_folder"]

GROUP = "rlaws.laws"
_found: dict[str, type[Any]] = {}
_state = {"scanned": False}


def law(name: str) -> Law:
    """Return the law of that name.

    Raises:
        InputError: There is none; the nearest name is suggested.
    """
    if name not in _found and name.isidentifier() and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        _collect(importlib.import_module(f"{__name__}.{name}"))
    if name not in _found:
        _scan()
    if name not in _found:
        raise InputError(f"There is no law '{name}'.{suggest(name, _found)} `rlaws list laws` shows all.")
    return cast(Law, _found[name]())


def names() -> list[str]:
    """Return the names of all laws, sorted."""
    _scan()
    return sorted(_found)


def register_folder(path: str | Path) -> list[str]:
    """Add the laws of a folder of Python files, for example a user's own.

    Args:
        path: Folder; every ``*.py`` in it whose name does not start with an underscore is imported.

    Returns:
        The names that were added.

    Raises:
        InputError: The folder does not exist, holds no law, or repeats a name.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"The folder of laws '{folder}' does not exist; give the folder that holds your law files.")
    added: list[str] = []
    for file in sorted(f for f in folder.glob("*.py") if not f.name.startswith("_")):
        added += _collect(_load(file))
    if not added:
        raise InputError(f"No file in '{folder}' defines a class with name, params and predict; see docs/adding.md.")
    return added


def _load(file: Path) -> ModuleType:
    """Import a file under a name that other processes can find again by registering the same folder."""
    module_name = f"rlaws_user_laws.{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"'{file}' cannot be imported as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def _scan() -> None:
    """Import every law once."""
    if _state["scanned"]:
        return
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("_") and info.name != "base":
            _collect(importlib.import_module(f"{__name__}.{info.name}"))
    for entry in entry_points(group=GROUP):
        offered = entry.load()
        if isinstance(offered, ModuleType):
            _collect(offered)
        else:
            _add(offered)
    _state["scanned"] = True


def _collect(module: ModuleType) -> list[str]:
    """Add the law classes that a module itself defines."""
    classes = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    laws = [c for c in classes if all(hasattr(c, a) for a in ("name", "params", "predict"))]
    return [_add(c) for c in laws]


def _add(cls: type[Any]) -> str:
    name = str(cls.name)
    other = _found.get(name)
    if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise InputError(f"Two laws are called '{name}': in {other.__module__} and in {cls.__module__}; rename one.")
    _found[name] = cls
    return name
