"""Critics of toy policies: fitted to the rollouts of a fixed policy, or trained beside a policy that moves.

The value of a state is exact here: the solutions of a problem are enumerated, so V(prefix) = P(right | prefix) follows
by summing backwards, and so does how much of it a critic explains. ``explained`` is that share on the *reachable part*,
EV = 1 - Var(v - V)/Var(V) over the states that the policy visits, free of the noise of returns: against returns the
same critic has EV Var(V)/Var(R). ``explained_prompt`` takes the questions alone, the states that a group's mean
estimates. Everything that is trained is cached (``toymodels.cache``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlaws.errors import InputError
from rlaws.policy import Array
from rlaws.seeding import child, seed_sequence, word
from toymodels import ladder, losses
from toymodels.batches import Deck, log_policy, states_before, values
from toymodels.cache import Arrays, cached
from toymodels.checkpoints import Snapshot
from toymodels.config import Config
from toymodels.enumeration import Solutions, digits, enumerate_solutions
from toymodels.flops import token_flops
from toymodels.ladder import SIZES, VALUES, Shape
from toymodels.model import Critic, Decoder
from toymodels.options import PolicyGradient, Training
from toymodels.rewards import drawn_at
from toymodels.sampling import generate
from toymodels.settings import Settings
from toymodels.state import frozen, policy_of
from toymodels.tasks import Task, make_task
from toymodels.training import Record, train

SMALL: Mapping[int, Shape] = {300: Shape(4, 1, 1), 1_000: Shape(8, 1, 2)}
"""Critics below the ladder."""
EXPERTS, TOP_K = 16, 2
SAMPLES, BATCH = 8, 16
"""Responses of each problem that a critic is fitted to, and problems an update."""
POOL = 2048
"""Problems whose rollouts a critic is fitted to; several passes where there are more updates."""
EXAM = 64
"""Fresh problems that a critic is judged on."""
FIT_RATE = 0.064
"""First learning rate of a fit times the width; it falls linearly to 0."""
SHARED_WEIGHT = 16.0
"""Weight of the value loss beside the KL to the policy where its own backbone is fitted."""
SHARED_RATE, SHARED_UPDATES = 0.16, 3
"""Likewise its learning rate times the width, and how many times as many updates its fit takes."""
FLOOR = -1.0
"""An explained variance below is told as this: how far below zero it lies says nothing about a collapse."""


def critic_config(size: int, mixture: bool = False) -> Config:
    """Return the shape of a critic.

    A mixture has 16 experts of which 2 see a token, each so wide that the active parameters, router included, are
    those of the dense critic: 2 (2 D h) + 16 D = 8 D^2.

    Raises:
        InputError: If there is no such size.
    """
    if size not in SMALL and size not in SIZES:
        raise InputError(f"critic = {size} is no size; there are {', '.join(map(str, (*SMALL, *SIZES)))} parameters.")
    shape = SMALL.get(size) or SIZES[size]
    dense = replace(
        ladder.config_of(4_000), width=shape.width, layers=shape.layers, heads=shape.heads, value_head=False
    )
    if not mixture:
        return dense
    hidden = (8 * shape.width - EXPERTS) // (2 * TOP_K)
    return replace(dense, experts=EXPERTS, top_k=TOP_K, ffn_width=hidden)


def critic_flops(size: int, mixture: bool = False) -> int:
    """Return the forward FLOPs of one token at the end of a full context."""
    config = critic_config(size, mixture)
    return token_flops(config, config.context, critic=True)


# ------------------------------------------------------------------------------------------------------ true values
def node_values(found: Solutions) -> list[Array]:
    """Return V = P(right answer | values shown so far) at every node of levels 0 .. L, each [P, m^t]."""
    m, problems = found.modulus, len(found.truth)
    levels = [(np.arange(m ** len(found.value)) % m == found.truth[:, None]).astype(np.float64)]
    for p in reversed(found.value):
        levels.append((p * levels[-1].reshape(problems, -1, m)).sum(axis=2))
    return levels[::-1]


class Marks(NamedTuple):
    """How good a critic is.

    Attributes:
        explained: EV of the reachable part over all states, each weighted by the chance that the policy reaches it.
        explained_prompt: EV of the reachable part over the questions.
        error_prompt: Mean of (v - V)^2 over the questions.
    """

    explained: float
    explained_prompt: float
    error_prompt: float


def marks(model: Decoder | Critic, task: Task, found: Solutions) -> Marks:
    """Compare a critic with the true values of a policy.

    Args:
        model: The critic, or a policy with a value head.
        task: Problems of one length.
        found: The policy's solutions to them.
    """
    truth, reach, said = node_values(found), found.reached(), said_values(model, task, found)
    flat = [np.concatenate([x.ravel() for x in part]) for part in (truth, said, reach)]
    prompt, own = truth[0][:, 0], said[0][:, 0]
    error = float(np.mean((own - prompt) ** 2))
    return Marks(explained(*flat), explained(prompt, own, np.ones_like(own)), error)


def explained(truth: Array, said: Array, weight: Array) -> float:
    """Return EV = 1 - Var(v - V)/Var(V) with weights, at least ``FLOOR``; 0 where V does not vary."""

    def variance(x: Array) -> float:
        return float(np.average((x - np.average(x, weights=weight)) ** 2, weights=weight))

    total = variance(truth)
    return max(FLOOR, 1.0 - variance(said - truth) / total) if total > 0 else 0.0


@torch.inference_mode()
def said_values(model: Decoder | Critic, task: Task, found: Solutions) -> list[Array]:
    """Return what a critic says at every node of levels 0 .. L, each [P, m^t]."""
    m, depth = found.modulus, len(found.value)
    every = np.full((len(task), m**depth, task.response), task.vocabulary.id("end"), dtype=np.int64)
    every[:, :, :depth] = digits(m, depth)
    deck = Deck.of(task, torch.device("cpu"))
    out = values(model, states_before(model, deck, torch.arange(len(task)), torch.from_numpy(every))).double().numpy()
    return [out[:, :: m ** (depth - t), t] for t in range(depth + 1)]


def exam(recipe: str) -> Task:
    """Return the problems that critics are judged on, the same for all."""
    return make_task(ladder.recipe_of(recipe).chains(EXAM).draw(seed_sequence(0, "toy critic exam")), VALUES)


# -------------------------------------------------------------------------------------------------- a fixed policy
@dataclass(frozen=True, slots=True)
class Fit:
    """A critic fitted to the outcomes of a base's rollouts.

    Attributes:
        parameters: Rung of the base.
        base_seed: Which base.
        recipe: Its recipe.
        critic: Size of the critic; 0 for a value head on the base's own backbone.
        mixture: Whether the critic is a mixture of experts.
        states: "all": the value before every token is fitted, as value pre-training does; "end": that before the last
            token alone, as a reward model is trained.
        updates: Updates, of 16 problems with 8 responses each.
        shuffled: Exchange the outcomes at random: the negative control.
    """

    parameters: int
    base_seed: int
    recipe: str
    critic: int
    mixture: bool = False
    states: str = "all"
    updates: int = 240
    shuffled: bool = False


def fitted(plan: Fit) -> Arrays:
    """Return the critic's weights ("weights.<name>") and its marks, from the cache or fitted now."""
    return cached("critic-fit", asdict(plan), partial(fit, plan))


def weights_of(arrays: Arrays) -> dict[str, Tensor]:
    """Return stored weights as tensors."""
    return {k.removeprefix("weights."): torch.from_numpy(v) for k, v in arrays.items() if k.startswith("weights.")}


class Sampled(NamedTuple):
    """Rollouts: problems, tokens [P, G, R], which of them are written [P, G, R], outcomes [P, G]."""

    task: Task
    response: Tensor
    mask: Tensor
    outcome: Tensor


def rollouts(parameters: int, base_seed: int, recipe: str) -> Sampled:
    """Return the rollouts of a base that all critics of it are fitted to."""
    made = {"parameters": parameters, "base_seed": base_seed, "recipe": recipe}
    stored = cached("critic-rollouts", made, partial(sample, parameters, base_seed, recipe))
    task = _practice(base_seed, recipe)
    response = torch.from_numpy(stored["response"].astype(np.int64))
    mask = torch.arange(task.response) < torch.from_numpy(stored["length"])[..., None]
    return Sampled(task, response, mask.float(), torch.from_numpy(stored["outcome"].astype(np.float32)))


def _practice(base_seed: int, recipe: str) -> Task:
    return make_task(ladder.recipe_of(recipe).chains(POOL).draw(seed_sequence(base_seed, "toy critic", recipe)), VALUES)


def sample(parameters: int, base_seed: int, recipe: str) -> Mapping[str, NDArray[Any]]:
    """Sample a base: responses [P, G, R], their lengths and outcomes [P, G]."""
    task, base = _practice(base_seed, recipe), ladder.base(parameters, base_seed, recipe)
    deck = Deck.of(task, torch.device("cpu"))
    draws = word(seed_sequence(base_seed, "toy critic rollouts", recipe, parameters)) % 2**63
    stop, generator = task.vocabulary.id("end"), torch.Generator().manual_seed(draws)
    out = generate(base, deck.questions, SAMPLES, task.response, generator, stop=stop, prompt_lengths=deck.length)
    response = out.tokens.gather(1, out.prompt_lengths[:, None] + torch.arange(task.response)).numpy()
    rows = np.arange(len(task)).repeat(SAMPLES)
    reading = task.read(rows, response)
    shape = (len(task), SAMPLES)
    return {
        "response": response.reshape(*shape, -1).astype(np.int8),
        "length": reading.length.reshape(shape),
        "outcome": task.grade(rows, reading).outcome.reshape(shape),
    }


def fit(plan: Fit) -> Arrays:
    """Fit one critic and mark it."""
    data, stream = rollouts(plan.parameters, plan.base_seed, plan.recipe), _stream(plan)
    base = ladder.base(plan.parameters, plan.base_seed, plan.recipe)
    model = base if plan.critic == 0 else Critic(critic_config(plan.critic, plan.mixture), seed=word(child(stream, 0)))
    if plan.shuffled:
        order = np.random.default_rng(child(stream, 2)).permutation(data.outcome.numel())
        data = data._replace(outcome=data.outcome.flatten()[torch.from_numpy(order)].view_as(data.outcome))
    if plan.states == "end":
        data = data._replace(mask=data.mask * (data.mask.cumsum(2) == data.mask.sum(2, keepdim=True)))
    _regress(model, data, plan.updates, child(stream, 1))
    task = exam(plan.recipe)
    found = enumerate_solutions(base, task)  # of a shared backbone: as it is after the fit
    spread = float(np.mean(found.success() * (1.0 - found.success())))
    told = marks(model, task, found)._asdict() | {"variance": spread}
    arrays: Arrays = {name: np.array(x) for name, x in told.items()}
    return arrays | {f"weights.{name}": x for name, x in ladder.to_arrays(model).items()}


def _stream(plan: Fit) -> np.random.SeedSequence:
    """Return the seed of a fit: initial weights and order; the same for all critics of a base and size."""
    return seed_sequence(plan.base_seed, "toy critic fit", plan.recipe, plan.parameters, plan.critic)


def _regress(model: Decoder | Critic, data: Sampled, updates: int, seed: np.random.SeedSequence) -> None:
    """Minimise the value loss; on a policy's own backbone together with the KL to the policy, which keeps it."""
    before = frozen(model) if isinstance(model, Decoder) else None
    rate = (FIT_RATE if before is None else SHARED_RATE) / model.config.width
    deck = Deck.of(data.task, torch.device("cpu"))
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(updates):
        row = torch.from_numpy(drawn_at(seed, len(data.task), BATCH, step))
        response, mask, target = data.response[row], data.mask[row], data.outcome[row][..., None]
        routes: list[Tensor] = []
        hidden = states_before(model, deck, row, response, routes)
        said = values(model, hidden)
        loss = losses.value_loss(said, target.expand_as(said), mask)
        if isinstance(model, Decoder) and before is not None:
            with torch.no_grad():
                kept = log_policy(before, states_before(before, deck, row, response), 1.0)
            drift = losses.full_kl(log_policy(model, hidden, 1.0), kept)
            loss = SHARED_WEIGHT * loss + losses.token_mean(drift, mask)
        if routes:
            loss = loss + 0.01 * torch.stack(routes).sum()
        optimiser.param_groups[0]["lr"] = rate * (1 - step / updates)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()


# ------------------------------------------------------------------------------------------------- a moving policy
@dataclass(frozen=True, slots=True)
class Moving:
    """A policy trained by PPO beside a critic that starts pre-trained, or by GRPO without one.

    Attributes:
        parameters: Rung of the policy.
        base_seed: Which base; also the seed of the run.
        recipe: Its recipe.
        kind: "shared": value head on the policy's backbone; "separate": a critic of its own; "none": GRPO.
        critic: Size of a separate critic.
        mixture: Whether it is a mixture of experts.
        start: What it was fitted to before: "all" or "end" (``Fit.states``).
        fit_updates: Updates of that fit, three times as many where the backbone is shared; 0: random weights.
        lam: lambda of the critic's targets.
        critic_rate: Learning rate of a separate critic times its width.
        speed: Factor on the policy's learning rate.
        updates: Updates of the policy.
        every: Updates from one evaluation to the next.
        shuffled: Exchange rewards at random: the negative control.
    """

    parameters: int
    base_seed: int
    recipe: str
    kind: str
    critic: int = 0
    mixture: bool = False
    start: str = "all"
    fit_updates: int = 240
    lam: float = 1.0
    critic_rate: float = 0.016
    speed: float = 1.0
    updates: int = 40
    every: int = 4
    shuffled: bool = False

    def settings(self) -> Settings:
        """Return the settings of RL."""
        rate = self.speed * Settings().training(self.parameters).optimiser.lr
        common: dict[str, Any] = {"objective": "ratio", "minibatches": 2, "shuffled": self.shuffled}
        common["learning_rate"] = rate
        if self.kind == "none":
            return Settings(advantage="group_standardised", aggregation="sequence_mean", **common)
        common |= {"critic": self.kind, "lam_value": self.lam, "critic_rate": self.critic_rate}
        return Settings(advantage="gae", aggregation="token_mean", **common)

    def fit(self) -> Fit:
        """Return the fit that the critic starts from."""
        base, shared = (self.parameters, self.base_seed, self.recipe), self.kind == "shared"
        updates = self.fit_updates * (SHARED_UPDATES if shared else 1)
        return Fit(*base, 0 if shared else self.critic, self.mixture, self.start, updates)


def moved(plan: Moving) -> Arrays:
    """Return a run's evaluations, each [E + 1] with the start first, from the cache or trained now."""
    return cached("critic-run", asdict(plan), partial(record, plan))


def record(plan: Moving) -> Arrays:
    """Train one policy, and evaluate it and its critic along the way."""
    task = exam(plan.recipe)
    rows: list[dict[str, float]] = []
    lengths: list[float] = []
    first: Solutions | None = None
    for event in _events(plan):
        if isinstance(event, Record):
            lengths.append(event.length)
            continue
        policy = policy_of(event)
        found = enumerate_solutions(policy, task)
        first = first or found
        told = {} if plan.kind == "none" else marks(_critic_of(plan, event, policy), task, found)._asdict()
        rows.append(
            {
                "step": event.step,
                "success": float(found.success().mean()),
                "kl": float(found.divergence(first).mean()),
                "length": float(np.mean(lengths)) if lengths else np.nan,
                "flops": event.state["spent"]["flops"],
                **told,
            }
        )
        lengths = []
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _events(plan: Moving) -> Iterator[Record | Snapshot]:
    """Run RL from the base, with the critic's fitted weights put into the first snapshot."""
    stream = seed_sequence(plan.base_seed, "toy critic run", plan.recipe, plan.parameters)
    base, options = ladder.base(plan.parameters, plan.base_seed, plan.recipe), _options(plan)
    fit_weights = weights_of(fitted(plan.fit())) if plan.kind != "none" and plan.fit_updates else None
    if plan.kind == "shared" and fit_weights:
        base.load_state_dict(fit_weights)
    chains = ladder.recipe_of(plan.recipe).chains(plan.updates * Settings().prompts)
    task = make_task(chains.draw(child(stream, 0)), VALUES)
    times, seed = list(range(0, plan.updates + 1, plan.every)), child(stream, 1)
    (start,) = train(base, task, options, (0,), seed)
    assert isinstance(start, Snapshot)
    if plan.kind == "separate" and fit_weights:
        start = replace(start, state={**start.state, "critic": fit_weights})
    yield start
    yield from train(base, task, options, times, seed, start=start)


def _options(plan: Moving) -> Training:
    """Return the options of training, with a separate critic of the plan's size."""
    settings = plan.settings()
    options = settings.training(plan.parameters)
    if plan.kind != "separate":
        return options
    assert isinstance(options.method, PolicyGradient)
    model = critic_config(plan.critic, plan.mixture)
    critic = replace(options.method.critic, model=model, lr=settings.critic_rate / model.width)
    return replace(options, method=replace(options.method, critic=critic))


def _critic_of(plan: Moving, event: Snapshot, policy: Decoder) -> Decoder | Critic:
    """Return the critic of a snapshot."""
    if plan.kind == "shared":
        return policy
    critic = Critic(critic_config(plan.critic, plan.mixture), seed=0)
    critic.load_state_dict(event.state["critic"])
    return critic
