"""Plans to and from a hub that is a folder: the client's network calls are replaced."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import huggingface_hub
import pytest
import torch
from huggingface_hub import hub_mixin
from huggingface_hub.errors import RemoteEntryNotFoundError
from tiny_plans import random_tiny_plan, tiny_model

from ffbench.methods.plan import PlanError, SparsePlan


class FakeHub:
    """Repositories as folders; stands in for HfApi and for the two download functions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[dict[str, Any]] = []

    def __call__(self, token: str | None = None) -> "FakeHub":
        self.token = token
        return self

    def create_repo(self, repo_id: str, private: bool | None, exist_ok: bool) -> Any:
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(self, *, repo_id: str, folder_path: Path, **options: Any) -> Any:
        self.calls.append(options)
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        return f"https://hub.invalid/{repo_id}/commit/1"

    def download(self, repo_id: str, filename: str, **_: Any) -> str:
        path = self.root / repo_id / filename
        if not path.exists():
            gone = httpx.Response(404, request=httpx.Request("GET", "https://hub.invalid"))
            raise RemoteEntryNotFoundError(f"no {filename}", response=gone)
        return str(path)

    def snapshot(self, repo_id: str, *, revision: str | None, **options: Any) -> str:
        self.calls.append({"revision": revision} | options)
        if not (self.root / repo_id).exists():
            raise OSError(f"no repository {repo_id}")
        return str(self.root / repo_id)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(hub_mixin, "HfApi", fake)
    monkeypatch.setattr(hub_mixin, "hf_hub_download", fake.download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot)
    return fake


@pytest.fixture
def plan() -> SparsePlan:
    made = random_tiny_plan(tiny_model(), compensator="surrogate", hot_fraction=0.25)
    made.card = {"model": "tiny", "answer_kl": {"kl": 0.5, "low": 0.4, "high": 0.6, "n": 3}}
    return made


def same(one: SparsePlan, other: SparsePlan) -> bool:
    pairs = zip(one.layers, other.layers, strict=True)
    return (one.settings, one.card, one.fingerprint) == (
        other.settings,
        other.card,
        other.fingerprint,
    ) and all(
        a.tensors().keys() == b.tensors().keys()
        and all(torch.equal(value, b.tensors()[name]) for name, value in a.tensors().items())
        for a, b in pairs
    )


def test_there_and_back(hub: FakeHub, plan: SparsePlan) -> None:
    assert plan.push_to_hub("me/plan", private=True).endswith("me/plan/commit/1")
    files = sorted(path.name for path in (hub.root / "me/plan").iterdir())
    assert files == ["README.md", "config.json", "plan.json", "plan.safetensors"]
    assert "0.5000 (0.4000 to 0.6000), n = 3" in (hub.root / "me/plan/README.md").read_text()
    again = SparsePlan.from_pretrained("me/plan", revision="v1", token="hf_x")
    assert same(again, plan)
    assert hub.calls[-1]["revision"] == "v1" and hub.calls[-1]["token"] == "hf_x"


def test_a_local_folder_needs_no_hub(plan: SparsePlan, tmp_path: Path) -> None:
    plan.save(tmp_path / "plan")
    assert same(SparsePlan.from_pretrained(tmp_path / "plan"), plan)
    assert same(SparsePlan.from_pretrained(str(tmp_path / "plan")), plan)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("me/none", "plan me/none: cannot be fetched .*no repository.*hf auth login"),
        ("not a/valid/id", "plan not a/valid/id: cannot be fetched"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(name: str, text: str, hub: FakeHub) -> None:
    with pytest.raises(PlanError, match=text) as refused:
        SparsePlan.from_pretrained(name, token="hf_secret")
    assert "hf_secret" not in str(refused.value) and "\n" not in str(refused.value)


def test_a_repository_without_a_plan(hub: FakeHub) -> None:
    (hub.root / "me/model").mkdir(parents=True)
    with pytest.raises(PlanError, match="plan me/model: the repository has no plan.json"):
        SparsePlan.from_pretrained("me/model")


def test_an_upload_that_fails(
    hub: FakeHub, plan: SparsePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise OSError("401 unauthorised\nmore")

    monkeypatch.setattr(hub, "upload_folder", refuse)
    with pytest.raises(PlanError, match="plan me/plan: cannot be uploaded .*401 unauthorised"):
        plan.push_to_hub("me/plan")
