"""One cache of trained models for all tests of a session, apart from the user's own."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLAWS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield
