"""kill -9 half-way, a cell that raises, a full disk: nothing lost but cells in flight, nothing half-written."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from tests.cli import SMALL, files, rlaws

LONG = [*SMALL[:1], "problems.size=20000", "probe.samples=4096", *SMALL[3:], "grid.p=[0.005,0.01,0.02,0.03,0.04,0.05]"]


def test_kill_9_and_go_on_gives_the_bytes_of_an_unbroken_run(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    assert rlaws("run", *LONG, cwd=whole).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "rlaws", "run", *LONG], cwd=broken, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(list(broken.rglob("cells/*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stored = {p.name: p.stat().st_mtime_ns for p in broken.rglob("cells/*.npz")}
    assert 2 <= len(stored) < 6, "the run was not killed half-way"
    assert not list(broken.rglob("verdict.json"))
    assert rlaws("run", *LONG, cwd=broken).returncode == 0
    for path in broken.rglob("cells/*.npz"):
        if path.name in stored:
            assert path.stat().st_mtime_ns == stored[path.name], "a finished cell was done again"
    kept = {k: v for k, v in files(broken).items() if "/.tmp-" not in k}
    assert kept == files(whole)


def test_two_workers_give_the_bytes_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    assert rlaws("run", *SMALL, cwd=one).returncode == 0
    assert rlaws("run", *[w for w in SMALL if "workers" not in w], "engine.workers=2", cwd=two).returncode == 0
    assert files(one) == files(two)


@pytest.fixture
def failing(tmp_path):
    """A user's own package with a probe that raises at one grid point until a file appears."""
    package = tmp_path / "userprobes"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "touchy.py").write_text(
        "from dataclasses import dataclass\n"
        "from pathlib import Path\n"
        "from rlaws.probes.pass_at_k import PassAtK\n\n\n"
        "@dataclass(frozen=True, slots=True)\n"
        "class Touchy:\n"
        "    level: int = 0\n"
        "    NAME = 'touchy'\n"
        "    REQUIRES = PassAtK.REQUIRES\n"
        "    UNITS = {'level': '1'}\n\n"
        "    def measure(self, policy, problems, budget, seed):\n"
        "        if self.level == 2 and not Path('mended').exists():\n"
        "            raise ArithmeticError('level two went wrong')\n"
        "        inner = PassAtK(samples=2048, k_largest=1024, per_octave=1, batch=20)\n"
        "        return inner.measure(policy, problems, budget, seed)\n"
    )
    return tmp_path


def test_a_cell_that_raises_is_recorded_counted_and_retried_alone(failing):
    (failing / "conf/probe").mkdir(parents=True)
    (failing / "conf/probe/touchy.yaml").write_text("_target_: userprobes.touchy.Touchy\nlevel: 0\n")
    words = ["run", "--config-dir", str(failing / "conf"), *SMALL[:2], "engine.workers=1", "report=null",
             "allow_targets=[userprobes]", "probe=touchy", "~grid.p", "+grid.level=[1,2,3]",
             "~probe.samples", "~probe.k_largest", "~probe.per_octave", "~probe.batch"]  # fmt: skip
    env = {"PYTHONPATH": os.pathsep.join([str(failing), os.environ.get("PYTHONPATH", "")])}
    ran = rlaws(*words, cwd=failing, env=env)
    assert ran.returncode == 1
    assert "1 of 3 cells failed" in ran.stderr
    assert "level two went wrong" in ran.stderr
    assert "Retry only those" in ran.stderr
    (record,) = failing.rglob("*.error.json")
    assert "ArithmeticError" in record.read_text()
    assert not list(failing.rglob("verdict.json"))
    before = {p: p.stat().st_mtime_ns for p in failing.rglob("cells/*.npz")}
    assert len(before) == 2
    (failing / "mended").write_text("")
    assert rlaws(*words, cwd=failing, env=env).returncode == 0
    assert not list(failing.rglob("*.error.json"))
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_full_disk_is_said_and_survived(tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    ran = rlaws("run", *SMALL, cwd=tmp_path, preexec_fn=limit, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert ran.returncode != 0
    assert "Cannot write" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not list(tmp_path.rglob(".tmp-*"))
    assert not list(tmp_path.rglob("verdict.json"))
    assert rlaws("run", *SMALL, cwd=tmp_path).returncode == 0
