"""Axes that a log does not hold, derived from what it holds: cumulative tokens, compute, samples and GPU hours.

Conventions of compute, N parameters: "generation" counts 2N operations for every generated and 6N for every trained
token (forward, and forward with backward); "6N" counts 6N for every token and nothing for generation. Neither counts
the reference model, the critic, the reward model or attention over long contexts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.logs.canonical import FIELDS
from rlaws.logs.runs import ASSUMED, DERIVED, LOGGED, Column, Run
from rlaws.sentences import Said, said

CONVENTIONS = ("generation", "6N")
AXES = ("tokens_step", "tokens_gen_step", "tokens_cum", "samples_cum", "flops_cum", "gpu_h_cum")


@dataclass(frozen=True, slots=True)
class Setup:
    """What the user knows of a run and its log does not say.

    Attributes:
        parameters: N, parameters of the policy (active ones of a mixture of experts), or None.
        samples: Answers a step, where the log does not count them, or None.
        gpus: GPUs that trained and sampled, or None.
        convention: "generation" or "6N"; see above.
        fill: True to let steps that lack a per-step value take the mean of those that have one, marked as assumed.
    """

    parameters: float | None = None
    samples: float | None = None
    gpus: float | None = None
    convention: str = "generation"
    fill: bool = False

    def check(self) -> None:
        """Check the numbers.

        Raises:
            InputError: If one is not positive and finite, or the convention is unknown.
        """
        for name in ("parameters", "samples", "gpus"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < np.inf:
                raise InputError(f"{name} is {value}; give a positive number.")
        if self.convention not in CONVENTIONS:
            raise InputError(f"There is no convention '{self.convention}'.{suggest(self.convention, CONVENTIONS)}")


def derive(run: Run, setup: Setup) -> Run:
    """Return the run with every axis that can be derived; the others are named in the warnings with what they lack.

    Args:
        run: The run; columns that it has stay.
        setup: What the user knows of it.

    Raises:
        InputError: If the setup is impossible.
    """
    setup.check()
    columns = dict(run.columns)
    refused = []
    for name in AXES:
        if name in columns:
            continue
        try:
            columns[name] = axis(dataclasses.replace(run, columns=columns), name, setup)
        except InputError as error:
            refused.append(said("not_derived", name=name, error=error))
    told = {f"setup.{name}": str(value) for name, value in dataclasses.asdict(setup).items() if value is not None}
    settings = {**run.settings, **told}
    return dataclasses.replace(run, columns=columns, warnings=(*run.warnings, *refused), settings=settings)


def axis(run: Run, name: str, setup: Setup) -> Column:
    """Return one derived axis.

    Args:
        run: The run.
        name: One of ``AXES``.
        setup: What the user knows of the run.

    Returns:
        The column [S], origin "derived", or "assumed" where a number of the setup stands in for a logged one.

    Raises:
        InputError: If a part is missing; the sentence names it.
    """
    setup.check()
    if name not in _RULES:
        raise InputError(f"'{name}' is no axis that can be derived.{suggest(name, AXES)}")
    return _RULES[name](run, setup)


def _part(run: Run, name: str, setup: Setup) -> Column:
    """Return a logged column, or derive it."""
    if name in run.columns:
        return run.columns[name]
    if name in _RULES:
        return axis(run, name, setup)
    meaning = FIELDS[name].meaning
    raise InputError(said("no_part", name=name, meaning=Said(meaning["en"], meaning["zh"])))


def _samples(run: Run, setup: Setup) -> Column:
    """Return answers of each step, logged or as the user says."""
    if "samples_step" in run.columns:
        return run.columns["samples_step"]
    if setup.samples is None:
        raise InputError(said("no_samples_step"))
    everywhere = np.ones(run.step.size, dtype=bool)
    return Column("samples_step", {}, "answer", everywhere * setup.samples, everywhere, ASSUMED, ("setup.samples",))


def _tokens_step(run: Run, setup: Setup) -> Column:
    """Tokens of a step: mean length of prompt and answer, times answers."""
    if "len_total" not in run.columns and {"len_prompt", "len_mean"} <= set(run.columns):
        length = _combined("len_total", [run.columns["len_prompt"], run.columns["len_mean"]], np.add)
    else:
        length = _part(run, "len_total", setup)
    return _combined("tokens_step", [length, _samples(run, setup)], np.multiply)


def _tokens_gen(run: Run, setup: Setup) -> Column:
    """Return generated tokens of a step: mean length of an answer, times answers; or all tokens less the prompts'."""
    if "len_mean" not in run.columns and {"tokens_step", "tokens_prompt_step"} <= set(run.columns):
        return _combined(
            "tokens_gen_step", [run.columns["tokens_step"], run.columns["tokens_prompt_step"]], np.subtract
        )
    return _combined("tokens_gen_step", [_part(run, "len_mean", setup), _samples(run, setup)], np.multiply)


def _tokens_cum(run: Run, setup: Setup) -> Column:
    return _cumulated(run, "tokens_cum", _part(run, "tokens_step", setup), setup)


def _samples_cum(run: Run, setup: Setup) -> Column:
    return _cumulated(run, "samples_cum", _samples(run, setup), setup)


def _gpu_hours(run: Run, setup: Setup) -> Column:
    """GPU hours: seconds of the steps, times GPUs, over 3600; time between steps is not in it."""
    if setup.gpus is None:
        raise InputError("give gpus=, the number of GPUs.")
    seconds = _cumulated(run, "gpu_h_cum", _part(run, "seconds_step", setup), setup)
    return dataclasses.replace(seconds, values=seconds.values * (setup.gpus / 3600.0))


def _flops(run: Run, setup: Setup) -> Column:
    """Operations: 2N a generated and 6N a trained token, or 6N a token."""
    if setup.parameters is None:
        raise InputError(said("no_parameters"))
    trained = _whole(run, "tokens_cum", setup)
    parts = [trained]
    values = 6.0 * setup.parameters * trained.values
    if setup.convention == "generation":
        generated = _cumulated(run, "flops_cum", _part(run, "tokens_gen_step", setup), setup)
        parts.append(generated)
        values = values + 2.0 * setup.parameters * generated.values
    present = np.logical_and.reduce([part.present for part in parts])
    return Column("flops_cum", {}, "FLOP", np.where(present, values, np.nan), present, _origin(parts), _keys(parts))


def _whole(run: Run, name: str, setup: Setup) -> Column:
    """Return a total that does not fall: a logged one that starts again at a resume is put behind what came before.

    Raises:
        InputError: If it falls anywhere else.
    """
    total = _part(run, name, setup)
    finite = np.flatnonzero(total.finite())
    falls = finite[1:][np.diff(total.values[finite]) < 0]
    if not falls.size:
        return total
    starts = _starts(run)
    lead = np.zeros(run.step.size)
    for at in falls:
        before = finite[finite < at][-1]
        if not ((starts > before) & (starts <= at)).any():
            raise InputError(f"{name} falls at step {run.step[at]:g}, where the run was not resumed; a total cannot.")
        lead[at:] += total.values[before]
    return dataclasses.replace(total, values=total.values + lead, origin=DERIVED, keys=(name,))


def _starts(run: Run) -> NDArray[np.int64]:
    """Return the indices at which a segment begins."""
    if "segment" not in run.columns:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.diff(run.columns["segment"].values) > 0) + 1


def _combined(
    name: str,
    parts: list[Column],
    rule: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> Column:
    present = parts[0].present & parts[1].present
    values = np.where(present, rule(parts[0].values, parts[1].values), np.nan)
    return Column(name, {}, FIELDS[name].unit, values, present, _origin(parts), _keys(parts))


def _cumulated(run: Run, name: str, part: Column, setup: Setup) -> Column:
    """Return the running sum of a per-step column over the run's steps, across resumes.

    Every step from the first one on must have a value: a step that was not logged was run all the same.

    Raises:
        InputError: If a value is missing and ``fill`` is not set.
    """
    finite = part.finite()
    if not finite.any():
        raise InputError(f"{part.field} has no finite value.")
    first = int(np.argmax(finite))
    lost = _lost(run, first, finite)
    if lost and not setup.fill:
        raise InputError(said("part_missing", name=part.field, where=lost))
    values, present = part.values, np.arange(run.step.size) >= first
    usual = float(values[finite].mean())
    counted = np.where(finite, values, usual if setup.fill else 0.0)
    counted[:first] = 0.0
    if setup.fill:
        counted[1:] += np.maximum(np.diff(run.step) - 1.0, 0.0) * usual * present[:-1]
        counted[first] += max(run.step[first] - 1.0, 0.0) * usual
    present = np.ones(run.step.size, dtype=bool)
    origin = ASSUMED if lost else _origin([part])
    return Column(name, {}, FIELDS[name].unit, np.cumsum(counted), present, origin, (part.field,))


def _lost(run: Run, first: int, finite: NDArray[np.bool_]) -> str:
    """Return which steps lack a value, in words, or ""."""
    step = run.step
    if step[first] > 1.0:
        return f"before step {step[first]:g}, where the log begins"
    holes = step[first:][~finite[first:]]
    if holes.size:
        return f"at {holes.size} steps (first: {holes[0]:g})"
    skipped = np.flatnonzero(np.diff(step[first:]) > 1.0)
    if skipped.size:
        at = first + int(skipped[0])
        return f"between the steps {step[at]:g} and {step[at + 1]:g}, which follow each other in the log"
    return ""


def _origin(parts: list[Column]) -> str:
    return ASSUMED if any(part.origin == ASSUMED for part in parts) else DERIVED


def _keys(parts: list[Column]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.field if part.origin == LOGGED else name for part in parts for name in part.keys))


_RULES: Mapping[str, Callable[[Run, Setup], Column]] = {
    "tokens_step": _tokens_step,
    "tokens_gen_step": _tokens_gen,
    "tokens_cum": _tokens_cum,
    "samples_cum": _samples_cum,
    "flops_cum": _flops,
    "gpu_h_cum": _gpu_hours,
}
