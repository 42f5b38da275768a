import os
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from rlaws.errors import InputError, RlawsError
from rlaws.measurement import Measurement
from rlaws.store import RunFolder, pack, unpack, write_atomic, write_json


def some(seed=0):
    rng = np.random.default_rng(seed)
    columns = {"k": np.arange(5), "cluster": np.array(list("abcde")), "total": rng.random(5), "weight": np.ones(5)}
    return Measurement(columns, {"k": "1", "total": "1", "weight": "1"}, ("k",), "mean", "y", "1",
                       provenance={"cost": {"env_steps": 3}})  # fmt: skip


def test_a_cell_reads_back_and_its_bytes_depend_on_its_numbers_alone(tmp_path):
    folder = RunFolder(tmp_path)
    folder.save_cell("c", pack(some()))
    back = unpack(folder.cell("c"))
    assert back.digest() == some().digest()
    assert back.provenance == some().provenance
    assert pack(some()) == pack(some())
    assert pack(some()) != pack(some(1))


def test_a_truncated_cell_is_not_done_and_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    folder.save_cell("c", pack(some()))
    path = folder.cell("c")
    path.write_bytes(path.read_bytes()[:200])
    assert not folder.done("c")
    with pytest.raises(InputError, match=r"c\.npz is not a readable cell"):
        unpack(path)


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, meta=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="not a readable cell"):
        unpack(path)


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from rlaws.errors import RlawsError
        from rlaws.store import write_atomic
        write_atomic(Path(sys.argv[1]) / "small", b"x" * 500)
        try:
            write_atomic(Path(sys.argv[1]) / "large", b"x" * 5000)
        except RlawsError as error:
            print(error)
        """
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, preexec_fn=limit)
    assert "Cannot write" in ran.stdout
    assert "goes on where it stopped" in ran.stdout
    assert sorted(os.listdir(tmp_path)) == ["small"]


def test_an_unwritable_folder_is_named(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("x")
    with pytest.raises(RlawsError, match="Cannot write"):
        write_atomic(blocker / "below", "x")


def test_json_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not os.listdir(tmp_path)
