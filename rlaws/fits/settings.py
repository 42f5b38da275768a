"""The settings of ``rlaws fit`` as a user writes them, checked once and turned into what the rest takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rlaws.errors import InputError, suggest
from rlaws.fits.asking import Asked, listed, paired
from rlaws.links import LINKS
from rlaws.logs.recipes import Facts, Logs

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
TEXTS = ("logs", "dialect", "mapping", "metric", "response", "sizes", "families", "groups", "reuse", "recipes")
"""Settings whose values hold signs (``*``, brackets, commas) that the grammar of overrides would take for its own."""
FLAGS = {"--explain": "explain=true", "--json": "json=true"}


def quoted(args: Sequence[str]) -> list[str]:
    """Return the arguments of ``rlaws fit`` with flags as settings and texts in quotes.

    Raises:
        InputError: A word that is neither a setting nor a flag, such as a path without ``logs=``.
    """
    out = []
    for i, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if not equals and not arg.startswith(("-", "~")) and not (i and args[i - 1] in _TAKE_A_WORD):
            raise InputError(f"'{arg}' is no setting. Logs are given as logs={arg}, several as logs=[a,b].")
        if name in TEXTS and value != "null" and not _is_quoted(value):
            out.append(f"{name}='{_escaped(value)}'")
        else:
            out.append(FLAGS.get(arg, arg))
    return out


def typed(word: str) -> str:
    """Return a setting as its user typed it: the inverse of ``quoted``."""
    name, _, value = word.partition("=")
    if name not in TEXTS or not _is_quoted(value):
        return word
    bare = re.sub(r"(\\*)\1\\'", lambda m: f"{m[1]}'", value[1:-1]).replace(r"\${", "${")
    tail = len(bare) - len(bare.rstrip("\\"))
    return f"{name}={bare[: len(bare) - tail // 2]}"


_TAKE_A_WORD = ("--cfg", "-c", "--config-dir", "-cd", "--package", "-p", "--info", "-i")


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def _escaped(value: str) -> str:
    """Return text that stands between single quotes in an override, and in which nothing is interpolated."""
    value = re.sub(r"(\\*)'", lambda m: f"{m[1]}{m[1]}\\'", value.replace("${", r"\${"))
    tail = len(value) - len(value.rstrip("\\"))
    return value + "\\" * tail


class FitSettings(BaseModel):
    """The composed configuration of ``rlaws fit``; ``conf/fit.yaml`` says what each key is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    logs: list[str]
    dialect: str | None
    mapping: str | None
    metric: str | None
    join: bool
    response: list[str]
    range: tuple[Finite | None, Finite | None]
    better: Literal["higher", "lower"] | None
    x: str | None
    horizon: Positive | None
    laws: list[str]
    links: list[str] = Field(min_length=1)
    level: float = Field(gt=0.5, lt=1)
    draws: int = Field(ge=200)
    scores: list[Annotated[float, Field(gt=0, lt=1)]]
    target: Finite | None
    budget: Positive | None
    cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    value: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    minimal_gain: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    sizes: dict[str, Positive]
    families: dict[str, str]
    groups: dict[str, Positive]
    reuse: dict[str, Positive]
    recipes: dict[str, str]
    batch: Positive | None
    gpus: Positive | None
    convention: str
    fill: bool
    size: Positive | None
    questions: int | None = Field(ge=1)
    converged: bool
    averaged: int = Field(ge=1)
    claims: list[str] | None
    claims_budget: Literal["quick", "full"]
    seed: int = Field(ge=0)
    step: Finite | None
    threshold: Finite | None
    out: Path
    report: Path | None
    explain: bool
    json_output: bool = Field(alias="json")

    @field_validator("logs", "response", "laws", "links", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        return listed(given)

    @field_validator("claims", "scores", mode="before")
    @classmethod
    def _list(cls, given: Any) -> Any:
        """Take a single value for a list of one."""
        return given if given is None or isinstance(given, list) else [given]

    @field_validator("families", "recipes", mode="before")
    @classmethod
    def _names(cls, given: Any, info: Any) -> Any:
        return {k: str(v) for k, v in paired(info.field_name, given).items()}

    @field_validator("sizes", "groups", "reuse", mode="before")
    @classmethod
    def _numbers(cls, given: Any, info: Any) -> Any:
        return paired(info.field_name, given)

    @field_validator("links")
    @classmethod
    def _known_links(cls, links: list[str]) -> list[str]:
        for name in links:
            if name not in LINKS:
                raise InputError(f"there is no link '{name}'.{suggest(name, LINKS)}")
        return list(dict.fromkeys(links))


def validate(values: Mapping[str, Any]) -> FitSettings:
    """Check a composed configuration.

    Raises:
        InputError: One line an error, each naming the key.
    """
    try:
        return FitSettings.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(_sentence(e) for e in error.errors())) from error


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        possible = [f.alias or n for n, f in FitSettings.model_fields.items()]
        return f"{key}: there is no such key.{suggest(key, possible)}"
    if error["type"] == "value_error":
        return f"{key}: {error['msg'].removeprefix('Value error, ').removeprefix(f'{key}: ')}"
    return f"{key}: {error['msg']} (got {error['input']!r})."


def to_asked(model: FitSettings) -> Asked:
    """Return what a validated configuration asks.

    Raises:
        InputError: Settings that do not go together, an unknown law or convention.
    """
    from rlaws.laws import law

    for name in model.laws:
        law(name)
    if (model.cost is None) != (model.value is None):
        raise InputError("cost and value go together: of one unit of x, and of one unit of the response.")
    low, high = model.range
    if low is not None and high is not None and low >= high:
        raise InputError(f"range = [{low:g}, {high:g}] is empty; give the lowest and the highest value.")
    facts = Facts(
        model.sizes, model.families, model.groups, model.reuse, model.recipes, model.batch, model.gpus,
        model.convention, model.fill,
    )  # fmt: skip
    logs = Logs(tuple(model.logs), model.dialect, model.mapping, model.metric, model.join)
    shared = ("better", "x", "horizon", "target", "budget", "cost", "value", "minimal_gain", "level", "draws",
              "size", "questions", "converged", "averaged", "claims_budget", "seed", "range", "step",
              "threshold")  # fmt: skip
    return Asked(
        logs, facts, tuple(model.response), laws=tuple(model.laws), links=tuple(model.links),
        scores=tuple(model.scores), claims=None if model.claims is None else tuple(model.claims),
        **{name: getattr(model, name) for name in shared},
    )  # fmt: skip
