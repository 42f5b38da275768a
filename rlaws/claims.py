"""Claims that can fail, and the rule that turns evidence into a verdict.

A claim is fixed before the first run: a law, its rivals, and *readings*; a reading is a set of predictions that must
all hold. At a regime point a prediction about a parameter is

* **supported** when its simultaneous interval lies inside the predicted region,
* **refuted** when the interval misses the region altogether,
* **undecided** otherwise, and also where the design had less than the asked power to find a planted effect of the
  claimed size, or where fewer than three independent runs stand behind a result whose randomness is in training,
* **invalid** when the fit is not OK.

A prediction about *form* is supported when no rival predicts the sealed points better by more than twice the standard
error of the difference and the residuals show no trend, refuted when one does, or they do.

Over the regime grid one verdict everywhere gives that verdict; supported and refuted points together give
**conditional**, with the boundary in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import inf
from typing import Any

from rlaws.errors import InputError, suggest
from rlaws.jsonable import plain

Text = Mapping[str, str]


class Outcome(StrEnum):
    """What a claim, a reading or a regime point can get."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    CONDITIONAL = "conditional"
    UNDECIDED = "undecided"
    INVALID = "invalid"


# ------------------------------------------------------------------------------------------------ predictions
@dataclass(frozen=True, slots=True)
class Interval:
    """The parameter lies in [low, high]."""

    param: str
    low: float
    high: float

    def region(self) -> tuple[float, float]:
        """Return the predicted region."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Sign:
    """The parameter is positive, negative or nonzero."""

    param: str
    sign: str

    def __post_init__(self) -> None:
        if self.sign not in ("positive", "negative", "nonzero"):
            raise InputError(f"sign = '{self.sign}'.{suggest(self.sign, ('positive', 'negative', 'nonzero'))}")

    def region(self) -> tuple[float, float]:
        """Return the predicted half line; "nonzero" is the complement of 0 and judged apart."""
        return (-inf, 0.0) if self.sign == "negative" else (0.0, inf)


@dataclass(frozen=True, slots=True)
class Limit:
    """The parameter equals a value, to within a tolerance fixed beforehand (an equivalence test)."""

    param: str
    value: float
    tolerance: float

    def region(self) -> tuple[float, float]:
        """Return value ± tolerance."""
        return self.value - self.tolerance, self.value + self.tolerance


@dataclass(frozen=True, slots=True)
class Order:
    """The response rises (or falls) from each value of a design variable to the next."""

    along: str
    direction: str

    def __post_init__(self) -> None:
        if self.direction not in ("rising", "falling"):
            raise InputError(f"direction = '{self.direction}'.{suggest(self.direction, ('rising', 'falling'))}")


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The fit to the small predicts the held-out large with a mean relative error of at most ``error``."""

    error: float

    def region(self) -> tuple[float, float]:
        """Return [0, error]."""
        return 0.0, self.error


@dataclass(frozen=True, slots=True)
class Form:
    """The law's form holds against its rivals; ``expect`` = "refuted" for a claim that it does not."""

    expect: str = "supported"

    def __post_init__(self) -> None:
        if self.expect not in ("supported", "refuted"):
            raise InputError(f"expect = '{self.expect}'.{suggest(self.expect, ('supported', 'refuted'))}")


Prediction = Interval | Sign | Limit | Order | Extrapolation | Form
KINDS: dict[str, type[Any]] = {
    "interval": Interval,
    "sign": Sign,
    "limit": Limit,
    "order": Order,
    "extrapolation": Extrapolation,
    "form": Form,
}


def prediction(spec: Mapping[str, Any]) -> Prediction:
    """Build a prediction from its YAML form.

    Raises:
        InputError: Unknown kind or field.
    """
    kind = str(spec.get("kind", ""))
    if kind not in KINDS:
        raise InputError(f"Prediction kind '{kind}' is not known.{suggest(kind, KINDS)}")
    fields = set(KINDS[kind].__dataclass_fields__)
    for name in set(spec) - {"kind"} - fields:
        raise InputError(f"Prediction '{kind}' has no field '{name}'.{suggest(name, fields)}")
    try:
        built: Prediction = KINDS[kind](**{k: v for k, v in spec.items() if k != "kind"})
    except TypeError as error:
        raise InputError(f"Prediction '{kind}' needs {sorted(fields)}; got {sorted(set(spec) - {'kind'})}.") from error
    return built


# ------------------------------------------------------------------------------------------------ claims
@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a claim's laws are fitted, fixed beforehand (see ``fitting.fit``)."""

    scale: str | None = None
    weights: str = "stderr"
    loss: str = "huber"
    free_scale: str | None = None


@dataclass(frozen=True, slots=True)
class Holdout:
    """What is sealed: the ``largest`` last values of a design variable, or what follows the first share ``after``."""

    along: str
    largest: int = 0
    after: float = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read the claim; all of its predictions must hold.

    Attributes:
        id: Short name.
        text: What it says, by language.
        predictions: All must hold.
        law: Name of the law; ``x`` maps its roles to measured columns; ``rivals`` are laws with the same roles.
        domain: Column -> (low, high) of the design points that are fitted.
        where: Regime values that this reading speaks about; empty for all.
        holdout: What is sealed, or None.
        fit: Options of the fit.
        decides: Whether the claim's own verdict rests on this reading; one that does not is judged and shown beside it.
    """

    id: str
    text: Text
    predictions: tuple[Prediction, ...]
    law: str
    x: Mapping[str, str]
    rivals: tuple[str, ...]
    domain: Mapping[str, tuple[float, float]]
    where: Mapping[str, Any]
    holdout: Holdout | None
    fit: FitOptions
    decides: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """Level of the simultaneous intervals, and the power below which nothing is supported."""

    level: float = 0.95
    power: float = 0.8


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim about scaling, written so that it can fail.

    Attributes:
        id: group.name.
        statement: The claim in one sentence, by language.
        source: "cite" (public name) and "place" (section or equation).
        readings: The ways to read it.
        links: Links under which a bounded metric is judged; empty for the response as it is.
        decision: Level and power.
    """

    id: str
    statement: Text
    source: Mapping[str, str]
    readings: tuple[Reading, ...]
    links: tuple[str, ...] = ()
    decision: Decision = field(default_factory=Decision)


# ------------------------------------------------------------------------------------------------ verdicts
@dataclass(frozen=True, slots=True)
class Check:
    """One prediction judged at one regime point.

    Attributes:
        prediction: What was predicted, in words.
        outcome: supported, refuted, undecided or invalid.
        reason: Why, in one sentence, by language.
        estimate: The estimate, its simultaneous interval [low, high] and the predicted region [low, high].
        margin: Distance of the estimate from the nearest edge of the region in half-widths of the interval: above 1
            supported, below -1 refuted. For a form: the smallest standardised advantage over a rival.
        power: Chance that this design supports a planted effect of the claimed size; None where no size is claimed.
        rivals: Held-out score difference to each rival and its standard error (positive: the law predicts better).
        label: "predicted" or "fitted" for held-out points, else None.
    """

    prediction: str
    outcome: Outcome
    reason: Text
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    region: tuple[float, float] | None = None
    margin: float | None = None
    power: float | None = None
    rivals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    label: str | None = None


@dataclass(frozen=True, slots=True)
class PointVerdict:
    """A reading judged at one regime point (and link)."""

    regime: Mapping[str, Any]
    outcome: Outcome
    checks: tuple[Check, ...]
    panel: str


@dataclass(frozen=True, slots=True)
class ReadingVerdict:
    """A reading judged over the grid."""

    id: str
    text: Text
    outcome: Outcome
    reason: Text
    margin: float | None
    points: tuple[PointVerdict, ...]
    decides: bool = True
    boundary: Mapping[str, Any] | None = None
    alarms: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a study says of a claim. No verdict of a simulator speaks about a language model."""

    claim: str
    statement: Text
    source: Mapping[str, str]
    study: str
    title: Text
    rung: str
    outcome: Outcome
    readings: tuple[ReadingVerdict, ...]
    grid: Mapping[str, Any]
    seed: int
    budget: str
    cost: Mapping[str, Any]
    hashes: Mapping[str, str]
    command: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON; infinities become None."""
        record: dict[str, Any] = plain(asdict(self))
        return record


# ------------------------------------------------------------------------------------------------ the rule
MOST = 999.0


def margin(estimate: float, interval: tuple[float, float], region: tuple[float, float]) -> float:
    """Distance from the estimate to the region's nearest edge, in half-widths of the interval on that side.

    Above 1 the interval lies inside the region, below -1 it misses it; clipped at ±``MOST``, which an estimate without
    any scatter has.
    """
    below, above = max(estimate - interval[0], 1e-300), max(interval[1] - estimate, 1e-300)
    if estimate < region[0]:
        return max(-MOST, -(region[0] - estimate) / above)
    if estimate > region[1]:
        return max(-MOST, -(estimate - region[1]) / below)
    return min(MOST, (estimate - region[0]) / below, (region[1] - estimate) / above)


def by_region(interval: tuple[float, float], region: tuple[float, float]) -> Outcome:
    """Judge an interval against a region."""
    if region[0] <= interval[0] and interval[1] <= region[1]:
        return Outcome.SUPPORTED
    if interval[1] < region[0] or interval[0] > region[1]:
        return Outcome.REFUTED
    return Outcome.UNDECIDED


def all_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Join predictions that must all hold at one regime point: one refuted refutes, one open leaves it open."""
    for outcome in (Outcome.INVALID, Outcome.REFUTED, Outcome.UNDECIDED):
        if outcome in outcomes:
            return outcome
    return Outcome.SUPPORTED


def over_grid(outcomes: Sequence[Outcome]) -> Outcome:
    """Join regime points: one verdict everywhere, or conditional where both supported and refuted points stand."""
    found = set(outcomes)
    if not found:
        return Outcome.INVALID
    if len(found) == 1:
        return next(iter(found))
    if {Outcome.SUPPORTED, Outcome.REFUTED} <= found or Outcome.CONDITIONAL in found:
        return Outcome.CONDITIONAL
    return Outcome.UNDECIDED


def over_readings(readings: Sequence[ReadingVerdict]) -> Outcome:
    """Join the deciding readings of a claim as regime points are joined: where readings differ, it depends on them."""
    return over_grid([r.outcome for r in readings if r.decides])
