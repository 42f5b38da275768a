"""The training loop: a generator of values. It prints nothing and writes no file; who calls it decides.

    for event in train(model, task, options, times=(0, 100, 200), seed=seed):
        if isinstance(event, Snapshot): ...     # training after 0, 100, 200 steps
        else: ...                               # the Record of one step

All randomness comes from children of the seed indexed by the step, so a run resumed from a snapshot is, bit for bit,
the run that was never interrupted (one thread, one device; on a GPU torch must be told to be deterministic).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import torch

from rlaws.errors import InputError
from rlaws.seeding import child
from toymodels import losses
from toymodels.batches import Deck, log_policy, states_before, states_cost
from toymodels.checkpoints import Snapshot, refuse_unless_same
from toymodels.model import Decoder
from toymodels.options import PolicyGradient, Sft, Training
from toymodels.policy_gradient import Collected, Told, policy_gradient_step
from toymodels.rewards import Scorer, drawn_at, refuse_unless_scored
from toymodels.state import (
    ORDER,
    Demonstrations,
    Diverged,
    Run,
    State,
    apply_update,
    autocast,
    balanced,
    begin,
    identify,
    pack,
    unpack,
)
from toymodels.tasks import Task

__all__ = ["Demonstrations", "Diverged", "Record", "Snapshot", "train"]


@dataclass(frozen=True, slots=True)
class Record:
    """One step. What a method does not measure is NaN.

    Attributes:
        step: Steps done, this one included.
        loss: Mean over the step's updates.
        grad_norm: Norm of the policy's gradient before clipping, mean over updates.
        lr: Learning rate of the policy.
        entropy: Token entropy of the policy in nats, mean over the fresh tokens.
        reward: Mean over fresh responses of all their reward (noise, shaping and bonuses included).
        accuracy: Share of fresh responses whose answer is right, exactly.
        steps_right: Share of the steps of fresh responses that follow from the step before.
        ended: Share of fresh responses that wrote END.
        styled: Share of fresh responses with the style token.
        length: Tokens of a fresh response, mean.
        kl: KL of the policy to the one at the start, whole responses, nats, before the step's updates.
        explained_variance: 1 - Var(G - V)/Var(G) of the critic on fresh responses, before the step's updates.
        dead_groups: Share of fresh groups whose rewards are all equal.
        clipped: Share of tokens with a ratio outside the clip range, mean over updates.
        tokens_generated: Tokens sampled so far.
        tokens_trained: Response tokens trained on so far, repeats counted.
        flops: FLOPs so far.
    """

    step: int
    loss: float
    grad_norm: float
    lr: float
    entropy: float = nan
    reward: float = nan
    accuracy: float = nan
    steps_right: float = nan
    ended: float = nan
    styled: float = nan
    length: float = nan
    kl: float = nan
    explained_variance: float = nan
    dead_groups: float = nan
    clipped: float = nan
    tokens_generated: float = 0.0
    tokens_trained: float = 0.0
    flops: float = 0.0


def train(
    model: Decoder,
    task: Task,
    options: Training,
    times: Sequence[int],
    seed: np.random.SeedSequence,
    *,
    start: Snapshot | None = None,
    scorer: Scorer | None = None,
    data: Demonstrations | None = None,
) -> Iterator[Record | Snapshot]:
    """Train a copy of a model, step by step.

    Args:
        model: Where training starts; it stays as it is.
        task: Problems, and the exact grading of responses.
        options: How to train.
        times: Steps after which a snapshot is given, rising; training ends at the last.
        seed: Of everything random.
        start: A snapshot of the same run to go on from; times up to its step are not given again.
        scorer: Reward model, for learned rewards.
        data: Demonstrations for SFT; None takes the task's own.

    Returns:
        The record of each step, and a snapshot after each of ``times``.

    Raises:
        InputError: If model, task, options and snapshot do not fit together.
        Diverged: If a loss is not finite, at that step; ``last`` is the last snapshot given.
    """
    _refuse_misfit(model, task, options, times)
    if isinstance(options.method, PolicyGradient):
        refuse_unless_scored(options.method.reward, scorer)
    shown = data or Demonstrations(np.arange(len(task)), task.demonstrations)
    identity = identify(model, task, options, seed, shown, scorer)
    run = Run(task, Deck.of(task, model.embedding.device), options, seed, shown, scorer, identity)
    state = begin(model, run)
    if start is not None:
        refuse_unless_same(start, identity)
        unpack(start, state)
    return _steps(run, state, [t for t in times if start is None or t > start.step], start)


def _refuse_misfit(model: Decoder, task: Task, options: Training, times: Sequence[int]) -> None:
    c, m = model.config, options.method
    if task.width > c.context:
        raise InputError(
            f"The task needs {task.width} tokens (question {task.questions.shape[1]} and response {task.response}), "
            f"but the model's context is {c.context}; give it a context of at least {task.width} or shorter problems."
        )
    if task.vocabulary.size != c.vocab:
        raise InputError(
            f"The task has {task.vocabulary.size} token ids and the model {c.vocab}; "
            f"give the model vocab = {task.vocabulary.size}."
        )
    if not times or min(times) < 0 or list(times) != sorted(set(times)):
        raise InputError(f"times = {list(times)} must be steps from 0 that rise.")
    if isinstance(m, PolicyGradient) and m.reward.verifier.style > 0 and not task.style:
        raise InputError("The verifier is led by the style token, but the task has no room for it; set style = true.")


def _steps(run: Run, state: State, times: Sequence[int], last: Snapshot | None) -> Iterator[Record | Snapshot]:
    for time in times:
        while state.step < time:
            try:
                yield _one_step(run, state)
            except Diverged as stop:
                stop.last = last
                raise
        last = pack(state, run)
        yield last


def _one_step(run: Run, state: State) -> Record:
    method = run.options.method
    lr = run.options.optimiser.lr * run.options.optimiser.share(state.step)
    if isinstance(method, Sft):
        loss, norm, entropy = sft_step(run, state, method)
        state.step += 1
        return Record(state.step, loss, norm, lr, entropy, **state.spent)
    fresh, told = policy_gradient_step(run, state, method)
    state.step += 1
    return _record(state, lr, fresh, told)


def _record(state: State, lr: float, fresh: Collected, told: Told) -> Record:
    grade, reading = fresh.judged.grade, fresh.judged.reading
    return Record(
        step=state.step,
        lr=lr,
        reward=float(fresh.batch.reward.sum(dim=2).mean()),
        accuracy=float(grade.outcome.mean()),
        steps_right=float(grade.follows.sum() / grade.exists.sum()),
        ended=float(reading.ended.mean()),
        styled=float(reading.styled.mean()),
        length=float(reading.length.mean()),
        **told._asdict(),
        **state.spent,
    )


def sft_step(run: Run, state: State, method: Sft) -> tuple[float, float, float]:
    """Learn from one batch of demonstrations; return the loss, the gradient norm and the mean token entropy."""
    pick = drawn_at(child(run.seed, ORDER), len(run.data.rows), method.batch, state.step)
    rows, responses = run.data.rows[pick], run.data.responses[pick]
    length = torch.from_numpy(run.task.read(rows, responses).length)
    row, response = (torch.from_numpy(x).to(run.deck.length.device) for x in (rows, responses[:, None]))
    mask = (torch.arange(response.shape[2]) < length[:, None]).to(row.device, state.policy.embedding.dtype)
    routes: list[torch.Tensor] = []
    with autocast(run):
        hidden = states_before(state.policy, run.deck, row, response, routes)[:, 0]
        table = log_policy(state.policy, hidden, temperature=1.0)
    loss = losses.token_mean(-losses.taken(table, response[:, 0]), mask)
    norm = apply_update(run, state, state.optimiser, run.options.optimiser.lr, balanced(run, loss, routes))
    state.spend(tokens_trained=float(mask.sum()), flops=3 * states_cost(state.policy, run.deck, row, response))
    return float(loss.detach()), norm, float(losses.token_mean(losses.entropy(table.detach()), mask))
