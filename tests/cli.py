"""Run the command line in a process of its own, as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path

SMALL = ["study=search/fail_1_over_n_single", "problems.size=400", "probe.samples=1024", "probe.k_largest=256",
         "engine.workers=1", "report=null"]  # fmt: skip


def rlaws(*words, cwd, check=False, env=None, **options):
    """Run ``rlaws`` in a folder and return the finished process."""
    command = [sys.executable, "-m", "rlaws", *words]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=check, env={**os.environ, **(env or {})}, **options
    )


def verdict(process):
    """Return the verdict of the only run of a ``json=true`` command."""
    return json.loads(process.stdout)["runs"][0]["verdict"]


def files(folder: Path):
    """Return the content of every file of a run that does not hold a clock."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "manifest.json"
    }
