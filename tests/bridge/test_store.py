"""What engines gave is kept, found again, extended and replayed; what a killed writer leaves is told."""

import dataclasses
import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
import time

import pytest

from llm_bridge.backends.base import Request, Sampling
from llm_bridge.settings import ModelSettings
from llm_bridge.store import Store, Stored, StoreWarning, open_store, samples_folder
from rlaws.errors import InputError
from tests.bridge.echo import Echo
from tests.bridge.tiny import make_model


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("RLAWS_CACHE", str(tmp_path))
    open_store.cache_clear()


def numbers(echo: Echo) -> list[tuple[int, int]]:
    return [(r.first, r.n) for r in echo.asked]


def test_only_what_is_missing_is_sampled():
    echo = Echo()
    stored = Stored(echo)
    first = stored.generate([Request("q", 3, 1)], Sampling())
    assert stored.generate([Request("q", 3, 1)], Sampling()) == first
    assert stored.generate([Request("q", 2, 1, first=6)], Sampling())[0][0].text == "q 1.6 é\n"
    more = stored.generate([Request("q", 9, 1), Request("q", 5, 1)], Sampling())
    assert [c.text for c in more[0]] == [f"q 1.{k} é\n" for k in range(9)]
    assert more[1] == more[0][:5]
    assert numbers(echo) == [(0, 3), (6, 2), (3, 3), (8, 1)]


@pytest.mark.parametrize(
    ("request_", "sampling"),
    [
        (Request("other", 2, 1), Sampling()),
        (Request("q", 2, 2), Sampling()),
        (Request("q", 2, 1, prefix="p"), Sampling()),
        (Request("q", 2, 1), Sampling(temperature=0.5)),
        (Request("q", 2, 1), Sampling(max_tokens=3)),
        (Request("q", 2, 1), Sampling(top_p=0.9)),
        (Request("q", 2, 1), Sampling(stop=("\n",))),
    ],
)
def test_what_samples_depend_on_is_in_their_key(request_, sampling):
    echo = Echo()
    stored = Stored(echo)
    stored.generate([Request("q", 2, 1)], Sampling())
    stored.generate([request_], sampling)
    assert len(echo.asked) == 2
    stored.generate([request_], sampling)
    assert len(echo.asked) == 2


def test_another_engine_has_other_samples():
    one, two = Echo("one"), Echo("two")
    for engine in (one, two):
        Stored(engine).generate([Request("q", 2, 1)], Sampling())
    assert len(one.asked) == len(two.asked) == 1


def test_scores_and_lengths_are_kept_to_the_last_bit():
    echo = Echo()
    stored = Stored(echo)
    (before,) = stored.score([("q", "abc")])
    open_store.cache_clear()
    again = stored.score([("q", "abc"), ("q", "abcd"), ("q", "abcd")])
    assert again[0].pieces == before.pieces
    assert again[0].entropies is None
    assert (again[0].logprobs == before.logprobs).all()
    assert echo.scored == [("q", "abc"), ("q", "abcd")]
    assert [stored.length("q", "ab"), stored.length("q", "ab")] == [3, 3]
    assert echo.counted == 1


def test_a_truncated_last_line_is_dropped_and_told():
    echo = Echo()
    Stored(echo).generate([Request("q", 2, 1), Request("r", 2, 1)], Sampling())
    (segment,) = samples_folder().glob("*/*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-7])
    open_store.cache_clear()
    stored = Stored(echo)
    with pytest.warns(StoreWarning, match=r"The last line, cut off when its writer was killed, of .* is left out"):
        got = stored.generate([Request("q", 2, 1), Request("r", 2, 1)], Sampling())
    assert [c.text for c in got[1]] == ["r 1.0 é\n", "r 1.1 é\n"]
    assert [r.question for r in echo.asked] == ["q", "r", "r"]


def test_a_damaged_line_is_told_and_the_others_are_read():
    echo = Echo()
    Stored(echo).generate([Request(q, 1, 1) for q in "abc"], Sampling())
    (segment,) = samples_folder().glob("*/*.jsonl")
    lines = segment.read_bytes().split(b"\n")
    lines[1] = lines[1][:20] + b"\xff\x00" + lines[1][22:]
    segment.write_bytes(b"\n".join(lines))
    open_store.cache_clear()
    with pytest.warns(StoreWarning, match="A damaged line"):
        Stored(echo).generate([Request(q, 1, 1) for q in "abc"], Sampling())
    assert [r.question for r in echo.asked] == ["a", "b", "c", "b"]


WRITER = """
import sys
from tests.bridge.echo import Echo
from llm_bridge.backends.base import Request, Sampling
from llm_bridge.store import Stored
stored, i = Stored(Echo()), 0
while True:
    stored.generate([Request(f"{sys.argv[1]} {i}", 5, 1)], Sampling())
    print(i, flush=True)
    i += 1
"""


def test_killed_writers_lose_at_most_their_last_line():
    """Two writers at once, killed at a random moment: all that they said they had written is there."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, name], stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    said = []
    for writer in writers:  # each has begun before any is killed
        assert writer.stdout is not None
        said.append([writer.stdout.readline()])
    time.sleep(0.2)
    for writer, lines in zip(writers, said, strict=True):
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.wait()
        writer.stdout.close()
    echo = Echo()
    done = [Request(f"{name} {i}", 5, 1) for name, lines in zip("ab", said, strict=True) for i in range(len(lines) - 1)]
    assert len(done) > 10
    got = Stored(echo).generate(done, Sampling())
    assert echo.asked == []
    assert got == Echo().generate(done, Sampling())
    assert len(list(samples_folder().glob("*/*.jsonl"))) == 2


def _child(asked) -> None:
    Stored(Echo()).generate([Request("from a child", 1, 1)], Sampling())
    asked.put(len(list(samples_folder().glob("*/*.jsonl"))))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_writes_a_segment_of_its_own_and_is_heard():
    echo = Echo()
    stored = Stored(echo)
    stored.generate([Request("q", 1, 1)], Sampling())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == 2
    child.join()
    stored.generate([Request("from a child", 1, 1)], Sampling())
    assert [r.question for r in echo.asked] == ["q"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RLAWS_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="RLAWS_CACHE"):
        Stored(Echo()).generate([Request("q", 1, 1)], Sampling())


# ------------------------------------------------------------------------------------------------------------ replay
def replay(model: str, **more) -> ModelSettings:
    return ModelSettings(models=(model,), backend="replay", **more)


def test_replay_after_the_model_is_gone(tmp_path):
    folder = make_model(tmp_path / "made" / "gone")
    settings = ModelSettings(models=(str(folder),), device="cpu")
    engine = settings.open()
    asked, sampling = [Request("Start with 3.", 4, 5), Request("Start with 3.", 2, 5, prefix="3 + ")], Sampling(0.8, 8)
    live = engine.generate(asked, sampling)
    scores, length = engine.score([("Start with 3.", "3 + 4")]), engine.length("Start with 3.")
    identity = engine.identity()
    shutil.rmtree(folder)
    open_store.cache_clear()
    recorded = replay(str(folder)).open()
    assert recorded.generate(asked, sampling) == live
    assert (recorded.score([("Start with 3.", "3 + 4")])[0].logprobs == scores[0].logprobs).all()
    assert recorded.length("Start with 3.") == length
    assert recorded.identity() == {**identity, "replayed": True}


def test_replay_says_what_is_missing():
    Stored(Echo("m")).generate([Request("q", 3, 7)], Sampling(0.5, 9))
    recorded = replay("m").open()
    with pytest.raises(InputError, match=r"of 'q…' it has 3 of 5 \(seed 7, temperature 0.5, max_tokens 9, top_p 1.0\)"):
        recorded.generate([Request("q", 5, 7)], Sampling(0.5, 9))
    with pytest.raises(InputError, match=r"it has: seed 7, temperature 0.5, max_tokens 9"):
        recorded.generate([Request("q", 3, 7)], Sampling(1.0, 9))
    with pytest.raises(InputError, match="never asked"):
        recorded.generate([Request("unknown", 3, 7)], Sampling(1.0, 9))
    with pytest.raises(InputError, match="lacks scores of 1 of 1"):
        recorded.score([("q", "a")])
    with pytest.raises(InputError, match="how many tokens"):
        recorded.length("q")


def test_replay_refuses_what_it_cannot_find_or_tell_apart(tmp_path):
    Stored(Echo("m")).generate([Request("q", 1, 1)], Sampling())
    with pytest.raises(InputError, match=r"No samples of model n, base_seed 0 .* There are: m, base_seed 0"):
        replay("n").open()
    (folder,) = samples_folder().glob("*")
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    identity = json.loads((other / "identity.json").read_text())
    (other / "identity.json").write_text(json.dumps(identity | {"engine": "new"}))
    with pytest.raises(InputError, match="2 recordings of model m, base_seed 0, which differ in engine"):
        replay("m", device="cpu").open()
    named = replay("m", recorded=str(other)).open()
    assert named.identity()["engine"] == "new"
    assert dataclasses.is_dataclass(named.generate([Request("q", 1, 1)], Sampling())[0][0])
    with pytest.raises(InputError, match="There are: none"):
        replay("m", recorded=str(tmp_path / "nowhere")).open()


def test_the_store_is_one_in_a_process():
    assert Store.of(Echo().identity()) is Store.of(Echo().identity())
