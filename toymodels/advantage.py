"""Advantage estimators: one function a formula, named by the formula.

P problems, G samples of each, T tokens a response. The policy gradient that an advantage A_i of sample i makes is
(1/G) sum_i A_i grad log pi(y_i). "Unbiased" below means: its expectation over the samples is the gradient of the
expected reward. It is so for ``no_baseline``, ``running_mean_baseline`` and ``leave_one_out``; ``group_mean`` shrinks
it by 1 - 1/G; ``group_standardised`` is the gradient of another objective.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlaws.errors import InputError


def no_baseline(reward: Tensor) -> Tensor:
    """Return A_i = R_i (REINFORCE; Williams 1992, eq. 11 with b = 0).

    Args:
        reward: R, [P, G].
    """
    return reward


def running_mean_baseline(reward: Tensor, mean: Tensor) -> Tensor:
    """Return A_i = R_i - b with b the mean of *earlier* rewards (REINFORCE with reinforcement baseline; Williams 1992).

    Args:
        reward: R, [P, G].
        mean: b, a scalar that must not depend on these samples (``update_mean`` comes after).
    """
    return reward - mean


def update_mean(mean: Tensor, reward: Tensor, rate: float) -> Tensor:
    """Return b + rate (mean R - b), the exponential running mean of rewards.

    Args:
        mean: b, a scalar.
        reward: R, [P, G].
        rate: Weight of the new rewards, in (0, 1].
    """
    return mean + rate * (reward.mean() - mean)


def leave_one_out(reward: Tensor) -> Tensor:
    """Return A_i = R_i - mean of R_j over j != i (RLOO; Kool, van Hoof and Welling 2019, eq. 8).

    The baseline of a sample does not depend on it, so the estimate is unbiased; Var A = Var R * G/(G - 1) at fixed
    problem.

    Args:
        reward: R, [P, G] or [P, G, ...]; G at least 2.
    """
    size = _group(reward)
    return (reward - reward.mean(dim=1, keepdim=True)) * (size / (size - 1))


def group_mean(reward: Tensor) -> Tensor:
    """Return A_i = R_i - mean of all R_j (GRPO without division by the std; "Dr. GRPO", arXiv 2503.20783).

    A_i is (1 - 1/G) times the leave-one-out advantage: the direction is unbiased, the length is too short.

    Args:
        reward: R, [P, G]; G at least 2.
    """
    _group(reward)
    return reward - reward.mean(dim=1, keepdim=True)


def group_standardised(reward: Tensor, eps: float = 1e-6) -> Tensor:
    """Return A_i = (R_i - mean) / (std + eps) (GRPO; arXiv 2402.03300, section 4.1.2).

    std is the root of sum (R_j - mean)^2 / (G - 1), as in the common implementations. Not unbiased: problems near
    success 0 or 1 weigh more; for binary rewards of success p and G -> infinity the factor is 1/sqrt(p(1 - p)). eps
    keeps groups of equal rewards (std = 0) at A = 0; it should be far below the least std that can occur, which is
    1/sqrt(G) for binary rewards.

    Args:
        reward: R, [P, G]; G at least 2.
        eps: Added to the std, in units of reward.
    """
    _group(reward)
    return (reward - reward.mean(dim=1, keepdim=True)) / (reward.std(dim=1, keepdim=True) + eps)


def _group(reward: Tensor) -> int:
    size = int(reward.shape[1])
    if size < 2:
        raise InputError(
            f"A group baseline was asked with {size} sample a problem; it needs at least 2. "
            "Draw more samples, or use advantage = none or running_mean."
        )
    return size


# ------------------------------------------------------------------------------------------------------ over time
def reward_to_go(reward: Tensor, gamma: float = 1.0) -> Tensor:
    """Return G_t = r_t + gamma G_{t+1}, the discounted sum of rewards from t on.

    For rewards given step by step, a group formula on G_t [P, G, T] compares the samples at the same position:
    ``leave_one_out(reward_to_go(r))`` is unbiased, since the others' G_t do not depend on sample i.

    Args:
        reward: r_t, [..., T].
        gamma: Discount in [0, 1].
    """
    if gamma == 1.0:
        return reward.flip(-1).cumsum(-1).flip(-1)
    total, out = torch.zeros_like(reward[..., 0]), torch.empty_like(reward)
    for t in reversed(range(reward.shape[-1])):
        total = reward[..., t] + gamma * total
        out[..., t] = total
    return out


def gae(reward: Tensor, value: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """Return generalised advantage estimates (Schulman et al. 2016, eq. 16).

        delta_t = r_t + gamma V_{t+1} - V_t,      A_t = delta_t + gamma lam A_{t+1},      V = A = 0 after the end.

    lam = 1 is the reward to go minus V_t; lam = 0 is delta_t.

    Args:
        reward: r_t, [M, T].
        value: V_t, the value before token t, [M, T].
        mask: 1 where the response has a token, [M, T].
        gamma: Discount in [0, 1].
        lam: lambda in [0, 1].
    """
    out, nothing = torch.zeros_like(reward), torch.zeros_like(reward[:, 0])
    value_next, advantage_next = nothing, nothing
    for t in reversed(range(reward.shape[1])):
        delta = reward[:, t] + gamma * value_next - value[:, t]
        advantage_next = (delta + gamma * lam * advantage_next) * mask[:, t]
        value_next = value[:, t] * mask[:, t]
        out[:, t] = advantage_next
    return out


class Vtrace(NamedTuple):
    """V-trace targets.

    Attributes:
        value: v_t, what the critic should predict, [M, T].
        advantage: rho_t (r_t + gamma v_{t+1} - V_t), the weight of grad log pi, [M, T].
    """

    value: Tensor
    advantage: Tensor


def vtrace(
    log_ratio: Tensor,
    reward: Tensor,
    value: Tensor,
    mask: Tensor,
    gamma: float = 1.0,
    rho_max: float = 1.0,
    c_max: float = 1.0,
) -> Vtrace:
    """Return V-trace targets of off-policy responses (IMPALA; Espeholt et al. 2018, eq. 1 and section 4.2).

        v_t - V_t = delta_t + gamma c_t (v_{t+1} - V_{t+1}),   delta_t = rho_t (r_t + gamma V_{t+1} - V_t),
        rho_t = min(rho_max, pi_t/mu_t),   c_t = min(c_max, pi_t/mu_t).

    Its fixed point is the value of the policy proportional to min(rho_max mu, pi): pi itself only when rho_max is
    beyond every ratio.

    Args:
        log_ratio: log pi_t - log mu_t of the tokens taken, [M, T].
        reward: r_t, [M, T].
        value: V_t before token t, [M, T].
        mask: 1 where the response has a token, [M, T].
        gamma: Discount in [0, 1].
        rho_max: Truncation of the weights that set the fixed point.
        c_max: Truncation of the traces, at most rho_max; sets the speed only.

    Raises:
        InputError: If c_max exceeds rho_max.
    """
    if not 0 < c_max <= rho_max:
        raise InputError(f"c_max = {c_max}, rho_max = {rho_max}; V-trace needs 0 < c_max <= rho_max.")
    ratio = log_ratio.exp()
    rho, trace = ratio.clamp(max=rho_max) * mask, ratio.clamp(max=c_max) * mask
    value_next = _shift(value * mask)
    delta = rho * (reward + gamma * value_next - value)
    excess, total = torch.zeros_like(delta), torch.zeros_like(delta[:, 0])
    for t in reversed(range(reward.shape[1])):
        total = delta[:, t] + gamma * trace[:, t] * total
        excess[:, t] = total
    target = (value + excess) * mask
    return Vtrace(target, rho * (reward + gamma * _shift(target) - value))


def _shift(x: Tensor) -> Tensor:
    """Return x_{t+1}, 0 at the end."""
    return torch.cat([x[:, 1:], torch.zeros_like(x[:, :1])], dim=1)


# ------------------------------------------------------------------------------------------------- shaped rewards
def shrink_negative(x: Tensor, factor: float) -> Tensor:
    """Return x where x >= 0 and factor x where x < 0 (asymmetric shrinking; arXiv 2412.06000).

    On rewards with a group baseline and two reward values this only rescales the advantages; on advantages it weakens
    the push away from wrong answers.

    Args:
        x: Rewards or advantages, any shape.
        factor: In [0, 1]; 1 changes nothing.
    """
    return torch.where(x < 0, factor * x, x)


def semantic_surprise(answer: Tensor) -> Tensor:
    """Return -log of the share of the group that gave the same answer, [P, G].

    With q_c = P(answer class c), the gradient of the entropy H(q) is the policy gradient of the reward -log q_c: this
    is its plug-in estimate from the group (share of G samples, the sample itself included).

    Args:
        answer: Answer class, [P, G].
    """
    same = (answer[:, :, None] == answer[:, None, :]).to(torch.get_default_dtype())
    return -same.mean(dim=2).log()
