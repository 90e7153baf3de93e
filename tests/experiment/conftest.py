"""The sizes of the tiny model, which estimates are made from."""

import pytest

from ffbench.models.loading import ModelSpec
from ffbench.models.sizes import ModelSizes, model_sizes


@pytest.fixture
def sizes() -> ModelSizes:
    found = model_sizes(ModelSpec("tiny", "tiny", "llama"))
    assert found is not None
    return found
