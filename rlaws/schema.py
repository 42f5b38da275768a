"""The composed configuration, validated once into dataclasses. Beside ``cli.py`` the only module that knows Hydra."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rlaws.catalogue import conf_dir
from rlaws.claims import Claim, Decision, FitOptions, Holdout, Reading, prediction
from rlaws.engine import Engine, LocalEngine
from rlaws.errors import InputError, suggest
from rlaws.links import LINKS
from rlaws.probes.base import Budget
from rlaws.study import Study

if TYPE_CHECKING:
    from rlaws.designs.curves import Lab
    from rlaws.designs.pilot import Pilot
    from rlaws.designs.planning import Request

LANGUAGES = ("en", "zh")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextModel(_Strict):
    """A sentence in each language."""

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class HoldoutModel(_Strict):
    """See ``claims.Holdout``."""

    along: str
    largest: int = Field(default=0, ge=0)
    after: float = Field(default=1.0, gt=0, le=1)


class FitModel(_Strict):
    """See ``claims.FitOptions``."""

    scale: Literal["log", "linear"] | None = None
    weights: Literal["stderr", "equal"] = "stderr"
    loss: Literal["huber", "least_squares"] = "huber"
    free_scale: str | None = None


class ReadingModel(_Strict):
    """See ``claims.Reading``; what is not given is taken from the claim."""

    id: str
    text: TextModel
    all: list[dict[str, Any]] = Field(min_length=1)
    law: str | None = None
    x: dict[str, str] | None = None
    rivals: list[str] | None = None
    fit: FitModel | None = None
    domain: dict[str, tuple[float, float]] | None = None
    holdout: HoldoutModel | None = None
    where: dict[str, Any] = Field(default_factory=dict)
    decides: bool = True


class SourceModel(_Strict):
    """Where a claim is made."""

    cite: str
    place: str


class DecisionModel(_Strict):
    """See ``claims.Decision``."""

    level: float = Field(default=0.95, gt=0.5, lt=1)
    power: float = Field(default=0.8, ge=0, lt=1)


class ClaimModel(_Strict):
    """See ``claims.Claim``."""

    id: str = Field(pattern=r"^[a-z]+\.[a-z0-9_]+$")
    statement: TextModel
    source: SourceModel
    law: str
    x: dict[str, str]
    rivals: list[str] = Field(default_factory=list)
    fit: FitModel = FitModel()
    domain: dict[str, tuple[float, float]] = Field(default_factory=dict)
    holdout: HoldoutModel | None = None
    links: list[str] | None = None
    readings: list[ReadingModel] = Field(min_length=1)
    decision: DecisionModel = DecisionModel()

    @field_validator("links")
    @classmethod
    def _known_links(cls, links: list[str] | None) -> list[str] | None:
        for name in links or ():
            if name not in LINKS:
                raise ValueError(f"there is no link '{name}'.{suggest(name, LINKS)}")
        return links


class StudyModel(_Strict):
    """What a study file says of itself."""

    id: str = Field(pattern=r"^[a-z0-9_]+/[a-z0-9_]+$")
    rung: Literal["sim", "toy", "llm", "logs"]
    title: TextModel
    pool: list[str] = Field(default_factory=list)
    replicates: int = Field(default=1, ge=1)


class BudgetModel(_Strict):
    """See ``probes.base.Budget``."""

    name: str
    scale: float = Field(gt=0)
    draws: int = Field(ge=100)


class _EngineModel(_Strict):
    """What every engine has; see ``engine.LocalEngine``."""

    threads: int = Field(default=1, ge=1)
    limit_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    retries: int = Field(default=2, ge=0)


class LocalEngineModel(_EngineModel):
    """See ``engine.LocalEngine``."""

    name: Literal["local"]
    workers: int = Field(ge=0)


class RayEngineModel(_EngineModel):
    """See ``engines.ray.RayEngine``."""

    name: Literal["ray"]
    address: str | None = None
    workers: int = Field(default=0, ge=0)
    cpus: float = Field(default=1.0, gt=0)


class SlurmEngineModel(_EngineModel):
    """See ``engines.slurm.SlurmEngine``."""

    name: Literal["slurm"]
    folder: Path
    cluster: Literal["slurm", "local"] = "slurm"
    jobs: int = Field(default=8, ge=1)
    cpus: int = Field(default=1, ge=1)
    minutes: int = Field(default=60, ge=1)
    parameters: dict[str, Any] = Field(default_factory=dict)
    poll_s: float = Field(default=1.0, gt=0)


EngineModel = LocalEngineModel | RayEngineModel | SlurmEngineModel
ENGINES = ("local", "ray", "slurm")


class RunModel(_Strict):
    """The composed configuration of ``rlaws run`` for one study."""

    study: StudyModel
    claim: ClaimModel
    probe: dict[str, Any]
    policy: dict[str, Any]
    problems: dict[str, Any] | None = None
    grid: dict[str, list[Any]]
    budget: BudgetModel
    engine: EngineModel = Field(discriminator="name")
    seed: int = Field(ge=0)
    out: Path
    report: Path | None
    data_dir: Path
    allow_targets: list[str]
    suite: None = None
    json_output: bool = Field(alias="json")

    @field_validator("grid", mode="before")
    @classmethod
    def _lists(cls, grid: Any) -> Any:
        """Take a single value for an axis of one point."""
        if not isinstance(grid, dict):
            return grid
        for name, values in grid.items():
            if isinstance(values, list) and not values:
                raise ValueError(f"grid.{name} is empty; give at least one value")
        return {k: v if isinstance(v, list) else [v] for k, v in grid.items()}


class PlannedNoiseModel(_Strict):
    """Noise given by hand; see ``designs.curves.Noise``."""

    sd: float | None = Field(default=None, ge=0)
    rho: float | None = Field(default=None, ge=0, lt=1)
    between: float | None = Field(default=None, ge=0)


class AssumedNoiseModel(_Strict):
    """Noise assumed where there is no pilot; see ``designs.curves.Noise``."""

    sd: float = Field(ge=0)
    rho: float = Field(ge=0, lt=1)
    between: float = Field(ge=0)


class ReferenceModel(_Strict):
    """See ``designs.truth.Reference``."""

    k_max: float
    n0: float = Field(ge=0)
    level: float = Field(gt=0, le=1)
    per_decade: float


class LabModel(_Strict):
    """What a planned run is; see ``designs.curves.Lab``."""

    claim: str
    target: float = Field(gt=0, lt=1)
    wrong: float = Field(gt=0, lt=1)
    batch: int = Field(ge=1)
    answers: int = Field(ge=1)
    tokens: float = Field(gt=0)
    questions: int | None = Field(default=None, ge=1)
    throughput: float | None = Field(default=None, gt=0)
    pilot_runs: int = Field(ge=1)
    noise: AssumedNoiseModel
    reference: ReferenceModel


class DesignsModel(_Strict):
    """The part of ``rlaws plan claim=…`` that a study does not have."""

    sizes: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(min_length=1)
    steps: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    evaluations: list[Annotated[int, Field(ge=2)]] = Field(min_length=1)
    holdout: list[Annotated[float, Field(gt=0, lt=1)]] | None = None
    readings: list[str] | None = None
    noise: PlannedNoiseModel
    truth: dict[str, float] | None = None
    pilot: str | None = None
    simulations: int = Field(ge=4)
    flops: float | None = Field(default=None, gt=0)
    design: LabModel

    @field_validator("sizes", "steps", "seeds", "evaluations", "holdout", "readings", mode="before")
    @classmethod
    def _lists(cls, values: Any) -> Any:
        """Take a single value for a list of one."""
        return values if values is None or isinstance(values, list) else [values]


PLANNED = tuple(n for n in DesignsModel.model_fields if n != "flops")
"""Keys of ``conf/plan.yaml`` that ``rlaws run`` does not have."""


def to_request(values: Mapping[str, Any]) -> Request:
    """Return what a composed plan asks of designs.

    Raises:
        InputError: One line an error, each naming the full key; or a pilot that is not there.
    """
    from rlaws.designs.curves import Candidates, Lab, Noise
    from rlaws.designs.planning import Request
    from rlaws.designs.search import Goal
    from rlaws.designs.truth import Reference

    asked = _designs(values)
    lab = asked.design
    settings = lab.model_dump(include={"batch", "answers", "tokens", "questions", "throughput"})
    given = Lab(Noise(**lab.noise.model_dump()), **settings)
    return Request(
        candidates=Candidates(asked.sizes, asked.steps, asked.seeds, asked.evaluations, asked.holdout or (None,)),
        lab=given,
        reference=Reference(**lab.reference.model_dump()),
        pilot=None if asked.pilot is None else _pilot(asked.pilot, lab.pilot_runs, given),
        noise={k: v for k, v in asked.noise.model_dump().items() if v is not None},
        truth=asked.truth or {},
        readings=asked.readings,
        budget=float("inf") if asked.flops is None else asked.flops,
        goal=Goal(lab.target, lab.wrong, asked.simulations),
    )


def _designs(values: Mapping[str, Any]) -> DesignsModel:
    given = {name: values[name] for name in PLANNED} | {"flops": values["budget"]["flops"]}
    given["simulations"] = 16 if given["simulations"] is None else given["simulations"]
    try:
        return DesignsModel.model_validate(given)
    except ValidationError as error:
        lines = [_sentence(e) for e in error.errors()]
        raise InputError("\n".join(f"budget.{t}" if t.startswith("flops") else t for t in lines)) from error


def _pilot(name: str, runs: int, lab: Lab) -> Pilot:
    """Read a pilot: a study of recorded curves, a run folder or a table.

    Raises:
        InputError: If there is no such thing.
    """
    from rlaws.catalogue import names
    from rlaws.designs import pilot

    if name in names("study"):
        return pilot.from_study(to_study(validate(compose_study(name, []))), runs)
    path = Path(name)
    if path.is_dir():
        return pilot.from_folder(path, runs, lab.training(1.0, 1.0) / lab.batch)
    if path.is_file():
        return pilot.from_file(path, runs)
    raise InputError(f"pilot={name} is no study, no run folder and no table.{suggest(name, names('study'))}")


def without_designs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a composed plan that a study has, for ``validate``."""
    kept = {k: v for k, v in values.items() if k not in PLANNED}
    return kept | {"budget": {k: v for k, v in kept["budget"].items() if k != "flops"}}


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain values.

    Raises:
        InputError: If a mandatory value is not set; the keys are named.
    """
    missing = OmegaConf.missing_keys(cfg)
    if missing:
        raise InputError(f"Not set: {', '.join(sorted(missing))}. Give {sorted(missing)[0]}=… on the command line.")
    values = OmegaConf.to_container(cfg, resolve=True)
    if not isinstance(values, dict):
        raise InputError("The configuration is not a mapping.")
    return {str(k): v for k, v in values.items()}


def validate(values: Mapping[str, Any]) -> RunModel:
    """Check a composed configuration.

    Raises:
        InputError: One line an error, each naming the full key.
    """
    try:
        return RunModel.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(_sentence(e) for e in error.errors())) from error


def _sentence(error: Any) -> str:
    """Turn a pydantic error into key, problem and what is possible."""
    path = error["loc"]
    tagged = path[0] == "engine" and len(path) > 2 and path[1] in ENGINES  # pydantic names the engine in between
    key = ".".join(str(part) for part in ((path[0], *path[2:]) if tagged else path))
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such key.{suggest(str(path[-1]), _siblings(path[:-1]))}"
    if error["type"] == "union_tag_invalid":
        return f"{key}.name: there is no engine '{error['ctx']['tag']}'.{suggest(error['ctx']['tag'], ENGINES)}"
    if error["type"] == "missing":
        return f"{key}: not given; every {error['loc'][0]} needs it."
    return f"{key}: {error['msg']} (got {error['input']!r})."


def _siblings(path: tuple[Any, ...]) -> list[str]:
    """Return the keys that are allowed at a place of the configuration."""
    model: Any = RunModel
    for part in path:
        if isinstance(part, int):
            continue
        if part in ENGINES:
            model = (LocalEngineModel, RayEngineModel, SlurmEngineModel)[ENGINES.index(part)]
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        arguments = (annotation, *getattr(annotation, "__args__", ()))
        model = next((a for a in arguments if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)


def to_engine(model: EngineModel) -> Engine:
    """Return the engine of a validated configuration."""
    settings = model.model_dump(exclude={"name"})
    if model.name == "ray":
        from rlaws.engines.ray import RayEngine

        return RayEngine(**settings)
    if model.name == "slurm":
        from rlaws.engines.slurm import SlurmEngine

        return SlurmEngine(**settings)
    return LocalEngine(**settings)


def to_claim(model: ClaimModel) -> Claim:
    """Return the claim of a validated configuration; laws and predictions are resolved and checked against each other.

    Raises:
        InputError: Unknown law, rival, role or parameter.
    """
    return Claim(
        id=model.id,
        statement=model.statement.model_dump(),
        source=model.source.model_dump(),
        readings=tuple(_reading(model, r) for r in model.readings),
        links=tuple(model.links or ()),
        decision=Decision(model.decision.level, model.decision.power),
    )


def _reading(claim: ClaimModel, reading: ReadingModel) -> Reading:
    from rlaws.laws import law

    name = reading.law or claim.law
    roles = reading.x if reading.x is not None else claim.x
    rivals = reading.rivals if reading.rivals is not None else claim.rivals
    where = f"{claim.id}, reading '{reading.id}'"
    for other in (name, *rivals):
        if set(law(other).x) != set(roles):
            raise InputError(f"{where}: law '{other}' takes {', '.join(law(other).x)}, but x gives {', '.join(roles)}.")
    predictions = tuple(prediction(p) for p in reading.all)
    params = [p.name for p in law(name).params]
    for p in predictions:
        wanted = getattr(p, "param", None)
        if wanted is not None and wanted not in params:
            raise InputError(f"{where}: law '{name}' has no parameter '{wanted}'.{suggest(wanted, params)}")
    held = reading.holdout or claim.holdout
    fit = reading.fit or claim.fit
    return Reading(
        id=reading.id,
        text=reading.text.model_dump(),
        predictions=predictions,
        law=name,
        x=roles,
        rivals=tuple(rivals),
        domain=reading.domain if reading.domain is not None else claim.domain,
        where=reading.where,
        holdout=Holdout(held.along, held.largest, held.after) if held else None,
        fit=FitOptions(fit.scale, fit.weights, fit.loss, fit.free_scale),
        decides=reading.decides,
    )


def to_study(model: RunModel) -> Study:
    """Return the study of a validated configuration.

    Raises:
        InputError: If the claim's laws or the grid do not fit together.
    """
    study = Study(
        id=model.study.id,
        rung=model.study.rung,
        title=model.study.title.model_dump(),
        claim=to_claim(model.claim),
        probe=model.probe,
        policy=model.policy,
        problems=model.problems,
        grid={k: tuple(v) for k, v in model.grid.items()},
        pool=tuple(model.study.pool),
        replicates=model.study.replicates,
        budget=Budget(model.budget.name, model.budget.scale, model.budget.draws),
        seed=model.seed,
        allow=tuple(model.allow_targets),
    )
    study.units()
    for name in study.pool:
        if name not in study.grid:
            raise InputError(f"study.pool: '{name}' is no axis of the grid.{suggest(name, study.grid)}")
    return study


def compose_study(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose one study of a suite with the overrides of the command line; Hydra is already initialised."""
    from hydra import compose

    return plain(compose("run", [f"study={name}", *overrides]))


def nearest_key(text: str, args: Sequence[str]) -> str:
    """Return a did-you-mean for an error of composition that names a key, else "".

    Args:
        text: The error.
        args: The command's overrides; the groups among them decide which keys there are.
    """
    key = re.search(r"(?:Could not override|Key) '([\w.@/]+)'", text)
    if not key:
        return ""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    groups = [a for a in args if re.match(r"(study|claim|probe|policy|problems|budget|engine|suite)=[\w/]+$", a)]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        verb = args[0].rpartition(" ")[2] if args and args[0].endswith((" plan", " fit", " report")) else "run"
        cfg = OmegaConf.to_container(compose(verb, groups), resolve=False)
    known = _walk(cfg, "")
    if key[1] in known:
        entry = f"{key[1]}.entry"
        return f" Set its entries one by one: {entry}=… sets one, ~{entry} drops one, +{entry}=… adds one."
    return suggest(key[1], known)


def _walk(node: Any, prefix: str) -> list[str]:
    """Return the dotted keys below a node."""
    if not isinstance(node, Mapping):
        return []
    return [k for n, v in node.items() for k in (f"{prefix}{n}", *_walk(v, f"{prefix}{n}."))]
