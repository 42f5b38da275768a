"""Checkpoints of training: all that the next step depends on, with the name of the run that it belongs to."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlaws.errors import InputError
from rlaws.store import write_atomic

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Training after some steps.

    Attributes:
        step: Steps done.
        identity: Names of the task, the sizes, the options, the seed: what a resumed run must share.
        state: Tensors and numbers: weights, optimisers, anchor, baseline, buffer, costs.
    """

    step: int
    identity: Mapping[str, Any]
    state: Mapping[str, Any]


def save_snapshot(snapshot: Snapshot, path: str | Path) -> None:
    """Write a snapshot, atomically."""
    buffer = io.BytesIO()
    content = {
        "format": FORMAT,
        "step": snapshot.step,
        "identity": dict(snapshot.identity),
        "state": dict(snapshot.state),
    }
    torch.save(content, buffer)
    write_atomic(Path(path), buffer.getvalue())


def load_snapshot(path: str | Path) -> Snapshot:
    """Read a snapshot on the CPU; only tensors and plain values are accepted (``weights_only``).

    Raises:
        InputError: If the file is no checkpoint, or of another format.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch's hint on foreign pickles; they are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise InputError(f"'{path}' has checkpoint format {content['format']}; this version reads {FORMAT}.")
        return Snapshot(content["step"], content["identity"], content["state"])
    except FileNotFoundError:
        raise InputError(f"There is no checkpoint '{path}'; train first, or give another path.") from None
    except (RuntimeError, pickle.UnpicklingError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"'{path}' is no readable checkpoint ({type(error).__name__}); train again.") from error


def refuse_unless_same(snapshot: Snapshot, identity: Mapping[str, Any]) -> None:
    """Refuse to go on from a checkpoint of another run.

    Raises:
        InputError: With the first setting that differs.
    """
    stored, asked = dict(_leaves(snapshot.identity)), dict(_leaves(identity))
    for name in [*asked, *stored]:
        if stored.get(name) != asked.get(name):
            raise InputError(
                f"The checkpoint (step {snapshot.step}) belongs to another run: {name} was {stored.get(name)} and is "
                f"now {asked.get(name)}. Resume with the settings of the checkpoint, or start without it."
            )


def _leaves(tree: Mapping[str, Any], stem: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{stem}{name}.")
        else:
            yield f"{stem}{name}", list(value) if isinstance(value, tuple) else value


def to_cpu(tree: Any) -> Any:
    """Return a copy of nested dicts, lists and tensors that later training cannot change, on the CPU."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, Mapping):
        return {key: to_cpu(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [to_cpu(value) for value in tree]
    return tree


def fingerprint(model: torch.nn.Module) -> str:
    """Return a hash of a model's weights."""
    sha = hashlib.sha256()
    for name, x in model.state_dict().items():
        sha.update(name.encode() + x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:12]
