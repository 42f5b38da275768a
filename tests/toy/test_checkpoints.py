"""Checkpoints: exact on disk, of numbers only, and refused where they do not belong."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlaws.errors import InputError
from tests.toy.test_training import SEED, chains, decoder, equal, finished
from toymodels.checkpoints import Snapshot, fingerprint, load_snapshot, save_snapshot
from toymodels.options import Kl, Optimiser, PolicyGradient, Replay, Training
from toymodels.state import policy_of
from toymodels.training import train

OPTIONS = Training(
    PolicyGradient(4, 3, replay=Replay(1.0, 6), kl=Kl(0.1, anchor="ema")),
    Optimiser(1e-3),
)


@pytest.fixture(scope="module")
def trained():
    task = chains()
    model = decoder(task)
    return task, model, finished(model, task, OPTIONS, 2)[1]


def test_a_file_gives_back_every_bit(trained, tmp_path):
    _, _, snapshot = trained
    save_snapshot(snapshot, tmp_path / "a.pt")
    again = load_snapshot(tmp_path / "a.pt")
    assert again.step == 2
    assert again.identity == snapshot.identity
    assert equal(dict(again.state), dict(snapshot.state))
    assert set(again.state) == {"policy", "optimiser", "initial", "anchor", "mean", "spent", "buffer"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"], "no temporary file stays"


def test_the_policy_of_a_snapshot_answers_as_the_trained_one(trained):
    task, model, snapshot = trained
    policy = policy_of(snapshot)
    assert fingerprint(policy) != fingerprint(model)
    assert equal(dict(policy.state_dict()), dict(snapshot.state["policy"]))
    assert finished(policy, task, OPTIONS, 1)[0][0].kl == pytest.approx(0, abs=1e-9)


def test_a_snapshot_does_not_change_when_training_goes_on(trained):
    task, model, _ = trained
    events = train(model, task, OPTIONS, (1, 4), SEED)
    first = next(e for e in events if isinstance(e, Snapshot))
    before = fingerprint(policy_of(first)), [x.clone() for x in first.state["buffer"]]
    for _ in events:
        pass
    assert fingerprint(policy_of(first)) == before[0]
    assert equal(list(first.state["buffer"]), before[1])


def other_task():
    return chains(modulus=5, reset=0.7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a | {"task": other_task()}, "task was"),
        (lambda a: a | {"seed": np.random.SeedSequence(1)}, "seed was"),
        (lambda a: a | {"options": replace(OPTIONS, optimiser=Optimiser(2e-3))}, "options.optimiser.lr was 0.001"),
        (lambda a: a | {"options": replace(OPTIONS, method=PolicyGradient(4, 2))}, "options.method.samples was 3"),
        (lambda a: a | {"model": decoder(a["task"], seed=7)}, "weights was"),
        (lambda a: a | {"model": decoder(a["task"], width=24)}, "model.width was 16"),
    ],
    ids=["task", "seed", "lr", "samples", "weights", "width"],
)
def test_checkpoints_of_other_runs_are_refused(trained, change, words):
    task, model, snapshot = trained
    asked = change({"model": model, "task": task, "options": OPTIONS, "seed": SEED})
    with pytest.raises(InputError, match=f"belongs to another run: {words}"):
        train(asked["model"], asked["task"], asked["options"], (5,), asked["seed"], start=snapshot)


def test_code_in_a_file_is_not_run(tmp_path):
    path, mark = tmp_path / "evil.pt", tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    torch.save({"format": 1, "step": 0, "identity": {}, "state": Evil()}, path)
    with pytest.raises(InputError, match="no readable checkpoint"):
        load_snapshot(path)
    assert not mark.exists()


def test_bad_files_are_answered(trained, tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        load_snapshot(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(InputError, match="no readable checkpoint"):
        load_snapshot(tmp_path / "text.pt")
    save_snapshot(trained[2], tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:500])
    with pytest.raises(InputError, match="no readable checkpoint"):
        load_snapshot(tmp_path / "half.pt")
    torch.save({"format": 99, "step": 0, "identity": {}, "state": {}}, tmp_path / "new.pt")
    with pytest.raises(InputError, match="format 99"):
        load_snapshot(tmp_path / "new.pt")
    (tmp_path / "p.pt").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="no readable checkpoint"):
        load_snapshot(tmp_path / "p.pt")
