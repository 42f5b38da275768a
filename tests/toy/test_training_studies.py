import json

import pytest

from rlaws.catalogue import names
from tests.cli import rlaws
from tests.golden.test_configs import values

TOY = [s for s in names("study") if s.startswith("training/") and "_toy" in s]
FAST = ["policy.recipe=tiny", "policy.updates=12", "policy.evaluations=10", "policy.prompts=4", "policy.group=4"]


@pytest.mark.parametrize("study", TOY)
def test_a_toy_study_says_its_rung_and_has_three_runs(study):
    made = values(study)
    assert made["study"]["rung"] == "toy"
    assert len(made["policy"]["seeds"]) >= 3


def test_a_study_runs_from_the_command_line_to_a_verdict(tmp_path):
    words = ["run", "study=training/log_linear_toy", "grid.sizes=[[4000]]", *FAST, "report=null", "budget.draws=100"]
    ran = rlaws(*words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (path,) = tmp_path.rglob("verdict.json")
    found = json.loads(path.read_text())
    assert found["rung"] == "toy"
    assert {r["id"] for r in found["readings"]} == {"form", "slope"}
    (manifest,) = tmp_path.rglob("manifest.json")
    assert json.loads(manifest.read_text())["cells"]["done"] == 1
    again = rlaws(*words, cwd=tmp_path)
    assert again.returncode == 0
    assert json.loads(path.read_text()) == found
