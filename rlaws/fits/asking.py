"""What ``rlaws fit`` was asked, and the choices it makes where nothing was said: response and axis."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlaws.errors import InputError, suggest
from rlaws.logs.canonical import FIELDS, parse_id
from rlaws.logs.recipes import Facts, Logs, bounds, direction, in_settings
from rlaws.logs.runs import DERIVED, LOGGED, Run

AXES = {
    "step": "step",
    "samples": "samples_cum",
    "tokens_cum": "tokens_cum",
    "flops_cum": "flops_cum",
    "gpu_h_cum": "gpu_h_cum",
}
SHORT = {"tokens": "tokens_cum", "flops": "flops_cum", "gpu_h": "gpu_h_cum", "samples_cum": "samples"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The settings that decide the numbers of a fit; ``conf/fit.yaml`` says what each is.

    Attributes:
        logs: Which logs, and how they are read.
        facts: What the user knows of the runs.
        responses: Columns to forecast; none for the rule.
        range: Lowest and highest value of the responses, where the logs do not tell; None for unknown.
        better: "higher", "lower", or None to tell it from the name.
        x: Axis, one of ``AXES``; None for the rule.
        laws: Laws of the mixture; none for those of ``forecast``.
        links: Scales of the fit; the first one is shown, the others are compared with it.
        horizon: x to forecast to, or None for three times the last.
        target: Value of the response that is wanted, or None.
        budget: x by which; None for the horizon.
        cost: Cost of one unit of x, with ``value``, the value of one unit of the response; or None.
        value: See ``cost``.
        minimal_gain: Gain below which going on is not worth it, or None.
        level: Level of the bands.
        draws: Draws of the forecast.
        scores: Shares of each run after which a forecast of the rest is scored.
        size: Model size, in 1e9 parameters, whose curve is predicted from the others; or None.
        questions: Questions of the evaluation set, or None.
        converged: Whether all runs have converged.
        averaged: Independent runs that every logged curve is already the mean of.
        claims: Claims to judge; None for all that the logs can answer.
        claims_budget: Budget of their studies.
        seed: Root seed.
        step: Step whose answers per problem count, or None for the last.
        threshold: An answer with at least this score is right; None where scores are 0/1 or -1/1.
    """

    logs: Logs
    facts: Facts
    responses: tuple[str, ...] = ()
    range: tuple[float | None, float | None] = (None, None)
    better: str | None = None
    x: str | None = None
    laws: tuple[str, ...] = ()
    links: tuple[str, ...] = ("absolute",)
    horizon: float | None = None
    target: float | None = None
    budget: float | None = None
    cost: float | None = None
    value: float | None = None
    minimal_gain: float | None = None
    level: float = 0.9
    draws: int = 2000
    scores: tuple[float, ...] = (0.3, 0.5, 0.7)
    size: float | None = None
    questions: int | None = None
    converged: bool = False
    averaged: int = 1
    claims: tuple[str, ...] | None = None
    claims_budget: str = "quick"
    seed: int = 0
    step: float | None = None
    threshold: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


FORECASTS_ONLY = ("response", "x", "horizon", "target", "budget", "cost", "value", "minimal_gain", "size")
ANSWERS_ONLY = ("step", "threshold")


def check_kinds(asked: Asked, logs: bool, answers: bool) -> None:
    """Check that every setting speaks of something that is among the logs.

    Raises:
        InputError: If it speaks of training logs where there are answers per problem only, or the reverse.
    """
    given = {n: getattr(asked, n, None) for n in (*FORECASTS_ONLY, *ANSWERS_ONLY)} | {"response": asked.responses}
    facts = {n: getattr(asked.facts, n) for n in ("sizes", "families", "groups", "reuse", "recipes", "batch", "gpus")}
    if not logs:
        for name in (n for n, v in {**given, **facts}.items() if n not in ANSWERS_ONLY and v not in (None, (), {})):
            raise InputError(f"{name}: it is about training logs, and these are answers per problem; leave it out.")
    if not answers:
        for name in (n for n in ANSWERS_ONLY if given[n] is not None):
            raise InputError(f"{name}: it is about answers per problem, and none is among the logs; leave it out.")


@dataclass(frozen=True, slots=True)
class Axis:
    """The variable along which a forecast goes.

    Attributes:
        name: What the user calls it.
        column: Column of the runs; "step" for the trainer's steps.
        unit: Its unit.
        origin: "logged", "derived" or "assumed": the weakest of the runs.
        rule: Why it was chosen, in a sentence by language.
    """

    name: str
    column: str
    unit: str
    origin: str
    rule: Mapping[str, str]


def axis_of(runs: Sequence[Run], wanted: str | None) -> Axis:
    """Return the axis that was asked for; else tokens if every run logs them, else the trainer's steps.

    Args:
        runs: The runs, with derived axes.
        wanted: A name of ``AXES``, or None.

    Raises:
        InputError: Unknown axis, or a run has no such column; its reason is told.
    """
    if wanted is None:
        if all("tokens_cum" in run.columns and _logged(run) for run in runs):
            return _axis(runs, "tokens_cum", _RULES["tokens"])
        return _axis(runs, "step", _RULES["step"])
    name = SHORT.get(wanted, wanted)
    if name not in AXES:
        raise InputError(f"x = '{wanted}' is no axis.{suggest(wanted, AXES)}")
    column = AXES[name]
    for run in runs:
        if column != "step" and column not in run.columns:
            said = next((w for w in run.warnings if w.startswith(f"{column} is not derived")), "it cannot be derived.")
            raise InputError(f"x = {wanted}: the run '{run.name}' does not log it; {in_settings(said)}.")
    return _axis(runs, name, _RULES["asked"])


_RULES = {
    "tokens": {
        "en": "Every run logs its tokens, so they are the axis.",
        "zh": "每次运行都记录了词元数，故以其为横轴。",
    },
    "step": {
        "en": "Not every run logs its tokens, so the trainer's steps are the axis.",
        "zh": "并非每次运行都记录词元数，故以训练步数为横轴。",
    },
    "asked": {"en": "As asked.", "zh": "按设置。"},
}


def _logged(run: Run) -> bool:
    """Whether tokens were logged, as a total or for every step."""
    return run.columns["tokens_cum"].origin == LOGGED or run.columns["tokens_cum"].keys == ("tokens_step",)


def _axis(runs: Sequence[Run], name: str, rule: Mapping[str, str]) -> Axis:
    column = AXES[name]
    if column == "step":
        return Axis(name, column, "updates", LOGGED, rule)
    origins = {run.columns[column].origin for run in runs}
    worst = LOGGED if origins == {LOGGED} else DERIVED if origins <= {LOGGED, DERIVED} else "assumed"
    return Axis(name, column, FIELDS[column].unit, worst, rule)


def metric_of(name: str, runs: Sequence[Run], asked: Asked) -> Any:
    """Return name, range and direction of a response.

    Raises:
        InputError: If the range is empty, or the direction unknown.
    """
    from rlaws.forecast.curves import Metric

    low, high = bounds(name, runs)
    low = low if asked.range[0] is None else asked.range[0]
    high = high if asked.range[1] is None else asked.range[1]
    return Metric(name, low, high, asked.better or direction(name))


def unit_of(name: str, low: float | None, high: float | None) -> str:
    """Return the unit of a response for axes and tables."""
    unit = FIELDS[parse_id(name)[0]].unit
    if unit != "?":
        return unit
    return "share" if (low, high) == (0.0, 1.0) else "reward"


def listed(text: Any) -> list[str]:
    """Return the words of a setting that takes one or several: "[a, b]", "a", or a list.

    Brackets and quotes inside keep their commas: "[eval[set=math,metric=mean], reward_task]" are two words.
    """
    if text is None:
        return []
    if isinstance(text, Sequence) and not isinstance(text, str):
        return [str(word) for word in text]
    text = str(text).strip()
    if not _enclosed(text):
        return [_bare(text)] if text else []
    return [_bare(word) for word in _split(text[1:-1]) if word.strip()]


def _enclosed(text: str) -> bool:
    """Whether the first bracket closes at the last character."""
    if not text.startswith("[") or not text.endswith("]"):
        return False
    depth = 0
    for i, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if depth == 0:
            return i == len(text) - 1
    return False


def _split(text: str) -> list[str]:
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote or sign in "'\"":
            quote = "" if sign == quote else quote or sign
        depth += 0 if quote else (sign in "[{(") - (sign in "]})")
        if sign == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _bare(word: str) -> str:
    word = word.strip()
    found = re.fullmatch(r"'(.*)'|\"(.*)\"", word, re.DOTALL)
    return next((g for g in found.groups() if g is not None), "") if found else word


def paired(name: str, given: Any) -> dict[str, Any]:
    """Return a setting by pattern of run names: a mapping, YAML text of one, or one value for all runs.

    Raises:
        InputError: If it is none of these.
    """
    import yaml

    if isinstance(given, str):
        try:
            given = yaml.safe_load(given)
        except yaml.YAMLError as error:
            raise InputError(
                f"{name}: '{given}' is not readable; write {name}=\"{{'*0.5b*': 0.5}}\", with quotes around patterns."
            ) from error
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {str(k): v for k, v in given.items()}
    if isinstance(given, (str, int, float)) and not isinstance(given, bool):
        return {"*": given}
    raise InputError(f"{name}: give one value, or {{pattern: value}}.")
