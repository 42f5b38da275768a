"""docs/adding.md, followed literally: its files are written as they stand there, and the study it ends with runs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")


def blocks():
    return re.findall(r"^`([\w/.]+)`\n\n```\w+\n(.*?)```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_every_example_fits_on_a_screen():
    assert len(blocks()) == 5
    for name, text in blocks():
        assert len(text.splitlines()) <= 45, name


@pytest.fixture
def copy(tmp_path):
    """A copy of the repository's packages with the page's files added; no existing file is touched."""
    for package in ("rlaws", "sim", "conf"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in blocks():
        path = tmp_path / name
        assert not path.exists(), f"{name} exists already: the page must add files, not edit them"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def run(copy, *words):
    code = "import sys; sys.path.insert(0, '.'); from rlaws.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], cwd=copy, capture_output=True, text=True, check=False)


def test_the_page_works(copy):
    listed = run(copy, "list", "--json")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert "stretched" in {row["name"] for row in found["laws"]}
    assert "search/mean_success" in {row["name"] for row in found["claims"]}
    ran = run(copy, "run", "study=search/mean_success", "json=true", "report=null", "engine.workers=1")
    assert ran.returncode == 0, ran.stderr
    verdict = json.loads(ran.stdout)["runs"][0]["verdict"]
    by_alpha = {p["regime"]["alpha"]: p["checks"][0]["estimate"] for p in verdict["readings"][0]["points"]}
    beta = json.loads(run(copy, "list", "problems", "--json").stdout) and 2.0
    assert set(by_alpha) == {0.3, 2.0}
    # mean of Beta(alpha, 2) within 6 standard errors of 400 problems x 16 answers
    for alpha, share in by_alpha.items():
        mean = alpha / (alpha + beta)
        assert abs(share - mean) < 6 * (mean * (1 - mean) / (alpha + beta + 1) / 400 + 0.25 / 6400) ** 0.5


def test_the_new_law_keeps_the_contract(copy):
    code = (
        "import sys; sys.path.insert(0, '.'); import numpy as np; from rlaws.laws import law; l = law('stretched');"
        "x = np.linspace(0.1, 4, 9); t = (2.0, 0.5, 1.0);"
        "assert np.allclose(l.predict(t, x), l.limits[0].formula(t, x)); print('kept')"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "kept", ran.stderr
