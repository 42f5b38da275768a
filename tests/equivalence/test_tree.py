"""Compiled searches against the slow twin: the same tree, node by node, and the same search, leaf by leaf.

The twin computes in double precision, the kernels in single: a search may differ where two scores come closer than
1e-6. At the fixed seeds below none does, so equality is asked of every problem.
"""

import numpy as np
import pytest

from rlaws.search import Search
from sim.slow import tree as slow
from sim.tree import TreePolicy, beam_width, run

KEY = 20260401
TREES = {
    "plain": TreePolicy(branching=4, depth=5, value_noise=0.7),
    "uneven": TreePolicy(branching=3, depth=7, value_noise=0.4, unevenness=1.5, value_law="uniform", exploration=2.0),
    "decoys": TreePolicy(branching=2, depth=12, value_noise=0.5, decoys=True, unevenness=0.7, value_law="heavy"),
    "judged": TreePolicy(branching=4, depth=6, value_noise=0.6, verifier_noise=0.8, verifier_law="heavy"),
    "weighed": TreePolicy(branching=3, depth=5, value_noise=0.9, prior_weight=0.3, groups=3, unevenness=1.9),
    "w3": TreePolicy(
        branching=4, depth=12, value_noise=0.3, value_law="uniform", value_right=0.6, value_wrong=0.4, unevenness=1.5,
        decoys=True,
    ),
}  # fmt: skip
CASES = [(name, select) for name in TREES for select in ("oracle", "verifier")]


def answers(tree, leaves, budgets, select):
    """What is answered within each budget by leaves in time order; -1 steps where nothing is complete."""
    out = []
    for c in budgets:
        have = [n for t, n in leaves if t <= c]
        if not have:
            out.append((False, -1))
            continue
        right = [n for n in have if n.on]
        best = right[0] if select == "oracle" and right else have[0]
        if select == "verifier":
            best = max(have, key=lambda n: n.score())
        out.append((bool(right), best.steps))
    return out


def same(done, q, tree, leaves, budgets, select):
    """Whether one problem's answers are those of the twin (where the policy did not have to answer for the search)."""
    for k, (found, steps) in enumerate(answers(tree, leaves, budgets, select)):
        if done.found[q, k] != found or (steps >= 0 and done.right_steps[q, k] != steps):
            return False
        if steps < 0 and done.answers[q, k]:
            return False
    return True


@pytest.mark.parametrize(("name", "select"), CASES)
def test_puct(name, select):
    tree, p, budgets = TREES[name], 0.45, (10, 40, 150)
    done = run(tree, np.full(32, p), Search("mcts", budgets, select), 1, root_key=KEY, whole=True)
    for q in range(32):
        visits, leaves = slow.puct(slow.Node(tree, p, slow.root(q, KEY)), budgets[-1] - 1)
        assert done.visits[q].tolist() == visits
        assert same(done, q, tree, leaves, budgets, select)


@pytest.mark.parametrize(("name", "select"), CASES)
def test_lookahead(name, select):
    tree, p, budgets = TREES[name], 0.45, (8, 30, 200)
    done = run(tree, np.full(32, p), Search("lookahead", budgets, select), 1, root_key=KEY)
    for q in range(32):
        leaves = slow.lookahead(slow.Node(tree, p, slow.root(q, KEY)), budgets[-1])
        assert same(done, q, tree, leaves, budgets, select)


@pytest.mark.parametrize("method", ["beam", "diverse_beam"])
@pytest.mark.parametrize(("name", "select"), CASES)
def test_beam(name, select, method):
    tree, p, budgets = TREES[name], 0.45, (14, 60, 200)
    groups = tree.groups if method == "diverse_beam" else 1
    done = run(tree, np.full(24, p), Search(method, budgets, select), 1, root_key=KEY)
    for k, c in enumerate(budgets):
        width = beam_width(c, tree.branching, tree.depth, groups)
        for q in range(24):
            leaves = slow.beam(slow.Node(tree, p, slow.root(q, KEY)), width, min(groups, width))
            found, steps = answers(tree, leaves, (c,), select)[0]
            assert done.found[q, k] == found
            assert done.right_steps[q, k] == steps
            assert done.expansions[q, k] == leaves[0][0] <= c


def test_groups_make_a_difference():
    """Negative control of the test above: the two beams are not one."""
    found = [run(TREES["plain"], np.full(500, 0.5), Search(m, (60,)), 1).found for m in ("beam", "diverse_beam")]
    assert (found[0] != found[1]).any()


def test_two_methods_see_one_world():
    """Paired: best-first search and the beam agree far more often than two worlds do."""
    tree, p = TreePolicy(depth=6, value_noise=0.7), np.full(2000, 0.5)
    a = run(tree, p, Search("lookahead", (60,)), 5).found[:, 0]
    b = run(tree, p, Search("beam", (60,)), 5).found[:, 0]
    other = run(tree, p, Search("beam", (60,)), 6).found[:, 0]
    assert np.corrcoef(a, b)[0, 1] > 0.3
    assert abs(np.corrcoef(a, other)[0, 1]) < 4.4 / np.sqrt(2000)


@pytest.mark.parametrize("law", ["uniform", "normal", "heavy"])
def test_errors_have_their_law(law):
    """Kolmogorov-Smirnov on 5000 nodes: critical value 2.2 / sqrt(n), false alarm 1.3e-4."""
    from scipy.stats import kstest, norm, uniform

    from sim.exact.tree import heavy_cdf

    cdf = {"uniform": uniform(-1, 2).cdf, "normal": norm.cdf, "heavy": heavy_cdf}[law]
    z = [slow.deviate(slow.root(i, 3), 0x1B56C4E9, 0x52DCE729, law) for i in range(5000)]
    assert kstest(z, cdf).statistic < 2.2 / np.sqrt(5000)
    assert kstest(np.array(z) + 0.1, cdf).statistic > 2.2 / np.sqrt(5000)


def test_memory_is_what_is_visited():
    """Depth 4096 with 4 children a node: the tree has 10^2466 leaves, the search 4097 nodes."""
    tree = TreePolicy(depth=4096, value_noise=0.0)
    done = run(tree, np.full(2, 0.9), Search("lookahead", (4097,)), 1)
    assert done.found.all()
    assert done.tokens[0, 0] == 4 * 4096
