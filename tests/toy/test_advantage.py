"""Advantage formulas against hand-computed cases, and their exact expectations over all groups of a tiny policy."""

from math import comb, sqrt

import pytest
import torch

from rlaws.errors import InputError
from tests.toy.tiny import Tree
from toymodels import advantage as adv

F64 = torch.float64
REWARD = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0, 1], dtype=F64)


def tensor(*rows):
    return torch.tensor(rows, dtype=F64)


# -------------------------------------------------------------------------------------------------- hand-computed
def test_group_formulas_by_hand():
    r = tensor([1.0, 0.0, 0.0, 1.0], [3.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(adv.no_baseline(r), r)
    torch.testing.assert_close(adv.running_mean_baseline(r, torch.tensor(0.25, dtype=F64)), r - 0.25)
    want = tensor([2 / 3, -2 / 3, -2 / 3, 2 / 3], [2.0, -2 / 3, -2 / 3, -2 / 3])
    torch.testing.assert_close(adv.leave_one_out(r), want)
    torch.testing.assert_close(adv.group_mean(r), tensor([0.5, -0.5, -0.5, 0.5], [1.5, -0.5, -0.5, -0.5]))
    s = 1 / sqrt(3)
    want = tensor([0.5 / s, -0.5 / s, -0.5 / s, 0.5 / s], [1.5, -0.5, -0.5, -0.5])
    torch.testing.assert_close(adv.group_standardised(r, eps=0.0), want)


def test_equal_rewards_carry_no_signal():
    r = torch.ones(2, 5, dtype=F64)
    for formula in (adv.leave_one_out, adv.group_mean, adv.group_standardised):
        assert (formula(r) == 0).all()


def test_running_mean_by_hand():
    mean = adv.update_mean(torch.tensor(0.5, dtype=F64), tensor([1.0, 1.0, 0.0, 1.0]), 0.1)
    torch.testing.assert_close(mean, torch.tensor(0.525, dtype=F64))


@pytest.mark.parametrize("formula", [adv.leave_one_out, adv.group_mean, adv.group_standardised])
def test_a_group_of_one_is_refused(formula):
    with pytest.raises(InputError, match="at least 2"):
        formula(torch.ones(3, 1))


def test_reward_to_go_by_hand():
    r = tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(adv.reward_to_go(r), tensor([6.0, 5.0, 3.0]))
    torch.testing.assert_close(adv.reward_to_go(r, 0.5), tensor([2.75, 3.5, 3.0]))


def test_process_rewards_by_hand():
    r = tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    want = tensor([[0.0, -0.5], [-1.5, -0.5], [1.5, 1.0]])
    torch.testing.assert_close(adv.leave_one_out(adv.reward_to_go(r)), want)


def test_gae_by_hand():
    """delta = (0.4, -0.1, 0.7); gamma lam = 0.25 with gamma = 0.5, lam = 0.5; the fourth token does not exist."""
    r, v, mask = tensor([0.0, 0.0, 1.0, 9.0]), tensor([-0.1, 0.6, 1.0, 5.0]), tensor([1.0, 1.0, 1.0, 0.0])
    d = (0 + 0.5 * 0.6 + 0.1, 0 + 0.5 * 1.0 - 0.6, 1 - 1.0)
    a3 = d[2]
    a2 = d[1] + 0.25 * a3
    want = tensor([d[0] + 0.25 * a2, a2, a3, 0.0])
    torch.testing.assert_close(adv.gae(r, v, mask, 0.5, 0.5), want)


def random_responses(seed=0, rows=6, length=5):
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (rows,), generator=rng)
    mask = (torch.arange(length) < lengths[:, None]).to(F64)
    draw = lambda: torch.randn(rows, length, generator=rng, dtype=F64)  # noqa: E731
    return draw() * mask, draw(), draw(), mask


def test_gae_limits():
    """lam = 1 is the reward to go minus V; lam = 0 is the one-step error."""
    r, v, _, mask = random_responses()
    torch.testing.assert_close(adv.gae(r, v, mask, 0.9, 1.0), (adv.reward_to_go(r, 0.9) - v) * mask)
    v_next = torch.cat([(v * mask)[:, 1:], torch.zeros(len(v), 1, dtype=F64)], dim=1)
    torch.testing.assert_close(adv.gae(r, v, mask, 0.9, 0.0), (r + 0.9 * v_next - v) * mask)


def test_vtrace_on_policy_is_gae_at_one():
    r, v, _, mask = random_responses(1)
    got = adv.vtrace(torch.zeros_like(r), r, v, mask, 0.9)
    torch.testing.assert_close(got.value, (v + adv.gae(r, v, mask, 0.9, 1.0)) * mask)
    torch.testing.assert_close(got.advantage, adv.gae(r, v, mask, 0.9, 1.0))


def test_vtrace_without_truncation_is_importance_sampling():
    """gamma = 1 and V = 0: v_t = sum_s (prod_{u=t..s} ratio_u) r_s."""
    r, _, log_ratio, mask = random_responses(2)
    got = adv.vtrace(log_ratio, r, torch.zeros_like(r), mask, 1.0, float("inf"), float("inf")).value
    ratio, want = log_ratio.exp() * mask, torch.zeros_like(r)
    for t in range(r.shape[1]):
        want[:, t] = (ratio[:, t:].cumprod(dim=1) * r[:, t:]).sum(dim=1)
    torch.testing.assert_close(got, want)


def test_vtrace_refuses_traces_beyond_weights():
    r, v, log_ratio, mask = random_responses()
    with pytest.raises(InputError, match="c_max <= rho_max"):
        adv.vtrace(log_ratio, r, v, mask, 1.0, 1.0, 2.0)


def test_shrink_by_hand():
    torch.testing.assert_close(adv.shrink_negative(tensor(-2.0, 0.0, 3.0), 0.25), tensor(-0.5, 0.0, 3.0))


def test_semantic_surprise_by_hand():
    got = adv.semantic_surprise(torch.tensor([[3, 3, 1, 3], [0, 1, 2, 5]])).to(F64)
    want = -torch.tensor([[0.75, 0.75, 0.25, 0.75], [0.25] * 4], dtype=F64).log()
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0)


# --------------------------------------------------------------------------------------------- exact expectations
@pytest.fixture(scope="module")
def tree():
    return Tree(seed=5)


@pytest.fixture(scope="module")
def truth(tree):
    return tree.gradient((tree.p * REWARD).sum()).flatten()


def close(a, b):
    return torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_expected_gradient_of_unbiased_estimators(tree, truth):
    """Over all 9^3 groups; the control is a baseline that peeks at the sample."""
    for formula in (
        adv.no_baseline,
        lambda r: adv.running_mean_baseline(r, torch.tensor(0.7, dtype=F64)),
        adv.leave_one_out,
    ):
        assert close(tree.expected_estimate(formula, REWARD, 3), truth)
    assert not close(tree.expected_estimate(lambda r: r - 0.5 * r**2, REWARD, 3), truth)


@pytest.mark.parametrize("size", [2, 3])
def test_group_mean_shrinks_the_gradient(tree, truth, size):
    got = tree.expected_estimate(adv.group_mean, REWARD, size)
    assert close(got, (1 - 1 / size) * truth)
    assert not close(got, truth)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_standardised_group_follows_another_objective(tree, truth, size):
    """E = grad p * E[k (G - k)/G^2 / (s_k + eps)] / (p (1 - p)) with k ~ Binomial(G, p), s_k^2 = k (G-k)/(G (G-1)).

    For binary rewards the direction of one problem is kept; its length depends on p, so problems are reweighted.
    """
    eps, p = 1e-6, float((tree.p.detach() * REWARD).sum())
    factor = sum(
        comb(size, k) * p**k * (1 - p) ** (size - k) * (k * (size - k) / size**2)
        / (sqrt(k * (size - k) / (size * (size - 1))) + eps)
        for k in range(size + 1)
    ) / (p * (1 - p))  # fmt: skip
    got = tree.expected_estimate(lambda r: adv.group_standardised(r, eps), REWARD, size)
    assert close(got, factor * truth)
    assert not close(got, truth)


def test_process_baseline_is_unbiased(tree):
    """Step rewards on all pairs of sequences: E[(1/2) sum_i sum_t A_it grad log pi_t] is the gradient of E[sum r]."""
    rng = torch.Generator().manual_seed(1)
    reward = torch.randn(9, 2, generator=rng, dtype=F64)
    reward[:, 0] = reward[::3, 0].repeat_interleave(3)  # a step's reward knows no later token
    members, probability = tree.groups(2)
    a = adv.leave_one_out(adv.reward_to_go(reward[members]))
    got = tree.gradient((probability[:, None, None] * a * tree.log_p[members]).sum() / 2)
    want = tree.gradient((tree.p * reward.sum(dim=1)).sum())
    assert close(got, want)


def test_semantic_surprise_tends_to_the_entropy_gradient():
    """The plug-in's expected gradient comes closer to grad H(answer classes) as the group grows (exact, 3^G groups)."""
    tree = Tree(seed=2, letters=3, length=1)
    answer = torch.tensor([0, 1, 1])
    q = torch.stack([tree.p[0], tree.p[1] + tree.p[2]])
    want = tree.gradient(-(q * q.log()).sum()).flatten()
    errors = []
    for size in (2, 4, 8):
        members, probability = tree.groups(size)
        a = adv.semantic_surprise(answer[members]).to(F64) / size
        weight = torch.zeros(3, dtype=F64)
        weight.index_add_(0, members.flatten(), (probability[:, None] * a).flatten())
        errors.append(float((weight @ tree.scores() - want).norm() / want.norm()))
    assert errors[0] > 1.6 * errors[1] > 1.6**2 * errors[2]


# ------------------------------------------------------------------------------------------------ V-trace in a table
DEPTH = 3


def tabular(seed):
    """Two policies over all prefixes of DEPTH binary actions, rewards of every (prefix, action)."""
    behaviour, target = Tree(seed, 2, DEPTH), Tree(seed + 1, 2, DEPTH)
    rng = torch.Generator().manual_seed(seed + 2)
    reward = torch.randn(len(behaviour.prefixes), 2, generator=rng, dtype=F64)
    return behaviour, target, reward


def value_of(policy, prefixes, reward, gamma):
    """V(prefix) by backward recursion for action probabilities ``policy`` [prefixes, 2]."""
    value = {}
    for prefix in sorted(prefixes, key=len, reverse=True):
        i = prefixes.index(prefix)
        after = [value.get((*prefix, a), 0.0) for a in (0, 1)]
        value[prefix] = sum(float(policy[i, a]) * (float(reward[i, a]) + gamma * after[a]) for a in (0, 1))
    return torch.tensor([value[x] for x in prefixes], dtype=F64)


def vtrace_operator(behaviour, target, reward, value, gamma, rho_max, c_max):
    """E_mu[v_t | prefix] over all trajectories, [prefixes]."""
    sequences, prefixes = behaviour.sequences, behaviour.prefixes
    rows = torch.tensor([[prefixes.index(s[:t]) for t in range(DEPTH)] for s in sequences])
    actions = torch.tensor(sequences)
    log_ratio = (target.log_p - behaviour.log_p).detach()
    ones = torch.ones(len(sequences), DEPTH, dtype=F64)
    out = adv.vtrace(log_ratio, reward[rows, actions], value[rows], ones, gamma, rho_max, c_max).value
    weight = behaviour.p.detach()[:, None].expand_as(out)
    total, mass = torch.zeros(len(prefixes), dtype=F64), torch.zeros(len(prefixes), dtype=F64)
    total.index_add_(0, rows.flatten(), (weight * out).flatten())
    mass.index_add_(0, rows.flatten(), weight.flatten())
    return total / mass


@pytest.mark.parametrize(("rho_max", "c_max"), [(1.0, 1.0), (1.5, 0.5), (float("inf"), 1.0)])
def test_vtrace_fixed_point(rho_max, c_max):
    """The fixed point is the value of the policy prop. to min(rho_max mu, pi); reached from zero by iteration."""
    behaviour, target, reward = tabular(20)
    gamma = 0.9
    mu, pi = (x.theta.softmax(dim=1).detach() for x in (behaviour, target))
    clipped = torch.minimum(rho_max * mu, pi)
    want = value_of(clipped / clipped.sum(dim=1, keepdim=True), behaviour.prefixes, reward, gamma)
    got = vtrace_operator(behaviour, target, reward, want, gamma, rho_max, c_max)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    value = torch.zeros_like(want)
    for _ in range(400):
        value = vtrace_operator(behaviour, target, reward, value, gamma, rho_max, c_max)
    torch.testing.assert_close(value, want, rtol=1e-10, atol=1e-11)
    of_target = value_of(pi, behaviour.prefixes, reward, gamma)
    assert torch.allclose(want, of_target) == (rho_max == float("inf"))
