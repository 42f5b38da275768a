"""Several sizes of one family: how the learning curve's parameters go with size, and a size that was not trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlaws.errors import InputError
from rlaws.fits.asking import Asked
from rlaws.fits.forecasting import TIMES, Task, curve_of
from rlaws.forecast.curves import Curve, Metric
from rlaws.forecast.families import FEWEST_SIZES, Family, extrapolate, family
from rlaws.jsonable import plain
from rlaws.seeding import seed_sequence, word
from rlaws.sentences import text_of

LAW = "log_linear"


def families(found: Sequence[Task], asked: Asked) -> list[dict[str, Any]]:
    """Return a fit over sizes for every response and family with three sizes or more, as plain values.

    The law is a power law of the distance from the response's best end (1 - accuracy), so the range must be known.
    """
    groups: dict[tuple[str, str], dict[float, list[Task]]] = {}
    for task in found:
        if task.recipe.size is not None:
            sizes = groups.setdefault((task.response, task.recipe.family), {})
            sizes.setdefault(task.recipe.size, []).append(task)
    made = [_made(*key, sizes, asked) for key, sizes in groups.items() if len(sizes) >= FEWEST_SIZES]
    return [dict(plain(one)) for one in made if one is not None]


def _made(response: str, name: str, sizes: dict[float, list[Task]], asked: Asked) -> dict[str, Any] | None:
    first = next(iter(sizes.values()))[0]
    if first.metric.low is None or first.metric.high is None:
        return None
    metric = Metric(f"distance of {response} from its best", 0.0, first.metric.high - first.metric.low, "lower")
    curves = {size: [c for task in tasks for c in _distances(task)] for size, tasks in sorted(sizes.items())}
    out: dict[str, Any] = {"response": response, "family": name, "law": LAW, "metric": metric.name}
    stream = word(seed_sequence(asked.seed, "fit", "family", response, name)) % 2**32
    try:
        fitted = family(curves, law=LAW, metric=metric, seed=stream)
        out |= {
            "sizes": fitted.sizes,
            "reference_x": fitted.reference,
            "params": {n: {"estimate": v, "stderr": fitted.errors[n]} for n, v in fitted.params.items()},
            "size_laws": {n: dict(w) for n, w in fitted.laws.items()},
            "held": _held(curves, metric, asked, stream),
            "predicted": _predicted(fitted, curves, asked, stream),
        }
    except InputError as error:
        out["refusal"] = text_of(error)
    return out


def _distances(task: Task) -> list[Curve]:
    """Return the distance from the best end along every run, where it is above 0."""
    found = [curve_of(run, task.response, task.axis)[0] for run in task.recipe.runs]
    low, high = float(task.metric.low or 0.0), float(task.metric.high or 1.0)
    out = []
    for curve in found:
        if curve is None:
            continue
        y = high - curve.y if task.metric.better == "higher" else curve.y - low
        keep = (y > 0) & (curve.x > 0)
        out.append(Curve(curve.x[keep], y[keep], curve.run))
    return out


def _held(curves: dict[float, list[Curve]], metric: Metric, asked: Asked, seed: int) -> dict[str, Any] | None:
    """Predict the largest size from the others alone; None with fewer than four sizes."""
    if len(curves) <= FEWEST_SIZES:
        return None
    largest = max(curves)
    fitted = family({n: c for n, c in curves.items() if n != largest}, law=LAW, metric=metric, seed=seed)
    whole = curves[largest][0]
    drawn = extrapolate(fitted, largest, whole.x, seed=seed)
    low, high = drawn.new_run_interval(asked.level)
    return {
        "size": largest,
        "label": drawn.label,
        "points": whole.x.size,
        "covered": float(np.mean((whole.y >= low) & (whole.y <= high))),
        "relative_error": float(np.mean(np.abs(drawn.point() / whole.y - 1.0))),
    }


def _predicted(fitted: Family, curves: dict[float, list[Curve]], asked: Asked, seed: int) -> dict[str, Any] | None:
    """Return the curve of the size that was asked for; None if none was."""
    if asked.size is None:
        return None
    own = curves.get(asked.size)
    every = np.concatenate([c.x for runs in curves.values() for c in runs])
    at = np.geomspace(float(every.min()), asked.horizon or TIMES * float(every.max()), 30)
    drawn = extrapolate(fitted, asked.size, at, own=own[0] if own else None, seed=seed)
    (low, high), (new_low, new_high) = drawn.mean_interval(asked.level), drawn.new_run_interval(asked.level)
    return {"size": asked.size, "label": drawn.label, "sentence": text_of(drawn.sentence), "x": at, "y": drawn.point(),
            "low": low, "high": high, "new_low": new_low, "new_high": new_high}  # fmt: skip
