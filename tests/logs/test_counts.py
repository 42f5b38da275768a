"""Tables of counts and folders of large_language_monkeys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rlaws.errors import InputError
from rlaws.logs.counting import import_counts
from tests.logs.conftest import Write


def test_a_table_of_counts(write: Write) -> None:
    text = "model,problem_idx,n_samples,n_correct\n70M,0,100,3\n70M,1,100,0\n1B,0,100,40\n"
    (counts,) = import_counts([write("counts.csv", text)])
    assert counts.model.tolist() == ["70M", "70M", "1B"]
    assert counts.problem.tolist() == ["0", "1", "0"]
    assert (counts.n.tolist(), counts.c.tolist()) == ([100] * 3, [3, 0, 40])
    (counts,) = import_counts([write("c.tsv", "problem\tn\tc\tstep\nx\t4\t1\t10\nx\t4\t2\t20\n")])
    assert counts.step.tolist() == [10, 20]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("a,4,5\n", "5 right of 4"),
        ("a,4,-1\n", "-1 right of 4"),
        ("a,0,0\n", "0 right of 0"),
        ("a,4,1\na,4,2\n", "'a' is there twice"),
        ("a,4,1.5\n", "'c' holds '1.5', not a whole number"),
        ("a,nan,1\n", "'n' holds 'nan'"),
        ("a,inf,1\n", "'n' holds 'inf'"),
        ("a,1e300,1\n", "samples and 0 to all"),
        ("a,4,\n", "are blank"),
    ],
)
def test_impossible_counts_are_refused(write: Write, rows: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        import_counts([write("c.csv", "problem,n,c\n" + rows)])


def _problem(right: int, n: int) -> str:
    outcomes = [i < right for i in range(n)]
    samples = "".join(f"- 'is_correct: true {i}'\n" for i in range(n))
    head = f"prompt: p\nquestion: 'is_correct: [true]'\nsamples:\n{samples}gt_answer: '4'\n"
    return f"{head}is_correct: {json.dumps(outcomes)}\n"


def test_a_folder_of_monkeys(write: Write) -> None:
    write("m/1.yaml", _problem(3, 10))
    write("m/2.yaml", _problem(0, 10))
    folder = write("m/3.yaml", "prompt: p\nquestion: q\nsamples: [a]\ngt_answer: '4'\n").parent
    told: list[int] = []
    (counts,) = import_counts([folder], tell=told.append)
    assert (counts.dialect, counts.problem.tolist()) == ("monkeys", ["1", "2"])
    assert (counts.n.tolist(), counts.c.tolist()) == ([10, 10], [3, 0])
    assert any("3.yaml has no list 'is_correct'" in text for text in counts.warnings)
    assert sum(told) == sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "prompt: p\nsamples: [\n",
        "prompt: p\nsamples: []\nis_correct: [true, maybe]\n",
        "prompt: p\nsamples: []\nis_correct: true\n",
        "prompt: p\nsamples: []\nx: {is_correct: [true]}\n",
        "prompt: !!python/object/apply:os.system ['true']\nsamples: []\n",
    ],
)
def test_monkeys_without_outcomes_are_refused(write: Write, text: str) -> None:
    with pytest.raises(InputError):
        import_counts([write("1.yaml", text)])


def test_a_training_log_is_no_counts(write: Write) -> None:
    with pytest.raises(InputError, match="a training log"):
        import_counts([write("log", "step:1 - critic/score/mean:0.5\n")])
    with pytest.raises(InputError, match="nothing to import"):
        import_counts([])


def test_the_public_counts_of_pythia(data: Path) -> None:
    """arXiv 2502.17578: 128 MATH problems, 10,000 samples each; pass@1 of the 160M model is .0027."""
    path = data / "pythia-math-counts" / "counts.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    (counts,) = import_counts([path])
    assert counts.n.size == 768
    small = np.char.find(counts.model, "160") >= 0
    assert small.sum() == 128
    assert (counts.c[small] / counts.n[small]).mean() == pytest.approx(0.0027, abs=5e-5)
