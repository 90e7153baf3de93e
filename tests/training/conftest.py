"""A tiny model of each family; a test file with needs of its own defines its own `model`."""

from typing import Any

import pytest

from ffbench.models.loading import FAMILIES, ModelSpec, load_tiny


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return load_tiny(ModelSpec("tiny", source="tiny", location=request.param))[0]
