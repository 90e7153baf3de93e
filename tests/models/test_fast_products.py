"""A model whose products go to oneDNN: the same logits, and the model as before afterwards."""

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from onednn_calls import counted_products, needs_onednn
from torch import Tensor

from ffbench.models import fast_products as module
from ffbench.models.fast_products import fast_products, use_fast_products
from ffbench.models.loading import ModelSpec, load_tiny

TINY = ModelSpec("tiny", "tiny", "llama")

pytestmark = needs_onednn


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Products that reached oneDNN."""
    return counted_products(monkeypatch, module)


@torch.no_grad()
def logits(model: Any, ids: Tensor) -> Tensor:
    return model(ids).logits


def test_same_logits_and_the_model_as_before(calls: list[Any]) -> None:
    model, _ = load_tiny(TINY)
    ids = torch.arange(2, 40).unsqueeze(0)
    expected = logits(model, ids)
    assert not calls
    with fast_products(model):
        torch.testing.assert_close(logits(model, ids), expected)
    linears = [one for one in model.modules() if type(one) is torch.nn.Linear]
    assert Counter(tuple(one.weight.shape) for one in linears) <= Counter(
        weight for _, weight in calls
    )
    assert not any("forward" in one.__dict__ for one in linears)


def test_a_forward_that_somebody_else_put_there_stays(calls: list[Any]) -> None:
    model, _ = load_tiny(TINY)
    head = model.lm_head
    head.forward = own = lambda x: x
    with fast_products(model):
        assert head.forward is own
    assert head.forward is own


def test_a_copy_computes_with_its_own_weights(calls: list[Any]) -> None:
    model, _ = load_tiny(TINY)
    use_fast_products(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.lm_head.weight.zero_()
    ids = torch.arange(2, 10).unsqueeze(0)
    assert not logits(twin, ids).any()
    assert logits(model, ids).any()


def test_nothing_changes_where_torch_is_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "onednn_is_faster", lambda: False)
    model, _ = load_tiny(TINY)
    with fast_products(model):
        assert not any("forward" in one.__dict__ for one in model.modules())
