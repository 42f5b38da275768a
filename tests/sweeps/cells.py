"""A probe that does what it is told: measure, or go wrong in one of the ways in which cells go wrong.

``SWEEP_LOG`` names a file to which every attempt adds a line; ``SWEEP_MENDED`` lets every kind measure.
"""

import os
import resource
import signal
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rlaws.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Idle:
    """A policy that is never asked."""

    UNITS: ClassVar = {}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Failure of best-of-k of 200 uniform problems.

    Attributes:
        cell: Distinguishes cells.
        kind: fine, raise, hang, stuck, die, memory or undefined.
        seconds: How long a cell takes.
    """

    cell: int = 0
    kind: str = "fine"
    seconds: float = 0.0
    NAME = "trouble"
    REQUIRES = ()
    UNITS: ClassVar = {"cell": "1", "kind": "1", "seconds": "s"}

    def measure(self, policy, problems, budget, seed):
        if os.environ.get("SWEEP_LOG"):
            with open(os.environ["SWEEP_LOG"], "a") as log:
                log.write(f"{self.cell} {self.kind} {os.getpid()} {os.getppid()}\n")
        time.sleep(self.seconds)
        if not os.environ.get("SWEEP_MENDED"):
            getattr(self, f"_{self.kind}")()
        p = np.random.default_rng(seed).random(200)
        k = 2 ** np.arange(8)
        total = ((1 - p) ** k[:, None]).sum(axis=1)
        if self.kind == "undefined" and not os.environ.get("SWEEP_MENDED"):
            total[3] = np.nan
        columns = {"k": k, "total": total, "weight": np.full(8, 200.0), "cluster": np.full(8, "all")}
        units = {"k": "samples", "total": "problems", "weight": "problems"}
        return Measurement(columns, units, ("k",), "share", "failure of best-of-k", "1",
                           provenance={"cost": {"samples": 3}})  # fmt: skip

    def _fine(self):
        """Nothing goes wrong."""

    _undefined = _fine

    def _raise(self):
        raise ArithmeticError("went wrong\nin two lines")

    def _hang(self):
        while True:
            try:
                time.sleep(1000)
            except Exception:  # what a careless retry loop does
                continue

    def _stuck(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})  # as in compiled code: no signal comes through
        self._hang()

    def _die(self):
        os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does when memory runs out

    def _memory(self):
        resource.setrlimit(resource.RLIMIT_AS, (2**31, resource.getrlimit(resource.RLIMIT_AS)[1]))
        np.ones(2**32)
