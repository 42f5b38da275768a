"""One chain computed in several ways: threads, chunks, raw rows, event-driven, the slow twin; and the rules of kernels.

False alarms: statistical tests compare |z| with the quantile for 1e-6 over all numbers compared (Bonferroni).
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sim import chain_kernels, jit, rng
from sim.chain import ChainWorld, LinearReward, gradient_sums, sample, state_counts
from sim.exact import chain as exact
from sim.slow import chain as slow

SIM = Path(jit.__file__).parent
ALARM = 1e-6
P = np.linspace(0.7, 0.98, 11)

WAYS = {
    "counts": (ChainWorld(11, P, recovery=0.2, slip=0.03), {}),
    "group": (ChainWorld(11, P, recovery=0.2), {"groups": 6}),
    "noise": (ChainWorld(11, P, forgiveness=0.2, dense_noise=0.4), {}),
    "noise_group": (ChainWorld(11, P, dense_noise=0.4), {"groups": 6}),
    "linear": (ChainWorld(11, P), {"reward": LinearReward(np.linspace(1, 2, 11), 0.3)}),
    "events": (ChainWorld(11, P, false_positive=0.1), {"method": "events"}),
    "events_group": (ChainWorld(11, P), {"method": "events", "groups": 6}),
}


def same(a, b):
    """Bitwise equality of every array."""
    return all(getattr(a, f).tobytes() == getattr(b, f).tobytes() for f in ("n", "s1", "s2", "hits"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("clusters", [1, 7])
def test_threads_and_chunks_change_no_bit(way, clusters, monkeypatch):
    world, options = WAYS[way]
    monkeypatch.setattr("sim.chain.UNIT_STEPS", 11 * 512 * 8)  # many units, so that there is something to reorder
    rollouts = 6 * 5003 if clusters > 1 else 6 * 50_021
    base = gradient_sums(world, rollouts, 3, clusters=clusters, **options)
    for threads, chunk in ((2, None), (1, 1), (2, 3), (3, 1000)):
        again = gradient_sums(world, rollouts, 3, clusters=clusters, threads=threads, chunk=chunk, **options)
        assert same(base, again), (threads, chunk)
    assert not same(base, gradient_sums(world, rollouts, 4, clusters=clusters, **options)), (
        "another seed is another draw"
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_cluster_does_not_depend_on_the_others(way):
    """The first clusters of a larger batch are the clusters of a smaller one, all different from each other."""
    world, options = WAYS[way]
    few = gradient_sums(world, 600, 3, clusters=2, **options)
    many = gradient_sums(world, 600, 3, clusters=5, **options)
    assert few.s1.tobytes() == many.s1[:2].tobytes()
    assert len({row.tobytes() for row in many.s1}) == 5


@pytest.mark.parametrize("rollouts", [1, 63, 64, 513, 3000])
def test_sums_are_those_of_the_raw_rows(rollouts):
    world = ChainWorld(11, P, recovery=0.2, slip=0.03, false_positive=0.1)
    c, z, reward = sample(world, rollouts, 9)
    g = (c - P) * (reward[:, None] - 0.25)
    sums = gradient_sums(world, rollouts, 9, baseline=0.25)
    np.testing.assert_allclose(sums.s1[0], g.sum(0), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(sums.s2[0], (g**2).sum(0), rtol=1e-10)
    assert sums.hits[0] == reward.sum()
    counts = state_counts(world, rollouts, 9)
    before = np.concatenate([np.ones((rollouts, 1), dtype=np.uint8), z[:, :-1]], axis=1)
    for i in (0, 1):
        for j in (0, 1):
            assert (counts.transitions[0, :, i, j] == ((before == i) & (z == j)).sum(0)).all()
    assert counts.hits[0] == reward.sum()


def test_group_sums_are_those_of_the_raw_rows():
    """Groups of 8 fill the same blocks as single rollouts, so the raw rows are the same."""
    world, rollouts, groups = ChainWorld(11, P, recovery=0.2), 2000, 8
    c, _, reward = sample(world, rollouts, 9)
    member = reward.astype(float).reshape(-1, groups)
    advantage = (member - (member.sum(1, keepdims=True) - member) / (groups - 1)).ravel()
    g = (c - P) * advantage[:, None]
    sums = gradient_sums(world, rollouts, 9, groups=groups)
    np.testing.assert_allclose(sums.s1[0], g.sum(0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(sums.s2[0], (g**2).sum(0), rtol=1e-4)


def test_noisy_sums_are_those_of_the_raw_rows():
    """The noise of the returns is rebuilt here from its stream, one block of 512."""
    world, rollouts = ChainWorld(11, P, recovery=0.2, dense_noise=0.5), 512
    c, _, reward = sample(world, rollouts, 9)
    key = rng.stream_key(np.uint64(9), chain_kernels.RETURN_NOISE, 0)
    x, words = np.empty((11, 512), dtype=np.float32), np.empty(256, dtype=np.uint64)
    for t in range(11):
        rng.fill_normals(x[t], words, key, t * 256)
    returns = reward[:, None] + 0.5 * np.cumsum(x[::-1].astype(float), axis=0)[::-1].T
    g = (c - P) * (returns - 0.3)
    sums = gradient_sums(world, rollouts, 9, baseline=0.3)
    np.testing.assert_allclose(sums.s1[0], g.sum(0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(sums.s2[0], (g**2).sum(0), rtol=1e-4)


# ---------------------------------------------------------------- event-driven
def two_sample_z(a, b):
    """|z| between two runs with clusters, both moments at every step and the rewards."""
    scores = []
    for name in ("s1", "s2", "hits"):
        x, y = getattr(a, name), getattr(b, name)
        spread = np.sqrt(x.var(0, ddof=1) / len(x) + y.var(0, ddof=1) / len(y))
        scores.append(np.ravel((x.mean(0) - y.mean(0)) / spread))
    return np.abs(np.concatenate(scores))


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("verifier", [{}, {"false_positive": 0.1, "false_negative": 0.2}])
def test_events_and_dense_agree(groups, verifier):
    p = np.linspace(0.9, 0.999, 11)
    clusters = 300

    def run(method, world, seed):
        return gradient_sums(world, 6000, seed, groups=groups, clusters=clusters, method=method, baseline="mean")

    world = ChainWorld(11, p, **verifier)
    level = stats.t.isf(ALARM / 23 / 2, df=clusters - 1)
    assert two_sample_z(run("dense", world, 1), run("events", world, 2)).max() < level
    nearby = ChainWorld(11, 1 - 1.02 * (1 - p), **verifier)
    assert two_sample_z(run("dense", world, 1), run("events", nearby, 2)).max() > level


def test_events_are_chosen_where_errors_are_rare():
    def method(*args, **kwargs):
        return gradient_sums(ChainWorld(*args, **kwargs), 100, 1).method

    assert method(50, 0.999) == "events"
    assert method(50, 0.9) == "dense"
    assert method(50, 0.999, recovery=0.1) == "dense"
    assert method(50, 0.999, dense_noise=0.1) == "dense"


def test_events_outgrow_their_first_room(monkeypatch):
    """A block with more errors than expected is run again with more room, and gives the same numbers."""
    world = ChainWorld(20, 0.9)
    base = gradient_sums(world, 5000, 3, method="events")
    honest = np.sqrt
    monkeypatch.setattr("sim.chain.np.sqrt", lambda x: -x / 9 if np.isscalar(x) else honest(x))
    assert same(base, gradient_sums(world, 5000, 3, method="events"))


# ---------------------------------------------------------------- the slow twin
SLOW = {
    "all_state": (ChainWorld(5, [0.9, 0.6, 0.8, 0.7, 0.95], 0.3, 0.1, 0.4, 0.1, 0.2), 1),
    "noise": (ChainWorld(5, [0.9, 0.6, 0.8, 0.7, 0.95], recovery=0.3, dense_noise=0.5), 1),
    "group": (ChainWorld(5, [0.9, 0.6, 0.8, 0.7, 0.95], recovery=0.3, dense_noise=0.2), 4),
}


@pytest.mark.parametrize("case", SLOW)
def test_slow_twin_agrees_with_the_closed_form_and_the_kernel(case):
    world, groups = SLOW[case]
    batches, rollouts = 60, 200
    parts = [slow.gradient_sums(world, rollouts, 1000 + i, 0.4, groups) for i in range(batches)]
    s1, s2 = np.array([x.s1 for x in parts]), np.array([x.s2 for x in parts])
    level = stats.t.isf(ALARM / 10 / 2, df=batches - 1)
    expected = exact.gradient_moments(world, 0.4 if groups == 1 else "mean", groups)
    for per, right in ((s1, expected.mean), (s2, expected.second)):
        z = (per.mean(0) / rollouts - right) / (per.std(0, ddof=1) / np.sqrt(batches) / rollouts)
        assert np.abs(z).max() < level
    fast = gradient_sums(
        world, rollouts, 5, clusters=300, groups=groups, baseline=0.4 if groups == 1 else "mean", method="dense"
    )
    z = two_sample_z(fast, gradient_like(parts))
    assert z.max() < level
    other = gradient_sums(world, rollouts, 5, clusters=300, baseline=1.4)
    assert two_sample_z(other, gradient_like(parts)).max() > level


def gradient_like(parts):
    """Slow sums in the shape of fast ones."""

    class Sums:
        s1, s2 = np.array([x.s1 for x in parts]), np.array([x.s2 for x in parts])
        hits = np.array([x.hits for x in parts])

    return Sums


def test_slow_twin_with_a_linear_reward():
    reward = LinearReward(np.array([1.0, -2.0, 0.5]), 0.2)
    world = ChainWorld(3, [0.8, 0.5, 0.9])
    parts = [slow.gradient_sums(world, 200, i, 0.25, reward=reward) for i in range(60)]
    expected = exact.linear_moments(world, reward.weights, reward.noise)
    s1 = np.array([x.s1 for x in parts]) / 200
    z = (s1.mean(0) - expected.mean) / (s1.std(0, ddof=1) / np.sqrt(60))
    assert np.abs(z).max() < stats.t.isf(ALARM / 3 / 2, df=59)
    assert np.abs(z).max() < np.abs((s1.mean(0) + expected.mean) / (s1.std(0, ddof=1) / np.sqrt(60))).max()


# ---------------------------------------------------------------- random numbers
@pytest.mark.parametrize("p", [0.0, 1e-12, 1e-4, 1 / 256, 0.3, 127.5 / 256, 0.999, 1 - 1e-12, 1.0])
def test_bernoulli_rows(p):
    """Totals, each lane, and joint ones of neighbours on one row, against binomials."""
    rows = 20_000
    out = np.empty((rows, 8), dtype=np.uint64)
    levels, rest = rng.split_threshold(np.full(rows, p))
    whole = [int(levels[0, 0]) << 56, int(levels[0, 1]) << 48, int(rest[0])]
    assert sum(whole) / 2**64 == pytest.approx(p, rel=1e-15, abs=2.0**-64)
    rng.bernoulli_rows(out, levels, rest, rng.stream_key(1, 1001, 0), rng.stream_key(1, 1002, 0))
    bits = np.unpackbits(out.view(np.uint8), axis=1, bitorder="little").astype(np.int64)
    both = p * p
    checks = [(bits.sum(), bits.size, p), (np.sum(bits[:, :-64] & bits[:, 64:]), bits[:, 64:].size, both)]
    checks += [(ones, rows, p) for ones in bits.sum(0)]
    for ones, n, chance in checks:
        low, high = stats.binom.ppf([ALARM / 1028, 1 - ALARM / 1028], n, chance)
        assert low <= ones <= high


def test_bernoulli_rows_settle_ties_to_the_last_bit():
    """With every byte tied, what is left decides: thresholds one step of 2**-16 apart around a second byte."""
    rows = 200_000
    for p in (0.5 + 2**-17, 0.5 + 3 * 2**-18):
        out = np.empty((rows, 8), dtype=np.uint64)
        rng.bernoulli_rows(out, *rng.split_threshold(np.full(rows, p)), np.uint64(5), np.uint64(6))
        ones, n = int(np.bitwise_count(out).sum()), rows * 512
        z = (ones - n * p) / np.sqrt(n * p * (1 - p))
        assert abs(z) < stats.norm.isf(ALARM / 4)


def test_normals_and_exponentials():
    n = 1 << 18
    x, words = np.empty(2 * n, dtype=np.float32), np.empty(n, dtype=np.uint64)
    rng.fill_normals(x, words, rng.stream_key(1, 1003, 0), 0)
    assert stats.kstest(x.astype(float), "norm").pvalue > ALARM
    assert stats.kstest(x.astype(float) * 1.02, "norm").pvalue < ALARM
    assert abs(np.corrcoef(x[:n], x[n:])[0, 1]) < stats.norm.isf(ALARM) / np.sqrt(n)
    assert abs(np.corrcoef(x[:n] ** 2, x[n:] ** 2)[0, 1]) < stats.norm.isf(ALARM) / np.sqrt(n)
    e, words = np.empty(n), np.empty(n, dtype=np.uint64)
    rng.fill_exponentials(e, words, np.uint64(8), 0)
    np.testing.assert_allclose(e, -np.log(((words >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52), rtol=1e-14)
    assert stats.kstest(e, "expon").pvalue > ALARM
    u = np.array([rng.uniform(np.uint64(8), i) for i in range(20_000)])
    np.testing.assert_allclose(-np.log(u), e[:20_000], rtol=1e-13)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "1", None])
def test_seeds_out_of_range_are_named(seed):
    with pytest.raises(ValueError, match=r"seed must be an integer from 0 to 2\*\*64 - 1"):
        gradient_sums(ChainWorld(3, 0.5), 10, seed)


def test_extreme_seeds_are_seeds():
    drawn = {gradient_sums(ChainWorld(3, 0.5), 1000, s).s1.tobytes() for s in (0, 1, 2**63, 2**64 - 1, np.uint64(7))}
    assert len(drawn) == 5


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: ChainWorld(0, 0.5), "length"),
        (lambda: ChainWorld(2.5, 0.5), "length"),
        (lambda: ChainWorld(3, [0.5, 0.5]), "p must"),
        (lambda: ChainWorld(3, 1.01), "p must"),
        (lambda: ChainWorld(3, float("nan")), "p must"),
        *[
            (lambda name=name: ChainWorld(3, 0.5, **{name: 1.5}), name)
            for name in ("recovery", "slip", "forgiveness", "false_positive", "false_negative")
        ],
        (lambda: ChainWorld(3, 0.5, dense_noise=-1.0), "dense_noise"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 10, 1, groups=3), "groups"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 1024, 1, groups=1024), "groups"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 0, 1), "rollouts"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 10, 1, clusters=0), "clusters"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 10, 1, threads=0), "threads"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 10, 1, chunk=0), "chunk"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 10, 1, baseline="median"), "baseline"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 10, 1, baseline="zero", groups=2), "baseline"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 10, 1, method="fast"), "method"),
        (lambda: gradient_sums(ChainWorld(3, 0.5, recovery=0.1), 10, 1, method="events"), "events"),
        (lambda: gradient_sums(ChainWorld(3, 0.5, slip=0.1), 10, 1, reward=LinearReward(np.ones(3))), "slip"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 10, 1, reward=LinearReward(np.ones(2))), "weights"),
        (lambda: gradient_sums(ChainWorld(3, 0.5), 10, 1, reward=LinearReward(np.ones(3), -1.0)), "noise"),
    ],
)
def test_what_is_out_of_range_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()


# ---------------------------------------------------------------- the rules of kernels
def decorators(path):
    """(function, names of its decorators) of a file, nested functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node, {ast.unparse(d).split("(")[0] for d in node.decorator_list}


def jitted_elsewhere(source):
    """Uses of numba's own compilers in a piece of code."""
    banned = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil", "generated_jit"}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "numba":
            found += [a.name for a in node.names if a.name in banned]
        elif isinstance(node, ast.Attribute) and node.attr in banned and ast.unparse(node.value) in ("numba", "nb"):
            found.append(node.attr)
    return found


@pytest.mark.parametrize("path", sorted(SIM.rglob("*.py")), ids=lambda p: p.relative_to(SIM).as_posix())
def test_every_kernel_is_made_by_the_one_decorator(path):
    found = jitted_elsewhere(path.read_text(encoding="utf-8"))
    assert not found or path == SIM / "jit.py", f"{path.name} uses {found}; decorate with sim.jit.kernel"


def test_the_walk_sees_a_stray_compiler():
    assert jitted_elsewhere("from numba import njit, prange") == ["njit"]
    assert jitted_elsewhere("import numba\n@numba.njit(cache=True)\ndef f(): pass") == ["njit"]


@pytest.mark.parametrize("path", sorted(SIM.rglob("*.py")), ids=lambda p: p.relative_to(SIM).as_posix())
def test_kernels_are_small(path):
    for node, names in decorators(path):
        if "kernel" in names:
            doc = ast.get_docstring(node, clean=False)
            lines = (node.end_lineno or 0) - node.lineno + 1 - (len(doc.splitlines()) if doc else 0)
            assert lines <= 40, f"{node.name} has {lines} lines"
            assert len(node.args.args) <= 8, f"{node.name} has {len(node.args.args)} arguments"
            assert doc, f"{node.name} says nothing"


def test_kernels_have_the_common_flags():
    for function in (chain_kernels.count_units, chain_kernels.weigh_noisy_units, rng.mix64):
        options = function.targetoptions
        assert options["error_model"] == "numpy"
        assert options["nogil"]
        assert not options["boundscheck"]
        assert str(jit.cache_folder()) in function._cache.cache_path


# ---------------------------------------------------------------- where compiled code is kept
def test_a_change_in_any_source_changes_the_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "deep" / "b.py").write_text("y = 1")
    first = jit.source_hash(tmp_path)
    assert jit.source_hash(tmp_path) == first
    (tmp_path / "deep" / "b.py").write_text("y = 2")
    second = jit.source_hash(tmp_path)
    (tmp_path / "deep" / "b.py").rename(tmp_path / "deep" / "c.py")
    assert len({first, second, jit.source_hash(tmp_path)}) == 3
    (tmp_path / "notes.txt").write_text("no source")
    assert jit.source_hash(tmp_path) == jit.source_hash(tmp_path)


def test_folder_falls_back_where_it_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    good = tmp_path / "good"
    assert jit.choose_cache_folder(good, tmp_path / "tmp", "abc") == good / "rlaws" / "numba" / "abc"
    second = jit.choose_cache_folder(blocked, tmp_path / "tmp", "abc")
    assert second.is_relative_to(tmp_path / "tmp")
    assert second.name == "abc"
    last = jit.choose_cache_folder(blocked, blocked, "abc")
    assert last.is_dir()
    last.rmdir()


def test_an_explicit_folder_is_respected(tmp_path):
    code = (
        "import numba\nfrom sim.jit import cache_folder, kernel\nprint(cache_folder())\n"
        "before = numba.config.CACHE_DIR\n@kernel\ndef f(x):\n    return x\n"
        "assert numba.config.CACHE_DIR == before\n"
    )
    path = tmp_path / "program.py"
    path.write_text(code)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "mine"), "PYTHONPATH": str(SIM.parent)}
    out = subprocess.run([sys.executable, str(path)], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == str(tmp_path / "mine")
