"""Losses of responses: policy objectives, KL estimators, entropies, critic losses, and how tokens are averaged.

M responses of at most T tokens. ``log_p`` is log pi of the token taken, ``mask`` is 1 where the response has a token.

**KL: a good estimate is not a good loss.** With samples y ~ pi and d = log pi(y) - log ref(y):

| name | value | expectation | as a loss, the expected gradient is that of |
|---|---|---|---|
| k1 | d | KL(pi, ref), unbiased | nothing: E[grad log pi] = 0, only noise |
| k2 | d^2/2 | biased, second order | KL(pi, ref): E[d grad log pi] |
| k3 | exp(-d) - 1 + d | KL(pi, ref), unbiased, low variance | KL(ref, pi): E[(1 - ref/pi) grad log pi] |
| full | sum over the vocabulary | KL(pi, ref), no sampling noise | KL(pi, ref) |

The samples are held fixed when a loss is differentiated, so the gradient of the estimate is not an estimate of the
gradient. All four are summed token by token; at the first token that is the whole truth, later a token's choice also
changes which states follow, and only the penalty in the reward (``Kl.where = "reward"``, R - beta sum_t d_t, not
differentiated) gives the full gradient of the KL between sequence distributions. See arXiv 2506.09477.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rlaws.errors import InputError, suggest


# ------------------------------------------------------------------------------------------------------ averaging
def token_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return sum of x over all tokens / number of tokens: long responses weigh more (DAPO, arXiv 2503.14476)."""
    return (x * mask).sum() / mask.sum().clamp(min=1)


def sequence_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over responses of the mean over their tokens (GRPO, arXiv 2402.03300, eq. 3).

    A token of a long response weighs less: the known length bias.
    """
    return ((x * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()


def sequence_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over responses of the sum over their tokens: the policy gradient itself."""
    return (x * mask).sum(dim=1).mean()


AGGREGATIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "token_mean": token_mean,
    "sequence_mean": sequence_mean,
    "sequence_sum": sequence_sum,
}


# --------------------------------------------------------------------------------------------------------- policy
def score_function(log_p: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
    """Return -w A log pi per token, w and A held fixed (REINFORCE; Williams 1992), [M, T].

    Args:
        log_p: log pi, [M, T].
        advantage: A, [M, T].
        weight: Importance weight w, broadcast to [M, T].
    """
    return -(weight * advantage).detach() * log_p


def clipped_ratio(log_ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    """Return -min(r A, clip(r, 1 - low, 1 + high) A) per token (PPO; Schulman et al. 2017, eq. 7), [M, T].

    Args:
        log_ratio: log pi - log mu with mu the policy that sampled, [M, T].
        advantage: A, [M, T].
        low: Lower clip range; 1 never clips below.
        high: Upper clip range (arXiv 2503.14476 raises it above ``low``); infinity never clips.
    """
    ratio = log_ratio.exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1.0 - low, 1.0 + high) * advantage)


def sequence_weight(log_ratio: Tensor, mask: Tensor, most: float) -> Tensor:
    """Return min(most, prod_t pi_t/mu_t), the importance weight of whole responses, [M, 1].

    Exact (unbiased) where it is not truncated; weights per token would ignore that earlier tokens were drawn from mu.

    Args:
        log_ratio: log pi - log mu, [M, T].
        mask: [M, T].
        most: Truncation; infinity for none.
    """
    return (log_ratio * mask).sum(dim=1, keepdim=True).exp().clamp(max=most)


# ------------------------------------------------------------------------------------------------- KL and entropy
def k1(log_p: Tensor, log_ref: Tensor) -> Tensor:
    """Return d = log pi - log ref per token; see the table above."""
    return log_p - log_ref


def k2(log_p: Tensor, log_ref: Tensor) -> Tensor:
    """Return d^2/2 per token; see the table above."""
    return 0.5 * (log_p - log_ref) ** 2


def k3(log_p: Tensor, log_ref: Tensor) -> Tensor:
    """Return exp(-d) - 1 + d per token; see the table above."""
    d = log_p - log_ref
    return torch.expm1(-d) + d


KL_ESTIMATORS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


def full_kl(log_policy: Tensor, log_reference: Tensor) -> Tensor:
    """Return KL(pi, ref) of every state, summed over the vocabulary, [M, T].

    Args:
        log_policy: log pi of every token, [M, T, V].
        log_reference: log ref of every token, [M, T, V].
    """
    return (log_policy.exp() * (log_policy - log_reference)).sum(dim=-1)


def entropy(log_policy: Tensor) -> Tensor:
    """Return the token entropy -sum_v pi log pi of every state in nats, [M, T].

    Args:
        log_policy: log pi of every token, [M, T, V].
    """
    return -(log_policy.exp() * log_policy).sum(dim=-1)


def kl_per_token(name: str, log_policy: Tensor, log_reference: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the named KL estimate of every token, [M, T]; 0 where there is none.

    Args:
        name: k1, k2, k3 or full.
        log_policy: log pi of every token, [M, T, V].
        log_reference: log ref of every token, [M, T, V].
        tokens: Tokens taken, [M, T].
        mask: 1 where the response has a token, [M, T].

    Raises:
        InputError: If the name is unknown.
    """
    if name == "full":
        return full_kl(log_policy, log_reference) * mask
    if name not in KL_ESTIMATORS:
        raise InputError(f"No KL estimator '{name}'." + suggest(name, [*KL_ESTIMATORS, "full"]))
    return KL_ESTIMATORS[name](taken(log_policy, tokens) * mask, taken(log_reference, tokens) * mask)


def taken(log_policy: Tensor, tokens: Tensor) -> Tensor:
    """Return the entries of the tokens taken, [M, T] of [M, T, V]."""
    return log_policy.gather(-1, tokens[..., None])[..., 0]


# --------------------------------------------------------------------------------------------------------- critic
def value_loss(value: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of (V - target)^2/2 over all tokens."""
    return token_mean(0.5 * (value - target) ** 2, mask)


def explained_variance(value: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return EV = 1 - Var(R - V)/Var(R) over all tokens; 0 where the returns do not vary.

    Args:
        value: V, [M, T].
        returns: R, [M, T].
        mask: [M, T].
    """
    kept = mask > 0
    total = returns[kept].var(correction=0)
    if float(total) == 0.0:
        return 0.0
    return float(1.0 - (returns - value)[kept].var(correction=0) / total)


def binary_loss(score: Tensor, label: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of -log P(label) with P(1) = sigmoid(score), over all that is masked in."""
    loss = torch.nn.functional.binary_cross_entropy_with_logits(score, label, reduction="none")
    return token_mean(loss, mask)
