"""Post-training runs of language models, kept in the cache: the standard run of a model, and training on any problems.

Every run leaves an ordinary model directory (or a LoRA adapter), TRL's own ``trainer_state.json``, which ``rlaws fit``
reads like any other log, and a table of what was measured on the way. TRL is imported only when something has to be
trained; see ``llm_bridge.trainers``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llm_bridge import models
from llm_bridge.corpus import recipe_of
from llm_bridge.learning import Learning, learning_of
from llm_bridge.settings import ModelSettings
from llm_bridge.tasks.base import Task, task_of
from rlaws.cache import cached_folder
from rlaws.errors import InputError
from rlaws.policy import Checkpoint
from rlaws.problems import ArithmeticChain, ProblemSet
from rlaws.seeding import child, seed_sequence, word
from rlaws.store import digest

if TYPE_CHECKING:
    from llm_bridge.exams import Exams
    from llm_bridge.trainers import Job, Spent, Trained

Arrays = dict[str, NDArray[Any]]

SHELF = "llm_bridge"
LIBRARIES = ("torch", "transformers", "tokenizers", "trl", "peft")
RATE = 0.016
"""Learning rate times the width of the model. Of 0.016 and 0.048, tried on one base of 0.3M for 36 updates, the one at
which loss and KL moved one way from evaluation to evaluation. It was chosen on the ladder: give a published model a
rate of its own, 1e-6 to 1e-5."""
HELD_OUT = 96
"""Held-out problems of each set."""
DRAWS = 4
"""Samples of each of them."""
EVALUATIONS = 12
"""Of the standard run."""
TOLD = {
    "reward": "reward", "length": "completions/mean_length", "train_entropy": "entropy", "grad_norm": "grad_norm",
    "dead_groups": "frac_reward_zero_std", "cut": "completions/clipped_ratio",
}  # fmt: skip
"""Columns of a run's table from TRL's log, averaged from one evaluation to the next."""
MODEL, TABLE, STEPS, LOG = "model", "table.npz", "steps.npz", "trainer_state.json"


STANDARD = recipe_of("standard")


@dataclass(frozen=True, slots=True)
class Family:
    """Worded chains that a run is trained and examined on; as it stands, those that the ladder's bases know.

    Attributes:
        length: Steps.
        modulus: m.
        reset: Share of "set" steps.
    """

    length: int = STANDARD.length
    modulus: int = STANDARD.modulus
    reset: float = STANDARD.reset

    def draw(self, size: int, seed: np.random.SeedSequence) -> ProblemSet:
        """Draw problems."""
        return ArithmeticChain(self.length, self.modulus, self.reset, size).draw(seed)

    def exams(self) -> Exams:
        """Return the held-out problems, the same for every run.

        The easier half of "test" has the fewer steps that count, those from the last "set" on. "near" are chains that
        are one step shorter.
        """
        from llm_bridge.exams import Exams

        stream = seed_sequence(0, "llm held out")
        test = self.draw(HELD_OUT, child(stream, 0))
        near = replace(self, length=max(1, self.length - 1)).draw(HELD_OUT, child(stream, 1))
        rank = np.argsort(np.argsort(_hardness(test), kind="stable"))
        return Exams({"test": task_of(test), "near": task_of(near)}, rank < HELD_OUT // 2)

    def fresh(self, wanted: int, seed: np.random.SeedSequence) -> Task:
        """Return training problems, none of which is held out."""
        known = {item.to_text() for item in self.draw(HELD_OUT, child(seed_sequence(0, "llm held out"), 0)).items}
        drawn = self.draw(2 * wanted + 64, seed)
        keep = [i for i, item in enumerate(drawn.items) if item.to_text() not in known][:wanted]
        cut = {name: values[keep] for name, values in drawn.difficulty.items()}
        return task_of(ProblemSet(drawn.ids[keep], cut, tuple(drawn.items[i] for i in keep), drawn.settings))


def _hardness(problems: ProblemSet) -> NDArray[np.float64]:
    """Return how hard chains are: the multiplications that count, those from the last "set" on, then the additions."""
    kinds = [[o.kind for o in item.operations] for item in problems.items]
    counted = [k[len(k) - 1 - k[::-1].index("set") :] if "set" in k else k for k in kinds]
    return np.array([k.count("multiply") + 0.5 * k.count("add") for k in counted])


@dataclass(frozen=True, slots=True)
class Plan:
    """One run with evaluations.

    Attributes:
        settings: The model; its engine does not matter, it is trained with transformers.
        learning: How it is trained.
        family: On what.
        updates: Updates.
        evaluations: Evaluations, evenly spaced in log updates.
        seed: Seed of the run.
    """

    settings: ModelSettings
    learning: Learning
    family: Family
    updates: int
    evaluations: int
    seed: int

    def steps(self) -> list[int]:
        """Return the updates after which the run is evaluated, 0 first."""
        spaced = np.geomspace(1, self.updates, self.evaluations)
        return [0, *np.unique(np.round(spaced).astype(int)).tolist()]


def standard(model: str, base_seed: int, updates: int, method: str = "grpo") -> Plan:
    """Return the standard run of a model, which all studies share; its seed is that of the base."""
    settings = ModelSettings(models=(model,), rung=0, base_seed=base_seed)
    return Plan(settings, Learning(method=method), Family(), updates, EVALUATIONS, base_seed)


def run(plan: Plan) -> Path:
    """Return the folder of a run, from the cache or trained now: ``MODEL``, ``TABLE``, ``STEPS`` and ``LOG``."""
    plan.learning.check()
    made = {"updates": plan.updates, "evaluations": plan.evaluations, "seed": plan.seed, "family": asdict(plan.family)}
    made |= {"learning": plan.learning.learning(), **_identity(plan.settings)}
    return cached_folder(SHELF, "run", made, partial(record, plan), LIBRARIES)


def _identity(settings: ModelSettings) -> dict[str, Any]:
    """Return what determines the start of a training."""
    if settings.adapter:
        raise InputError("A model with an adapter cannot be trained further; merge it into a directory first.")
    revision = models.revision(models.resolve(settings))
    return {"revision": revision, "template": settings.template, "device": models.device_of(settings.device)}


def trained_directory(model: str, base_seed: int, updates: int, method: str = "grpo") -> Path:
    """Return the model directory after so many updates of the standard run, from the cache or trained now.

    Args:
        model: A directory, a hub id or "ladder:<rung>".
        base_seed: Which base of a rung of the ladder.
        updates: Updates; 0 is the model as it comes.
        method: "grpo", "rloo" or "sft".

    Raises:
        InputError: If there is no such model or method, or memory runs out.
    """
    if updates == 0:
        return models.resolve(ModelSettings(models=(model,), rung=0, base_seed=base_seed))
    return run(standard(model, base_seed, updates, method)) / MODEL


def table(folder: Path, name: str = TABLE) -> Arrays:
    """Return the arrays of a run's folder."""
    with np.load(folder / name, allow_pickle=False) as made:
        return {key: made[key] for key in made.files}


# ----------------------------------------------------------------------------------------------------------- record
def record(plan: Plan, folder: Path) -> None:
    """Train and evaluate one run, and fill its folder."""
    from llm_bridge.backends.base import Sampling
    from llm_bridge.exams import Examiner
    from llm_bridge.trainers import limit_of, train

    stream = seed_sequence(plan.seed, "llm run")
    start, exams = _start(plan.settings), plan.family.exams()
    task = plan.family.fresh(-(-plan.updates // plan.learning.iterations) * plan.learning.prompts, child(stream, 0))
    sampling = Sampling(max_tokens=limit_of(start, task))
    examiner = Examiner(start, plan.settings.template, sampling, word(child(seed_sequence(0, "exam"), 0)), DRAWS)

    def visit(step: int, model: Any, spent: Spent) -> dict[str, Any]:
        names = ("test", *exams.others()) if step in (0, plan.updates) else ("test",)
        return {"step": step, **_costs(spent), **exams.marks(model, examiner, names)}

    job = partial(_job, start, task, plan.learning, plan.updates, child(stream, 1), plan.settings.template)
    with _OneThread():
        made = train(job, visit, plan.steps())
    _write(plan, made, folder, start)


def _costs(spent: Spent) -> dict[str, int]:
    """Return the columns of what a run has cost; transformers runs a prompt with each of its answers."""
    return {
        "samples": spent.samples,
        "cum_flops": spent.flops,
        "tokens_generated": spent.tokens_generated,
        "tokens_run": spent.tokens_trained,
        "tokens_shown": spent.tokens_trained,
    }


def _write(plan: Plan, made: Trained, folder: Path, start: models.Loaded) -> None:
    """Write the model, TRL's log and the tables of a run."""
    from llm_bridge.flops import sizes_of
    from llm_bridge.trainers import told

    _save(made.model, start, folder / MODEL)
    made.state.save_to_json(str(folder / LOG))
    columns = {name: np.array([row[name] for row in made.visits]) for name in made.visits[0]}
    columns |= {name: np.array(values) for name, values in told(made.history, TOLD, plan.steps()).items()}
    columns["parameters"] = np.full(len(made.visits), sizes_of(start.model).parameters)
    np.savez(folder / TABLE, **columns)
    each = told(made.history, TOLD, range(1, plan.updates + 1))
    np.savez(folder / STEPS, step=np.arange(1, plan.updates + 1), **{k: np.array(v) for k, v in each.items()})


def _start(settings: ModelSettings) -> models.Loaded:
    """Return the model to begin with, in float32."""
    return models.load(models.resolve(settings), "float32", settings.device)


def _job(
    start: models.Loaded, task: Task, learning: Learning, updates: int, seed: np.random.SeedSequence, template: str,
    temperature: float = 1.0, max_tokens: int = 0,
) -> Job:  # fmt: skip
    """Return a training with a network of its own."""
    from llm_bridge.trainers import Job

    width = start.model.config.get_text_config().hidden_size
    rate = RATE / width if learning.learning_rate is None else learning.learning_rate
    fresh = replace(start, model=copy.deepcopy(start.model))
    return Job(fresh, task, learning, updates, rate, seed, template, temperature, max_tokens)


def _save(model: Any, start: models.Loaded, folder: Path) -> None:
    """Write a network as an ordinary directory; of one with an adapter, the adapter alone."""
    model.save_pretrained(folder)
    if not hasattr(model, "peft_config"):
        start.tokenizer.save_pretrained(folder)


class _OneThread:
    """One torch thread on the CPU: the order of a sum, and with it the last bit, depends on their number."""

    def __enter__(self) -> None:
        import torch

        self.before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *raised: object) -> None:
        import torch

        torch.set_num_threads(self.before)


# ------------------------------------------------------------------------------------------- training on any problems
def checkpoints(
    policy: Any, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence
) -> Iterator[Checkpoint]:
    """Train a policy on the problems and yield it after each of the times, rounded to whole updates, each once.

    Settings of ``Learning`` that the policy carries are followed. The checkpoints lie in the cache as directories.

    Args:
        policy: Settings of a model, with "temperature" and "max_tokens" where it has them; it is trained at that
            temperature.
        problems: The problems; they are used again, shuffled, when they run out.
        times: Updates.
        seed: Seed.

    Raises:
        InputError: If the temperature is 0, at which nothing is explored; as ``llm_bridge.trainers.train``.
    """
    steps, learning = sorted({round(t) for t in times}), learning_of(policy)
    temperature, max_tokens = getattr(policy, "temperature", 1.0), getattr(policy, "max_tokens", 0)
    if temperature == 0:
        raise InputError("temperature = 0: a policy that always says the same cannot be trained; give more.")
    begun = getattr(policy, "trained", 0)
    where = trained_directory(policy.model, policy.base_seed, begun) if begun else models.resolve(policy)
    plain = ModelSettings(models=(str(where),), rung=0, template=policy.template, device=policy.device)
    task = task_of(problems)
    made = {"learning": learning.learning(), "steps": steps, "temperature": temperature, "max_tokens": max_tokens}
    made |= {"questions": digest(list(task.questions), list(task.solutions)), "seed": word(seed), **_identity(plain)}
    make = partial(_train_at, plain, task, learning, steps, seed, temperature, max_tokens)
    folder = cached_folder(SHELF, "checkpoints", made, make, LIBRARIES)
    costs: Mapping[str, Any] = json.loads((folder / "costs.json").read_text(encoding="utf-8"))
    for step in steps:
        yield Checkpoint(float(step), "updates", _at(policy, folder / str(step)), costs[str(step)])


def _at(policy: Any, folder: Path) -> Any:
    """Return the policy with the weights of a checkpoint."""
    if (folder / "adapter_config.json").is_file():
        return replace(policy, adapter=str(folder))
    own = {"trained": 0} if hasattr(policy, "trained") else {}
    return replace(policy, models=(str(folder),), rung=0, base_seed=0, revision="", **own)


def _train_at(
    settings: ModelSettings, task: Task, learning: Learning, steps: Sequence[int], seed: np.random.SeedSequence,
    temperature: float, max_tokens: int, folder: Path,
) -> None:  # fmt: skip
    """Train, and fill a folder with a directory a checkpoint and what each had cost."""
    from llm_bridge.trainers import train

    start = _start(settings)

    def visit(step: int, model: Any, spent: Spent) -> dict[str, int]:
        _save(model, start, folder / str(step))
        return _costs(spent)

    updates = max(1, *steps)
    job = partial(_job, start, task, learning, updates, seed, settings.template, temperature, max_tokens)
    with _OneThread():
        made = train(job, visit, steps)
    costs = dict(zip(map(str, steps), made.visits, strict=True))
    (folder / "costs.json").write_text(json.dumps(costs), encoding="utf-8")
    made.state.save_to_json(str(folder / LOG))
