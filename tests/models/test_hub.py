"""The commit of a hub model: from the hub, or without it from the cache."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ffbench.models.hub import commit_of

FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    commit_of.cache_clear()
    yield
    commit_of.cache_clear()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which `main` of one model is at the first commit, and its tag v2 at the second."""
    folder = tmp_path / "models--org--name"
    for revision, commit in (("main", FIRST), ("v2", SECOND)):
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "config.json").write_text("{}")
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / revision).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def hub(monkeypatch: pytest.MonkeyPatch, answer: str | Exception) -> list[tuple[str, Any]]:
    """A hub that gives one answer; returns what it is asked."""
    asked = []

    def model_info(self: Any, location: str, *, revision: Any, timeout: float) -> Any:
        asked.append((location, revision))
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(sha=answer)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    return asked


def test_the_hub_is_asked_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, SECOND)
    assert commit_of("org/name", "main") == SECOND == commit_of("org/name", "main")
    assert asked == [("org/name", "main")]


@pytest.mark.parametrize(
    ("revision", "commit"), [("main", FIRST), (None, FIRST), ("v2", SECOND), ("v3", None)]
)
def test_without_the_hub_the_snapshot_in_the_cache_counts(
    revision: str | None, commit: str | None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, ConnectionError("no network"))
    assert commit_of("org/name", revision) == commit
    assert commit_of("org/other", revision) is None
    assert commit_of("no/hub/id", revision) is None


def test_a_commit_is_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, SECOND)
    assert commit_of("org/name", FIRST) == FIRST and not asked
