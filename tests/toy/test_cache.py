import hashlib
import io
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from rlaws import cache as shared
from rlaws.errors import InputError
from rlaws.lock import Holder
from toymodels import cache, ladder

MADE = """
import sys, time
import numpy as np

def make(log, seconds):
    with open(log, "a") as file:
        file.write("made\\n")
    time.sleep(seconds)
    return {"x": np.arange(3.0), "name": np.array("a")}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("RLAWS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def make(log, value=1.0):
    log.append(value)
    return {"x": np.full(3, value), "label": np.array(["a", "b"])}


def ask(log, kind="test", **settings):
    from functools import partial

    return cache.cached(kind, settings, partial(make, log, settings.get("value", 1.0)))


def test_an_entry_is_made_once_and_read_back_to_the_bit(place):
    log = []
    first, second = ask(log, value=0.1), ask(log, value=0.1)
    assert log == [0.1]
    assert first.keys() == second.keys() == {"x", "label"}
    assert all(np.array_equal(first[k], second[k]) and first[k].dtype == second[k].dtype for k in first)


def test_other_settings_are_another_entry(place):
    log = []
    assert ask(log, value=0.1)["x"][0] != ask(log, value=0.2)["x"][0]
    ask(log, kind="other", value=0.1)
    assert len(log) == 3


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "pickled"])
def test_a_damaged_entry_is_made_anew(place, harm):
    log = []
    ask(log)
    (path,) = cache.root().glob("*/arrays.npz")
    data = path.read_bytes()
    if harm == "pickled":  # an object array under a right seal: it must not be unpickled
        buffer = io.BytesIO()
        np.savez(buffer, x=np.array([{"a": 1}], dtype=object))
        body = buffer.getvalue()
        data = body + hashlib.sha256(body).hexdigest().encode()
    changed = {"cut": data[:-10], "flipped": data[:50] + bytes([data[50] ^ 1]) + data[51:], "empty": b""}
    path.write_bytes(changed.get(harm, data))
    assert np.array_equal(ask(log)["x"], np.ones(3))
    assert len(log) == 2


def test_two_processes_that_want_one_entry_make_it_once(place):
    (place / "made_here.py").write_text(MADE)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import made_here; from functools import partial;"
        "from toymodels.cache import cached; import numpy as np;"
        "x = cached('race', {}, partial(made_here.make, sys.argv[1] + '/log', 0.5));"
        "assert np.array_equal(x['x'], np.arange(3.0))"
    )
    pair = [subprocess.Popen([sys.executable, "-c", code, str(place)]) for _ in range(2)]
    assert [p.wait(timeout=60) for p in pair] == [0, 0]
    assert (place / "log").read_text() == "made\n"


def test_a_lock_of_a_dead_process_does_not_hold(place):
    log = []
    ask(log)
    (entry,) = cache.root().iterdir()
    (entry / "arrays.npz").unlink()
    me = Holder.me()
    gone = {"host": me.host, "pid": me.pid, "start": "0", "boot": me.boot}
    (entry / "lock").write_text(json.dumps(gone))
    ask(log)
    assert len(log) == 2


def test_a_process_of_another_machine_is_not_waited_for(place):
    log = []
    ask(log)
    (entry,) = cache.root().iterdir()
    (entry / "arrays.npz").unlink()
    (entry / "lock").write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": "0", "boot": "b"}))
    began = time.monotonic()
    with pytest.raises(InputError, match="elsewhere"):
        ask(log)
    assert time.monotonic() - began < 5


def test_a_folder_that_cannot_be_made_is_told(place, monkeypatch):
    (place / "file").write_text("")
    monkeypatch.setenv("RLAWS_CACHE", str(place / "file"))
    with pytest.raises(InputError, match="RLAWS_CACHE"):
        ask([])


def test_the_source_counts_what_a_module_imports():
    assert shared.source("toymodels.ladder") == shared.source("toymodels.ladder")
    assert shared.source("toymodels.ladder") != shared.source("toymodels.settings")
    names = shared._imports(b"from toymodels import ladder\nimport rlaws.store\nfrom torch import nn\n")
    assert set(names) == {"toymodels", "toymodels.ladder", "rlaws.store"}


def test_a_base_trained_anew_has_the_bits_of_the_cached_one():
    config, recipe = ladder.config_of(4_000), ladder.RECIPES["tiny"]
    cached = ladder.to_arrays(ladder.base(4_000, 3, "tiny"))
    anew = cache.one_thread(lambda: ladder.pretrain(config, recipe, 3))
    assert cached.keys() == anew.keys()
    assert all(np.array_equal(cached[k], anew[k]) for k in cached)
    assert not np.array_equal(cached["embedding"], ladder.to_arrays(ladder.base(4_000, 4, "tiny"))["embedding"])


# ---- folders: models as directories
def fill(log, folder):
    log.append("made")
    (folder / "weights.bin").write_bytes(b"\0" * 100)
    (folder / "sub").mkdir()
    (folder / "sub" / "config.json").write_text("{}")


def ask_folder(log, **settings):
    from functools import partial

    return shared.cached_folder("models", "tiny", settings, partial(fill, log), ("numpy",))


def test_a_folder_is_made_once(place):
    log = []
    first, second = ask_folder(log, size=1), ask_folder(log, size=1)
    assert first == second
    assert log == ["made"]
    assert (first / "sub" / "config.json").read_text() == "{}"
    assert ask_folder(log, size=2) != first


@pytest.mark.parametrize("harm", ["changed", "lost", "added", "killed"])
def test_a_damaged_folder_is_made_anew(place, harm):
    log = []
    folder = ask_folder(log)
    if harm == "changed":
        (folder / "weights.bin").write_bytes(b"\1" * 100)
    elif harm == "lost":
        (folder / "sub" / "config.json").unlink()
    elif harm == "added":
        (folder / "more.txt").write_text("x")
    else:  # between the files and their seal, and in the midst of the files
        (folder.parent / "sealed.txt").unlink()
        (folder.parent / "being-made").mkdir()
    assert ask_folder(log) == folder
    assert len(log) == 2
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["config.json", "weights.bin"]
    assert not (folder.parent / "being-made").exists()


def test_a_folder_that_fails_leaves_nothing_to_read(place):
    def broken(folder):
        (folder / "weights.bin").write_bytes(b"")
        raise RuntimeError("out of data")

    with pytest.raises(RuntimeError):
        shared.cached_folder("models", "broken", {}, broken)
    with pytest.raises(RuntimeError):
        shared.cached_folder("models", "broken", {}, broken)
