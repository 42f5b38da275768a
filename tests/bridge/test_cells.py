"""What a cell of a study keeps of a language model: its engine, and the files it was asked from."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from rlaws.probes.base import Budget
from rlaws.study import Cell, code_hash, data_files
from tests.bridge.even import make_even_model


def cell(policy, problems):
    probe = {"_target_": "rlaws.probes.pass_at_k.PassAtK", "samples": 8, "k_largest": 2, "least": 1}
    specs = {"policy": policy, "problems": problems, "probe": probe}
    return Cell("a/b", {}, 0, specs, Budget("quick", 1, 100), 0, ())


@pytest.fixture
def policy(tmp_path):
    folder = make_even_model(tmp_path / "model")
    return {
        "_target_": "llm_bridge.policy.LLMPolicy", "models": [str(folder)], "template": "plain", "device": "cpu",
        "store": False,
    }  # fmt: skip


def test_engine_version_and_revision_are_in_the_provenance(policy):
    chains = {"_target_": "rlaws.problems.ArithmeticChain", "length": 3, "modulus": 5, "reset": 0.1, "size": 6}
    measured = cell(policy, chains).measure()
    kept = measured.provenance["policy"]
    assert kept["engine"] == "hf"
    assert "transformers" in kept["version"]
    assert kept["dtype"] == "float32"
    assert len(kept["revision"]) == 16
    assert np.all(measured.columns["weight"] > 0)


def test_a_changed_file_of_questions_is_another_study(policy, tmp_path):
    path = tmp_path / "own.jsonl"
    problems = {"_target_": "llm_bridge.tasks.jsonl.JsonlProblems", "path": str(path)}
    hashes = []
    for answer in ("1", "2"):
        path.write_text(json.dumps({"question": "?", "answer": answer}))
        cells = [cell(policy, problems)]
        study = SimpleNamespace(allow=(), parts=lambda cells=cells: cells[0].specs)
        assert [p.name for p in data_files(study, cells)] == ["own.jsonl"]
        hashes.append(code_hash(study, data_files(study, cells)))
    assert hashes[0] != hashes[1]
