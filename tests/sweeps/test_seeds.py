"""Determinism is guarded: streams are disjoint, cells do not know of each other, keys are what they were."""

import itertools

import numpy as np

from rlaws.probes.base import Budget
from rlaws.seeding import word
from rlaws.study import Cell, Study, cell_keys, run_cell, source_hash

SPEC = {"_target_": "tests.sweeps.cells.Trouble"}


def cells(values, study="a/b", replicates=1, seed=1):
    return study_of(values, study, replicates, seed).cells()


def study_of(values, study="a/b", replicates=1, seed=1, pool=("cell",)):
    return Study(
        id=study, rung="sim", title={}, claim=None, probe=SPEC, policy={"_target_": "tests.sweeps.cells.Idle"},
        problems=None, grid={"cell": tuple(values)}, pool=pool, replicates=replicates,
        budget=Budget("quick", 1.0, 200), seed=seed, allow=("tests",),
    )  # fmt: skip


def test_streams_of_cells_are_disjoint():
    """20 000 cells over studies, seeds and replicates: all streams (problems, probe) start at different words.

    Equal 64-bit words by chance: 40 000^2 / 2^65 < 1e-10.
    """
    made = [c for s in ("a/b", "a/c") for seed in (0, 1) for c in cells(range(500), s, 10, seed)]
    assert len(made) == 20_000
    words = {word(stream) for c in made for stream in c.stream().spawn(2)}
    assert len(words) == 40_000
    roots = [c.stream() for c in made]
    assert len({(r.entropy, r.spawn_key) for r in roots}) == len(made)


def test_neighbouring_streams_are_not_correlated():
    """Correlation of 1000 pairs of streams, 1000 normals each: standard deviation 1/sqrt(1000) each; the mean of
    the squares is 1/1000 within 6 standard errors (false alarm 2e-9)."""
    draws = np.array([np.random.default_rng(c.stream()).standard_normal(1000) for c in cells(range(1001))])
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in itertools.pairwise(draws)])
    assert abs(np.mean(r**2) * 1000 - 1) < 6 * np.sqrt(2 / 1000)
    same = np.corrcoef(draws[0], np.random.default_rng(cells([0])[0].stream()).standard_normal(1000))[0, 1]
    assert same > 0.999, "the check would see a stream that is used twice"


def test_adding_a_cell_changes_no_other():
    few, more = cells([3, 5]), cells([1, 3, 4, 5, 6])
    found = {c.point["cell"]: run_cell(c)[0] for c in more}
    assert all(run_cell(c)[0] == found[c.point["cell"]] for c in few)
    assert len(set(found.values())) == 5
    keys = dict(zip([c.point["cell"] for c in more], cell_keys(more, "x"), strict=True))
    assert cell_keys(few, "x") == [keys[3], keys[5]]


def test_adding_a_replicate_changes_no_other():
    one, three = cells([3, 5]), cells([3, 5], replicates=3)
    assert [c.replicate for c in three] == [0, 1, 2, 0, 1, 2]
    assert [run_cell(c)[0] for c in one] == [run_cell(c)[0] for c in three if c.replicate == 0]


def test_keys_made_together_are_the_keys_of_the_cells():
    made = cells([0, 1, 2.5, "é", "a,b"], replicates=2, seed=0) + cells([0])
    assert cell_keys(made, "code") == [c.key("code") for c in made]
    assert len(set(cell_keys(made, "code"))) == len(made)


def test_the_place_of_data_is_in_no_key():
    (cell,) = cells([0])
    specs = {**cell.specs, "policy": {**cell.specs["policy"], "data_dir": "/somewhere"}}
    moved = Cell(cell.study, cell.point, 0, specs, cell.budget, cell.seed, cell.allow)
    assert cell_keys([moved], "x") == cell_keys([cell], "x") == [moved.key("x")]


def test_a_module_in_no_package_is_hashed_with_what_it_imports_from_beside_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "alone_world.py").write_text("import alone_parts\nfrom rlaws.seeding import generator\n")
    (tmp_path / "alone_parts.py").write_text("SIZE = 1\n")
    (tmp_path / "another.py").write_text("SIZE = 1\n")
    before = source_hash(("alone_world.World",))
    (tmp_path / "another.py").write_text("SIZE = 2\n")
    assert source_hash(("alone_world.World",)) == before
    (tmp_path / "alone_parts.py").write_text("SIZE = 2\n")
    assert source_hash(("alone_world.World",)) != before
