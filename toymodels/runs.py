"""RL runs on the ladder: trained once with one recipe for all sizes, cached, and read as a table of learning curves.

The columns are those of recorded curves (``rlaws.logs.curves``), so the probes of curves read them unchanged, with the
seed beside them: every run of a size has its own base, its own training problems and its own sampling. The test loss is
1 - pass@1 on held-out problems that are the same for all runs, exact by enumeration, without sampling noise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlaws.errors import InputError, suggest
from rlaws.problems import ChainProblem, ProblemSet
from rlaws.seeding import child, grown, seed_sequence
from toymodels import ladder
from toymodels.cache import Arrays, cached
from toymodels.enumeration import Solutions, enumerate_solutions
from toymodels.ladder import VALUES, Recipe, Weights
from toymodels.model import Decoder
from toymodels.settings import Settings
from toymodels.state import policy_of
from toymodels.tasks import Task, make_task
from toymodels.training import Record, Snapshot, train

Table = dict[str, NDArray[Any]]
Row = dict[str, Any]

HELD_OUT = 192
"""Held-out problems of the trained family."""
ELSEWHERE = 96
"""Problems of each other family."""
TOLD = ("reward", "accuracy", "entropy", "length", "dead_groups", "explained_variance", "grad_norm")
"""What the records of training tell, averaged from one evaluation to the next."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        parameters: Rung of the ladder.
        base_seed: Which base of the rung, and the seed of the run.
        recipe: Recipe of the base; the run's problems are drawn like its chains.
        settings: ``Settings.rl()``.
        updates: RL updates.
        evaluations: Evaluations, evenly spaced in log updates.
        reuse: How often each training problem is used.
    """

    parameters: int
    base_seed: int
    recipe: str
    settings: Mapping[str, Any]
    updates: int
    evaluations: int
    reuse: int

    def steps(self) -> list[int]:
        """Return the updates after which the run is evaluated, 0 first."""
        spaced = np.geomspace(1, self.updates, self.evaluations)
        return [0, *np.unique(np.round(spaced).astype(int)).tolist()]


def run(plan: Plan) -> Arrays:
    """Return a run from the cache, or train it now.

    Returns:
        "step", "samples", "cum_flops", "test_loss" and more, each [E + 1] with the base first, and the weights at the
        end under "weights.<name>".
    """
    made = {f.name: getattr(plan, f.name) for f in fields(Plan)}
    return cached("run", made | {"settings": dict(plan.settings)}, partial(record, plan))


def weights_of(arrays: Arrays) -> Weights:
    """Return the weights at the end of a run."""
    return {k.removeprefix("weights."): v for k, v in arrays.items() if k.startswith("weights.")}


def record(plan: Plan) -> Arrays:
    """Train and evaluate one run."""
    settings, recipe = Settings(**plan.settings), ladder.recipe_of(plan.recipe)
    base, exams = settings.base(plan.parameters, plan.base_seed, plan.recipe), Exams.of(recipe)
    stream = seed_sequence(plan.base_seed, "toy run", plan.recipe)
    wanted = -(-plan.updates * settings.prompts // plan.reuse)
    task = make_task(unseen(recipe.chains(2 * wanted + 64).draw(child(stream, 0)), exams.known, wanted), VALUES)
    start = exams.solve(base)
    rows: list[Row] = []
    told: list[Record] = []
    policy = base
    for event in train(base, task, settings.training(plan.parameters), plan.steps(), child(stream, 1)):
        if isinstance(event, Snapshot):
            policy = policy_of(event)
            rows.append(_spent(event, settings, task, told) | exams.marks(exams.solve(policy), start))
            told = []
        else:
            told.append(event)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return columns | {f"weights.{name}": x for name, x in ladder.to_arrays(policy).items()}


def content(problem: ChainProblem) -> tuple[int, ...]:
    """Return what a chain asks, whatever it is called."""
    return tuple(problem.to_state().tolist())


def unseen(problems: ProblemSet, known: Collection[tuple[int, ...]], wanted: int) -> ProblemSet:
    """Return the first ``wanted`` problems that are not among the known ones."""
    keep = [i for i, item in enumerate(problems.items) if content(item) not in known][:wanted]
    cut = {name: values[keep] for name, values in problems.difficulty.items()}
    return ProblemSet(problems.ids[keep], cut, tuple(problems.items[i] for i in keep), problems.settings)


def _spent(event: Snapshot, settings: Settings, task: Task, told: Sequence[Record]) -> Row:
    """Return what a run has cost at an evaluation, and what training told since the last one."""
    means = {f"train_{n}": float(np.mean([getattr(r, n) for r in told])) if told else np.nan for n in TOLD}
    spent, samples = event.state["spent"], event.step * settings.prompts
    asked = samples * settings.epochs * float(task.question_length.mean())
    return {
        "step": event.step,
        "samples": samples,
        "cum_flops": spent["flops"],
        "tokens_generated": spent["tokens_generated"],
        "tokens_run": spent["tokens_trained"] + asked,  # the prompt of a group is run once
        "tokens_shown": spent["tokens_trained"] + asked * settings.group,
        "length": means["train_length"],
        **means,
    }


# ------------------------------------------------------------------------------------------------------ held-out
class Exams(NamedTuple):
    """Held-out problems, the same for every run of a recipe.

    Attributes:
        tasks: "test", and of other families "near" (reflection chains) and "logic" (circuits).
        easy: Which of the "test" problems the teacher does better than its median, [P].
        known: What the "test" problems ask.
    """

    tasks: Mapping[str, Task]
    easy: NDArray[np.bool_]
    known: frozenset[tuple[int, ...]]

    @staticmethod
    def of(recipe: Recipe) -> Exams:
        """Return the held-out problems of a recipe."""
        stream = seed_sequence(0, "toy held out")
        chains = recipe.chains(HELD_OUT).draw(child(stream, 0))
        tasks = {"test": make_task(chains, VALUES)}
        if recipe.others:
            for i, (name, problems) in enumerate(zip(("near", "logic"), recipe.elsewhere(ELSEWHERE), strict=True), 1):
                tasks[name] = make_task(problems.draw(child(stream, i)), VALUES)
        taught = np.prod(1.0 - ladder.error_rates(tasks["test"], recipe), axis=1)
        return Exams(tasks, taught > np.median(taught), frozenset(content(item) for item in chains.items))

    def solve(self, policy: Decoder) -> dict[str, Solutions]:
        """Return all solutions of all problems with their probabilities."""
        return {name: enumerate_solutions(policy, task) for name, task in self.tasks.items()}

    def marks(self, found: Mapping[str, Solutions], start: Mapping[str, Solutions]) -> Row:
        """Return losses, entropies and the KL to the start."""
        right = found["test"].success()
        marks: Row = {"test_loss": float(1.0 - right.mean()), "success": right}
        marks |= {"loss_easy": float(1.0 - right[self.easy].mean()), "loss_hard": float(1.0 - right[~self.easy].mean())}
        marks |= {f"loss_{name}": float(1.0 - x.success().mean()) for name, x in found.items() if name != "test"}
        marks["entropy"] = float(found["test"].token_entropy().mean())
        marks["answer_entropy"] = float(found["test"].semantic_entropy().mean())
        marks["kl"] = float(found["test"].divergence(start["test"]).mean())
        return marks


# --------------------------------------------------------------------------------------------------------- table


# --------------------------------------------------------------------------------------------------------- table
LAYOUTS = ("curves", "gains", "converged")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyRuns(Settings):
    """A table of RL runs in place of a policy; a run that is not in the cache is trained when the table is asked for.

    Attributes:
        sizes: Rungs of the ladder.
        seeds: Independent runs of each rung at scale 1; their number grows as scale^(1/4), by the seeds that follow.
        recipe: Recipe of the bases.
        updates: RL updates at scale 1; they grow as scale^(3/4), so that the work grows as the scale.
        evaluations: Evaluations, evenly spaced in log updates.
        groups: Answers per prompt, a run for each; empty for ``group`` alone.
        reuses: How often each training problem is used, a run for each, at the same total.
        layout: "curves": a row an evaluation, the base left out. "gains": a row a run and set of held-out problems,
            before and after. "converged": a row a run, pass@1 at the end.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **Settings.UNITS, "sizes": "parameters", "seeds": "1", "recipe": "name", "updates": "updates",
        "evaluations": "evaluations", "groups": "answers per prompt", "reuses": "1", "layout": "name", "scale": "1",
    }  # fmt: skip
    sizes: tuple[int, ...] = (4_000, 7_000, 15_000, 26_000, 58_000)
    seeds: tuple[int, ...] = (0, 1, 2)
    recipe: str = "standard"
    updates: int = 192
    evaluations: int = 24
    groups: tuple[int, ...] = ()
    reuses: tuple[int, ...] = (1,)
    layout: str = "curves"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.scale < np.inf:
            raise InputError(f"scale = {self.scale}; give a positive number, 1 for the quick budget.")
        if self.layout not in LAYOUTS:
            raise InputError(f"layout = '{self.layout}' is not known.{suggest(self.layout, LAYOUTS)}")
        if not (self.sizes and self.seeds and self.reuses) or min(*self.reuses, self.updates) < 1:
            raise InputError("Runs need sizes, seeds, reuses and updates, each at least 1.")
        if self.evaluations < 2:
            raise InputError(f"evaluations = {self.evaluations}; give at least 2.")
        ladder.recipe_of(self.recipe)
        for size in self.sizes:
            self.training(size)

    def plans(self) -> list[Plan]:
        """Return the runs, in the order of the table."""
        updates = max(1, round(self.updates * self.scale**0.75))
        return [
            Plan(size, seed, self.recipe, {**self.rl(), "group": group}, updates, self.evaluations, reuse)
            for size in self.sizes
            for group in self.groups or (self.group,)
            for reuse in self.reuses
            for seed in self.independent()
        ]

    def independent(self) -> tuple[int, ...]:
        """Return the seeds of the budget."""
        return grown(self.seeds, self.scale**0.25)

    def table(self) -> Table:
        """Return the columns; what is not in the cache is trained.

        Raises:
            InputError: If the cache cannot be written.
        """
        make = {"curves": _curve_rows, "gains": _gain_rows, "converged": _converged_rows}[self.layout]
        parts = [_named(plan, make(run(plan))) for plan in self.plans()]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"toy runs, recipe {self.recipe}", "origin": "trained here", "cost": self.cost()}

    def cost(self) -> dict[str, float]:
        """Return what the runs took, bases and evaluations aside."""
        made = [run(plan) for plan in self.plans()]
        totals = {"flops": "cum_flops", "tokens": "tokens_generated", "prompts": "samples"}
        return {name: float(sum(x[column][-1] for x in made)) for name, column in totals.items()}


def _named(plan: Plan, rows: Table) -> Table:
    """Return rows with the columns that tell the run."""
    size = len(next(iter(rows.values())))
    exact = ladder.parameters_of(plan.parameters)
    own = {
        "family": "toy",
        "model": f"{plan.parameters} parameters",
        "model_B": exact / 1e9,
        "parameters": exact,
        "seed": str(plan.base_seed),
        "group_size": int(plan.settings["group"]),
        "reuse_tau": plan.reuse,
    }
    return {**{name: np.full(size, value) for name, value in own.items()}, **rows}


def _curve_rows(made: Arrays) -> Table:
    """Return every evaluation after the base's."""
    plain = {k: v for k, v in made.items() if v.ndim == 1 and not k.startswith("weights.")}
    rows = {k: v[1:] for k, v in plain.items()}
    return rows | {"base_loss": np.full(len(rows["step"]), made["test_loss"][0])}


def _gain_rows(made: Arrays) -> Table:
    """Return pass@1 before and after for every set of held-out problems."""
    names = ["test_loss", *sorted(k for k in made if k.startswith("loss_"))]
    before, after = (np.array([1.0 - made[name][i] for name in names]) for i in (0, -1))
    tasks = np.array(["all" if name == "test_loss" else name.removeprefix("loss_") for name in names])
    return {"task": tasks, "before": before, "after": after, "gain": after - before}


def _converged_rows(made: Arrays) -> Table:
    """Return pass@1 at the end."""
    return {"table": np.array(["toy"]), "pass_at_1": 1.0 - made["test_loss"][-1:]}


# -------------------------------------------------------------------------------------------------- trained bases
def trained(settings: Settings, parameters: int, base_seed: int, recipe: str, updates: int) -> Decoder:
    """Return a base after so many updates of the standard run on the device, from the cache or trained now."""
    if updates == 0:
        return settings.base(parameters, base_seed, recipe)
    standard = Settings(device=settings.device, compile=settings.compile, precision=settings.precision)
    plan = Plan(parameters, base_seed, recipe, standard.rl(), updates, ToyRuns().evaluations, 1)
    return ladder.from_arrays(ladder.config_of(parameters, settings.device), weights_of(run(plan)))
