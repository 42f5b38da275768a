"""What keeps 10^5 cells cheap: nothing is built or joined once a cell (times: benchmarks/sweep.py)."""

import numpy as np
import pytest

import rlaws.study
from rlaws.collect import BLOCK, collect
from rlaws.errors import InputError
from rlaws.measurement import concat
from rlaws.store import RunFolder, unpack
from rlaws.study import cell_keys, data_files, regime_of, run_cell
from tests.sweeps.test_seeds import study_of


def test_each_distinct_specification_is_built_once(monkeypatch):
    built = []
    true = rlaws.study.build
    monkeypatch.setattr(rlaws.study, "build", lambda spec, allow: built.append(spec) or true(spec, allow))
    assert data_files(study_of(range(3), replicates=50)) == []
    assert len(built) == 3 + 1


def test_the_last_specification_is_checked_before_anything_is_measured():
    study = study_of(range(3))
    broken = rlaws.study.Study(
        **{f: getattr(study, f) for f in study.__slots__} | {"probe": {**study.probe, "colour": 1}}
    )
    with pytest.raises(InputError, match="no setting 'colour'"):
        data_files(broken)


@pytest.mark.parametrize(("replicates", "pool"), [(1, ("cell",)), (3, ("cell",)), (1, ()), (2, ())])
def test_collecting_is_joining_the_cells_one_by_one(tmp_path, replicates, pool):
    study = study_of([4, 2, 7], replicates=replicates, pool=pool)
    folder, cells = RunFolder(tmp_path), study.cells()
    keys = cell_keys(cells, "x")
    for cell, key in zip(cells, keys, strict=True):
        folder.save_cell(key, run_cell(cell)[0])
    parts = []
    for cell, key in zip(cells, keys, strict=True):
        m = regime_of(study, cell.point, unpack(folder.cell(key)))
        parts.append(m if replicates == 1 else m.labelled(f"r{cell.replicate}"))
    expected = concat(parts)
    found, damaged = collect(study, cells, keys, folder)
    assert not damaged
    assert found.digest() == expected.digest()
    assert list(found.columns) == list(expected.columns)
    assert (found.regime, found.x, found.units) == (expected.regime, expected.x, expected.units)
    assert found.provenance["cost"] == {"samples": 3 * len(cells)}, "the cost of all cells, not of the first"


def test_blocks_do_not_show(tmp_path):
    study = study_of(range(BLOCK + 3), replicates=1)
    folder, cells = RunFolder(tmp_path), study.cells()
    keys = cell_keys(cells, "x")
    for cell, key in zip(cells, keys, strict=True):
        folder.save_cell(key, run_cell(cell)[0])
    found, _ = collect(study, cells, keys, folder)
    assert found.rows == 8 * len(cells)
    assert len(np.unique(found.columns["cluster"])) == len(cells)
