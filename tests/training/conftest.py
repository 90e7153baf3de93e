"""A tiny model of each dense family; a test file with needs of its own defines its own `model`."""

from typing import Any

import pytest
from tiny_plans import DENSE_FAMILIES, tiny_model


@pytest.fixture(params=DENSE_FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_model(request.param)
