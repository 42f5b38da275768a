"""Losses against hand-computed cases; expected gradients by enumeration, where a good estimate is not a good loss."""

from math import inf, log

import pytest
import torch

from rlaws.errors import InputError
from tests.toy.tiny import Tree
from toymodels import losses

F64 = torch.float64


def tensor(*rows):
    return torch.tensor(rows, dtype=F64)


# ------------------------------------------------------------------------------------------------------ averaging
def test_three_averages_by_hand():
    """Two responses of 1 and 3 tokens."""
    x, mask = tensor([4.0, 9.0, 9.0], [1.0, 2.0, 3.0]), tensor([1.0, 0, 0], [1.0, 1, 1])
    assert float(losses.token_mean(x, mask)) == pytest.approx(10 / 4)
    assert float(losses.sequence_mean(x, mask)) == pytest.approx((4 + 2) / 2)
    assert float(losses.sequence_sum(x, mask)) == pytest.approx((4 + 6) / 2)


# --------------------------------------------------------------------------------------------------------- policy
@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.5, 1.0, -1.28, 0.0),
        (1.5, -1.0, 1.5, 1.5),
        (0.5, -1.0, 0.8, 0.0),
        (0.5, 1.0, -0.5, -0.5),
    ],
)
def test_clipped_ratio_by_hand(ratio, advantage, loss, slope):
    """Clip 0.2 below, 0.28 above; the slope is d loss / d log pi = ratio * d loss / d ratio."""
    log_ratio = tensor(log(ratio)).requires_grad_()
    got = losses.clipped_ratio(log_ratio, tensor(advantage), 0.2, 0.28)
    got.sum().backward()
    assert float(got.detach()) == pytest.approx(loss)
    assert float(log_ratio.grad) == pytest.approx(slope)


def test_unclipped_ratio_at_one_is_the_score_function():
    log_p = tensor([-1.0, -2.0], [-0.5, -3.0]).requires_grad_()
    a = tensor([1.0, -2.0], [0.5, 3.0])
    (by_ratio,) = torch.autograd.grad(losses.clipped_ratio(log_p - log_p.detach(), a, 1.0, inf).sum(), log_p)
    (by_score,) = torch.autograd.grad(losses.score_function(log_p, a, torch.ones(1, 1, dtype=F64)).sum(), log_p)
    torch.testing.assert_close(by_ratio, by_score)


def test_sequence_weight_by_hand():
    log_ratio = tensor([log(2.0), log(3.0)], [log(0.5), log(7.0)])
    mask = tensor([1.0, 1.0], [1.0, 0.0])
    torch.testing.assert_close(losses.sequence_weight(log_ratio, mask, inf), tensor([6.0], [0.5]))
    torch.testing.assert_close(losses.sequence_weight(log_ratio, mask, 2.0), tensor([2.0], [0.5]))


def test_replayed_gradient_is_exact_with_importance_weights():
    """Enumerated E_mu[w R grad log pi] is grad E_pi[R]; without weights, and with weights per token, it is not."""
    target, behaviour = Tree(3), Tree(4)
    reward = torch.rand(9, 1, generator=torch.Generator().manual_seed(0), dtype=F64)
    mask = torch.ones(9, 2, dtype=F64)
    log_ratio = target.log_p.detach() - behaviour.log_p.detach()
    mu = behaviour.p.detach()[:, None]
    want = target.gradient((target.p[:, None] * reward).sum())

    def expected(weight):
        return -target.gradient((mu * losses.score_function(target.log_p, reward, weight)).sum())

    got = expected(losses.sequence_weight(log_ratio, mask, inf))
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    assert (expected(torch.ones_like(mask)) - want).norm() > 0.05 * want.norm()
    assert (expected(log_ratio.exp()) - want).norm() > 0.05 * want.norm()


# ------------------------------------------------------------------------------------------------------------- KL
@pytest.fixture(scope="module")
def one_token():
    """Policy and reference over four letters, one token; states are [1, 1]."""
    policy, reference = Tree(8, 4, 1), Tree(9, 4, 1)
    return policy, reference.theta.detach().log_softmax(dim=1)[:, None]


def expectation(policy, per_token):
    return (policy.p.detach()[:, None] * per_token).sum()


def sampled(policy, reference, name):
    """The named estimate at each of the four tokens, [4, 1]."""
    log_policy = policy.theta.log_softmax(dim=1)[:, None]
    tokens = torch.arange(4)[:, None]
    return losses.kl_per_token(name, log_policy.expand(4, 1, 4), reference.expand(4, 1, 4), tokens, torch.ones(4, 1))


def kl(a, b):
    return (a.exp() * (a - b)).sum()


def test_values_of_the_kl_estimators(one_token):
    policy, reference = one_token
    want = kl(policy.theta.log_softmax(dim=1)[0], reference[0, 0]).detach()
    for name in ("k1", "k3", "full"):
        torch.testing.assert_close(expectation(policy, sampled(policy, reference, name)).detach(), want)
    assert abs(float(expectation(policy, sampled(policy, reference, "k2")).detach() / want) - 1) > 0.02
    assert (sampled(policy, reference, "k3") >= 0).all()


def test_gradients_of_the_kl_estimators(one_token):
    """k2 and full push down KL(pi, ref); k3 pushes down KL(ref, pi); k1 does nothing."""
    policy, reference = one_token
    got = {
        name: policy.gradient(expectation(policy, sampled(policy, reference, name)))
        for name in ("k1", "k2", "k3", "full")
    }
    log_pi = policy.theta.log_softmax(dim=1)[0]
    reverse, forward = policy.gradient(kl(log_pi, reference[0, 0])), policy.gradient(kl(reference[0, 0], log_pi))
    torch.testing.assert_close(got["k1"], torch.zeros_like(reverse), rtol=0, atol=1e-12)
    for name, want in {"k2": reverse, "full": reverse, "k3": forward}.items():
        torch.testing.assert_close(got[name], want, rtol=1e-10, atol=1e-12)
    assert (forward - reverse).norm() > 0.1 * reverse.norm()


def test_kl_in_the_reward_has_the_whole_gradient():
    """On sequences, E[(sum_t d_t) grad log pi(y)] is grad KL of the sequence distributions; k2 per token is not."""
    policy, reference = Tree(1), Tree(2)
    log_ref = reference.log_p.detach()
    want = policy.gradient((policy.p * (policy.log_p - log_ref).sum(dim=1)).sum())
    penalty = losses.k1(policy.log_p, log_ref).sum(dim=1, keepdim=True).detach()
    ones = torch.ones(1, 1, dtype=F64)
    weighted = policy.p.detach()[:, None] * losses.score_function(policy.log_p, penalty, ones)
    torch.testing.assert_close(-policy.gradient(weighted.sum()), want, rtol=1e-10, atol=1e-12)
    by_token = policy.gradient((policy.p.detach()[:, None] * losses.k2(policy.log_p, log_ref)).sum())
    assert (by_token - want).norm() > 0.02 * want.norm()


def test_unknown_estimator_is_answered():
    x = torch.zeros(1, 1, 2)
    with pytest.raises(InputError, match="No KL estimator 'k4'"):
        losses.kl_per_token("k4", x, x, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1))


# ------------------------------------------------------------------------------------------------ entropy, critic
def test_entropy_by_hand():
    p = torch.tensor([[[0.5, 0.25, 0.25], [1 / 3] * 3]], dtype=F64)
    torch.testing.assert_close(losses.entropy(p.log()), tensor([1.5 * log(2), log(3)]))


def test_value_loss_and_explained_variance_by_hand():
    v, r = tensor([1.0, 2.0, 7.0], [0.0, 4.0, 7.0]), tensor([2.0, 2.0, 0.0], [0.0, 2.0, 0.0])
    mask = tensor([1.0, 1, 0], [1.0, 1, 0])
    assert float(losses.value_loss(v, r, mask)) == pytest.approx((0.5 + 0 + 0 + 2) / 4)
    # errors 1, 0, 0, -2: variance 1.1875; returns 2, 2, 0, 2: variance 0.75
    assert losses.explained_variance(v, r, mask) == pytest.approx(1 - 1.1875 / 0.75)
    assert losses.explained_variance(r, r, mask) == 1.0
    assert losses.explained_variance(torch.full_like(r, 1.0), r, mask) == pytest.approx(0.0)
    assert losses.explained_variance(v, torch.ones_like(r), mask) == 0.0


def test_binary_loss_by_hand():
    got = losses.binary_loss(tensor([log(3.0), 0.0]), tensor([1.0, 0.0]), tensor([1.0, 1.0]))
    assert float(got) == pytest.approx((-log(0.75) - log(0.5)) / 2)
