"""A language model as a policy: what the probes of every rung ask of it.

A problem is asked in words (``llm_bridge.tasks``), an engine samples answers (``llm_bridge.backends``), and what comes
back is graded here. The model does not know that it is measured, and the probe does not know what it measures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llm_bridge import models
from llm_bridge.backends.base import Backend, Completion, Request, Sampling, Scored
from llm_bridge.search import Options, Searcher, refuse_unknown
from llm_bridge.settings import ModelSettings
from llm_bridge.tasks.base import Graded, Ints, Task, task_of
from rlaws.errors import InputError, suggest
from rlaws.policy import Checkpoint, Counts, GradientSums
from rlaws.problems import ProblemSet
from rlaws.rollouts import Rollouts
from rlaws.search import Search, Searched
from rlaws.seeding import child, word

CLASSES = ("answer", "text")
PIECE = 65_536
"""Most answers that are sampled and graded at a time."""
SPARE = 1.25
"""Tokens that an answer may have, over those of the longest right one."""
MEASURED = 32
"""Right answers whose length is measured to find the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMPolicy(ModelSettings):
    """A language model, sampled at a temperature.

    Attributes:
        temperature: Of sampling; 0 takes the likeliest token.
        top_p: Nucleus; 1 for all tokens.
        max_tokens: Most tokens of an answer; 0 for what the task needs.
        classes: What ``answers`` tells apart: "answer" (the final one) or "text" (all words).
        trained: Updates of the standard RL run (``llm_bridge.training``) that the model has had.
        steps: Most steps of an answer in a search: the chain's length, or lines of a free answer.
        step_samples: Next steps that a search samples at a node.
        guide: What judges partial answers in a search: "oracle" (the task's own labels, blurred by the two rates
            below), "likelihood" (geometric mean of the steps' probabilities) or "scorer" (``scorer``).
        scorer: Directory or hub id of a reward model for ``guide`` = scorer (``llm_bridge.scorers``).
        scorer_kind: "token", "sequence" or "generative": what kind of model the scorer is.
        false_positive: Chance that the oracle calls a wrong step or answer right, fixed for each text.
        false_negative: Chance that it calls a right one wrong.
        exploration: c of PUCT.
        beam_groups: Groups of the diverse beam.
        engine: An engine in place of the one that the settings open.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **ModelSettings.UNITS, "temperature": "1", "top_p": "1", "max_tokens": "tokens",
        "classes": "name", "trained": "updates", "steps": "steps",
        "step_samples": "samples", "guide": "name", "scorer": "name", "scorer_kind": "name", "false_positive": "1",
        "false_negative": "1", "exploration": "1", "beam_groups": "groups",
    }  # fmt: skip
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 0
    classes: str = "answer"
    trained: int = 0
    steps: int = 4
    step_samples: int = 4
    guide: str = "oracle"
    scorer: str = ""
    scorer_kind: str = "token"
    false_positive: float = 0.0
    false_negative: float = 0.0
    exploration: float = 1.25
    beam_groups: int = 4
    engine: Backend | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        ModelSettings.__post_init__(self)
        Sampling(self.temperature, max(self.max_tokens, 1), self.top_p)  # refuses what cannot be sampled
        refuse_unknown(self.guide)
        if self.classes not in CLASSES:
            raise InputError(f"classes = '{self.classes}' is not known.{suggest(self.classes, CLASSES)}")
        rates = (self.false_positive, self.false_negative)
        if not all(0 <= r <= 1 for r in rates) or self.exploration < 0 or self.max_tokens < 0:
            raise InputError(
                f"false_positive = {rates[0]}, false_negative = {rates[1]}, exploration = {self.exploration}, "
                f"max_tokens = {self.max_tokens}: needed are rates in [0, 1], exploration >= 0 and max_tokens >= 0."
            )
        if min(self.steps, self.step_samples, self.beam_groups) < 1 or self.trained < 0:
            raise InputError("steps, step_samples and beam_groups must be at least 1, and trained at least 0.")
        if self.guide == "scorer" and not self.scorer:
            raise InputError("guide = scorer needs a reward model: policy.scorer=DIRECTORY.")

    # ---- asking
    def running(self) -> Backend:
        """Return the engine with the model in it, trained if asked for."""
        return self.standing().open() if self.engine is None else self.engine

    def standing(self) -> ModelSettings:
        """Return the settings of the model as it stands: of the directory that training left, where there was any."""
        if not self.trained:
            return self
        from llm_bridge.training import trained_directory

        where = trained_directory(self.model, self.base_seed, self.trained)
        return replace(self, models=(str(where),), rung=0, base_seed=0, revision="", trained=0)

    @property
    def exact_parameters(self) -> int:
        """Number of parameters, as the model's files hold them."""
        return parameters(models.resolve(self.standing()))

    def provenance(self) -> Mapping[str, Any]:
        """Return what determines the numbers beside the settings: model, revision, engine, version, dtype, device."""
        return dict(self.running().identity())

    def sampling(self, task: Task) -> Sampling:
        """Return how answers to a task are sampled."""
        return Sampling(self.temperature, self.max_tokens or self._needed(task), self.top_p)

    def _needed(self, task: Task) -> int:
        """Return the tokens of the longest right answer and some to spare."""
        if task.max_tokens:
            return task.max_tokens
        engine = self.running()
        pairs = list(zip(task.questions, task.solutions, strict=True))[:MEASURED]
        longest = max(engine.length(q, a) - engine.length(q) for q, a in pairs)
        return int(np.ceil(SPARE * longest)) + 2

    def _asked(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        return self.running().generate(requests, sampling)

    def _pieces(
        self, task: Task, n: int, seed: np.random.SeedSequence
    ) -> Iterator[tuple[Ints, list[Completion], Graded]]:
        """Yield the problem of each answer, the answers, and their grades, n for every problem in order.

        Problem p has its own stream, the p-th child of the seed, so that problems that are asked alike are independent.
        """
        if n < 1:
            raise InputError(f"n = {n} samples asked; give at least 1.")
        sampling, size = self.sampling(task), max(1, PIECE // n)
        for at in range(0, len(task.questions), size):
            rows = np.arange(at, min(at + size, len(task.questions)))
            requests = [Request(task.questions[p], n, word(child(seed, int(p))) >> 1) for p in rows]
            drawn = [c for answers in self._asked(requests, sampling) for c in answers]
            problem = np.repeat(rows, n)
            yield problem, drawn, task.grade(problem, [c.text for c in drawn])

    # ---- sampling
    def sample(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Rollouts:
        """Return n answers to every problem.

        ``length`` counts the steps where the task has them, else tokens; ``logprob`` is told at temperature 1 without a
        nucleus, where it is the sampled policy's own.
        """
        task = task_of(problems)
        parts = list(self._pieces(task, n, seed))
        drawn = [c for _, answers, _ in parts for c in answers]
        graded = [g for _, _, g in parts]
        tokens = np.array([c.tokens for c in drawn], dtype=np.int64)
        steps = [g.step_correct for g in graded if g.step_correct is not None]
        return Rollouts(
            problem=np.concatenate([p for p, _, _ in parts]),
            sample=np.tile(np.arange(n), len(problems)),
            correct=np.concatenate([g.correct for g in graded]),
            length=np.full(tokens.size, task.steps, dtype=np.int64) if task.steps else tokens,
            step_correct=np.concatenate(steps) if steps else None,
            logprob=self._logprob(drawn),
            answer=np.concatenate([g.answer for g in graded]),
            valid=np.concatenate([g.valid for g in graded]),
            cost={"samples": len(drawn), "tokens": int(tokens.sum())},
        )

    def _logprob(self, drawn: Sequence[Completion]) -> Any:
        if self.temperature != 1 or self.top_p != 1 or any(c.logprob is None for c in drawn):
            return None
        return np.array([c.logprob for c in drawn], dtype=np.float64)

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return n and the number of right answers of every problem, each [P]."""
        right = np.zeros(len(problems), dtype=np.int64)
        for problem, _, graded in self._pieces(task_of(problems), n, seed):
            np.add.at(right, problem, graded.correct.astype(np.int64))
        return np.full(len(problems), n, dtype=np.int64), right

    def answers(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Ints:
        """Return the classes of the answers of n samples of every problem, -1 for none, [P, n]; see ``classes``."""
        parts = [
            graded.answer if self.classes == "answer" else _numbered([c.text for c in drawn])
            for _, drawn, graded in self._pieces(task_of(problems), n, seed)
        ]
        return np.concatenate(parts).reshape(len(problems), n)

    def at_temperature(self, temperature: float) -> Any:
        """Return the same policy sampled at another temperature."""
        return replace(self, temperature=temperature)

    def score(self, problems: ProblemSet, problem: Ints, texts: Sequence[str]) -> list[Scored]:
        """Return the log-probabilities of given answers at temperature 1, token by token.

        Args:
            problems: The problems.
            problem: Index of the problem of each answer, [M].
            texts: The answers.
        """
        questions = task_of(problems).questions
        return self.running().score([(questions[int(p)], t) for p, t in zip(problem, texts, strict=True)])

    # ---- training
    def train(self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence) -> Iterator[Checkpoint]:
        """Train on the problems and yield the policy after each of the times, in updates (``llm_bridge.training``)."""
        from llm_bridge.training import checkpoints

        yield from checkpoints(self, problems, times, seed)

    def gradient_sums(
        self, problems: ProblemSet, rollouts: int, batches: int, seed: np.random.SeedSequence
    ) -> GradientSums:
        """Return sums of the gradient of each step's right action over batches (``llm_bridge.gradients``)."""
        from llm_bridge.gradients import gradient_sums

        return gradient_sums(self.standing(), self.temperature, problems, rollouts, batches, seed, self.max_tokens)

    # ---- search
    def branch(self, problems: ProblemSet, search: Search, seed: np.random.SeedSequence) -> Searched:
        """Search every problem over the steps that the model writes (``llm_bridge.search``).

        Raises:
            InputError: If ``steps`` is not the number of steps of the problems.
        """
        task = task_of(problems)
        if task.steps and task.steps != self.steps:
            raise InputError(f"policy.steps = {self.steps}, but the answers to these problems have {task.steps} steps.")
        return Searcher(self._asked, task, self.sampling(task), self.options(), seed).run(search)

    def options(self) -> Options:
        """Return how a search opens and judges nodes."""
        scorer = None
        if self.guide == "scorer":
            from llm_bridge.scorers import open_scorer

            scorer = open_scorer(self.scorer, self.scorer_kind, self.device, self.batch)
        return Options(
            self.steps, self.step_samples, self.guide, self.exploration, self.beam_groups, self.false_positive,
            self.false_negative, scorer,
        )  # fmt: skip


def _numbered(texts: Sequence[str]) -> Ints:
    """Return a number for each text, the same for equal ones."""
    return np.unique(np.array([t.strip() for t in texts], dtype=object), return_inverse=True)[1].astype(np.int64)


def parameters(folder: Path) -> int:
    """Return the number of parameters that a model's safetensors hold, by their headers alone."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return total
