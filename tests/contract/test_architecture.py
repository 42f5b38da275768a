"""The plan of the house, held by walking the syntax trees: imports run one way, Hydra stays at the door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rlaws", "sim", "toymodels", "llm_bridge")
FILES = [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_run_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    others = set(PACKAGES) - {package, "rlaws"}
    names = imported(path)
    assert not names & others, f"{path.name} of {package} imports {names & others}: never sideways, never back"
    if package in ("rlaws", "sim"):
        assert "torch" not in names
    if package == "rlaws":
        assert "numba" not in names, "the core knows no numba"
    if path.relative_to(ROOT).as_posix() not in ("rlaws/cli.py", "rlaws/schema.py"):
        assert not names & {"hydra", "omegaconf"}, f"{path.name} knows Hydra; only cli.py and schema.py may"


def test_the_walk_sees_a_forbidden_import(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from hydra import compose\n    import torch.nn\n")
    assert imported(bad) == {"hydra", "torch"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_functions_are_short(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            doc = ast.get_docstring(node, clean=False)
            lines = (node.end_lineno or 0) - node.lineno + 1 - (len(doc.splitlines()) if doc else 0)
            assert lines <= 80, f"{path.name}:{node.lineno} {node.name} has {lines} lines"
            assert body


def test_import_is_light():
    """``import rlaws, sim`` takes under 0.5 s and brings neither torch nor numba (best of three: a busy machine)."""
    code = (
        "import sys, time; t = time.perf_counter(); import rlaws, sim; "
        "print(time.perf_counter() - t, 'torch' in sys.modules, 'numba' in sys.modules)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    seconds, torch, numba = min(r.stdout.split() for r in runs)
    assert float(seconds) < 0.5
    assert torch == numba == "False"
