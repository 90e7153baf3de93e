"""The tiny model that the tests with vLLM share, in a folder of theirs."""

from pathlib import Path
from typing import Any

import pytest
from vllm_cases import saved_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: Any) -> Path:
    return tmp_path_factory.mktemp("vllm")  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def llama(folder: Path) -> Path:
    return saved_model(folder, "llama")
