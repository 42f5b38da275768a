"""What is planted: the claim's law, and each rival at its best fit, as learning curves of any size.

The laws are fitted to a *source*: the curves of a pilot, or a stated reference curve. A parameter that the claim names
with a finite region is held in the middle of it. Without a pilot a rival is fitted to the law's own curve, so that it
is the nearest rival there is; with one, to the pilot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaws.build import build, resolve
from rlaws.claims import Claim, Extrapolation, Form, Interval, Limit, Reading, Sign
from rlaws.designs.curves import Curve, Lab, TableOf, bounded
from rlaws.errors import InputError, suggest
from rlaws.fitted import evaluate
from rlaws.fitting import Options, prepare
from rlaws.laws import law as find_law
from rlaws.probes.curve_slope import CurveSlope
from rlaws.probes.learning_curve import AXES, LearningCurve
from rlaws.resampling import Points, to_points
from rlaws.seeding import seed_sequence
from rlaws.study import Study

Array = NDArray[np.float64]
Table = Mapping[str, NDArray[Any]]
SIZE = "model_B"
SAME = 1e-4  # a rival whose curves are this near the law's (root mean square of the log) is the law again


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A planted world.

    Attributes:
        name: "the law", or the rival's name.
        curve: Its learning curves.
        distance: Root mean square of the log of its curves over the law's, on the source; 0 for the law.
        theta: Parameter -> value, by size where every size has its own.
    """

    name: str
    curve: Curve
    distance: float
    theta: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """The learning curves that are assumed where there is no pilot.

    L = (level + per_decade log10 N) (D / batch)^-k(N), k(N) = k_max / (1 + n0 / N), N in 1e9 parameters, D samples:
    roughly the Qwen2.5 base models under GRPO (arXiv 2509.25300, eq. 2 and its figure of loss against data).
    """

    k_max: float
    n0: float
    level: float
    per_decade: float

    def curve(self, batch: int) -> Curve:
        """Return the loss of a size after a number of samples."""

        def loss(size: float, samples: Array) -> Array:
            start = np.clip(self.level + self.per_decade * np.log10(size), 0.02, 0.99)
            return bounded(start * (samples / batch) ** (-self.k_max / (1.0 + self.n0 / size)))

        return loss


def known(study: Study) -> str:
    """Return why designs of learning curves cannot serve a study, or "" where they can."""
    probe = resolve(str(study.probe["_target_"]), study.allow)
    if probe not in (LearningCurve, CurveSlope):
        return f"its probe {getattr(probe, 'NAME', probe.__name__)} does not read the loss along runs of several sizes"
    if study.probe.get("of") == "difference":
        return "samples and compute of a planned run are proportional, so that their slopes cannot differ"
    if set(study.grid) - set(study.pool) or study.claim.links:
        return "its grid or its links are none of sizes, steps and seeds"
    return ""


def pooled(study: Study) -> bool:
    """Tell whether a law speaks of several sizes at once, so that a design may leave some out."""
    return SIZE in main_reading(study.claim).x.values()


def fewest_sizes(study: Study) -> int:
    """Return the fewest sizes of a design: as many sizes as a form has parameters fit any form exactly."""
    if not pooled(study):
        return 1
    reading = main_reading(study.claim)
    forms = [reading.law, *reading.rivals] if any(isinstance(p, Form) for p in reading.predictions) else []
    return 1 + max((len(find_law(name).params) for name in forms), default=1)


def main_reading(claim: Claim) -> Reading:
    """Return the reading whose law is planted: the first that decides and compares forms, else the first that decides.

    Raises:
        InputError: If no reading decides, or their forms exclude each other.
    """
    deciding = [r for r in claim.readings if r.decides]
    if not deciding:
        raise InputError(f"{claim.id}: no reading decides, so no design can reach a verdict.")
    forms = [r for r in deciding if any(isinstance(p, Form) for p in r.predictions)]
    if len({r.law for r in forms}) > 1:
        raise InputError(
            f"The readings of {claim.id} are forms that exclude each other ({', '.join(r.law for r in forms)}); "
            f"plan for one of them, as with readings=[{forms[0].id}]."
        )
    return [*forms, *deciding][0]


def claimed(claim: Claim, law: str) -> dict[str, float]:
    """Return the parameters that the claim names with a finite region, in the middle of it."""
    out: dict[str, float] = {}
    for reading in claim.readings:
        for p in reading.predictions:
            if reading.law == law and isinstance(p, Interval | Limit) and all(map(isfinite, p.region())):
                out[p.param] = sum(p.region()) / 2
    return out


def truths(study: Study, lab: Lab, source: Table, *, pilot: bool, given: Mapping[str, float]) -> list[Truth]:
    """Return the law and what could be true in its place.

    A form's alternatives are its rivals; without a form, the law with a signed parameter at 0.

    Args:
        study: The study whose claim and probe are planned.
        lab: What a run is.
        source: Table of learning curves that the laws are fitted to.
        pilot: Whether the source is measured.
        given: Parameters of the law to hold instead of the claim's.

    Raises:
        InputError: Unknown parameter, or a law that cannot be fitted to the source.
    """
    reading = main_reading(study.claim)
    params = [p.name for p in find_law(reading.law).params]
    for name in given:
        if name not in params:
            raise InputError(f"truth.{name}: law '{reading.law}' has no such parameter.{suggest(name, params)}")
    held = {**claimed(study.claim, reading.law), **given}
    plant = _Plant(study, reading, lab, source)
    law = plant.truth(reading.law, "the law", source, held)
    exact = source if pilot else {**source, "test_loss": plant.on_source(law.curve)}
    others = []
    if any(isinstance(p, Form) for p in reading.predictions):
        others = [plant.truth(r, r, exact, {}) for r in reading.rivals]
    elif not any(isinstance(p, Extrapolation) for p in reading.predictions):
        signed = [p.param for p in reading.predictions if isinstance(p, Sign)]
        others = [plant.truth(reading.law, f"{name} = 0", source, {**held, name: 0.0}) for name in signed]
    there = np.log(plant.on_source(law.curve))
    near = [replace(o, distance=_rms(np.log(plant.on_source(o.curve)) - there)) for o in others]
    return [law, *(o for o in near if o.distance > SAME)]


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


@dataclass(frozen=True, slots=True, eq=False)
class _Plant:
    """Turns laws of a study's probe into learning curves."""

    study: Study
    reading: Reading
    lab: Lab
    source: Table

    def truth(self, name: str, label: str, table: Table, held: Mapping[str, float]) -> Truth:
        """Return a law fitted to a table."""
        if SIZE in self.reading.x.values():
            theta = self._theta(name, table, held)
            named = dict(zip((p.name for p in find_law(name).params), theta.tolist(), strict=True))
            return Truth(label, self._of_sizes(name, theta, table), 0.0, named)
        sizes = np.unique(table[SIZE])
        thetas = np.array([self._theta(name, _of_size(table, n), held) for n in sizes])
        named = {p.name: thetas[:, j].tolist() for j, p in enumerate(find_law(name).params)}
        return Truth(label, self._of_each(name, sizes, thetas), 0.0, {SIZE: sizes.tolist(), **named})

    def on_source(self, curve: Curve) -> Array:
        """Return a curve at the rows of the source."""
        out = np.empty(len(self.source["test_loss"]))
        for n in np.unique(self.source[SIZE]):
            rows = self.source[SIZE] == n
            out[rows] = bounded(curve(float(n), self.source["samples"][rows]))
        return out

    def _theta(self, name: str, table: Table, held: Mapping[str, float]) -> Array:
        """Return the parameters of a law on a table, [p].

        Raises:
            InputError: If there is no finite fit.
        """
        law, options = find_law(name), self.reading.fit
        if {p.name for p in law.params} <= set(held):
            return np.array([held[p.name] for p in law.params])
        points = self._points(table)
        scale = options.scale or law.scale
        how = Options(scale=scale, weights="equal", loss="least_squares", free_scale=options.free_scale, fixed=held)
        ready = prepare(law, points, self.reading.x, how)
        if not ready.best.found:
            raise InputError(f"Law '{name}' has no finite fit to the curves that are to be planted; give a pilot=…")
        return ready.bare().theta

    def _points(self, table: Table) -> Points:
        """Return what the study's probe measures on a table, without draws."""
        probe = build(self.study.probe, self.study.allow)
        measured = probe.measure(TableOf(table), None, self.study.budget, seed_sequence(self.study.seed, "source"))
        rows = measured.select(measured.regimes()[0])
        return replace(to_points(rows, np.random.default_rng(0), 20), draws=None)

    def _of_sizes(self, name: str, theta: Array, table: Table) -> Curve:
        """Return the curves of a law that takes the size."""
        law, slopes, anchor = find_law(name), self._slopes(), int(self.study.probe.get("anchor", 0))
        centre = _Centre(table, anchor)
        free = self.reading.fit.free_scale is not None

        def loss(size: float, samples: Array) -> Array:
            at, level = centre.of(size)
            if slopes:
                k = float(evaluate(law, theta[None], [np.array([size])])[0, 0])
                return np.asarray(level * (samples / at) ** -k)
            y: Array = evaluate(law, theta[None], self._columns(name, size, samples, at, level))[0]
            if not free:
                return y
            middle = evaluate(law, theta[None], self._columns(name, size, np.array([at]), at, level))[0]
            return np.asarray(y * level / middle)

        return loss

    def _of_each(self, name: str, sizes: Array, thetas: Array) -> Curve:
        """Return the curves of a law that every size has for itself; between sizes its parameters are interpolated."""
        law = find_law(name)

        def loss(size: float, samples: Array) -> Array:
            theta = np.array([np.interp(np.log(size), np.log(sizes), column) for column in thetas.T])
            y: Array = evaluate(law, theta[None], self._columns(name, size, samples, 1.0, 1.0))[0]
            return y

        return loss

    def _slopes(self) -> bool:
        return resolve(str(self.study.probe["_target_"]), self.study.allow) is CurveSlope

    def _columns(self, name: str, size: float, samples: Array, at: float, level: float) -> list[Array]:
        """Return the law's arguments at a size: what its roles are called in the measurement."""
        axis = str(self.study.probe.get("axis", "samples"))
        steps = samples / self.lab.batch
        resource = samples if axis == "samples" else self.lab.training(size, steps) / AXES[axis][2]
        ones = np.ones(samples.size)
        found = {SIZE: size * ones, "resource": resource, "growth": samples / at, "start_loss": level * ones}
        roles = [self.reading.x[role] for role in find_law(name).x]
        for column in roles:
            if column not in found:
                raise InputError(
                    f"Designs of learning curves know {', '.join(found)}, but law '{name}' takes '{column}'; "
                    f"`rlaws plan study={self.study.id}` works."
                )
        return [found[column] for column in roles]


class _Centre:
    """A point that the curves of a source pass through, by size: geometric means of samples and of loss."""

    def __init__(self, table: Table, anchor: int) -> None:
        sizes = np.unique(table[SIZE])
        points = []
        for n in sizes:
            one = _of_size(table, n)
            first = np.argsort(one["samples"], kind="stable")[: anchor or None]
            points.append([np.log(one["samples"][first]).mean(), np.log(bounded(one["test_loss"][first])).mean()])
        self.sizes, self.points = np.log(sizes), np.array(points)

    def of(self, size: float) -> tuple[float, float]:
        """Return samples and loss; beyond the source's sizes the straight line of its levels in log size goes on."""
        x = np.log(size)
        samples, level = (float(np.interp(x, self.sizes, column)) for column in self.points.T)
        beyond = x - np.clip(x, self.sizes[0], self.sizes[-1])
        if beyond and self.sizes.size > 1:
            level += beyond * float(np.polyfit(self.sizes, self.points[:, 1], 1)[0])
        return float(np.exp(samples)), float(np.exp(level))


def _of_size(table: Table, size: float) -> dict[str, NDArray[Any]]:
    rows = table[SIZE] == size
    return {k: v[rows] for k, v in table.items()}
