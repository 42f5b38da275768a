"""What the tests of sweeps share: the command in a process of its own, and the bytes of an unbroken run."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli import files

ROOT = Path(__file__).parents[2]
CONF = Path(__file__).parent / "conf"


class Sweep:
    """A folder in which ``rlaws`` runs the study of trouble."""

    def __init__(self, folder: Path, env=None):
        self.folder = folder
        self.log = folder / "attempts"
        self.started = []
        folder.mkdir(exist_ok=True)
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.env = {**os.environ, "PYTHONPATH": path, "SWEEP_LOG": str(self.log), **(env or {})}

    def start(self, *words, multirun=False, **options):
        flags = ["--config-dir", str(CONF), *(["-m"] if multirun else [])]
        command = [sys.executable, "-m", "rlaws", "run", *flags, "study=sweeps/trouble", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.started.append(subprocess.Popen(command, cwd=self.folder, env=self.env, **pipes, **options))
        return self.started[-1]

    def close(self):
        """End what a failed test left running."""
        for process in self.started:
            if process.returncode is None:
                process.kill()
                process.communicate()

    def run(self, *words, mended=False, **options):
        if mended:
            self.env["SWEEP_MENDED"] = "1"
        process = self.start(*words, **options)
        out, err = process.communicate()
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def status(self, *words):
        command = [sys.executable, "-m", "rlaws", "status", *words]
        ran = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)["runs"][0] if "--json" in words else ran.stdout

    @property
    def path(self):
        """The only run folder."""
        (found,) = self.folder.glob("runs/*/*/*")
        return found

    def stored(self):
        return {p.name: p.stat().st_mtime_ns for p in self.folder.glob("runs/*/*/*/cells/*.npz")}

    def manifest(self):
        return json.loads((self.path / "manifest.json").read_text())

    def attempts(self):
        """Return (cell, kind, pid, parent) of every attempt."""
        if not self.log.exists():
            return []
        rows = [line.split() for line in self.log.read_text().splitlines()]
        return [(int(r[0]), r[1], int(r[2]), int(r[3])) for r in rows]

    def until(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            assert self.started[-1].poll() is None or condition(), f"ended first: {self.started[-1].communicate()}"
            time.sleep(0.01)


@pytest.fixture
def sweep(tmp_path):
    made = Sweep(tmp_path / "sweep")
    yield made
    made.close()


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory):
    """The bytes of the study run in one process, by relative path."""
    whole = Sweep(tmp_path_factory.mktemp("unbroken"))
    ran = whole.run("engine.workers=1")
    assert ran.returncode == 0, ran.stderr
    return files(whole.path)
