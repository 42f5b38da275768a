"""The dialects of training logs, one module each; a module with an object ``DIALECT`` is found by being here."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from rlaws.errors import InputError, suggest
from rlaws.logs.dialects.base import Anyhow


@cache
def dialects() -> Mapping[str, Anyhow]:
    """Return every dialect by name, in the order of the names.

    Raises:
        InputError: If two modules give their dialect one name.
    """
    found: dict[str, Anyhow] = {}
    for module in pkgutil.iter_modules(__path__):
        dialect = getattr(importlib.import_module(f"{__name__}.{module.name}"), "DIALECT", None)
        if dialect is None:
            continue
        if dialect.NAME in found:
            raise InputError(f"Two dialects are named '{dialect.NAME}': {module.name}.py and another; rename one.")
        found[dialect.NAME] = dialect
    return {name: found[name] for name in sorted(found)}


def dialect(name: str) -> Anyhow:
    """Return one dialect.

    Raises:
        InputError: If there is none of that name.
    """
    if name not in dialects():
        raise InputError(f"There is no log dialect '{name}'.{suggest(name, dialects())}")
    return dialects()[name]
