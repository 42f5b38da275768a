"""RL runs of language models as a table of learning curves; what is not in the cache is trained when it is asked for.

The columns are those of recorded curves (``rlaws.logs.curves``) with the seed beside them, so the probes of curves read
them unchanged. Every run of a rung of the ladder has its own base, its own training problems and its own sampling; the
runs of a published model share their start. The test loss is 1 - pass@1 on held-out problems that are the same for all
runs, from samples that rest on the same random numbers at every evaluation (``llm_bridge.exams``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from llm_bridge.learning import Learning, learning_of
from llm_bridge.models import LADDER
from llm_bridge.settings import ModelSettings
from llm_bridge.training import DRAWS, EVALUATIONS, HELD_OUT, STANDARD, STEPS, Arrays, Family, Plan, run, table
from rlaws.errors import InputError, suggest
from rlaws.seeding import grown

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRuns(ModelSettings, Learning):
    """A table of RL runs of one model in place of a policy.

    Attributes:
        seeds: Independent runs at scale 1; their number grows as scale^(1/4), by the seeds that follow. A rung of the
            ladder has a base for each.
        updates: Updates at scale 1; they grow as scale^(3/4), so that the work grows as the scale.
        evaluations: Evaluations, evenly spaced in log updates.
        length: Steps of the chains.
        modulus: m of the chains.
        reset: Share of "set" steps.
        layout: "curves": a row an evaluation, the start left out. "gains": a row a run and set of held-out problems,
            before and after. "converged": a row a run, pass@1 at the end. "steps": a row an update, the mean of the
            runs.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **ModelSettings.UNITS, **Learning.LEARNING_UNITS, "seeds": "1", "updates": "updates",
        "evaluations": "evaluations", "length": "steps", "modulus": "1", "reset": "1", "layout": "name", "scale": "1",
    }  # fmt: skip
    seeds: tuple[int, ...] = (0, 1, 2)
    updates: int = 40
    evaluations: int = EVALUATIONS
    length: int = STANDARD.length
    modulus: int = STANDARD.modulus
    reset: float = STANDARD.reset
    layout: str = "curves"
    scale: float = 1.0

    def __post_init__(self) -> None:
        ModelSettings.__post_init__(self)
        self.check()
        if not 0 < self.scale < np.inf:
            raise InputError(f"scale = {self.scale}; give a positive number, 1 for the quick budget.")
        if self.layout not in LAYOUTS:
            raise InputError(f"layout = '{self.layout}' is not known.{suggest(self.layout, LAYOUTS)}")
        if not self.seeds or self.updates < 1 or self.evaluations < 2:
            raise InputError("Runs need seeds, at least 1 update and at least 2 evaluations.")
        self.family().draw(1, np.random.SeedSequence(0))

    def family(self) -> Family:
        """Return the chains."""
        return Family(self.length, self.modulus, self.reset)

    def plans(self) -> list[Plan]:
        """Return the runs, in the order of the table."""
        updates, learning = max(1, round(self.updates * self.scale**0.75)), learning_of(self)
        return [
            Plan(self._model(seed), learning, self.family(), updates, self.evaluations, seed)
            for seed in self.independent()
        ]

    def _model(self, seed: int) -> ModelSettings:
        """Return the model that a run starts from."""
        base = seed if self.model.startswith(LADDER) else self.base_seed
        shared = {"models": (self.model,), "rung": 0, "base_seed": base}
        same = {name: getattr(self, name) for name in ("revision", "adapter", "device", "template")}
        return replace(ModelSettings(), **shared, **same)

    def independent(self) -> tuple[int, ...]:
        """Return the seeds of the budget."""
        return grown(self.seeds, self.scale**0.25)

    def table(self) -> Table:
        """Return the columns; what is not in the cache is trained.

        Raises:
            InputError: If the cache cannot be written, or a run cannot be made; see ``llm_bridge.training``.
        """
        return LAYOUTS[self.layout](self, [(plan, run(plan)) for plan in self.plans()])

    def named(self, rows: Table, parameters: int, seed: int | str) -> Table:
        """Return rows with the columns that tell the run."""
        size = len(next(iter(rows.values())))
        short = self.model.rstrip("/").rsplit("/", 1)[-1]
        own = {
            "family": "ladder" if self.model.startswith(LADDER) else short.split("-")[0],
            "model": short,
            "model_B": parameters / 1e9,
            "parameters": parameters,
            "seed": str(seed),
            "group_size": self.group,
        }
        return {**{name: np.full(size, value) for name, value in own.items()}, **rows}

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        made = [table(run(plan)) for plan in self.plans()]
        columns = {"flops": "cum_flops", "tokens": "tokens_generated", "prompts": "samples"}
        return {
            "table": f"{self.method} runs of {self.model}, {HELD_OUT} held-out chains, {DRAWS} samples each",
            "origin": "trained here with TRL",
            "cost": {name: float(sum(x[column][-1] for x in made)) for name, column in columns.items()},
        }


Runs = list[tuple[Plan, Path]]


def _joined(parts: list[Table]) -> Table:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _curves(policy: LLMRuns, runs: Runs) -> Table:
    """Return every evaluation after the start's."""
    return _joined([policy.named(_curve_rows(table(at)), *_own(plan, at)) for plan, at in runs])


def _curve_rows(made: Arrays) -> Table:
    rows = {k: v[1:] for k, v in made.items() if v.ndim == 1 and k != "parameters"}
    return rows | {"base_loss": np.full(len(rows["step"]), made["test_loss"][0])}


def _own(plan: Plan, at: Path) -> tuple[int, int]:
    return int(table(at)["parameters"][0]), plan.seed


def _gains(policy: LLMRuns, runs: Runs) -> Table:
    """Return pass@1 before and after for every set of held-out problems."""
    return _joined([policy.named(_gain_rows(table(at)), *_own(plan, at)) for plan, at in runs])


def _gain_rows(made: Arrays) -> Table:
    names = ["test_loss", *sorted(k for k in made if k.startswith("loss_"))]
    before, after = (np.array([1.0 - made[name][i] for name in names]) for i in (0, -1))
    tasks = np.array(["all" if name == "test_loss" else name.removeprefix("loss_") for name in names])
    return {"task": tasks, "before": before, "after": after, "gain": after - before}


def _converged(policy: LLMRuns, runs: Runs) -> Table:
    """Return pass@1 at the end."""
    ends = [{"table": np.array(["ladder"]), "pass_at_1": 1.0 - table(at)["test_loss"][-1:]} for _, at in runs]
    return _joined([policy.named(rows, *_own(*of)) for rows, of in zip(ends, runs, strict=True)])


def _steps(policy: LLMRuns, runs: Runs) -> Table:
    """Return TRL's log of every update, averaged over the runs."""
    logs = [table(at, STEPS) for _, at in runs]
    mean = {name: np.mean([log[name] for log in logs], axis=0) for name in logs[0]}
    mean["entropy"] = mean.pop("train_entropy")
    return {k: v for k, v in policy.named(mean, _own(*runs[0])[0], "mean").items() if k != "seed"}


LAYOUTS = {"curves": _curves, "gains": _gains, "converged": _converged, "steps": _steps}
