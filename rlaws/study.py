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
from rlaws.store import digest, pack


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
        cells = []
        for values in itertools.product(*self.grid.values()):
            point = dict(zip(self.grid, values, strict=True))
            specs = {part: dict(spec) for part, spec in self.parts().items()}
            for name, value in point.items():
                specs[homes[name]][name] = value
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

    def run_hash(self, code: str) -> str:
        """Return the hash of what determines the numbers of this study."""
        return digest([c.key(code) for c in self.cells()], self.budget.draws)


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
        return measured


def code_hash(study: Study) -> str:
    """Return the hash of the source code and data files that the study's numbers depend on.

    The whole package of a simulator or model, and of the core every module that the parts import, directly or not.
    """
    h = hashlib.sha256()
    for path in sorted({p for spec in study.parts().values() for p in _sources(str(spec["_target_"]))}):
        h.update(path.name.encode() + path.read_bytes())
    for path in data_files(study):
        try:
            h.update(path.read_bytes())
        except OSError as error:
            raise InputError(f"Cannot read the table {path}: {error.strerror}. Check its permissions.") from error
    return h.hexdigest()[:12]


def _sources(target: str) -> frozenset[Path]:
    """Return the files behind a target."""
    module = target.rpartition(".")[0]
    if module.split(".")[0] == "rlaws":
        return _core_sources(module)
    own = _file(module).parent
    files = frozenset(own.rglob("*.py"))
    return files.union(*(_core_sources(m) for f in files for m in _core_imports(f)))


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


def data_files(study: Study) -> list[Path]:
    """Return the data files that the study's policies read; the policy says so in ``sources()``.

    Every cell is built for it, so that a study that cannot run is refused before anything is measured.

    Raises:
        MissingDataError: If a file is absent.
        InputError: If a cell cannot be built.
    """
    found: list[Path] = []
    for cell in study.cells():
        policy = cell.build()["policy"]
        found += [p for p in (policy.sources() if hasattr(policy, "sources") else ()) if p not in found]
    return found


def run_cell(cell: Cell) -> tuple[bytes | None, dict[str, Any] | None]:
    """Measure a cell; return its bytes, or the record of its failure. Never raises for what a cell did."""
    try:
        return pack(cell.measure()), None
    except Exception as error:  # a cell's failure is data: it is stored, counted and shown
        text = str(error) if isinstance(error, RlawsError) else f"{type(error).__name__}: {error}"
        return None, {"error": text, "traceback": traceback.format_exc(), "point": dict(cell.point)}


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
