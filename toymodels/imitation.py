"""Imitation against RL from the same base: training on right solutions, distillation, and the standard RL run.

"sft" imitates the right solution of each problem; "distillation" one sample of a larger model, the rung of
``teacher`` parameters after the standard run, right or wrong. Both take the problems of the RL run in its order, as
many an update as it, at its learning rate. So after as many updates they have seen the same problems ("problems").
They are judged again where their counted FLOPs, the teacher's samples included, are those of the RL run ("compute"):
after more updates, on fresh problems, or after fewer where the teacher is much larger than the student. The training of
the teacher itself is not charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from rlaws.errors import InputError
from rlaws.seeding import child, seed_sequence
from toymodels import ladder
from toymodels.cache import Arrays, cached
from toymodels.critic_tables import Row, Table, seeds_of, tabulated
from toymodels.enumeration import enumerate_solutions
from toymodels.ladder import VALUES
from toymodels.options import Optimiser, Sft, Training
from toymodels.policy import ToyPolicy
from toymodels.runs import Exams, Plan, ToyRuns, run, trained, unseen
from toymodels.settings import Settings
from toymodels.state import Demonstrations, policy_of
from toymodels.tasks import Task, make_task
from toymodels.training import Snapshot, train

METHODS = ("sft", "distillation")
STANDARD = ToyRuns().updates


@dataclass(frozen=True, slots=True)
class Lessons:
    """An imitation run beside an RL run.

    Attributes:
        parameters: Rung of the student.
        base_seed: Which base of it, and of the teacher.
        recipe: Recipe of both.
        method: "sft" or "distillation".
        teacher: Rung of the teacher.
        updates: Updates with the problems of the RL run.
        flops: FLOPs of the RL run.
        wrong: Imitate a solution of another problem in place of the right one: the negative control.
    """

    parameters: int
    base_seed: int
    recipe: str
    method: str
    teacher: int
    updates: int
    flops: float
    wrong: bool = False


def standard(parameters: int, base_seed: int, recipe: str) -> Plan:
    """Return the standard RL run of a base."""
    return Plan(parameters, base_seed, recipe, Settings().rl(), STANDARD, ToyRuns().evaluations, 1)


def imitated(plan: Lessons) -> Arrays:
    """Return "success" on held-out problems and "flops" at equal problems and at equal compute, each [2]."""
    return cached("imitation", asdict(plan), partial(record, plan))


def record(plan: Lessons) -> Arrays:
    """Train and judge one student."""
    recipe, prompts = ladder.recipe_of(plan.recipe), Settings().prompts
    exams = Exams.of(recipe)
    # as in toymodels.runs.record: the same problems, in the same order
    stream, wanted = seed_sequence(plan.base_seed, "toy run", plan.recipe), STANDARD * prompts
    task = make_task(unseen(recipe.chains(2 * wanted + 64).draw(child(stream, 0)), exams.known, wanted), VALUES)
    shown, each = lessons(plan, task)
    options = Training(Sft(prompts), Optimiser(lr=Settings().training(plan.parameters).optimiser.lr))
    own = _update_flops(plan, task, options, shown)
    cost = own + prompts * each
    ends = (plan.updates, int(plan.flops // cost))
    student, success = ladder.base(plan.parameters, plan.base_seed, plan.recipe), dict[int, float]()
    for event in train(student, task, options, sorted(set(ends)), child(stream, 1), data=shown):
        if isinstance(event, Snapshot):
            found = enumerate_solutions(policy_of(event), exams.tasks["test"])
            success[event.step] = float(found.success().mean())
    return {"success": np.array([success[n] for n in ends]), "flops": cost * np.array(ends)}


def lessons(plan: Lessons, task: Task) -> tuple[Demonstrations, float]:
    """Return what is imitated on each problem, and the teacher's FLOPs for one of them."""
    rows = np.arange(len(task))
    if plan.method == "sft":
        order = np.random.default_rng(seed_sequence(plan.base_seed, "toy imitation")).permutation(len(task))
        return Demonstrations(rows, task.demonstrations[order if plan.wrong else rows]), 0.0
    model = trained(Settings(), plan.teacher, plan.base_seed, plan.recipe, STANDARD)
    policy = ToyPolicy(parameters=plan.teacher, base_seed=plan.base_seed, recipe=plan.recipe)
    drawn = policy.draw(model, task, rows, 1, seed_sequence(plan.base_seed, "toy teacher", plan.recipe))
    return Demonstrations(rows, drawn.responses), drawn.flops / len(task)


def _update_flops(plan: Lessons, task: Task, options: Training, shown: Demonstrations) -> float:
    """Return the FLOPs of one update: all take as many, since all problems have one length."""
    student = ladder.base(plan.parameters, plan.base_seed, plan.recipe)
    (event,) = (e for e in train(student, task, options, (1,), seed_sequence(0), data=shown) if isinstance(e, Snapshot))
    return float(event.state["spent"]["flops"])


EQUAL = ("problems", "compute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imitations:
    """Success of imitation less that of RL, as a table: a row a base, method and what is equal.

    Attributes:
        sizes: Rungs of the students.
        seeds: Independent bases and runs at scale 1; their number grows as the root of ``scale``.
        recipe: Recipe of the bases.
        teacher: Rung of the teacher of "distillation".
        updates: RL updates to compare with; the nearest evaluation of the standard run is taken.
        wrong: Imitate solutions of other problems ("sft"): the negative control.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "sizes": "parameters", "seeds": "seeds", "recipe": "name", "teacher": "parameters", "updates": "updates",
        "wrong": "name", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "method": "name", "equal": "name", "imitation": "1", "rl": "1", "base": "1",
        "difference": "1", "flops": "FLOP", "rl_flops": "FLOP",
    }  # fmt: skip
    sizes: tuple[int, ...] = (4_000, 15_000, 58_000)
    seeds: int = 3
    recipe: str = "standard"
    teacher: int = 58_000
    updates: int = 48
    wrong: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.sizes or not 1 <= self.updates <= STANDARD:
            raise InputError(
                f"sizes = {self.sizes}, updates = {self.updates}: give sizes, and updates from 1 to those of the "
                f"standard run, {STANDARD}."
            )
        ladder.recipe_of(self.recipe)
        for size in (*self.sizes, self.teacher):
            ladder.config_of(size)

    def table(self) -> Table:
        """Return the rows; what is not in the cache is trained."""
        seeds = seeds_of(self.seeds, self.scale)
        return tabulated([row for seed in seeds for size in self.sizes for row in self._rows(size, seed)])

    def _rows(self, size: int, seed: int) -> list[Row]:
        """Return the rows of a base."""
        made = run(standard(size, seed, self.recipe))
        at = int(np.argmin(np.abs(made["step"] - self.updates)))
        steps, flops, rl = int(made["step"][at]), float(made["cum_flops"][at]), 1.0 - float(made["test_loss"][at])
        own = {"seed": seed, "parameters": ladder.parameters_of(size), "rl": rl, "rl_flops": flops}
        own["base"] = 1.0 - float(made["test_loss"][0])
        rows = []
        for method in METHODS:
            plan = Lessons(size, seed, self.recipe, method, self.teacher, steps, flops, self.wrong and method == "sft")
            got = imitated(plan)
            for equal, success, spent in zip(EQUAL, got["success"], got["flops"], strict=True):
                told = {"method": method, "equal": equal, "imitation": float(success), "flops": float(spent)}
                rows.append(own | told | {"difference": float(success) - rl})
        return rows

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"imitation and RL of toy policies, recipe {self.recipe}", "origin": "trained here"}
