"""Forecasts of imported runs as plain values: bands, target, advice, bends, naive forecasts and scores of a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError
from rlaws.fits.asking import Asked, Axis, metric_of, unit_of
from rlaws.forecast.bands import LAWS, Forecast, disagreement, forecast
from rlaws.forecast.bends import Diagnosis, diagnose, turn
from rlaws.forecast.curves import FEWEST, Curve, Metric, as_curves, lay_out, scale_of
from rlaws.forecast.members import members_of
from rlaws.forecast.scoring import naive_draws, score
from rlaws.forecast.stopping import Advice, advise
from rlaws.forecast.targets import reach
from rlaws.forecast.weights import draw
from rlaws.forecasts import FORECASTS
from rlaws.jsonable import plain
from rlaws.logs.canonical import parse_id
from rlaws.logs.recipes import Recipe
from rlaws.logs.runs import Run
from rlaws.seeding import generator, seed_sequence, word
from rlaws.sentences import Said, said, text_of

Array = NDArray[np.float64]

AHEAD = 40  # points of a forecast between the last x and the horizon
WITHIN = 40  # points of the curve within the data
TIMES = 3.0  # the horizon, as a multiple of the last x, where none is given
STORED = 2000  # points of a run that are stored
SCORED = 3  # runs of a recipe whose forecasts are scored
DIGITS = 8


@dataclass(frozen=True, slots=True)
class Task:
    """One forecast to make: a response of a recipe along an axis."""

    recipe: Recipe
    response: str
    axis: Axis
    metric: Metric


def tasks(recipes: Sequence[Recipe], axis: Axis, asked: Asked) -> list[Task]:
    """Return the forecasts to make, response by response.

    Raises:
        InputError: If the target lies outside a response's range, or the horizon behind all that was logged.
    """
    runs = [run for recipe in recipes for run in recipe.runs]
    found = []
    for response in asked.responses:
        metric = metric_of(response, runs, asked)
        if asked.target is not None:
            metric.check(asked.target, "target")
        having = [r for r in recipes if any(response in run.columns for run in r.runs)]
        found += [Task(recipe, response, axis, metric) for recipe in having]
    ends = [_last(task) for task in found]
    if asked.horizon is not None and ends and asked.horizon <= min(ends):
        raise InputError(
            f"horizon = {asked.horizon:g} is behind the last {axis.name} of every run ({min(ends):g} and more); "
            "nothing is left to forecast."
        )
    return found


def _last(task: Task) -> float:
    """Return the last x of a recipe's runs; 0 where there is none."""
    curves = (curve_of(run, task.response, task.axis)[0] for run in task.recipe.runs)
    return max((float(c.x[-1]) for c in curves if c is not None), default=0.0)


def curve_of(run: Run, response: str, axis: Axis) -> tuple[Curve | None, int]:
    """Return the curve of a run, and how many evaluations were left out because x does not rise there."""
    column = run.columns.get(response)
    if column is None:
        return None, 0
    x = run.step if axis.column == "step" else run.columns[axis.column].values
    there = column.finite() & np.isfinite(x)
    x, y = x[there], column.values[there]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(x)[:-1]])
    keep = x > before
    return (Curve(x[keep], y[keep], run.name) if keep.any() else None), int((~keep).sum())


def made(task: Task, asked: Asked, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return one forecast with all that belongs to it, as plain values.

    A recipe whose curves cannot be forecast (too short, bent) has its reason under "refusal" instead of bands.

    Args:
        task: What to forecast.
        asked: The settings.
        tell: Told what is being done.
    """
    pairs = [curve_of(run, task.response, task.axis) for run in task.recipe.runs]
    curves = [c for c, _ in pairs if c is not None]
    dropped = sum(n for _, n in pairs)
    out: dict[str, Any] = {
        "response": task.response,
        "unit": unit_of(task.response, task.metric.low, task.metric.high),
        "metric": dataclasses.asdict(task.metric),
        "recipe": task.recipe.name,
        "size": task.recipe.size,
        "x": dataclasses.asdict(task.axis),
        "runs": [_stored(curve) for curve in curves],
        "notes": [said("not_rising", n=dropped, axis=task.axis.name)] if dropped else [],
        "level": asked.level,
    }
    tell(f"{task.recipe.name}: bends")
    out |= _bends(task, curves)
    tell(f"{task.recipe.name}: forecast")
    try:
        out |= _forecast(task, curves, asked)
    except InputError as error:
        out["refusal"] = _in_settings(error)
    tell(f"{task.recipe.name}: scores")
    out["scoring"] = _scores(task, curves, asked)
    return dict(plain(_rounded(out)))


def _in_settings(error: InputError) -> dict[str, str]:
    """Return why there is no forecast, in the words of the settings here."""
    its, ours = text_of(said("bend_way_out")), text_of(said("laws_way_out"))
    return {n: text.replace(its[n], ours[n]) for n, text in text_of(error).items()}


def _rounded(value: Any) -> Any:
    """Return the same with sentences in both languages and arrays cut to the digits that mean something."""
    if isinstance(value, Said):
        return text_of(value)
    if isinstance(value, np.ndarray):
        return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in np.asarray(value, dtype=float).ravel()]
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) and np.isfinite(value) else value


def _stored(curve: Curve) -> dict[str, Any]:
    """Return a run's points, evenly thinned where they are more than a figure can show."""
    rows = np.unique(np.linspace(0, curve.x.size - 1, min(curve.x.size, STORED)).round().astype(int))
    return {"run": curve.run, "points": curve.x.size, "x": curve.x[rows], "y": curve.y[rows]}


# ------------------------------------------------------------------------------------------------ the forecast
def _forecast(task: Task, curves: Sequence[Curve], asked: Asked) -> dict[str, Any]:
    """Return bands, weights, target, advice and the other links.

    Raises:
        InputError: If the curves cannot be forecast.
    """
    if not curves:
        raise InputError(said("no_value", response=task.response, axis=task.axis.name))
    last = max(float(c.x[-1]) for c in curves)
    end = _horizon(task, asked, last)
    at = np.geomspace(last, end, AHEAD + 1)
    at[0], at[-1] = last, end  # what rounding may have moved
    by_link = {link: _linked(task, curves, at, link, asked) for link in asked.links}
    found = by_link[asked.links[0]]
    return {
        **_banded(found, _within(task, curves, found, asked)),
        "naive": _naive(curves, found.at, asked),
        "target": _target(found, asked),
        "advice": _advice(found, asked),
        "links": _links(by_link),
    }


def _horizon(task: Task, asked: Asked, last: float) -> float:
    end = TIMES * last if asked.horizon is None else asked.horizon
    if end <= last:
        raise InputError(said("behind", end=end, axis=task.axis.name, recipe=task.recipe.name, last=last))
    return max(end, asked.budget or 0.0)


def _linked(task: Task, curves: Sequence[Curve], at: Array, link: str, asked: Asked) -> Forecast:
    stream = seed_sequence(asked.seed, "fit", task.response, task.recipe.name)
    return forecast(
        list(curves), at, metric=task.metric, laws=asked.laws or LAWS, link=link, reference=_reference(curves, link),
        level=asked.level, draws=asked.draws, seed=word(stream) % 2**32,
    )  # fmt: skip


def _reference(curves: Sequence[Curve], link: str) -> float | None:
    """Return the response before training, where it was measured and the link takes one."""
    first = [c.y[0] for c in curves if c.x[0] == 0.0]
    return float(np.mean(first)) if first and link != "absolute" else None


def _within(task: Task, curves: Sequence[Curve], found: Forecast, asked: Asked) -> tuple[Array, Array]:
    """Return x within the data and draws of the laws of the mixture there, by their weights, [draws, X].

    Members without a form follow the points themselves and have no curve there; no draws where they have all weight.
    """
    kept = as_curves(list(curves))
    scale = scale_of(task.metric, found.link, _reference(curves, found.link), np.concatenate([c.y for c in kept]))
    runs = lay_out(kept, scale)
    members, _ = members_of(asked.laws or LAWS, scale, np.concatenate([runs.x, found.at]))
    weight = np.array([found.weights.get(m.name, 0.0) for m in members])
    x = np.geomspace(float(runs.x.min()), found.last_x, WITHIN)[:-1]
    rng = generator(asked.seed, "fit", "within", task.response, task.recipe.name)
    count = rng.multinomial(asked.draws, weight / weight.sum()) if weight.sum() > 0 else np.zeros(len(members), int)
    samples = [draw(m, runs, scale, x, int(c), rng) for m, c in zip(members, count, strict=True) if c]
    parts = [s.curve for s in samples if s is not None]
    return x, (scale.back(np.concatenate(parts)) if parts else np.zeros((0, x.size)))


def _banded(found: Forecast, within: tuple[Array, Array]) -> dict[str, Any]:
    """Return bands of the laws within the data and of the whole mixture from its end on."""
    x, draws = within
    tail = 0.5 * (1.0 - found.level)
    past = np.quantile(draws, [0.5, tail, 1.0 - tail], axis=0) if draws.size else np.full((3, x.size), np.nan)
    mean, run = found.mean_interval(), found.new_run_interval()
    unknown = np.full(x.size, np.nan)
    bands = {"x": (x, found.at), "y": (past[0], found.point()), "low": (past[1], mean[0]), "high": (past[2], mean[1]),
             "new_low": (unknown, run[0]), "new_high": (unknown, run[1])}  # fmt: skip
    return {
        "bands": {name: np.concatenate(parts) for name, parts in bands.items()},
        "last_x": found.last_x,
        "link": found.link,
        "weights": dict(found.weights),
        "rolling": {"origins": list(found.origins), "log_density": dict(found.scores)},
        "forecast_notes": list(found.notes),
    }


def _naive(curves: Sequence[Curve], at: Array, asked: Asked) -> dict[str, Any]:
    """Return the two naive forecasts, averaged over the runs."""
    found: dict[str, Any] = {"x": at}
    usable = [Curve(c.x[c.x > 0], c.y[c.x > 0], c.run) for c in curves]
    rng = generator(asked.seed, "fit", "naive")
    for method in FORECASTS:
        found[method] = np.mean([naive_draws(c, at, method, 1, rng)[0] for c in usable if c.x.size > 1], axis=0)
    return found


def _target(found: Forecast, asked: Asked) -> dict[str, Any] | None:
    if asked.target is None:
        return None
    try:
        reached = reach(found, asked.target, asked.budget)
    except InputError as error:
        return {"value": asked.target, "refusal": text_of(error)}
    quantiles = [{"share": p, "x": x if np.isfinite(x) else None} for p, x in reached.quantiles.items()]
    return {"value": reached.target, "by": reached.budget, "chance": reached.chance, "error": reached.error,
            "x": reached.at, "chance_by": reached.chance_by, "quantiles": quantiles,
            "sentence": reached.sentence}  # fmt: skip


def _advice(found: Forecast, asked: Asked) -> dict[str, Any] | None:
    if asked.cost is None and asked.minimal_gain is None:
        return None
    said: Advice = advise(found, cost=asked.cost, value=asked.value, minimal_gain=asked.minimal_gain)
    options = [dataclasses.asdict(o) for o in said.options]
    return {"stop": said.stop, "best": said.best, "sentence": said.sentence, "options": options}


def _links(by_link: Mapping[str, Forecast]) -> dict[str, Any] | None:
    """Return the end of the forecast under each link, and how far they disagree, in half-widths of the band."""
    if len(by_link) < 2:
        return None
    rows = []
    for link, f in by_link.items():
        low, high = f.mean_interval()
        rows.append({"link": link, "x": f.at[-1], "y": f.point()[-1], "low": low[-1], "high": high[-1]})
    return {"ends": rows, "disagreement": disagreement(by_link)}


# ------------------------------------------------------------------------------------------------ bends and scores
def _bends(task: Task, curves: Sequence[Curve]) -> dict[str, Any]:
    """Return where the runs turn back, and what goes wrong in them by name."""
    positive = [Curve(c.x[c.x > 0], c.y[c.x > 0], c.run) for c in curves]
    found = [turn(c, task.metric) for c in positive]
    named: list[dict[str, Any]] = []
    for run in task.recipe.runs:
        named += [{"run": run.name, **dataclasses.asdict(d), "title": said(d.name)} for d in _diagnosed(run, task)]
    return {"bends": [dataclasses.asdict(b) for b in found if b is not None], "diagnoses": named}


def _diagnosed(run: Run, task: Task) -> tuple[Diagnosis, ...]:
    """Return the diagnoses of a run from what it logs beside the response."""
    columns = {"train": "reward_task", "entropy": "entropy_token", "length": "len_mean"}
    if parse_id(task.response)[0] == "eval":
        columns["eval"] = task.response
    curves = {name: curve_of(run, column, task.axis)[0] for name, column in columns.items()}
    kept = {name: c for name, c in curves.items() if c is not None and c.x.size >= FEWEST}
    return diagnose(kept, Metric(task.response)) if kept and task.metric.better == "higher" else ()


def _scores(task: Task, curves: Sequence[Curve], asked: Asked) -> list[dict[str, Any]]:
    """Return the scores of forecasts of the rest of the first runs, beside those of the naive forecasts."""
    found: list[dict[str, Any]] = []
    for curve in curves[:SCORED]:
        positive = Curve(curve.x[curve.x > 0], curve.y[curve.x > 0], curve.run)
        for share in asked.scores:
            stream = seed_sequence(asked.seed, "fit", "score", task.response, curve.run, share)
            options = {"laws": asked.laws or LAWS, "draws": asked.draws, "seed": word(stream) % 2**32, "bends": False}
            try:
                scored = score(positive, share, task.metric, asked.level, **options)
            except InputError as error:
                found.append({"run": curve.run, "share": share, "refusal": text_of(error)})
                continue
            found += [dataclasses.asdict(s) for s in scored]
    return found
