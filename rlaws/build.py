"""The one place where a ``_target_`` of a configuration becomes an object."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from rlaws.errors import InputError, suggest

ALLOWED = ("rlaws", "sim", "toymodels", "llm_bridge")
EXTRAS = {
    "torch": "toy", "pyarrow": "logs", "ray": "ray", "submitit": "slurm", "vllm": "vllm",
    **dict.fromkeys(("transformers", "tokenizers", "safetensors", "accelerate", "peft", "trl", "datasets"), "llm"),
    **dict.fromkeys(("openai", "reasoning_gym", "math_verify"), "llm"),
}  # fmt: skip
"""Package -> the extra of this distribution that brings it."""


def resolve(target: str, allow: Sequence[str] = ()) -> type[Any]:
    """Return the dataclass that a dotted path names.

    Args:
        target: For example "sim.bernoulli.BernoulliPolicy".
        allow: Packages beside the project's own from which targets may be taken (``allow_targets``).

    Raises:
        InputError: If the path leaves the allowed packages, does not exist, or names no dataclass.
    """
    package = target.split(".")[0]
    if package not in (*ALLOWED, *allow):
        raise InputError(
            f"_target_ '{target}' is outside the allowed packages {', '.join((*ALLOWED, *allow))}; "
            f"add allow_targets=[{package}] if you trust it."
        )
    module_name, dot, name = target.rpartition(".")
    if not dot:
        raise InputError(f"_target_ '{target}' names a package; give package.module.Class.")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != package:
            extra = EXTRAS.get(error.name.split(".")[0])
            how = f"pip install rlaws[{extra}]" if extra else "install it"
            raise InputError(f"_target_ '{target}' needs the package '{error.name}': {how}.") from error
        raise InputError(f"_target_ '{target}': there is no module '{module_name}'.") from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        names = [n for n, v in vars(module).items() if isinstance(v, type) and dataclasses.is_dataclass(v)]
        raise InputError(f"_target_ '{target}': '{module_name}' has no dataclass '{name}'.{suggest(name, names)}")
    return found


def build(spec: Mapping[str, Any], allow: Sequence[str] = ()) -> Any:
    """Return the object of a specification: ``_target_`` and the values of its fields.

    Raises:
        InputError: Unknown or missing field, or a value the class refuses; the key is named.
    """
    cls = resolve(str(spec["_target_"]), allow)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k != "_target_"}
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for name in given:
        if name not in fields:
            raise InputError(f"{cls.__name__} has no setting '{name}'.{suggest(name, fields)}")
    missing = [
        n
        for n, f in fields.items()
        if n not in given and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{cls.__name__} needs a value for {', '.join(missing)}.")
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{cls.__name__}: {error}") from error
