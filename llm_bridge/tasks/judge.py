"""Grading with a time limit: one process that is asked, and replaced when it takes too long."""

from __future__ import annotations

import atexit
import json
import queue
import subprocess
import sys
import threading
from typing import IO, Any

from rlaws.errors import InputError

LIMIT_S = 5.0
"""Seconds for one answer; one that takes longer is wrong."""
START_S = 120.0
"""Seconds for the first reply and for drawing problems: imports, and families that are slow to build."""


class _Process:
    """One judging process and the thread that reads what it says."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "llm_bridge.tasks.judging"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.said: queue.SimpleQueue[str] = queue.SimpleQueue()
        assert self.process.stdout is not None
        threading.Thread(target=_listen, args=(self.process.stdout, self.said), daemon=True).start()

    def ask(self, request: dict[str, Any], limit_s: float) -> dict[str, Any] | None:
        """Return the reply; None if it took too long or the process died of the question."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.said.get(timeout=limit_s)
        except (queue.Empty, BrokenPipeError):
            return None
        return json.loads(line) if line else None

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what was still to be written has no reader any more
                    continue


def _listen(stream: IO[str], said: queue.SimpleQueue[str]) -> None:
    """Pass on every line, and "" at the end."""
    try:
        for line in stream:
            said.put(line)
    except ValueError:  # closed while it was read
        pass
    said.put("")


class Judge:
    """Asks one process at a time; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def ask(self, what: str, limit_s: float = LIMIT_S, **arguments: Any) -> dict[str, Any] | None:
        """Return the reply of ``llm_bridge.tasks.judging``; None where it took longer than ``limit_s``.

        A process that was late is ended, so that the next question meets a fresh one.

        Raises:
            InputError: If the grading packages are not installed.
        """
        with self._lock:
            if self._process is None:
                self._process = self._started()
            reply = self._process.ask({"ask": what, **arguments}, limit_s)
            if reply is None:
                self._end()
            return reply

    def _started(self) -> _Process:
        """Return a process that has its imports behind it."""
        fresh = _Process()
        ready = fresh.ask({"ask": "math", "gold": "1", "answer": "1"}, START_S)
        if ready is None or not ready["right"]:
            fresh.end()
            raise InputError("Answers are graded by reasoning-gym and math-verify: pip install rlaws[llm].")
        return fresh

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._end()


JUDGE = Judge()
"""This process's judge."""
atexit.register(JUDGE.close)
