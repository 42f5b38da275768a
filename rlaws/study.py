"""A study: claim x probe x policy x grid x replicates x budget, as a value; its cells are independent."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.util
import itertools
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlaws.build import build, resolve
from rlaws.claims import Claim, Text
from rlaws.errors import InputError, RlawsError, suggest
from rlaws.measurement import Measurement
from rlaws.policy import refuse_unless_able
from rlaws.probes.base import Budget
from rlaws.seeding import seed_sequence
from rlaws.store import canonical, digest, pack


@dataclass(frozen=True, slots=True)
class Study:
    """A study, validated.

    Attributes:
        id: group/name, also its folder.
        rung: sim, toy, llm or logs.
        title: One line, by language.
        claim: The claim it tests.
        probe: Specification (``_target_`` and settings) of the probe; ``policy`` and ``problems`` likewise.
        grid: Setting -> values; each key is a setting of the policy, the problems or the probe.
        pool: Grid keys that are design variables of the claim's law and not part of the regime: their cells are judged
            together.
        replicates: Independent repetitions of every grid point.
        budget: What a cell may spend.
        seed: Root seed; 0 is a seed.
        allow: Packages beside the project's own that targets may come from.
    """

    id: str
    rung: str
    title: Text
    claim: Claim
    probe: Mapping[str, Any]
    policy: Mapping[str, Any]
    problems: Mapping[str, Any] | None
    grid: Mapping[str, tuple[Any, ...]]
    pool: tuple[str, ...]
    replicates: int
    budget: Budget
    seed: int
    allow: tuple[str, ...] = ()

    def parts(self) -> dict[str, Mapping[str, Any]]:
        """Return the specifications by part, without absent ones."""
        found = {"policy": self.policy, "problems": self.problems, "probe": self.probe}
        return {k: v for k, v in found.items() if v is not None}

    def cells(self) -> list[Cell]:
        """Return the cells in grid order.

        Raises:
            InputError: If a grid key is no setting, or belongs to two parts, or a setting is out of range.
        """
        homes = {name: self._home(name) for name in self.grid}
        axes = {part: [k for k, name in enumerate(self.grid) if homes[name] == part] for part in self.parts()}
        made: dict[tuple[str, tuple[int, ...]], Mapping[str, Any]] = {}
        cells = []
        for index in itertools.product(*(range(len(values)) for values in self.grid.values())):
            point = {name: values[i] for (name, values), i in zip(self.grid.items(), index, strict=True)}
            specs = {}
            for part, spec in self.parts().items():  # cells that agree in a part share its specification
                own = (part, tuple(index[k] for k in axes[part]))
                if own not in made:
                    made[own] = {**spec, **{name: v for name, v in point.items() if homes[name] == part}}
                specs[part] = made[own]
            rest = (specs, self.budget, self.seed, self.allow)
            cells += [Cell(self.id, point, r, *rest) for r in range(self.replicates)]
        return cells

    def _home(self, name: str) -> str:
        """Return the part whose setting a grid key is."""
        settings = {
            part: [f.name for f in dataclasses.fields(resolve(str(spec["_target_"]), self.allow))]
            for part, spec in self.parts().items()
        }
        homes = [part for part, names in settings.items() if name in names]
        if not homes:
            possible = sorted(set(itertools.chain(*settings.values())))
            raise InputError(f"grid.{name}: no such setting of policy, problems or probe.{suggest(name, possible)}")
        if len(homes) > 1:
            raise InputError(f"grid.{name} is a setting of {' and '.join(homes)}; rename one of them.")
        return homes[0]

    def units(self) -> dict[str, str]:
        """Return the unit of every grid key.

        Raises:
            InputError: If the class that owns the setting gives none.
        """
        out = {}
        for name in self.grid:
            cls = resolve(str(self.parts()[self._home(name)]["_target_"]), self.allow)
            unit = getattr(cls, "UNITS", {}).get(name)
            if not unit:
                raise InputError(f'grid.{name}: {cls.__name__}.UNITS has no unit for it; add one ("1" for a number).')
            out[name] = unit
        return out

    def run_hash(self, keys: Sequence[str]) -> str:
        """Return the hash of what determines the numbers of this study, given the keys of its cells."""
        return digest(list(keys), self.budget.draws)


@dataclass(frozen=True, slots=True)
class Cell:
    """One independent unit of work.

    Attributes:
        study: Id of the study.
        point: Grid values.
        replicate: Which repetition.
        specs: Specification of each part with the grid values set.
        budget: What it may spend.
        seed: Root seed of the study.
        allow: See ``Study.allow``.
    """

    study: str
    point: Mapping[str, Any]
    replicate: int
    specs: Mapping[str, Mapping[str, Any]]
    budget: Budget
    seed: int
    allow: tuple[str, ...]

    def key(self, code: str) -> str:
        """Return a stable hash of what determines this cell's numbers, given the hash of the code it uses."""
        specs = {k: {n: v for n, v in s.items() if n != "data_dir"} for k, s in self.specs.items()}
        return digest(self.study, specs, self.replicate, self.budget.scale, self.seed, code)

    def identity(self) -> dict[str, Any]:
        """Return what a stored cell says of itself: enough to tell it from every other cell of its study."""
        return {"study": self.study, "point": dict(self.point), "replicate": self.replicate, "seed": self.seed}

    def stream(self) -> np.random.SeedSequence:
        """Return the cell's seed: it depends on the cell alone, so that adding a cell changes no other."""
        return seed_sequence(self.seed, self.study, digest(dict(self.point)), self.replicate)

    def build(self) -> dict[str, Any]:
        """Return the policy, the problems and the probe.

        Raises:
            InputError: If a setting is refused, or the policy lacks what the probe needs.
        """
        made = {part: build(spec, self.allow) for part, spec in self.specs.items()}
        refuse_unless_able(made["policy"], made["probe"].REQUIRES, made["probe"].NAME)
        return made

    def measure(self) -> Measurement:
        """Build the parts, check that they fit, and measure."""
        made = self.build()
        probe, policy = made["probe"], made["policy"]
        streams = self.stream().spawn(2)
        problems = made["problems"].draw(streams[0]) if "problems" in made else None
        measured: Measurement = probe.measure(policy, problems, self.budget, streams[1])
        if not hasattr(policy, "provenance"):
            return measured
        return dataclasses.replace(measured, provenance={**measured.provenance, "policy": policy.provenance()})


def cell_keys(cells: Sequence[Cell], code: str) -> list[str]:
    """Return ``key(code)`` of every cell; what cells share is written out once, so that 10^5 take about a second."""
    written: dict[int, str] = {}
    named = functools.lru_cache(canonical)

    def text(spec: Mapping[str, Any]) -> str:
        if id(spec) not in written:
            written[id(spec)] = canonical({n: v for n, v in spec.items() if n != "data_dir"})
        return written[id(spec)]

    keys = []
    for cell in cells:
        specs = ",".join(f'"{part}":{text(cell.specs[part])}' for part in sorted(cell.specs))
        rest = f"{cell.replicate},{cell.budget.scale!r},{cell.seed},{named(code)}"
        keys.append(hashlib.sha256(f"[{named(cell.study)},{{{specs}}},{rest}]".encode()).hexdigest()[:12])
    return keys


def code_hash(study: Study, files: Sequence[Path] | None = None) -> str:
    """Return the hash of the source code and data files that the study's numbers depend on.

    The whole package of a simulator or model, and of the core every module that the parts import, directly or not.

    Args:
        study: The study.
        files: Its ``data_files``, where they are known already.
    """
    h = hashlib.sha256(source_hash(targets(study.parts())).encode())
    for path in data_files(study) if files is None else files:
        try:
            h.update(path.read_bytes())
        except OSError as error:
            raise InputError(f"Cannot read the table {path}: {error.strerror}. Check its permissions.") from error
    return h.hexdigest()[:12]


def targets(specs: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the ``_target_`` of every part."""
    return tuple(sorted({str(spec["_target_"]) for spec in specs.values()}))


def source_hash(names: tuple[str, ...]) -> str:
    """Return the hash of the source code behind targets, as it lies on this machine."""
    h = hashlib.sha256()
    for path in sorted({p for name in names for p in _sources(name)}):
        h.update(path.name.encode() + path.read_bytes())
    return h.hexdigest()


def _sources(target: str) -> frozenset[Path]:
    """Return the files behind a target."""
    module = target.rpartition(".")[0]
    if module.split(".")[0] == "rlaws":
        return _core_sources(module)
    own = _file(module)
    packed = (own.parent / "__init__.py").exists()
    files = frozenset(own.parent.rglob("*.py") if packed else _beside(own))
    return files.union(*(_core_sources(m) for f in files for m in _core_imports(f)))


def _beside(path: Path) -> frozenset[Path]:
    """Return a module that lies in no package and the files beside it that it imports, directly or not."""
    todo, seen = [path], set[Path]()
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            tree = ast.parse(file.read_text(encoding="utf-8"))
            names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
            names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
            todo += [p for n in names if (p := path.parent / f"{n.split('.')[0]}.py").exists()]
    return frozenset(seen)


def _file(module: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise InputError(f"_target_: there is no module '{module}'.")
    return Path(found.origin)


@functools.cache
def _core_imports(path: Path) -> frozenset[str]:
    """Return the modules of the core that a file imports."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.ImportFrom)]
    return frozenset(n.module for n in nodes if n.module and n.module.startswith("rlaws."))


@functools.cache
def _core_sources(module: str) -> frozenset[Path]:
    """Return the files of a module of the core and of all that it imports from the core."""
    todo, seen = [module], set()
    while todo:
        path = _file(todo.pop())
        if path not in seen:
            seen.add(path)
            todo += _core_imports(path)
    return frozenset(seen)


def data_files(study: Study, cells: Sequence[Cell] | None = None) -> list[Path]:
    """Return the data files that the study's policies and problems read; each says so in ``sources()``.

    Every distinct policy, problem set and probe is built for it, so that a study that cannot run is refused before
    anything is measured.

    Args:
        study: The study.
        cells: Its cells, where they are made already.

    Raises:
        MissingDataError: If a file is absent.
        InputError: If a part cannot be built, or a policy lacks what the probe needs.
    """
    found: dict[Path, None] = {}
    seen: set[int] = set()  # specifications that were built; the cells keep them alive, so that an id names one
    for cell in study.cells() if cells is None else cells:
        fresh = [part for part, spec in cell.specs.items() if id(spec) not in seen]
        seen.update(id(cell.specs[part]) for part in fresh)
        made = {part: build(cell.specs[part], study.allow) for part in fresh}
        if "policy" in made:
            probe = resolve(str(cell.specs["probe"]["_target_"]), study.allow)
            refuse_unless_able(made["policy"], probe.REQUIRES, probe.NAME)
        for part in made.values():
            found.update(dict.fromkeys(part.sources() if hasattr(part, "sources") else ()))
    return list(found)


def run_cell(cell: Cell) -> tuple[bytes | None, dict[str, Any] | None]:
    """Measure a cell; return its bytes, or the record of its failure. Never raises for what a cell did."""
    try:
        return pack(cell.measure(), cell.identity()), None
    except Exception as error:  # a cell's failure is data: it is stored, counted and shown
        text = str(error) if isinstance(error, RlawsError) else f"{type(error).__name__}: {error}"
        return None, {"error": text, "traceback": traceback.format_exc(), **cell.identity()}


def regime_of(study: Study, point: Mapping[str, Any], measured: Measurement) -> Measurement:
    """Return a cell's rows with the grid values as regime columns, lists of values as one word.

    Pooled keys become no column: their clusters are told apart by label, and the probe has the value as x.
    """
    plain = {
        k: "/".join(map(str, v)) if isinstance(v, Sequence) and not isinstance(v, str) else v
        for k, v in point.items()
        if k not in study.pool and k not in measured.x
    }
    pooled = {k: v for k, v in point.items() if k not in plain}
    rows = measured.labelled(digest(pooled)) if pooled else measured
    return rows.with_regime(plain, {k: u for k, u in study.units().items() if k not in measured.units})
