"""The lock of a run folder tells a living driver from every other thing that may have left a lock."""

import json
import os
import platform
import subprocess
import sys
import threading
from dataclasses import asdict, replace

import pytest

from rlaws.lock import NAME, Holder, LockedError, holder, locked, process_start


def leave(folder, who):
    (folder / NAME).write_text(json.dumps(asdict(who)))


def test_a_lock_is_whole_and_goes_with_its_holder(tmp_path):
    with locked(tmp_path) as stale:
        assert not stale
        assert holder(tmp_path) == Holder.me()
        assert Holder.me().alive()
        with pytest.raises(LockedError, match=f"process {os.getpid()} on {platform.node()}"), locked(tmp_path):
            pass
        assert holder(tmp_path) == Holder.me(), "the refused one took nothing away"
    assert os.listdir(tmp_path) == []


def test_a_killed_holder_is_recognised(tmp_path):
    code = "import os, sys, signal\nfrom pathlib import Path\nfrom rlaws.lock import locked\n"
    code += "with locked(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert holder(tmp_path).alive() is False
    with locked(tmp_path) as stale:
        assert stale
        assert holder(tmp_path) == Holder.me()


def test_an_id_given_out_again_is_no_holder(tmp_path):
    """The process with the id lives, but it started at another moment (ticks since boot, not the clock)."""
    leave(tmp_path, replace(Holder.me(), start=str(int(Holder.me().start) - 1)))
    with locked(tmp_path) as stale:
        assert stale


def test_a_lock_from_before_a_reboot_is_stale(tmp_path):
    leave(tmp_path, replace(Holder.me(), boot="another-boot pid:[1]"))
    with locked(tmp_path) as stale:
        assert stale


@pytest.mark.parametrize("change", ["host", "container"])
def test_a_holder_that_cannot_be_looked_up_is_believed(tmp_path, change):
    me = Holder.me()
    other = replace(me, host="elsewhere") if change == "host" else replace(me, boot=me.boot.split()[0] + " pid:[1]")
    leave(tmp_path, other)
    with pytest.raises(LockedError, match=r"cannot be looked up from .* delete .*lock"), locked(tmp_path):
        pass
    assert holder(tmp_path) == other


def test_garbage_is_no_lock(tmp_path):
    (tmp_path / NAME).write_text("{")
    with locked(tmp_path) as stale:
        assert stale


def test_of_many_that_find_a_stale_lock_one_gets_it(tmp_path):
    """Forty processes' worth of threads at once, each with its own look at the stale lock."""
    leave(tmp_path, replace(Holder.me(), start="1"))
    inside, refused, gate = [], [], threading.Barrier(40)

    def go():
        gate.wait()
        try:
            with locked(tmp_path):
                inside.append(1)
                gate.wait()
        except LockedError:
            refused.append(1)
            gate.wait()

    threads = [threading.Thread(target=go) for _ in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (len(inside), len(refused)) == (1, 39)


def test_start_of_a_process():
    assert process_start(os.getpid()) == process_start(os.getpid())
    assert process_start(2**22 + 1) is None
