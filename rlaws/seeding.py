"""Seeds: one tree of ``numpy.random.SeedSequence`` spawn keys, so that adding a cell changes no other cell's numbers.

The key of a stream is the hash of the words that name it (study, cell, replicate, purpose), never ``seed + i``: sums
of seeds overlap, and Python's ``hash`` differs between processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def seed_sequence(root: int, *words: object) -> np.random.SeedSequence:
    """Return the seed sequence of the stream named by ``words`` under the root seed.

    Args:
        root: The study's seed; 0 is a seed.
        *words: What names the stream; each is taken as its ``str``.
    """
    key = hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()
    words32 = tuple(int.from_bytes(key[i : i + 4], "little") for i in (0, 4, 8, 12))
    return np.random.SeedSequence(root, spawn_key=words32)


def generator(root: int, *words: object) -> np.random.Generator:
    """Return a generator on the stream named by ``words``."""
    return np.random.default_rng(seed_sequence(root, *words))


def word(seed: np.random.SeedSequence) -> int:
    """Return one 64-bit word of a seed sequence, for counter-based generators."""
    return int(seed.generate_state(1, np.uint64)[0])


def grown(seeds: Sequence[int], factor: float) -> tuple[int, ...]:
    """Return ``factor`` times as many seeds: of those given the first ones, or all and those that follow the largest.

    Args:
        seeds: Seeds of independent runs, at least one.
        factor: Of their number, which is rounded and at least 1.
    """
    wanted = max(1, round(len(seeds) * factor))
    more = range(max(seeds) + 1, max(seeds) + 1 + max(0, wanted - len(seeds)))
    return (*seeds[:wanted], *more)


def child(seed: np.random.SeedSequence, index: int) -> np.random.SeedSequence:
    """Return the index-th child stream; unlike ``spawn`` it leaves the parent as it was."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, index))
