"""Settings of a policy: how a probe sweeps one, or reads one, without knowing the policy's kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rlaws.errors import InputError, suggest


def setting(policy: Any, name: str) -> Any:
    """Return a setting of a policy.

    Raises:
        InputError: If the policy has none of that name.
    """
    known = [f.name for f in dataclasses.fields(policy)] if dataclasses.is_dataclass(policy) else []
    if name not in known:
        raise InputError(f"{type(policy).__name__} has no setting '{name}'.{suggest(name, known)}")
    return getattr(policy, name)


def vary(policy: Any, **settings: Any) -> Any:
    """Return the same policy with other settings, checked as at its making.

    Raises:
        InputError: If the policy has no such setting.
    """
    for name in settings:
        setting(policy, name)
    return dataclasses.replace(policy, **settings)


def needs(policy: Any, methods: tuple[str, ...], probe: str) -> None:
    """Refuse a policy that cannot tell what a probe asks of it.

    Args:
        policy: The policy, or the policy of a checkpoint.
        methods: Names of methods that the probe calls.
        probe: Name of the probe.

    Raises:
        InputError: If a method is missing.
    """
    missing = [m for m in methods if not hasattr(policy, m)]
    if missing:
        raise InputError(f"Probe '{probe}' asks for {', '.join(missing)}; {type(policy).__name__} cannot tell.")


def along(policy: Any, axis: str, values: Sequence[Any], scale: str) -> list[tuple[float, Any]]:
    """Return the policy at each value of a setting, with where it then stands on a scale.

    Args:
        policy: The policy.
        axis: The setting that is varied.
        values: Its values.
        scale: What the policy tells of itself, a setting or a property: "exact_parameters" for the size of a model.

    Raises:
        InputError: If the policy has no such setting or scale, or stands at the same place twice.
    """
    varied = [vary(policy, **{axis: value}) for value in values]
    needs(varied[0], (scale,), "one along a scale")
    places = [float(getattr(p, scale)) for p in varied]
    if len(set(places)) < len(places):
        raise InputError(f"{scale} is {places} at {axis} = {list(values)}; needed are values that differ in it.")
    return list(zip(places, varied, strict=True))
