"""Tree searches against closed forms. Statistical tests use z = 4.4 two-sided: false alarm 1.1e-5 each, fixed seeds."""

import numpy as np
import pytest

from rlaws.problems import BetaProblems, SingleDifficulty
from rlaws.search import METHODS, Search
from sim.exact import bernoulli
from sim.exact import tree as exact
from sim.slow import tree as slow
from sim.tree import TreePolicy, TreeProblems, beam_cost, beam_width, run

Z = 4.4


def seed(n):
    return np.random.SeedSequence(20260401, spawn_key=(n,))


def off(hits, want, trials):
    """Distance of a count from its expectation, in standard errors."""
    return (hits - trials * want) / np.sqrt(trials * want * (1 - want))


# ------------------------------------------------------------------------------------------------------ best of n
@pytest.mark.parametrize(("b", "d", "p"), [(2, 1, 0.3), (4, 8, 0.7), (3, 60, 0.95)])
@pytest.mark.parametrize("uneven", [0.0, 1.5])
def test_best_of_n_fails_with_one_minus_p_to_the_d(b, d, p, uneven):
    n = np.array([1, 2, 5, 64, 65])
    tree = TreePolicy(branching=b, depth=d, unevenness=uneven)
    done = run(tree, np.full(20_000, p), Search("best_of_n", tuple((1 + n * d).tolist())), 11)
    want = 1 - exact.best_of_n_failure(p, d, n)
    assert np.all(np.abs(off(done.found.sum(axis=0), want, 20_000)[want < 1 - 1e-9]) < Z)
    np.testing.assert_array_equal(done.expansions, np.broadcast_to(1 + n * d, done.expansions.shape))
    np.testing.assert_array_equal(done.tokens, np.broadcast_to(n * d, done.tokens.shape))


def test_the_comparison_tells_a_wrong_p():
    """Negative control: a step accuracy off by one in a hundred is refused at the same z."""
    done = run(TreePolicy(depth=8), np.full(20_000, 0.707), Search("best_of_n", (41,)), 11)
    assert abs(off(done.found.sum(), 1 - exact.best_of_n_failure(0.7, 8, 5), 20_000)) > Z


def test_best_of_n_over_beta_problems():
    """Whole-answer success from Beta(1/2, 2): the mean failure is the ratio of gammas."""
    problems = BetaProblems(0.5, 2.0, 20_000).draw(seed(1))
    done = TreePolicy(depth=6).branch(problems, Search("best_of_n", (7, 97)), seed(2))
    for k, n in enumerate((1, 16)):
        want = bernoulli.beta_failure(0.5, 2.0, n)
        assert abs(off((~done.found[:, k]).sum(), want, 20_000)) < Z


def test_counts_have_the_binomial_law():
    problems = SingleDifficulty(0.3, 400).draw(seed(3))
    policy = TreePolicy(depth=5)
    np.testing.assert_allclose(policy.success(problems), 0.3, rtol=1e-12)
    n, c = policy.count(problems, 200, seed(4))
    assert abs(off(c.sum(), 0.3, n.sum())) < Z
    assert c.var() == pytest.approx(200 * 0.3 * 0.7, rel=Z * np.sqrt(2 / 400))


@pytest.mark.parametrize(("fp", "fn"), [(0.0, 0.0), (0.05, 0.0), (0.05, 0.3), (1.0, 0.0), (0.0, 1.0)])
def test_accepting_verifier(fp, fn):
    tree = TreePolicy(depth=12, branching=4, verifier="accept", false_positive=fp, false_negative=fn)
    n = np.array([1, 4, 32])
    done = run(tree, np.full(20_000, 0.8), Search("best_of_n", tuple((1 + 12 * n).tolist()), "verifier"), 12)
    want = exact.accepted(0.8**12, n, fp, fn)
    # A wrong leaf next to the right path is met twice by a few samples in a thousand: 0.002 beside the noise.
    np.testing.assert_allclose(done.right.mean(axis=0), want, atol=0.002 + Z * 0.5 / np.sqrt(20_000))


@pytest.mark.parametrize("law", ["uniform", "normal", "heavy"])
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_scoring_verifier(law, noise):
    tree = TreePolicy(depth=12, branching=4, verifier_noise=noise, verifier_law=law)
    n = np.array([1, 4, 32, 256])
    done = run(tree, np.full(20_000, 0.8), Search("best_of_n", tuple((1 + 12 * n).tolist()), "verifier"), 13)
    want = np.array([exact.scored(0.8**12, int(m), noise, law) for m in n])
    np.testing.assert_allclose(done.right.mean(axis=0), want, atol=0.004 + Z * 0.5 / np.sqrt(20_000))


def test_more_samples_hurt_where_errors_of_wrong_answers_are_unbounded():
    """The one right leaf has one error, wrong leaves are ever more: any unbounded law overtakes it in the end."""
    n = (1, 8, 64, 512, 4096)
    bounded = [exact.scored(0.05, m, 0.4, "uniform") for m in n]
    assert np.all(np.diff(bounded) >= 0)
    assert bounded[-1] > 0.999
    for law in ("normal", "heavy"):
        assert 0 < np.argmax([exact.scored(0.05, m, 1.0, law) for m in n]) < len(n) - 1


# ----------------------------------------------------------------------------------------- trees of depth 2, in full
def leaves_of(tree, p, q, key):
    """All leaves of one problem: probability, score, class and right steps, from the slow twin."""
    top = slow.Node(tree, p, slow.root(q, key))
    out = []
    for a, pa in enumerate(top.prior()):
        for c, pc in enumerate(top.child(a).prior()):
            leaf = top.child(a).child(c)
            out.append((pa * pc, leaf.score(), leaf.answer(), leaf.steps))
    return [np.array(v) for v in zip(*out, strict=True)]


def test_best_of_n_picks_as_enumerated():
    tree = TreePolicy(branching=3, depth=2, unevenness=1.2, verifier_noise=0.8)
    worlds, repeats, n = 40, 400, 5
    hits = np.zeros(worlds)
    for s in range(repeats):
        search = Search("best_of_n", (1 + 2 * n,), "verifier")
        hits += run(tree, np.full(worlds, 0.5), search, s, root_key=77).right[:, 0]
    want = np.empty(worlds)
    for q in range(worlds):
        prob, score, answer, _ = leaves_of(tree, 0.5, q, 77)
        assert prob.sum() == pytest.approx(1.0, abs=1e-12)
        want[q] = exact.best_of_n_pick(prob, score, n)[answer == 0].sum()
    z = (hits - repeats * want) / np.sqrt(repeats * want * (1 - want))
    assert np.abs(z).max() < Z
    assert z.var() == pytest.approx(1.0, abs=Z * np.sqrt(2 / worlds))


@pytest.mark.parametrize("select", ["majority", "weighted"])
def test_votes_as_enumerated(select):
    """With an exact verifier a weighted vote is right as soon as the right answer was sampled."""
    tree = TreePolicy(branching=2, depth=2, wrong_answers=2)
    worlds, repeats, n = 20, 800, 5
    hits = np.zeros(worlds)
    for s in range(repeats):
        hits += run(tree, np.full(worlds, 0.6), Search("best_of_n", (1 + 2 * n,), select), s, root_key=5).right[:, 0]
    want = np.empty(worlds)
    for q in range(worlds):
        prob, _, answer, _ = leaves_of(tree, 0.6, q, 5)
        classes = [prob[answer == c].sum() for c in range(3)]
        want[q] = exact.plurality(classes, n) if select == "majority" else 1 - (1 - classes[0]) ** n
    if select == "weighted":  # no right sample: all weights are zero and the first answer, a wrong one, wins
        np.testing.assert_allclose(want, exact.accepted(0.36, n, 0, 0))
    z = (hits - repeats * want) / np.sqrt(repeats * want * (1 - want))
    assert np.abs(z).max() < Z


# ------------------------------------------------------------------------------------------------- value-led search
@pytest.mark.parametrize(("b", "d"), [(2, 3), (4, 12), (3, 60)])
def test_lookahead_without_noise_needs_d_plus_one(b, d):
    done = run(TreePolicy(branching=b, depth=d, value_noise=0.0), np.full(500, 0.5), Search("lookahead", (d, d + 1)), 3)
    assert not done.found[:, 0].any()
    assert done.found[:, 1].all()
    assert np.all(done.tokens[:, 1] == b * d)


def test_bounded_noise_below_half_the_gap_never_misleads_and_above_it_does():
    for noise, all_found in ((0.499, True), (0.6, False)):
        tree = TreePolicy(depth=10, value_noise=noise, value_law="uniform")
        assert run(tree, np.full(2000, 0.5), Search("lookahead", (11,)), 4).found.all() == all_found


@pytest.mark.parametrize(("b", "d", "noise"), [(4, 1, 1.0), (4, 3, 0.6), (2, 8, 0.5)])
def test_beam_of_width_one(b, d, noise):
    done = run(TreePolicy(branching=b, depth=d, value_noise=noise), np.full(20_000, 0.5), Search("beam", (d + 1,)), 5)
    assert abs(off(done.found.sum(), exact.greedy_step(b, noise) ** d, 20_000)) < Z
    assert np.all(done.expansions == d + 1)


def test_beam_as_wide_as_the_tree_sees_everything():
    tree = TreePolicy(branching=3, depth=4, value_noise=5.0)
    assert beam_cost(81, 3, 4) == 1 + 3 + 9 + 27 + 81
    assert run(tree, np.full(50, 0.5), Search("beam", (121,)), 6).found.all()
    assert beam_width(120, 3, 4) == 80


def test_puct_that_does_not_explore_stays_with_the_first_child():
    """sigma = 0, c = 0: no estimate is below the 0 of unvisited children, so all ties go to child 0."""
    tree = TreePolicy(branching=2, depth=5, value_noise=0.0, exploration=0.0, exploration_base=np.inf)
    done = run(tree, np.full(500, 0.5), Search("mcts", (41,)), 7, root_key=9, whole=True)
    assert np.all(done.visits[:, 0] == 40)
    for q in range(500):
        node, right = slow.Node(tree, 0.5, slow.root(q, 9)), True
        for _ in range(5):
            right, node = right and node.good == 0, node.child(0)
        assert done.found[q, 0] == right


def test_puct_follows_a_policy_that_knows_the_way():
    """A favourite that is right at every node is right at once, unless values mislead."""
    tree = TreePolicy(depth=20, value_noise=0.0)
    assert run(tree, np.full(100, 0.5), Search("mcts", (21,)), 8).found.all()
    assert not run(tree, np.full(100, 0.2), Search("mcts", (21,)), 8).found.all()


@pytest.mark.parametrize("decoys", [False, True])
def test_visits_are_conserved(decoys):
    tree = TreePolicy(depth=4, value_noise=1.0, decoys=decoys, unevenness=1.0)
    p, search = np.full(300, 0.4), Search("mcts", (50, 200))
    done = run(tree, p, search, 9, whole=True)
    assert np.all(done.visits.sum(axis=1) == 199)
    assert np.all(done.expansions == [50, 200])
    early = run(tree, p, search, 9)
    np.testing.assert_array_equal(early.found, done.found)
    np.testing.assert_array_equal(early.visits.sum(axis=1) + 1, early.expansions[:, 1])


@pytest.mark.parametrize("method", METHODS)
def test_with_one_expansion_every_method_is_one_sample(method):
    tree = TreePolicy(depth=6, value_noise=0.7)
    problems = TreeProblems(0.8, 20_000).draw(seed(0))
    done = tree.branch(problems, Search(method, (1,), "verifier"), seed(10))
    assert abs(off(done.right.sum(), 0.8**6, 20_000)) < Z
    same = tree.branch(problems, Search("best_of_n", (1,), "verifier"), seed(10))
    np.testing.assert_array_equal(done.right, same.right)
    assert np.all(done.tokens == (10 if method == "lookahead" else 6))  # it has opened the root: four first steps
    assert np.all(done.expansions == 7)


@pytest.mark.parametrize("method", METHODS)
def test_the_oracle_curve_never_falls_except_between_beams(method):
    budgets = tuple(range(7, 400, 30))
    done = run(TreePolicy(depth=6, value_noise=0.7), np.full(500, 0.6), Search(method, budgets), 11)
    np.testing.assert_array_equal(done.found, done.right)
    assert np.all(done.expansions <= np.array(budgets))
    if "beam" not in method:
        assert np.all(np.diff(done.found.astype(int), axis=1) >= 0)


@pytest.mark.parametrize("method", METHODS)
def test_threads_change_nothing(method):
    p, search = np.linspace(0.3, 0.9, 50), Search(method, (9, 90))
    one, three = (run(TreePolicy(value_noise=0.8, threads=t), p, search, 12) for t in (1, 3))
    np.testing.assert_array_equal(one.found, three.found)
    np.testing.assert_array_equal(one.right_steps, three.right_steps)


def test_free_energy_is_the_legendre_transform():
    """F = U - T S at the Gibbs tilt, with U = -E[R] and S = -KL; any other distribution lies above."""
    for success in (1e-4, 0.2, 0.9):
        for t in (0.1, 1.0, 10.0):
            s = exact.gibbs_success(success, t)
            at = -s + t * exact.binary_kl(s, success)
            assert at == pytest.approx(exact.free_energy(success, t), rel=1e-9, abs=1e-12)
            for q in (0.5 * s, s + 0.5 * (1 - s)):
                assert -q + t * exact.binary_kl(q, success) > at


def test_best_of_n_without_ties_has_the_published_kl():
    n, leaves = 7, 20_000
    picked = exact.best_of_n_pick(np.full(leaves, 1 / leaves), np.arange(leaves), n)
    kl = np.sum(picked * np.log(picked * leaves))
    assert kl == pytest.approx(float(exact.best_of_n_kl_bound(n)), abs=1e-3)


def test_the_window_of_one_difficulty():
    assert exact.secant_exponent(0.5, 0.05) == pytest.approx(1.574, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"branching": 1}, "branching"), ({"depth": 0}, "depth"), ({"value_noise": -1.0}, "value_noise"),
     ({"value_law": "norml"}, "normal"), ({"false_positive": 1.5}, "false_positive"),
     ({"unevenness": 2.0}, "unevenness"), ({"training": 0.0}, "training"), ({"verifier": "score "}, "score")],
)  # fmt: skip
def test_bad_settings_are_refused(change, named):
    with pytest.raises(ValueError, match=named):
        TreePolicy(**change)


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="best_of_n"):
        Search("best_of", (3,))
    with pytest.raises(ValueError, match="rising"):
        Search("mcts", (3, 3))
    with pytest.raises(ValueError, match="independent answers"):
        run(TreePolicy(), [0.5], Search("mcts", (3,), "majority"), 1)
    with pytest.raises(ValueError, match="step accuracy"):
        run(TreePolicy(), [1.5], Search("mcts", (3,)), 1)
