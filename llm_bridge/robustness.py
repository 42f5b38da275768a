"""What a perturbed beginning leaves of a language model's success, as a table.

* "wrong_step": a wrong first value is put into the answer, each of the m - 1 alike. Right is then what follows from the
  value shown; the unperturbed beginning is the right first value.
* "noise": Gaussian noise on the embedding of every token that is read (not on what the model writes with), with a
  standard deviation of ``noise`` times the root mean square of the embeddings. Only models that this machine can load
  (``backend=hf``).

The share kept is the ratio of the two. It is not counted above chance, 1/m. A paraphrase would be new words to a model
of the ladder, which has read one wording only, so none is tried.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llm_bridge import models
from llm_bridge.policy import LLMPolicy
from llm_bridge.settings import ModelSettings
from llm_bridge.tasks.base import Ints, task_of
from rlaws.cache import cached_folder
from rlaws.errors import InputError
from rlaws.policy import Array
from rlaws.problems import ArithmeticChain, ChainProblem, Operation, ProblemSet, chain_arrays, true_states
from rlaws.seeding import child, seed_sequence, word

LIBRARIES = ("torch", "transformers")


def after_a_step(
    policy: LLMPolicy, problems: ProblemSet, samples: int, seed: np.random.SeedSequence
) -> tuple[float, float]:
    """Return the share that goes on rightly after the right first value, and after a wrong one.

    Args:
        policy: The model.
        problems: Chains of two steps or more.
        samples: Answers to each problem, after either beginning.
        seed: Of the wrong values and of the answers.
    """
    modulus, first = chain_arrays(problems)[3], true_states(problems)[:, 0]
    off = np.random.default_rng(child(seed, 0)).integers(1, modulus)
    shown = (first, (first + off) % modulus)
    right, wrong = (_goes_on(policy, problems, v, samples, child(seed, 1 + i)) for i, v in enumerate(shown))
    return float(right.mean()), float(wrong.mean())


def _goes_on(policy: LLMPolicy, problems: ProblemSet, first: Ints, samples: int, seed: np.random.SeedSequence) -> Array:
    """Return the share of answers that are what follows from a given first value, [P]."""
    rows, texts = policy.after(problems, [f"Step 1: {v}" for v in first], samples, seed)
    items = [
        ChainProblem(p.id, p.start, p.modulus, (Operation("set", int(v)), *p.operations[1:]))
        for p, v in zip(problems.items, first, strict=True)
    ]
    followed = task_of(replace(problems, items=tuple(items))).grade(rows, texts).correct
    return np.asarray(followed.reshape(len(problems), samples).mean(axis=1))


def shaken(folder: Path, noise: float, seed: np.random.SeedSequence) -> Path:
    """Return the directory of a copy with noise on the embeddings that it reads with."""
    settings = {"revision": models.revision(folder), "noise": noise, "seed": word(seed)}
    make = partial(shake, folder, noise, word(seed))
    return cached_folder("llm_bridge", "shaken", settings, make, LIBRARIES)


def shake(source: Path, noise: float, seed: int, folder: Path) -> None:
    """Save a copy of a model with noise on its input embeddings; the output embeddings stay as they were."""
    torch, transformers = models.libraries()
    model = transformers.AutoModelForCausalLM.from_pretrained(source, local_files_only=True)
    read, write = model.get_input_embeddings(), model.get_output_embeddings()
    write.weight = torch.nn.Parameter(write.weight.detach().clone())
    model.config.tie_word_embeddings = False
    draw = torch.randn(read.weight.shape, generator=torch.Generator().manual_seed(seed % 2**63))
    with torch.no_grad():
        read.weight += noise * read.weight.square().mean().sqrt() * draw.to(read.weight.dtype)
    model.save_pretrained(folder)
    for path in sorted(source.glob("*")):
        if path.is_file() and not (folder / path.name).exists() and path.suffix != ".safetensors":
            shutil.copy(path, folder / path.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerturbedPrefixes(ModelSettings):
    """Success before and after a perturbation: a row a model and perturbation.

    Attributes:
        rungs: Models of the family.
        seeds: Independent bases of each rung of the ladder at scale 1; their number grows as the root of ``scale``. A
            published model has one.
        trained: Updates of the standard RL run before; 0: none.
        length: Steps of the chains, 2 or more.
        modulus: Of the chains.
        reset: Share of "set" steps.
        size: Number of chains.
        samples: Answers to each, with each beginning.
        noise: Standard deviation of the noise over the root mean square of the embeddings.
        draws: Draws of the noise.
        temperature: Of sampling.
        scale: Of the budget.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **ModelSettings.UNITS, "rungs": "1", "seeds": "seeds", "trained": "updates", "length": "steps",
        "modulus": "1", "reset": "1", "size": "problems", "samples": "samples", "noise": "1", "draws": "draws",
        "temperature": "1", "scale": "1",
    }  # fmt: skip
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "parameters": "parameters", "perturbation": "name", "clean": "1", "perturbed": "1",
    }  # fmt: skip
    rungs: tuple[int, ...] = (0, 1, 2)
    seeds: int = 3
    trained: int = 0
    length: int = 4
    modulus: int = 5
    reset: float = 0.1
    size: int = 96
    samples: int = 12
    noise: float = 0.3
    draws: int = 2
    temperature: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        ModelSettings.__post_init__(self)
        if self.length < 2 or min(self.draws, self.samples, self.seeds) < 1 or self.noise < 0 or not self.rungs:
            raise InputError(
                f"length = {self.length}, draws = {self.draws}, samples = {self.samples}, seeds = {self.seeds}, "
                f"noise = {self.noise}, rungs = {self.rungs}: needed: rungs, two steps, one of each, noise >= 0."
            )

    def table(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Return the rows; what is not in the cache is trained."""
        rows = [row for rung in self.rungs for seed in self._seeds(rung) for row in self._rows(rung, seed)]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def _seeds(self, rung: int) -> range:
        ours = self.models[rung].startswith(models.LADDER)
        return range(max(1, round(self.seeds * self.scale**0.5)) if ours else 1)

    def _rows(self, rung: int, seed: int) -> list[dict[str, Any]]:
        """Return the rows of one model."""
        own = {f.name: getattr(self, f.name) for f in fields(ModelSettings)}
        policy = LLMPolicy(
            **{**own, "rung": rung, "base_seed": seed}, trained=self.trained, temperature=self.temperature
        )
        stream = seed_sequence(seed, "perturbed prefixes", self.models[rung], self.trained)
        problems = ArithmeticChain(self.length, self.modulus, self.reset, self.size).draw(child(stream, 0))
        told = {
            "wrong_step": after_a_step(policy, problems, self.samples, child(stream, 1)),
            "noise": self._noise(policy, problems, stream),
        }
        run = {"seed": seed, "parameters": policy.exact_parameters}
        return [
            {**run, "perturbation": name, "clean": clean, "perturbed": perturbed}
            for name, (clean, perturbed) in told.items()
        ]

    def _noise(self, policy: LLMPolicy, problems: ProblemSet, stream: np.random.SeedSequence) -> tuple[float, float]:
        """Return the success without and with noise on the embeddings."""
        folder = models.resolve(policy.standing())
        copies = [shaken(folder, self.noise, child(stream, 2 + i)) for i in range(self.draws)]
        noisy = [replace(policy, models=(str(c),), rung=0, base_seed=0, trained=0) for c in copies]
        clean, *after = (p.count(problems, self.samples, child(stream, 1))[1].mean() for p in (policy, *noisy))
        return float(clean / self.samples), float(np.mean(after) / self.samples)

    def provenance(self) -> dict[str, Any]:
        """Return what the numbers are."""
        return {"table": f"perturbed answers of {', '.join(self.models)}", "origin": "sampled here"}
