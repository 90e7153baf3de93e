"""The torch runtimes give the next token of the model that they are made from."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_plans import random_tiny_plan, tiny_model

from benchmarks.peers.engines import torch as engine
from ffbench.methods.plan import SparsePlan
from ffbench.models import loading
from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import ModelSpec
from ffbench.models.sparse_prefill import sparse_prefill

SPEC = ModelSpec("tiny", source="tiny", location="llama", dtype="float32", device="cpu")
PROMPTS = [[(7 * i + k) % 250 for i in range(96)] for k in range(4)]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    random_tiny_plan(tiny_model(), sparsity=0.9, last_dense=0).save(tmp_path / "plan")
    return tmp_path / "plan"


def next_tokens(mode: str, plan: Path) -> list[int]:
    request = {"threads": 1, "model": asdict(SPEC), "mode": mode, "backend": "torch"}
    ask, facts = engine.load(request | {"plan": str(plan)})
    assert facts["runtime"] == "torch" and facts["version"] == torch.__version__
    return [ask(ids) for ids in PROMPTS]


def model_of_large_ffns() -> Any:
    """A tiny model whose next token is not simply the last one again."""
    model = tiny_model()
    for ffn in gated_ffns(model):
        ffn.w_down.mul_(300)
    return model


@torch.no_grad()
def test_dense_and_sparse_modes(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_model", lambda spec: (model_of_large_ffns(), None))
    model = model_of_large_ffns()
    dense = [int(model(torch.tensor([ids])).logits[0, -1].argmax()) for ids in PROMPTS]
    with sparse_prefill(model, SparsePlan.load(plan), "reference"):
        sparse = [
            int(model(torch.tensor([ids]), use_cache=True).logits[0, -1].argmax())
            for ids in PROMPTS
        ]
    assert sparse != dense, "the modes could not be told apart"
    assert next_tokens("eager", plan) == dense
    assert next_tokens("own_dense", plan) == dense
    assert next_tokens("sparse", plan) == sparse
