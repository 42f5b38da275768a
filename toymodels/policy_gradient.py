"""One step of reinforcement learning: sample, reward, compare, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan
from typing import NamedTuple

import torch
from torch import Tensor

from rlaws.seeding import child
from toymodels import advantage as adv
from toymodels import losses
from toymodels.batches import Batch, log_policy, remember, states_before, states_cost, values
from toymodels.flops import rollout_flops
from toymodels.model import Decoder
from toymodels.options import PolicyGradient
from toymodels.rewards import Judged, drawn_at, judge
from toymodels.sampling import generate
from toymodels.state import NOISE, ORDER, REPLAY, SAMPLING, SHUFFLE, Run, State, apply_update, autocast, balanced

GROUP_FORMULAS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": adv.no_baseline,
    "leave_one_out": adv.leave_one_out,
    "group_mean": adv.group_mean,
    "group_standardised": adv.group_standardised,
}


class Collected(NamedTuple):
    """Fresh groups, how they were judged, and their mean token entropy in nats."""

    batch: Batch
    judged: Judged
    entropy: float


class Lesson(NamedTuple):
    """What an update learns from: P groups of G responses of at most R tokens.

    Attributes:
        row: Problem, [P].
        response: Tokens, [P, G, R].
        mask: 1 where the response has a token, [P, G, R].
        log_old: log-probability of each token under the policy that ratios compare with, [P, G, R].
        advantage: A of each token, [P, G, R].
        target: What the critic should say before each token, [P, G, R]; zeros without a critic.
    """

    row: Tensor
    response: Tensor
    mask: Tensor
    log_old: Tensor
    advantage: Tensor
    target: Tensor

    def part(self, index: Tensor) -> Lesson:
        """Return some of the groups."""
        return Lesson(*(x[index] for x in self))


class Told(NamedTuple):
    """Facts of one step that the record tells; NaN where they were not measured."""

    entropy: float
    kl: float
    explained_variance: float
    dead_groups: float
    clipped: float
    loss: float
    grad_norm: float


def policy_gradient_step(run: Run, state: State, method: PolicyGradient) -> tuple[Collected, Told]:
    """Sample, reward, compare and update once; the buffer, the baseline and the anchor follow."""
    fresh = collect(run, state, method)
    batch = with_replayed(run, state, method, fresh.batch)
    seen = look(run, state, method, batch)
    lesson = compare(state, method, batch, seen)
    clipped, loss, norm = update(run, state, method, lesson)
    total = fresh.batch.reward.sum(dim=2)
    state.mean = adv.update_mean(state.mean, total, method.mean_rate)
    if method.replay.ratio > 0:
        state.buffer = remember(state.buffer, fresh.batch, method.replay.capacity)
    if state.anchor is not None:
        _follow(state.anchor, state.policy, method.kl.decay)
    dead = float((total == total[:, :1]).all(dim=1).float().mean())
    return fresh, Told(fresh.entropy, seen.kl, seen.explained_variance, dead, clipped, loss, norm)


# --------------------------------------------------------------------------------------------------------- sample
def collect(run: Run, state: State, method: PolicyGradient) -> Collected:
    """Sample a group for each of the step's problems and reward it."""
    task, rows = run.task, drawn_at(child(run.seed, ORDER), len(run.task), method.problems, state.step)
    row = torch.from_numpy(rows).to(run.deck.length.device)
    samples = generate(
        state.policy,
        run.deck.questions[row],
        method.samples,
        task.response,
        run.torch_generator(SAMPLING, state.step),
        temperature=method.temperature,
        stop=task.vocabulary.id("end"),
        prompt_lengths=run.deck.length[row],
    )
    steps = torch.arange(task.response, device=row.device)
    at = samples.prompt_lengths[:, None] + steps
    response, log_mu, entropy = (x.gather(1, at) for x in (samples.tokens, samples.sampled_logprobs, samples.entropy))
    mask = (steps < samples.lengths[:, None]).to(log_mu)
    every, rng = rows.repeat(method.samples), run.generator(NOISE, state.step)
    judged = judge(method.reward, task, every, response.cpu().numpy(), rng, run.scorer)
    reward = torch.from_numpy(judged.reward).to(log_mu)
    if method.semantic_entropy > 0:
        answer = torch.from_numpy(task.answers(every, judged.reading)).view(-1, method.samples)
        bonus = method.semantic_entropy * adv.semantic_surprise(answer).flatten().to(log_mu)
        reward.scatter_add_(1, samples.lengths[:, None] - 1, bonus[:, None])
    state.spend(tokens_generated=float(mask.sum()), flops=_rollout_cost(run, state, row, samples.lengths))
    grouped = [x.view(-1, method.samples, task.response) for x in (response, log_mu, mask, reward)]
    batch = Batch._make([row, *grouped, torch.ones_like(row, dtype=torch.bool)])
    return Collected(batch, judged, float((entropy * mask).sum() / mask.sum()))


def _rollout_cost(run: Run, state: State, row: Tensor, lengths: Tensor) -> float:
    grouped = zip(run.deck.length[row].tolist(), lengths.view(len(row), -1).tolist(), strict=True)
    return float(sum(rollout_flops(state.policy.config, prompt, new) for prompt, new in grouped))


def with_replayed(run: Run, state: State, method: PolicyGradient, fresh: Batch) -> Batch:
    """Return the fresh groups followed by ``replay.ratio`` times as many of the buffer, or all that it has."""
    if state.buffer is None:
        return fresh
    held = len(state.buffer.row)
    wanted = min(held, round(method.replay.ratio * method.problems))
    pick = torch.randperm(held, generator=run.torch_generator(REPLAY, state.step))[:wanted]
    return Batch.join([fresh, state.buffer.part(pick.to(fresh.row.device))])


# -------------------------------------------------------------------------------------------------------- compare
class Seen(NamedTuple):
    """What the models say of a batch before the step's updates.

    Attributes:
        log_now: log pi of each token, [P, G, R].
        penalty: log pi - log anchor of each token where it is taken off the reward, else 0, [P, G, R].
        value: V before each token, [P, G, R]; zeros without a critic.
        kl: KL(pi, policy at the start) of whole responses in nats: the mean over fresh ones of sum_t k3; NaN if not
            measured.
        explained_variance: Of the reward to go of fresh responses; NaN without a critic.
    """

    log_now: Tensor
    penalty: Tensor
    value: Tensor
    kl: float
    explained_variance: float


@torch.no_grad()
def look(run: Run, state: State, method: PolicyGradient, batch: Batch) -> Seen:
    """Ask the policy, the anchor and the critic, each only if it is needed."""

    def log_of(model: Decoder) -> Tensor:
        return losses.taken(log_table(run, state, method, model, batch), batch.response) * batch.mask

    log_now = batch.log_mu if bool(batch.fresh.all()) else log_of(state.policy)
    anchor = _anchor(state)
    in_reward = method.kl.where == "reward" and method.kl.coefficient > 0
    of_anchor = log_of(anchor) if in_reward and anchor is not None else log_now
    kl = nan
    if method.measure_kl and state.step % method.measure_kl == 0 and state.initial is not None:
        of_initial = of_anchor if in_reward and anchor is state.initial else log_of(state.initial)
        kl = float((losses.k3(log_now, of_initial) * batch.mask)[batch.fresh].sum(dim=2).mean())
    value, explained = torch.zeros_like(log_now), nan
    if method.critic.kind != "none":
        value = values_before(run, state, batch).to(log_now) * batch.mask
        returns = adv.reward_to_go(batch.reward, method.critic.gamma)
        explained = losses.explained_variance(value[batch.fresh], returns[batch.fresh], batch.mask[batch.fresh])
    return Seen(log_now, log_now - of_anchor, value, kl, explained)


def log_table(run: Run, state: State, method: PolicyGradient, model: Decoder, batch: Batch | Lesson) -> Tensor:
    """Return log pi of every token at the run's temperature, [P, G, R, V], and spend what it costs."""
    state.spend(flops=states_cost(model, run.deck, batch.row, batch.response))
    with autocast(run):
        return log_policy(model, states_before(model, run.deck, batch.row, batch.response), method.temperature)


def _anchor(state: State) -> Decoder | None:
    """Return the moving average if there is one, else the policy at the start."""
    return state.initial if state.anchor is None else state.anchor


def values_before(run: Run, state: State, batch: Batch) -> Tensor:
    """Return the critic's value before each response token, [P, G, R]."""
    model = state.policy if state.critic is None else state.critic
    state.spend(flops=states_cost(model, run.deck, batch.row, batch.response))
    with autocast(run):
        return values(model, states_before(model, run.deck, batch.row, batch.response))


def compare(state: State, method: PolicyGradient, batch: Batch, seen: Seen) -> Lesson:
    """Turn rewards into advantages and the critic's targets."""
    reward = batch.reward - method.kl.coefficient * seen.penalty
    target = torch.zeros_like(reward)
    if method.critic.kind == "none":
        advantage = group_advantage(method, reward, state.mean).expand_as(reward)
    else:
        advantage, target = (x.view_as(reward) for x in critic_advantage(method, batch, reward, seen))
    if method.reward.shrink_where == "advantage":
        advantage = adv.shrink_negative(advantage, method.reward.shrink)
    # a ratio to the present policy ignores who sampled; every other use of log_old corrects for it
    behind = method.objective == "ratio" and method.correction == "none"
    log_old = seen.log_now if behind else batch.log_mu
    return Lesson(batch.row, batch.response, batch.mask, log_old, advantage * batch.mask, target)


def group_advantage(method: PolicyGradient, reward: Tensor, mean: Tensor) -> Tensor:
    """Return A of rewards [P, G, R]: [P, G, 1], or [P, G, R] of the reward to go where rewards come by token."""
    gained = adv.reward_to_go(reward) if method.by_token else reward.sum(dim=2, keepdim=True)
    if method.advantage == "running_mean":
        return adv.running_mean_baseline(gained, mean)
    return GROUP_FORMULAS[method.advantage](gained)


def critic_advantage(method: PolicyGradient, batch: Batch, reward: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
    """Return advantages and the critic's targets by GAE or V-trace, each [P * G, R]."""
    r, value, mask, now, mu = (x.flatten(0, 1) for x in (reward, seen.value, batch.mask, seen.log_now, batch.log_mu))
    c = method.critic
    if method.advantage == "vtrace":
        traced = adv.vtrace(now - mu, r, value, mask, c.gamma, c.rho_max, c.c_max)
        return traced.advantage, traced.value
    target = value + adv.gae(r, value, mask, c.gamma, c.lam_value)
    return adv.gae(r, value, mask, c.gamma, c.lam_policy), target


# --------------------------------------------------------------------------------------------------------- update
def policy_loss(method: PolicyGradient, table: Tensor, lesson: Lesson, log_reference: Tensor | None) -> Tensor:
    """Return the policy's loss: objective + beta KL - c entropy.

    Args:
        method: Options.
        table: log pi of every token, [P, G, R, V].
        lesson: What to learn from.
        log_reference: log anchor of every token, [P, G, R, V], for a KL penalty in the loss.
    """
    response, mask, log_old, advantage = (x.flatten(0, 1) for x in lesson[1:5])
    table = table.flatten(0, 1)
    log_p = losses.taken(table, response) * mask
    log_ratio = log_p - log_old
    if method.objective == "ratio":
        per_token = losses.clipped_ratio(log_ratio, advantage, method.clip_low, method.clip_high)
    else:
        weight = torch.ones_like(log_p[:, :1])
        if method.correction == "sequence":
            weight = losses.sequence_weight(log_ratio.detach(), mask, method.most)
        per_token = losses.score_function(log_p, advantage, weight)
    aggregate = losses.AGGREGATIONS[method.aggregation]
    loss = aggregate(per_token, mask)
    if log_reference is not None:
        reference = log_reference.flatten(0, 1)
        estimate = losses.kl_per_token(method.kl.estimator, table, reference, response, mask)
        loss = loss + method.kl.coefficient * aggregate(estimate, mask)
    if method.token_entropy > 0:
        loss = loss - method.token_entropy * losses.token_mean(losses.entropy(table), mask)
    return loss


def update(run: Run, state: State, method: PolicyGradient, lesson: Lesson) -> tuple[float, float, float]:
    """Make the step's updates; return the clipped share, the loss and the gradient norm, each a mean over updates."""
    groups, told = len(lesson.row), []
    generator = run.torch_generator(SHUFFLE, state.step)
    for _ in range(method.epochs):
        for index in torch.randperm(groups, generator=generator).tensor_split(method.minibatches):
            part = lesson.part(index.to(lesson.row.device))
            if state.critic is not None and state.critic_optimiser is not None:
                _update_critic(run, state, method, part)
            if state.critic is None or state.step >= method.critic.warmup:
                told.append(_update_policy(run, state, method, part))
    clipped, loss, norm = (sum(x) / len(told) for x in zip(*told, strict=True)) if told else (nan, nan, nan)
    return clipped, loss, norm


def _update_policy(run: Run, state: State, method: PolicyGradient, part: Lesson) -> tuple[float, float, float]:
    """Update the policy, and a critic that shares its backbone, on some groups."""
    routes: list[Tensor] = []
    only_critic = state.step < method.critic.warmup
    with autocast(run):
        hidden = states_before(state.policy, run.deck, part.row, part.response, routes)
        table = log_policy(state.policy, hidden, method.temperature)
    state.spend(
        tokens_trained=float(part.mask.sum()), flops=3 * states_cost(state.policy, run.deck, part.row, part.response)
    )
    if only_critic:  # the value head alone learns: neither the policy's loss nor the backbone's gradient
        loss, hidden, routes = torch.zeros_like(table[0, 0, 0, 0]), hidden.detach(), []
    else:
        loss = policy_loss(method, table, part, _reference(run, state, method, part))
    if method.critic.kind == "shared":
        with autocast(run):
            value = values(state.policy, hidden)
        loss = loss + method.critic.coefficient * losses.value_loss(value.to(table), part.target, part.mask)
    norm = apply_update(run, state, state.optimiser, run.options.optimiser.lr, balanced(run, loss, routes))
    return _clipped_share(method, table, part), float(loss.detach()), norm


def _update_critic(run: Run, state: State, method: PolicyGradient, part: Lesson) -> None:
    """Update a critic of its own."""
    routes: list[Tensor] = []
    assert state.critic is not None
    assert state.critic_optimiser is not None
    with autocast(run):
        value = values(state.critic, states_before(state.critic, run.deck, part.row, part.response, routes))
    state.spend(flops=3 * states_cost(state.critic, run.deck, part.row, part.response))
    loss = losses.value_loss(value.to(part.target), part.target, part.mask)
    apply_update(run, state, state.critic_optimiser, method.critic.lr, balanced(run, loss, routes))


@torch.no_grad()
def _reference(run: Run, state: State, method: PolicyGradient, part: Lesson) -> Tensor | None:
    """Return log anchor of every token for a penalty in the loss, or None."""
    anchor = _anchor(state)
    if method.kl.where != "loss" or method.kl.coefficient == 0 or anchor is None:
        return None
    return log_table(run, state, method, anchor, part)


@torch.no_grad()
def _clipped_share(method: PolicyGradient, table: Tensor, part: Lesson) -> float:
    """Return the share of tokens whose ratio lies outside the clip range; NaN where nothing is clipped."""
    if method.objective != "ratio":
        return nan
    ratio = (losses.taken(table, part.response) * part.mask - part.log_old).exp()
    outside = (ratio < 1 - method.clip_low) | (ratio > 1 + method.clip_high)
    return float(losses.token_mean(outside.to(ratio), part.mask))


@torch.no_grad()
def _follow(anchor: Decoder, policy: Decoder, decay: float) -> None:
    """Move the anchor: a <- decay a + (1 - decay) p."""
    for a, p in zip(anchor.parameters(), policy.parameters(), strict=True):
        a.lerp_(p, 1 - decay)
