"""Every way in which a sweep breaks, really done: nothing is lost but cells in flight, nothing is counted twice."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from tests.cli import files

KINDS = ["fine", "raise", "hang", "stuck", "die", "memory", "undefined"]
SLOW = ["probe.seconds=0.3", "engine.workers=2"]
SLOWER = ["probe.seconds=2", "engine.workers=2"]  # so long that another command starts meanwhile on a busy machine


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def reap(process):
    process.communicate()


def test_cells_that_go_wrong_are_recorded_and_tried_again_alone(sweep):
    words = [
        "study.pool=[cell,kind]",
        f"+grid.kind=[{','.join(KINDS)}]",
        "grid.cell=[0]",
        "engine.workers=2",
        "engine.limit_s=1",
    ]
    ran = sweep.run(*words)
    assert ran.returncode == 1
    assert f"{len(KINDS) - 1} of {len(KINDS)} cells failed; the first, at {{'cell': 0, 'kind': 'raise'}}" in ran.stderr
    assert "Retry only those with: rlaws run study=sweeps/trouble" in ran.stderr
    assert "Traceback" not in ran.stderr
    records = [json.loads(p.read_text()) for p in sweep.path.glob("cells/*.error.json")]
    said = {r["point"]["kind"]: r for r in records}
    assert said["raise"]["error"].startswith("ArithmeticError: went wrong")
    assert "_raise" in said["raise"]["traceback"]
    assert "engine.limit_s = 1 s" in said["hang"]["error"]
    assert "engine.limit_s = 1 s" in said["stuck"]["error"]
    assert "_hang" in said["stuck"]["traceback"], "the watchdog says where it found the cell"
    assert "died 3 times" in said["die"]["error"]
    assert "SIGKILL" in said["die"]["traceback"]
    assert "MemoryError" in said["memory"]["error"]
    assert "column 'total': nan is not a finite number" in said["undefined"]["error"]
    assert {r["seed"] for r in records} == {20260401}
    assert {r["study"] for r in records} == {"sweeps/trouble"}
    assert not list(sweep.path.glob("verdict.json"))

    status = sweep.status("--json")
    assert (status["state"], status["total"], status["done"], status["failed"], status["left"]) == (
        "failed",
        7,
        1,
        6,
        0,
    )
    assert "ArithmeticError: went wrong" in status["errors"].values()
    assert "1/7 done, 6 failed, 0 running, 0 left" in sweep.status()

    before, tried = sweep.stored(), len(sweep.attempts())
    ran = sweep.run(*words, mended=True)
    assert ran.returncode == 0, ran.stderr
    assert sorted(k for _, k, _, _ in sweep.attempts()[tried:]) == sorted(KINDS[1:]), "only the failed ones, once each"
    assert before.items() <= sweep.stored().items()
    assert not list(sweep.path.glob("cells/*.error.json"))
    assert sweep.status("--json")["state"] == "done"


def test_kill_9_of_the_driver_loses_only_cells_in_flight(sweep, unbroken):
    driver = sweep.start(*SLOWER)
    sweep.until(lambda: len(sweep.stored()) >= 2)
    running = sweep.status("--json")
    assert running["state"] == "running"
    assert str(driver.pid) in running["driver"]
    assert running["running"] == 2
    driver.kill()
    reap(driver)
    left_behind = {pid for _, _, pid, _ in sweep.attempts()}
    sweep.until(lambda: not any(alive(pid) for pid in left_behind), 10)
    kept, tried = sweep.stored(), [c for c, *_ in sweep.attempts()]
    assert 2 <= len(kept) < 8
    stopped = sweep.status("--json")
    assert (stopped["state"], stopped["done"], stopped["left"]) == ("interrupted", len(kept), 8 - len(kept))
    assert stopped["left_s"] is None
    ran = sweep.run(*SLOWER)
    assert ran.returncode == 0, ran.stderr
    assert kept.items() <= sweep.stored().items(), "a finished cell was done again"
    assert len(sweep.attempts()) - len(tried) == 8 - len(kept)
    assert rows(files(sweep.path)) == rows(unbroken)


def rows(run):
    """Return the bytes of the cells without their names: a probe that waits is another specification."""
    return sorted(content for name, content in run.items() if name.startswith("cells/"))


def test_kill_9_of_a_worker_costs_no_cell(sweep, unbroken):
    driver = sweep.start(*SLOW)
    sweep.until(lambda: len(sweep.stored()) >= 2)
    victim = sweep.attempts()[-1][2]
    assert victim != driver.pid
    os.kill(victim, signal.SIGKILL)
    _, err = driver.communicate()
    assert driver.returncode == 0, err
    assert len(sweep.stored()) == 8
    cells = sweep.manifest()["cells"]
    assert cells == {"total": 8, "done": 8, "failed": 0, "reused": 0}
    assert rows(files(sweep.path)) == rows(unbroken)
    assert len(sweep.attempts()) <= 8 + 2 + 2, "only what the two workers had in hand is done again"


def test_a_second_driver_is_refused_and_the_first_not_disturbed(sweep):
    first = sweep.start(*SLOWER)
    sweep.until(lambda: list(sweep.folder.glob("runs/*/*/*/lock")))
    second = sweep.run(*SLOWER)
    assert second.returncode == 2
    assert f"in use by process {first.pid} on {os.uname().nodename}" in second.stderr
    assert "Traceback" not in second.stderr
    _, err = first.communicate()
    assert first.returncode == 0, err
    assert sorted(c for c, *_ in sweep.attempts()) == list(range(8))
    assert not (sweep.path / "lock").exists()


def test_damaged_cells_are_found_by_their_checksum_and_measured_again(sweep, unbroken):
    assert sweep.run("engine.workers=1").returncode == 0
    cells = sorted(sweep.path.glob("cells/*.npz"))
    truncated, flipped, swapped, other = cells[:4]
    truncated.write_bytes(truncated.read_bytes()[:300])
    content = bytearray(flipped.read_bytes())
    content[200] ^= 1
    flipped.write_bytes(content)
    shutil.copy(other, swapped)
    before = len(sweep.attempts())
    ran = sweep.run("engine.workers=1", "json=false")
    assert ran.returncode == 0, ran.stderr
    assert "3 stored cells do not fit their checksum; they are measured again." in ran.stderr
    assert len(sweep.attempts()) - before == 3
    assert sweep.manifest()["cells"]["damaged"] == 3
    assert files(sweep.path) == unbroken


def test_a_full_disk_is_said_and_survived(sweep, unbroken):
    disk = sweep.folder / "runs"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        ran = sweep.run("engine.workers=1")
        assert ran.returncode == 2
        assert "No space left on device" in ran.stderr
        assert "goes on where it stopped" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert not list(disk.rglob(".tmp-*"))
        kept = sweep.stored()
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        ran = sweep.run("engine.workers=1")
        assert ran.returncode == 0, ran.stderr
        assert kept.items() <= sweep.stored().items()
        assert files(sweep.path) == unbroken
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_clock_that_jumps_changes_nothing(sweep, unbroken, tmp_path):
    """Every look at the wall clock is a day or a year off, forwards and backwards in turn, also while resuming."""
    (tmp_path / "sitecustomize.py").write_text(
        "import itertools, time\n"
        "_true, _jumps = time.time, itertools.cycle([86400.0, -3.15e7, 0.0, 3.15e7])\n"
        "time.time = lambda: _true() + next(_jumps)\n"
    )
    sweep.env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), sweep.env["PYTHONPATH"]])
    driver = sweep.start("engine.workers=2")
    sweep.until(lambda: len(sweep.stored()) >= 2)
    driver.kill()
    reap(driver)
    ran = sweep.run("engine.workers=2")
    assert ran.returncode == 0, ran.stderr
    assert files(sweep.path) == unbroken
    assert 0 <= sweep.manifest()["wall_s"] < 120


def test_time_left_is_that_of_the_cells_that_are_left(sweep):
    driver = sweep.start("probe.seconds=0.4", "engine.workers=1", "json=false")
    sweep.until(lambda: list(sweep.folder.glob("runs/*/*/*/lock")) and sweep.status("--json")["left_s"] is not None)
    said = sweep.status("--json")
    assert said["running"] == 1
    assert 0.4 <= said["left_s"] <= 8 * 0.4 * 5, "eight cells of 0.4 s, on a machine that may be five times as slow"
    _, err = driver.communicate()
    assert driver.returncode == 0, err
    assert "8/8 done, 0 failed, 0 running, 0 left" in err
    assert sweep.status("--json")["left_s"] is None
