"""What training changes (``State``), what it is given (``Run``), and how a state becomes a snapshot and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlaws.errors import InputError, RlawsError
from rlaws.seeding import child, word
from rlaws.store import digest
from toymodels.batches import Batch, Deck
from toymodels.checkpoints import Snapshot, fingerprint, to_cpu
from toymodels.config import Config
from toymodels.model import Critic, Decoder
from toymodels.options import Optimiser, PolicyGradient, Training
from toymodels.rewards import Scorer
from toymodels.tasks import Task
from toymodels.tasks.programs import Ints

WEIGHTS, ORDER, SAMPLING, NOISE, REPLAY, SHUFFLE = range(6)
"""Purposes of random numbers: children of the run's seed; the child of a purpose is indexed by the step."""


SPENT = ("tokens_generated", "tokens_trained", "flops")


class Demonstrations(NamedTuple):
    """Responses to imitate.

    Attributes:
        rows: Problem of each, [M].
        responses: Tokens, [M, R].
    """

    rows: Ints
    responses: Ints


@dataclass(frozen=True, slots=True)
class Run:
    """What a training run is given.

    Attributes:
        task: The task.
        deck: Its questions on the model's device.
        options: All options.
        seed: Of everything random.
        data: Demonstrations, for SFT.
        scorer: Reward model, or None.
        identity: Names of all that determines the numbers.
    """

    task: Task
    deck: Deck
    options: Training
    seed: np.random.SeedSequence
    data: Demonstrations
    scorer: Scorer | None
    identity: Mapping[str, Any]

    def generator(self, purpose: int, step: int) -> np.random.Generator:
        """Return the generator of a purpose at a step."""
        return np.random.default_rng(child(child(self.seed, purpose), step))

    def torch_generator(self, purpose: int, step: int) -> torch.Generator:
        """Return a torch generator (CPU) of a purpose at a step."""
        return torch.Generator().manual_seed(word(child(child(self.seed, purpose), step)))


@dataclass(slots=True)
class State:
    """What training changes.

    Attributes:
        step: Steps done.
        policy: The model that is trained.
        optimiser: Its optimiser.
        critic: A critic of its own, or None.
        critic_optimiser: Its optimiser, or None.
        initial: The policy at the start, where a KL to it is asked for.
        anchor: The moving average of the policy, where one is asked for.
        mean: Running mean of rewards.
        buffer: Earlier groups, or None.
        spent: Tokens generated, tokens trained on, FLOPs, so far.
    """

    step: int
    policy: Decoder
    optimiser: torch.optim.Optimizer
    critic: Critic | None
    critic_optimiser: torch.optim.Optimizer | None
    initial: Decoder | None
    anchor: Decoder | None
    mean: Tensor
    buffer: Batch | None = None
    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SPENT, 0.0))

    def spend(self, **amounts: float) -> None:
        """Add to what was spent."""
        for name, amount in amounts.items():
            self.spent[name] += amount


def begin(model: Decoder, run: Run) -> State:
    """Return the state before the first step; the model itself is copied and stays as it is."""
    method, policy = run.options.method, copied(model)
    critic = _critic(model.config, run)
    initial = anchor = None
    if isinstance(method, PolicyGradient):
        ema, penalised = method.kl.anchor == "ema", method.kl.coefficient > 0
        initial = frozen(model) if method.measure_kl or (penalised and not ema) else None
        anchor = frozen(model) if penalised and ema else None
    return State(
        step=0,
        policy=policy,
        optimiser=_adamw(policy, run.options.optimiser),
        critic=critic,
        critic_optimiser=None if critic is None else _adamw(critic, run.options.optimiser),
        initial=initial,
        anchor=anchor,
        mean=torch.zeros((), device=policy.embedding.device),
    )


def copied(model: Decoder) -> Decoder:
    """Return a copy; built anew, since a deep copy of a compiled model runs uncompiled."""
    new = Decoder(model.config, seed=0)
    new.load_state_dict(model.state_dict())
    return new


def frozen(model: Decoder) -> Decoder:
    """Return a copy without gradients."""
    new = copied(model)
    new.requires_grad_(False)
    return new


def _critic(config: Config, run: Run) -> Critic | None:
    method = run.options.method
    if not isinstance(method, PolicyGradient) or method.critic.kind == "none":
        return None
    if method.critic.kind == "shared":
        if not config.value_head:
            raise InputError("critic.kind = 'shared' needs a policy with a value head; set value_head = true.")
        return None
    sizes = method.critic.model or config
    sizes = replace(sizes, vocab=config.vocab, context=config.context, device=config.device, dtype=config.dtype)
    return Critic(sizes, seed=word(child(run.seed, WEIGHTS)))


def _adamw(model: torch.nn.Module, o: Optimiser) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        model.parameters(), lr=o.lr, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.weight_decay
    )


# ------------------------------------------------------------------------------------------------------ snapshots
_PARTS = ("policy", "optimiser", "critic", "critic_optimiser", "initial", "anchor")


def pack(state: State, run: Run) -> Snapshot:
    """Return a snapshot that later steps cannot change."""
    parts = {name: getattr(state, name) for name in _PARTS}
    content: dict[str, Any] = {name: part.state_dict() for name, part in parts.items() if part is not None}
    content |= {"mean": state.mean, "spent": state.spent}
    if state.buffer is not None:
        content["buffer"] = list(state.buffer)
    return Snapshot(state.step, run.identity, to_cpu(content))


def unpack(snapshot: Snapshot, state: State) -> None:
    """Put a snapshot into a state that ``begin`` made."""
    device = state.policy.embedding.device
    for name in _PARTS:
        part = getattr(state, name)
        if part is not None:
            part.load_state_dict(snapshot.state[name])
    state.step, state.mean = snapshot.step, snapshot.state["mean"].to(device)
    state.spent = dict(snapshot.state["spent"])
    if "buffer" in snapshot.state:
        state.buffer = Batch(*(x.to(device) for x in snapshot.state["buffer"]))


def policy_of(snapshot: Snapshot, device: str = "cpu") -> Decoder:
    """Return the policy of a snapshot, ready to be sampled or trained further."""
    config = Config(**{**snapshot.identity["model"], "device": device})
    model = Decoder(config, seed=0)
    model.load_state_dict(snapshot.state["policy"])
    return model


# --------------------------------------------------------------------------------------------------------- updates
class Diverged(RlawsError):
    """Training stopped because its loss or its gradient is not finite.

    Attributes:
        last: The last snapshot that was asked for before, or None; it can be resumed.
    """

    last: Snapshot | None = None


def apply_update(run: Run, state: State, optimiser: torch.optim.Optimizer, peak: float, loss: Tensor) -> float:
    """Take one step of an optimiser down a loss; return the gradient's norm before clipping.

    Args:
        run: The run.
        state: For the step's number.
        optimiser: Optimiser of the weights that move.
        peak: Its peak learning rate.
        loss: A scalar.

    Raises:
        Diverged: If the loss or its gradient is not finite; the weights are then as they were before this update.
    """
    o = run.options.optimiser
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    (group,) = optimiser.param_groups
    norm = float(torch.nn.utils.clip_grad_norm_(group["params"], o.grad_clip))
    if not (isfinite(float(loss.detach())) and isfinite(norm)):
        raise Diverged(
            f"At step {state.step + 1} the loss is {float(loss.detach()):.4g} and its gradient has norm {norm:.4g}. "
            "The weights were left as they were; lower lr or grad_clip, or go back to the last checkpoint."
        )
    group["lr"] = peak * o.share(state.step)
    optimiser.step()
    return norm


def balanced(run: Run, loss: Tensor, routes: list[Tensor]) -> Tensor:
    """Return the loss plus the weighted load-balance losses of a mixture's layers, if there are any."""
    return loss + run.options.balance * torch.stack(routes).sum() if routes else loss


def autocast(run: Run) -> torch.autocast:
    """Return the context of a forward pass at the run's precision."""
    return torch.autocast(run.deck.length.device.type, torch.bfloat16, enabled=run.options.precision == "bfloat16")


def identify(
    model: Decoder,
    task: Task,
    options: Training,
    seed: np.random.SeedSequence,
    data: Demonstrations,
    scorer: Scorer | None,
) -> dict[str, Any]:
    """Return the names of all that determines the numbers of a run; the device and compilation are not among them."""
    sizes = asdict(model.config)
    return {
        "task": task.identity,
        "model": {k: v for k, v in sizes.items() if k not in ("device", "compile")},
        "weights": fingerprint(model),
        "options": asdict(options),
        "seed": [str(seed.entropy), *(int(k) for k in seed.spawn_key)],
        "data": digest(data.rows.tolist(), data.responses.tolist()),
        "scorer": None if scorer is None else scorer.identity,
    }
