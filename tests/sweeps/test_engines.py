"""One study on every engine, for any number of workers, in any order, after interruptions: the same bytes."""

import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys

import pytest

from tests.cli import files
from tests.sweeps.conftest import Sweep
from tests.sweeps.test_faults import rows

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (rlaws[ray])")
needs_submitit = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="submitit is not installed (rlaws[slurm])"
)
JOBS = ["engine=slurm", "engine.cluster=local", "engine.jobs=2", "engine.poll_s=0.1"]


class Nodes:
    """Two Ray nodes in a process of their own."""

    def __init__(self, env):
        command = [sys.executable, "-m", "tests.sweeps.two_nodes"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(command, env=env, **pipes)
        self.address = self.process.stdout.readline().strip()

    def kill_second(self):
        print("kill", file=self.process.stdin, flush=True)
        assert self.process.stdout.readline().strip() == "killed"

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Yield two Ray nodes and the folder of a sweep that may join them."""
    joined = Sweep(tmp_path_factory.mktemp("ray"))
    joined.env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    nodes = Nodes(joined.env)
    yield nodes, joined
    nodes.close()
    joined.close()


@needs_ray
def test_no_ray_at_an_address(sweep):
    """First of all tests here: Ray finds any that runs on the machine."""
    ran = sweep.run("engine=ray", "engine.address=auto")
    assert ran.returncode == 2
    assert "no Ray at auto" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_two_processes_in_any_order(sweep, unbroken):
    """The grid given backwards runs backwards: cells and their bytes are the same, whatever the order."""
    ran = sweep.run("engine.workers=2")
    assert ran.returncode == 0, ran.stderr
    assert files(sweep.path) == unbroken
    assert sweep.manifest()["engine"] == {"name": "local", "slots": 2}
    backwards = Sweep(sweep.folder / "backwards", {"SWEEP_LOG": str(sweep.folder / "order")})
    assert backwards.run("engine.workers=2", "grid.cell=[7,6,5,4,3,2,1,0]").returncode == 0
    assert cells_of(files(backwards.path)) == cells_of(unbroken)


def cells_of(run):
    """Return the bytes of the cells by key."""
    return {name: content for name, content in run.items() if name.startswith("cells/")}


@needs_submitit
def test_jobs_of_submitit(sweep, unbroken):
    ran = sweep.run(*JOBS)
    assert ran.returncode == 0, ran.stderr
    assert files(sweep.path) == unbroken
    assert len({pid for *_, pid, _ in sweep.attempts()}) == 2
    assert not list((sweep.folder / "runs/.jobs").iterdir()), "the spool is gone when the sweep is done"


@needs_submitit
def test_a_job_that_dies_loses_only_its_cell(sweep):
    driver = sweep.start(*JOBS, "probe.seconds=0.2", "engine.retries=1", "study.pool=[cell,kind]",
                         "+grid.kind=[fine,die]", "grid.cell=[0,1,2]")  # fmt: skip
    sweep.until(lambda: len(sweep.stored()) >= 1)
    os.kill(sweep.attempts()[-1][2], signal.SIGKILL)
    _, err = driver.communicate()
    assert driver.returncode == 1
    assert "3 of 6 cells failed" in err
    assert len(sweep.stored()) == 3
    errors = sweep.status("--json")["errors"].values()
    assert len(errors) == 3
    assert all("died 2 times" in e for e in errors)


@needs_submitit
def test_jobs_end_with_their_driver_and_the_next_driver_cleans_up(sweep):
    words = [*JOBS, "probe.seconds=0.3"]
    driver = sweep.start(*words)
    sweep.until(lambda: len(sweep.stored()) >= 1)
    driver.kill()
    driver.communicate()
    (orphan,) = (sweep.folder / "runs/.jobs").iterdir()
    ran = sweep.run(*words)
    assert ran.returncode == 0, ran.stderr
    assert not orphan.exists()
    assert len(sweep.stored()) == 8


@needs_ray
def test_two_ray_nodes(cluster, unbroken):
    nodes, joined = cluster
    ran = joined.run("engine=ray", f"engine.address='{nodes.address}'")
    assert ran.returncode == 0, ran.stderr
    assert files(joined.path) == unbroken
    assert len({parent for *_, parent in joined.attempts()}) == 2, "both nodes took part"


@needs_ray
def test_a_ray_worker_and_a_ray_node_die_in_mid_run(cluster, unbroken, request):
    nodes, joined = cluster
    slow = Sweep(joined.folder / "killed", joined.env)
    request.addfinalizer(slow.close)
    driver = slow.start("engine=ray", f"engine.address='{nodes.address}'", "probe.seconds=0.4")
    slow.until(lambda: len(slow.stored()) >= 1)
    os.kill(joined.attempts()[-1][2], signal.SIGKILL)  # the nodes' environment has this log
    slow.until(lambda: len(slow.stored()) >= 2)
    nodes.kill_second()
    _, err = driver.communicate()
    assert driver.returncode == 0, err
    assert rows(files(slow.path)) == rows(unbroken)
    assert slow.manifest()["cells"] == {"total": 8, "done": 8, "failed": 0, "reused": 0}

    ran = slow.run("engine=ray", f"engine.address='{nodes.address}'", "engine.retries=1", "study.pool=[cell,kind]",
                   "+grid.kind=[fine,die]", "grid.cell=[9]", "out=other")  # fmt: skip
    assert ran.returncode == 1
    assert "1 of 2 cells failed" in ran.stderr
    (record,) = slow.folder.glob("other/*/*/*/cells/*.error.json")
    assert "died 2 times" in json.loads(record.read_text())["error"]


@needs_ray
def test_a_ray_of_its_own(sweep, unbroken):
    ran = sweep.run("engine=ray", "engine.workers=2")
    assert ran.returncode == 0, ran.stderr
    assert files(sweep.path) == unbroken


def test_code_that_differs_is_refused_by_the_worker():
    from rlaws.engines.worker import Rules, one
    from tests.sweeps.test_seeds import cells

    (cell,) = cells([0])
    index, content, failure = one(3, cell, Rules(sources="0" * 64))
    assert (index, content) == (3, None)
    assert "is not the code that the run began with" in failure["error"]


def test_cores_are_not_oversubscribed(tmp_path):
    from rlaws.engine import _pool, cores

    for workers in (1, 2):
        pool = _pool(workers, threads=1, marks=tmp_path)
        env = pool.submit(_environment).result()
        pool.shutdown()
        assert {env[k] for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}
        assert int(env["NUMBA_NUM_THREADS"]) * workers <= max(cores(), workers)


def _environment():
    return dict(os.environ)


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_of_hydra(sweep, launcher):
    """Two jobs side by side; one has a cell that raises, and the command says so and ends with 1."""
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher", exc_type=ImportError)
    ran = sweep.run(f"hydra/launcher={launcher}", "probe.kind=fine,raise", "grid.cell=[0,1]", multirun=True)
    assert ran.returncode == 1, ran.stderr
    assert "2 of 2 cells failed" in ran.stderr
    states = json.loads(_status(sweep))
    assert sorted(r["state"] for r in states["runs"]) == ["done", "failed"]


def _status(sweep):
    command = [sys.executable, "-m", "rlaws", "status", "--json"]
    return subprocess.run(command, cwd=sweep.folder, env=sweep.env, capture_output=True, text=True, check=True).stdout
