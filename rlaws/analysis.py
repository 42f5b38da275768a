"""From a study's rows to its verdict: points, fits, checks, one verdict over the grid, and panels for the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rlaws.boundary import boundary
from rlaws.claims import (
    Claim,
    Extrapolation,
    Form,
    Outcome,
    PointVerdict,
    Reading,
    ReadingVerdict,
    Verdict,
    all_of,
    over_grid,
    over_readings,
)
from rlaws.compare import Comparison, compare
from rlaws.errors import InputError
from rlaws.fitted import Fit
from rlaws.fitting import fit
from rlaws.judging import Evidence, judge, quantities, sentence, sidak
from rlaws.laws import law
from rlaws.measurement import Measurement
from rlaws.panels import panel
from rlaws.resampling import Points, to_points
from rlaws.seeding import generator, seed_sequence, word
from rlaws.study import Study

FEW_STARTS = 8  # of a planted experiment, whose basin the pilot has found


@dataclass(slots=True)
class Analyst:
    """Fits each law once for each regime point and keeps the results for all readings.

    Attributes:
        claim: The claim.
        measured: Its rows.
        draws: Bootstrap replicas.
        seed: Root seed; the analysis has its own streams.
        starts: Starting points of every fit.
        fits: Fits by what determines them.
    """

    claim: Claim
    measured: Measurement
    draws: int
    seed: int
    starts: int = 32
    fits: dict[Any, Fit | Comparison] = field(default_factory=dict)
    points: dict[Any, Points] = field(default_factory=dict)

    def evidence(self, reading: Reading, regime: Mapping[str, Any], link: str | None) -> Evidence:
        """Return what a reading rests on at one regime point."""
        return self._evidence(reading, regime, link, self._points(reading, regime, link), (_key(regime), link))

    def planted(self, e: Evidence, points: Points, number: int) -> Evidence:
        """Return the evidence of a planted experiment: other responses at the same design points."""
        alone = replace(self, starts=FEW_STARTS, fits={}, points={})
        return alone._evidence(e.reading, e.regime, e.link, points, (_key(e.regime), e.link, "planted", number))

    def _evidence(
        self, reading: Reading, regime: Mapping[str, Any], link: str | None, points: Points, key: Any
    ) -> Evidence:
        needs_holdout = any(isinstance(p, Form | Extrapolation) for p in reading.predictions)
        if needs_holdout and reading.holdout is None:
            raise InputError(f"{self.claim.id}, reading '{reading.id}': a form or extrapolation needs 'holdout'.")
        compared = self._compare(reading, points, key) if needs_holdout else None
        fitted = compared.fits[reading.law] if compared else self._fit(reading, points, key)
        return Evidence(reading, regime, link, points, fitted, compared, self._runs())

    def _runs(self) -> int | None:
        """Independent training runs behind the rows, where randomness is in training."""
        runs = self.measured.provenance.get("runs")
        return None if runs is None else int(runs)

    def _points(self, reading: Reading, regime: Mapping[str, Any], link: str | None) -> Points:
        key = (_key(regime), link)
        if key not in self.points:
            rows = self.measured.select(regime)
            stream = generator(self.seed, self.claim.id, "draws", key)
            self.points[key] = to_points(rows, stream, self.draws, link)
        return _inside(self.points[key], reading)

    def _options(self, reading: Reading, key: Any) -> dict[str, Any]:
        options = reading.fit
        stream = word(seed_sequence(self.seed, self.claim.id, "fit", key)) % 2**32
        return {
            "scale": options.scale,
            "weights": options.weights,
            "loss": options.loss,
            "free_scale": options.free_scale,
            "draws": self.draws,
            "starts": self.starts,
            "seed": stream,
        }

    def _fit(self, reading: Reading, points: Points, key: Any) -> Fit:
        full = ("fit", key, reading.law, tuple(reading.x.items()), reading.fit, tuple(reading.domain.items()))
        if full not in self.fits:
            self.fits[full] = fit(law(reading.law), points, reading.x, **self._options(reading, key))
        found = self.fits[full]
        assert isinstance(found, Fit)
        return found

    def _compare(self, reading: Reading, points: Points, key: Any) -> Comparison:
        full = ("compare", key, reading.law, reading.rivals, tuple(reading.x.items()), reading.fit,
                tuple(reading.domain.items()), reading.holdout)  # fmt: skip
        if full not in self.fits:
            assert reading.holdout is not None
            held = reading.holdout
            self.fits[full] = compare(
                law(reading.law),
                [law(r) for r in reading.rivals],
                points,
                reading.x,
                along=held.along,
                largest=held.largest,
                after=held.after,
                **self._options(reading, key),
            )
        found = self.fits[full]
        assert isinstance(found, Comparison)
        return found


def _key(regime: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(regime.items())


def _inside(points: Points, reading: Reading) -> Points:
    """Keep the design points of a reading's domain.

    Raises:
        InputError: If the domain names no design variable or leaves nothing.
    """
    keep = np.ones(points.y.size, dtype=bool)
    for name, (low, high) in reading.domain.items():
        if name not in points.x:
            raise InputError(
                f"Reading '{reading.id}': domain names '{name}', which is not measured; there is {list(points.x)}."
            )
        keep &= (points.x[name] >= low) & (points.x[name] <= high)
    if not keep.any():
        raise InputError(f"Reading '{reading.id}': no measured point lies in the domain {dict(reading.domain)}.")
    return points.take(keep)


def analyse(
    study: Study, measured: Measurement, hashes: Mapping[str, str], command: str
) -> tuple[Verdict, list[dict[str, Any]]]:
    """Judge a study's claim on its rows.

    Args:
        study: The study.
        measured: All rows, with the regime columns.
        hashes: Provenance for the verdict.
        command: The command that reproduces it.

    Returns:
        The verdict and the panels (plain values) that figures are drawn from.
    """
    analyst = Analyst(study.claim, measured, study.budget.draws, study.seed)
    panels: dict[str, dict[str, Any]] = {}
    readings = tuple(_reading(analyst, r, panels) for r in study.claim.readings)
    verdict = Verdict(
        claim=study.claim.id,
        statement=study.claim.statement,
        source=study.claim.source,
        study=study.id,
        title=study.title,
        rung=study.rung,
        outcome=over_readings(readings),
        readings=readings,
        grid={k: list(v) for k, v in study.grid.items()},
        seed=study.seed,
        budget=study.budget.name,
        cost=dict(measured.provenance.get("cost", {})),
        hashes={**hashes, "rows": measured.digest()},
        command=command,
    )
    return verdict, list(panels.values())


def regimes_of(measured: Measurement, reading: Reading) -> list[dict[str, Any]]:
    """Return the regime points a reading speaks about.

    Raises:
        InputError: If ``where`` names no regime column or matches nothing.
    """
    for name in reading.where:
        if name not in measured.regime:
            raise InputError(f"Reading '{reading.id}': where names '{name}'; the regime is {list(measured.regime)}.")
    found = [r for r in measured.regimes() if all(r[k] == v for k, v in reading.where.items())]
    if not found:
        raise InputError(f"Reading '{reading.id}': no regime point has {dict(reading.where)}.")
    return found


def _reading(analyst: Analyst, reading: Reading, panels: dict[str, dict[str, Any]]) -> ReadingVerdict:
    """Judge one reading over the grid and links."""
    links: Sequence[str | None] = analyst.claim.links or (None,)
    evidence = [analyst.evidence(reading, r, k) for r in regimes_of(analyst.measured, reading) for k in links]
    level = sidak(analyst.claim.decision.level, sum(quantities(e) for e in evidence))
    verdicts = []
    for e in evidence:
        checks = tuple(judge(p, e, level, analyst.claim.decision) for p in reading.predictions)
        regime = dict(e.regime) if e.link is None else {**e.regime, "link": e.link}
        drawn = panel(e, checks, analyst.measured, analyst.claim.decision.level)
        stored = panels.setdefault(drawn["key"], drawn)
        stored["readings"] = sorted({*stored["readings"], reading.id})
        verdicts.append(PointVerdict(regime, all_of([c.outcome for c in checks]), checks, drawn["key"]))
    outcome = over_grid([v.outcome for v in verdicts])
    edge = boundary(verdicts) if outcome is Outcome.CONDITIONAL else None
    return ReadingVerdict(
        id=reading.id,
        text=reading.text,
        outcome=outcome,
        reason=sentence(outcome, verdicts, edge),
        margin=_margin(outcome, verdicts),
        points=tuple(verdicts),
        decides=reading.decides,
        boundary=edge,
        alarms=_alarms(verdicts) if analyst.claim.links else (),
    )


def _margin(outcome: Outcome, verdicts: Sequence[PointVerdict]) -> float | None:
    """Return the margin of the weakest point: the one nearest to another verdict."""
    weakest = [min((c.margin for c in v.checks if c.margin is not None), default=None) for v in verdicts]
    known = [m for m in weakest if m is not None]
    if not known:
        return None
    return (
        max(known)
        if outcome is Outcome.REFUTED
        else min(known)
        if outcome is Outcome.SUPPORTED
        else min(known, key=abs)
    )


def _alarms(verdicts: Sequence[PointVerdict]) -> tuple[dict[str, str], ...]:
    """Say where the sign of an estimate depends on the link."""
    out = []
    by_regime: dict[Any, dict[str, dict[str, float]]] = {}
    for v in verdicts:
        regime = tuple((k, w) for k, w in v.regime.items() if k != "link")
        for c in v.checks:
            if c.estimate is not None and c.interval is not None and c.interval[0] * c.interval[1] > 0:
                by_regime.setdefault(regime, {}).setdefault(c.prediction, {})[str(v.regime["link"])] = c.estimate
    for regime, predictions in by_regime.items():
        for name, estimates in predictions.items():
            if len({np.sign(e) for e in estimates.values()}) > 1:
                where = ", ".join(f"{k} = {w}" for k, w in regime) or "all"
                signs = ", ".join(f"{k}: {e:+.3g}" for k, e in estimates.items())
                out.append({
                    "en": f"The sign depends on the link ({where}; {name}): {signs}.",
                    "zh": f"符号取决于度量的链接函数（{where}；{name}）：{signs}。",
                })  # fmt: skip
    return tuple(out)
