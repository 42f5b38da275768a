"""A small transformer as a policy: what the probes of every rung ask of it.

``ToyPolicy`` samples. ``ExactToyPolicy`` adds what follows from enumerating all solutions of short problems: success,
entropies. Both start from a base of the ladder and are trained by ``toymodels.training``; the settings of RL are those
of ``toymodels.settings``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from rlaws.errors import InputError
from rlaws.policy import Array, Checkpoint, Counts, GradientSums
from rlaws.problems import ProblemSet
from rlaws.rollouts import Rollouts
from rlaws.search import Search, Searched
from rlaws.seeding import child, word
from toymodels import ladder, runs
from toymodels.batches import Deck, hidden_at, lay_out, log_policy
from toymodels.enumeration import Solutions, countable, enumerate_solutions
from toymodels.flops import rollout_flops
from toymodels.guides import guide_of, refuse_unknown, reward_model
from toymodels.ladder import VALUES, Weights
from toymodels.model import Decoder
from toymodels.sampling import generate
from toymodels.search import Options, search_trees
from toymodels.settings import Settings
from toymodels.state import policy_of
from toymodels.tasks import Reading, Task, make_task
from toymodels.tasks.programs import OPERATIONS, Grade, Ints, Tables, apply
from toymodels.training import Record, train

PIECE = 16_384
"""Most responses that are sampled at a time."""


class Drawn(NamedTuple):
    """M sampled responses: problem of each, tokens [M, R], what they show, what is right, and log pi of each [M]."""

    rows: Ints
    responses: Ints
    reading: Reading
    grade: Grade
    logprob: Array
    flops: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyPolicy(Settings):
    """A rung of the ladder, sampled at a temperature.

    Attributes:
        parameters: Rung of the ladder, in nominal parameters.
        recipe: Recipe of the base; problems must have its length and modulus.
        base_seed: Which of the independent bases of the rung.
        trained: Updates of the standard run (``toymodels.runs``) that the base has had.
        temperature: Of sampling; 0 takes the likeliest token.
        guide: What judges partial solutions in a search (``toymodels.guides``): process, outcome or likelihood.
        guide_parameters: Rung of the reward model; 0 takes the policy's.
        guide_labels: Labelled responses of the base that it was trained on.
        guide_noise: Errors of the labels.
        exploration: c of PUCT.
        beam_groups: Groups of the diverse beam.
        weights: Weights in place of the base's; checkpoints have them.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        **Settings.UNITS, "parameters": "parameters", "recipe": "name", "base_seed": "1", "trained": "updates",
        "temperature": "1", "guide": "name", "guide_parameters": "parameters", "guide_labels": "responses",
        "guide_noise": "1", "exploration": "1", "beam_groups": "groups",
    }  # fmt: skip
    parameters: int = 15_000
    recipe: str = "standard"
    base_seed: int = 0
    trained: int = 0
    temperature: float = 1.0
    guide: str = "process"
    guide_parameters: int = 0
    guide_labels: int = 8192
    guide_noise: float = 0.0
    exploration: float = 1.25
    beam_groups: int = 4
    weights: Weights | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        ladder.recipe_of(self.recipe)
        self.training(self.parameters)
        if not 0 <= self.temperature < np.inf or self.trained < 0:
            raise InputError(
                f"temperature = {self.temperature}, trained = {self.trained}: neither may be negative; "
                "temperature 0 takes the likeliest token."
            )

        refuse_unknown(self.guide)
        if not 0 <= self.guide_noise <= 1 or self.guide_labels < 1 or self.exploration < 0 or self.beam_groups < 1:
            raise InputError(
                f"guide_noise = {self.guide_noise}, guide_labels = {self.guide_labels}, exploration = "
                f"{self.exploration}, beam_groups = {self.beam_groups}: needed: noise in [0, 1], labels and groups "
                "of at least 1, and an exploration of at least 0."
            )

    # ---- what it is
    @property
    def exact_parameters(self) -> int:
        """Number of parameters, exactly."""
        return ladder.parameters_of(self.parameters)

    @property
    def steps(self) -> int:
        """Steps of an answer."""
        return ladder.recipe_of(self.recipe).length

    def model(self) -> Decoder:
        """Return the network: the given weights, or the base, trained if asked for; from the cache or made now."""
        if self.weights is not None:
            return ladder.from_arrays(ladder.config_of(self.parameters), self.weights)
        return runs.trained(self.parameters, self.base_seed, self.recipe, self.trained)

    def task(self, problems: ProblemSet | None) -> Task:
        """Return the problems as tokens.

        Raises:
            InputError: If there are none, or they differ from the recipe in length or modulus.
        """
        if problems is None:
            raise InputError("A toy policy needs problems; choose problems = toy_chain.")
        task, recipe = make_task(problems, VALUES, style=self.style_bonus > 0), ladder.recipe_of(self.recipe)
        t = task.tables
        if set(t.steps.tolist()) != {recipe.length} or not set(t.modulus.tolist()) <= {recipe.modulus, 2}:
            raise InputError(
                f"The base of recipe '{self.recipe}' knows problems of {recipe.length} steps modulo {recipe.modulus}; "
                f"these have {sorted(set(t.steps.tolist()))} steps modulo {sorted(set(t.modulus.tolist()))}. "
                f"Give problems.length={recipe.length} problems.modulus={recipe.modulus}, or another recipe: "
                f"{', '.join(ladder.RECIPES)}."
            )
        return task

    # ---- sampling
    def draw(self, model: Decoder, task: Task, rows: Ints, n: int, seed: np.random.SeedSequence) -> Drawn:
        """Return n responses to each of the problems ``rows``, sample by sample of a problem."""
        deck = Deck.of(task, model.embedding.device)
        size = max(1, PIECE // n)
        pieces = [
            self._piece(model, task, deck, rows[i : i + size], n, child(seed, i)) for i in range(0, len(rows), size)
        ]
        every, responses, logprob = (np.concatenate([p[k] for p in pieces]) for k in range(3))
        reading = task.read(every, responses)
        return Drawn(every, responses, reading, task.grade(every, reading), logprob, sum(p[3] for p in pieces))

    def _piece(
        self, model: Decoder, task: Task, deck: Deck, rows: Ints, n: int, seed: np.random.SeedSequence
    ) -> tuple[Ints, Ints, Array, float]:
        row = torch.from_numpy(rows)
        out = generate(
            model,
            deck.questions[row],
            n,
            task.response,
            torch.Generator().manual_seed(word(seed) % 2**63),
            temperature=self.temperature,
            stop=task.vocabulary.id("end"),
            prompt_lengths=deck.length[row],
        )
        at = out.prompt_lengths[:, None] + torch.arange(task.response)
        lengths = out.lengths.view(-1, n).tolist()
        flops = sum(
            rollout_flops(model.config, int(q), new) for q, new in zip(deck.length[row], lengths, strict=True)
        )
        logprob = out.sampled_logprobs.sum(dim=1).double().numpy()
        return rows.repeat(n), out.tokens.gather(1, at).numpy(), logprob, float(flops)

    def sample(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Rollouts:
        """Return n solutions of every problem; ``logprob`` is that under the policy at its temperature."""
        if n < 1:
            raise InputError(f"n = {n} samples asked; give at least 1.")
        task = self.task(problems)
        drawn = self.draw(self.model(), task, np.arange(len(task)), n, seed)
        return Rollouts(
            problem=drawn.rows,
            sample=np.tile(np.arange(n), len(task)),
            correct=drawn.grade.outcome,
            length=np.full(len(drawn.rows), self.steps),
            step_correct=drawn.grade.follows,
            logprob=drawn.logprob,
            answer=task.answers(drawn.rows, drawn.reading),
            valid=(drawn.reading.values >= 0).all(axis=1) & drawn.reading.ended,
            cost={"tokens": int(drawn.reading.length.sum()), "flops": drawn.flops},
        )

    def count(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Counts:
        """Return n and the number of right ones of every problem, each [P].

        Where all solutions can be enumerated the counts are binomial draws at the exact success, which has the same
        distribution as counting samples and costs nothing per sample.
        """
        task = self.task(problems)
        taken = np.full(len(task), n, dtype=np.int64)
        if self.temperature > 0 and countable(task):
            success = enumerate_solutions(self.model(), task, self.temperature).success()
            return taken, np.random.default_rng(seed).binomial(n, success)
        return self.sample(problems, n, seed).counts(len(task))

    def answers(self, problems: ProblemSet, n: int, seed: np.random.SeedSequence) -> Ints:
        """Return the answers of n samples of every problem, -1 for none, [P, n]."""
        task = self.task(problems)
        drawn = self.draw(self.model(), task, np.arange(len(task)), n, seed)
        return task.answers(drawn.rows, drawn.reading).reshape(len(task), n)

    def at_temperature(self, temperature: float) -> Any:
        """Return the same policy sampled at another temperature."""
        return replace(self, temperature=temperature)

    # ---- search
    def branch(self, problems: ProblemSet, search: Search, seed: np.random.SeedSequence) -> Searched:
        """Search every problem; all methods see the same values of the same nodes.

        Raises:
            InputError: If the solutions are too many to enumerate.
        """
        task = self.task(problems)
        found = enumerate_solutions(self.model(), task, self.temperature)
        model = None
        if self.guide != "likelihood":
            own = (self.parameters, self.base_seed, self.recipe)
            size = self.guide_parameters or self.parameters
            model = reward_model(self.guide, *own, size, self.guide_labels, self.guide_noise)
        options = Options(self.exploration, self.beam_groups)
        return search_trees(found, guide_of(self.guide, found, task, model), search, options, seed)

    # ---- gradients
    def gradient_sums(
        self, problems: ProblemSet, rollouts: int, batches: int, seed: np.random.SeedSequence
    ) -> GradientSums:
        """Return sums of g_t = (c_t - p_t)(R - b) over independent batches.

        g_t is the derivative of log pi times (R - b) by the right token's logit at step t (at the temperature): c_t
        says whether the right token was taken and p_t is its probability, both given the values shown so far; where no
        value was shown before, there is no right token and g_t = 0. b is the mean reward of the other rollouts of the
        batch to the same problem, or of all its others where a problem has one; R that of ``false_positive`` and
        ``false_negative``.

        Args:
            problems: The problems; rollout i of a batch is on problem i modulo their number.
            rollouts: Rollouts of a batch.
            batches: Batches.
            seed: Seed.
        """
        task, model = self.task(problems), self.model()
        rows = np.tile(np.arange(rollouts) % len(task), batches)
        drawn = self.draw(model, task, rows, 1, child(seed, 0))
        verify = self.training(self.parameters).method.reward.verifier
        reward = verify(drawn.grade.outcome, drawn.reading.styled, np.random.default_rng(child(seed, 1)))
        right = right_values(task.tables, rows, drawn.reading.values)
        p = self.probabilities(model, task, drawn, right)
        gain = centred(reward.astype(np.float64).reshape(batches, rollouts), len(task))
        g = (((right >= 0) & drawn.grade.follows) - p).reshape(batches, rollouts, -1) * gain[:, :, None]
        hits = reward.reshape(batches, rollouts).sum(axis=1).astype(np.int64)
        cost = {"rollouts": rollouts * batches, "tokens": int(drawn.reading.length.sum()), "flops": drawn.flops}
        taken = np.full(batches, rollouts, dtype=np.int64)
        return GradientSums(taken, g.sum(axis=1), (g**2).sum(axis=1), hits, cost)

    @torch.inference_mode()
    def probabilities(self, model: Decoder, task: Task, drawn: Drawn, tokens: Ints) -> Array:
        """Return the policy's probability of the given token at each step of the drawn prefix, [M, S]; 0 for none."""
        out, deck = [], Deck.of(task, model.embedding.device)
        for i in range(0, len(drawn.rows), PIECE):
            part = slice(i, i + PIECE)
            laid = lay_out(deck, torch.from_numpy(drawn.rows[part]), torch.from_numpy(drawn.responses[part]))
            at = laid.before[:, : tokens.shape[1]]
            table = log_policy(model, hidden_at(model, laid.tokens, at), self.temperature).exp()
            wanted = torch.from_numpy(np.maximum(tokens[part], 0))
            out.append(table.gather(2, wanted[..., None])[..., 0].double().numpy())
        return np.where(tokens >= 0, np.concatenate(out), 0.0)

    # ---- training
    def train(
        self, problems: ProblemSet, times: Sequence[float], seed: np.random.SeedSequence
    ) -> Iterator[Checkpoint]:
        """Train on the problems and yield the policy after each of the times, rounded to whole updates, each once.

        It is sampled at its temperature, and is the policy at that temperature in what follows.

        Raises:
            InputError: If the temperature is 0, at which nothing is explored.
            Diverged: If the loss is no longer finite.
        """
        task = self.task(problems)
        steps = sorted({round(t) for t in times})
        if self.temperature == 0:
            raise InputError("temperature = 0: a policy that always says the same cannot be trained; give more.")
        options = self.training(self.parameters, temperature=self.temperature)
        for event in train(self.model(), task, options, steps, child(seed, 0)):
            if not isinstance(event, Record):
                weights = ladder.to_arrays(policy_of(event))
                yield Checkpoint(float(event.step), "updates", replace(self, weights=weights), event.state["spent"])


def right_values(tables: Tables, rows: Ints, shown: Ints) -> Ints:
    """Return the value that follows from what was shown before each step, [M, S]; -1 where that is not known."""
    modulus = tables.modulus[rows, None]
    known = (shown >= 0) & (shown < modulus)
    wires = np.concatenate([tables.inputs[rows], np.where(known, shown, -1)], axis=1)
    left, right = (np.take_along_axis(wires, at[rows], axis=1) for at in (tables.left, tables.right))
    usable = ((left >= 0) & (right >= 0)) | (tables.kind[rows] == OPERATIONS.index("set"))
    value = apply(tables.kind[rows], left, right, tables.amount[rows], modulus)
    return np.where(usable & (np.arange(shown.shape[1]) < tables.steps[rows, None]), value, -1)


def centred(reward: Array, problems: int) -> Array:
    """Return R - b of each rollout, b the mean over the others of its batch to the same problem (or over all others).

    Args:
        reward: R, [batches, rollouts]; rollout i is on problem i modulo ``problems``.
        problems: Number of problems.
    """
    of = np.arange(reward.shape[1]) % problems
    if reward.shape[1] < 2 * problems:
        of = np.zeros_like(of)
    size = np.bincount(of)[of]
    total = np.stack([np.bincount(of, weights=row)[of] for row in reward])
    return np.asarray(reward - (total - reward) / (size - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactToyPolicy(ToyPolicy):
    """A toy policy on problems so short that all solutions are enumerated: it knows its success and its entropies."""

    def solutions(self, problems: ProblemSet) -> Solutions:
        """Return all solutions with their probabilities; see ``toymodels.enumeration``."""
        return enumerate_solutions(self.model(), self.task(problems), self.temperature)

    def success(self, problems: ProblemSet) -> Array:
        """Return the probability of a right answer to each problem, [P]."""
        return self.solutions(problems).success()

    def token_entropy(self, problems: ProblemSet) -> Array:
        """Return the entropy of the next token in nats, mean over steps, [P]."""
        return self.solutions(problems).token_entropy()

    def semantic_entropy(self, problems: ProblemSet) -> Array:
        """Return the entropy of the answer in nats, [P]."""
        return self.solutions(problems).semantic_entropy()

    def strongest_wrong(self, problems: ProblemSet) -> Array:
        """Return the probability of the likeliest wrong answer, [P]."""
        found = self.solutions(problems)
        wrong = found.answers()[:, :-1].copy()
        wrong[np.arange(len(wrong)), found.truth] = 0.0
        return np.asarray(wrong.max(axis=1))
