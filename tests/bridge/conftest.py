"""One tiny model and one cache for all tests of a session, no network, one thread."""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import pytest
import torch

from llm_bridge.settings import ModelSettings
from tests.bridge.tiny import make_model

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLAWS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Directory of a random Llama, 2 layers of width 32, with a trained tokenizer and a chat template."""
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def settings(tiny):
    return ModelSettings(models=(str(tiny),), device="cpu", store=False)
