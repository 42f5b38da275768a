"""What a run folder, a log or a configuration of others may not do."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rlaws.build import resolve
from rlaws.catalogue import read
from rlaws.errors import InputError
from rlaws.store import SEAL, RunFolder, open_cell, write_atomic
from tests.cli import files, rlaws

ROOT = Path(__file__).parents[2]


class Bomb:
    """Leaves a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def sealed(members):
    """Return an archive with a right checksum around any content: whoever can write the file can do that."""
    import hashlib

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = b"0" * SEAL
    body = buffer.getvalue()[:-SEAL]
    return body + hashlib.sha256(body).hexdigest().encode()


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        sealed({"meta.npy": npy(np.array([Bomb()], dtype=object), allow_pickle=True)}),
        sealed({"meta.npy": pickle.dumps(Bomb())}),
        sealed({"../../escaped": b"x"}),
        pickle.dumps(Bomb()),
        b"",
        b"PK\x03\x04",
    ],
    ids=["object array", "pickle in an archive", "path out of the archive", "pickle", "nothing", "a head"],
)
def test_a_cell_of_others_is_data_or_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "in" / "cell.npz"
    write_atomic(path, content)
    with pytest.raises(InputError, match="not a readable cell"):
        open_cell(path)
    assert os.listdir(tmp_path) == ["in"]
    assert pickle.loads(pickle.dumps(Bomb())) is None, "the bomb is live"
    assert (tmp_path / "exploded").exists()


def test_no_module_unpickles():
    """Neither ``pickle`` nor a loader that unpickles is imported or allowed anywhere in the core."""
    for path in (ROOT / "rlaws").rglob("*.py"):
        text = path.read_text()
        for word in (
            "import pickle",
            "allow_pickle=True",
            "cloudpickle",
            ".result_pickle",
            "joblib.load",
            "yaml.load(",
        ):
            assert word not in text, f"{path.name}: {word}"


def test_yaml_makes_no_objects(tmp_path):
    (tmp_path / "study/evil").mkdir(parents=True)
    (tmp_path / "study/evil/a.yaml").write_text("a: !!python/object/apply:os.mkdir [exploded]\n")
    import yaml

    with pytest.raises(yaml.YAMLError, match="could not determine a constructor"):
        read("study", "evil/a", [tmp_path])
    ran = rlaws("run", "--config-dir", str(tmp_path), "study=evil/a", cwd=tmp_path)
    assert ran.returncode != 0
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "target", ["os.system", "subprocess.Popen", "builtins.eval", "rlaws.store.os.system", "sim.jit.kernel", "sim"]
)
def test_targets_are_limited(target):
    with pytest.raises(InputError):
        resolve(target)


def test_a_target_outside_needs_a_name_in_allow_targets():
    with pytest.raises(InputError, match=r"add allow_targets=\[tests\]"):
        resolve("tests.sweeps.cells.Trouble")
    assert resolve("tests.sweeps.cells.Trouble", ["tests"]).__name__ == "Trouble"


@pytest.mark.parametrize("name", ["../../out", "..", "a/b", "/etc", "", "x\n", "."])
def test_no_name_leads_out_of_the_runs(tmp_path, name):
    with pytest.raises(InputError, match="cannot be part of a run folder's name"):
        RunFolder.under(tmp_path / "runs", "a/b", name)
    if name != "a/b":  # a study of three words is odd, but below the runs
        with pytest.raises(InputError):
            RunFolder.under(tmp_path / "runs", f"a/{name}", "quick-1")


def test_a_budget_cannot_be_named_like_a_path(sweep):
    ran = sweep.run("budget.name=../../../out")
    assert ran.returncode == 2
    assert "cannot be part of a run folder's name" in ran.stderr
    assert not list(sweep.folder.glob("**/*.npz"))
    assert os.listdir(sweep.folder) == []


@pytest.mark.parametrize("place", ["group", "study", "run", "cells"])
def test_a_link_in_an_imported_folder_is_refused(sweep, tmp_path, place):
    outside = tmp_path / "outside"
    outside.mkdir()
    assert sweep.run("engine.workers=1").returncode == 0
    run = sweep.path
    link = {"group": run.parents[1], "study": run.parent, "run": run, "cells": run / "cells"}[place]
    link.rename(tmp_path / "moved")
    link.symlink_to(outside)
    ran = sweep.run("engine.workers=1")
    assert ran.returncode == 2
    assert f"{link.relative_to(sweep.folder)} is a link to {outside}" in ran.stderr
    assert os.listdir(outside) == []


def test_files_that_are_links_or_pipes_are_replaced_not_followed(sweep, unbroken, tmp_path):
    assert sweep.run("engine.workers=1").returncode == 0
    prey = tmp_path / "prey"
    prey.write_text("mine")
    first, second, *_ = sorted(sweep.path.glob("cells/*.npz"))
    for path in (first, second, sweep.path / "verdict.json", sweep.path / "manifest.json", sweep.path / "lock"):
        path.unlink(missing_ok=True)
        if path == second:
            os.mkfifo(path)
        else:
            path.symlink_to(prey)
    ran = sweep.run("engine.workers=1")
    assert ran.returncode == 0, ran.stderr
    assert prey.read_text() == "mine"
    assert files(sweep.path) == unbroken
    assert not any(p.is_symlink() for p in sweep.path.rglob("*"))


def test_a_report_writes_below_its_folder_whatever_a_manifest_says(tmp_path):
    run = tmp_path / "runs/a/b/quick-1"
    run.mkdir(parents=True)
    bad = {
        "study": "../../../escaped",
        "claim": "../../../escaped",
        "status": "failed",
        "error": "x",
        "started": "2026",
    }
    (run / "manifest.json").write_text(json.dumps(bad))
    command = [sys.executable, "-m", "rlaws", "report"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*")} <= {"runs", "report"}
    assert not list(tmp_path.parent.glob("escaped*"))
