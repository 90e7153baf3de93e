"""A sparse model that is prepared once and entered many times."""

from typing import Any

import pytest
import torch
from simulated_card import CARD, on_card, simulated_card
from tiny_plans import prompt, random_tiny_plan, tiny_model

from ffbench import SparseModel, sparse_prefill
from ffbench.models import sparse_model
from ffbench.models.adapters import gated_ffns

PLANS = [{"compensator": "surrogate"}, {"compensator": "surrogate", "hot_fraction": 0.5}]


@pytest.fixture
def model() -> Any:
    return tiny_model()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the layers whose sparse FFN is made."""
    layers: list[int] = []

    class Counted(sparse_model.SparseFFN):
        def __init__(self, ffn: Any, *rest: Any) -> None:
            layers.append(ffn.layer)
            super().__init__(ffn, *rest)

    monkeypatch.setattr(sparse_model, "SparseFFN", Counted)
    return layers


@torch.no_grad()
@pytest.mark.parametrize("changes", PLANS, ids=["any", "hot"])
def test_every_entry_gives_what_sparse_prefill_gives(
    model: Any, made: list[int], changes: dict[str, Any]
) -> None:
    plan, ids = random_tiny_plan(model, **changes), prompt(90)
    dense = model(ids).logits
    with sparse_prefill(model, plan, "torch") as once:
        expected = model(ids).logits
    made.clear()
    sparse = SparseModel(model, plan, "torch")
    assert made == []
    for _ in range(3):
        with sparse.entered() as prefill:
            assert torch.equal(model(ids).logits, expected)
        assert (prefill.used, prefill.total) == (once.used, once.total)
        assert torch.equal(model(ids).logits, dense)
    assert made == [0, 1]
    assert all("forward" not in vars(ffn.module) for ffn in gated_ffns(model))


@torch.no_grad()
def test_a_layer_whose_weights_changed_is_made_again(model: Any, made: list[int]) -> None:
    plan, ids = random_tiny_plan(model, compensator="surrogate", hot_fraction=0.5), prompt(90)
    sparse = SparseModel(model, plan, "torch")
    with sparse.entered():
        before = model(ids).logits
    gated_ffns(model)[1].w_down.mul_(1.5)
    with sparse.entered():
        after = model(ids).logits
    assert made == [0, 1, 1] and not torch.equal(before, after)
    with sparse_prefill(model, plan, "torch"):
        assert torch.equal(model(ids).logits, after)
    model.model.layers[0].mlp.up_proj.weight = torch.nn.Parameter(
        2 * model.model.layers[0].mlp.up_proj.weight
    )
    with sparse.entered():
        replaced = model(ids).logits
    with sparse_prefill(model, plan, "torch"):
        assert torch.equal(model(ids).logits, replaced)


def test_it_is_refused_while_the_model_is_sparse(model: Any) -> None:
    plan = random_tiny_plan(model)
    sparse = SparseModel(model, plan, "torch")
    with sparse.entered():
        with pytest.raises(RuntimeError, match="already active"), sparse.entered():
            pass
        with pytest.raises(RuntimeError, match="already active"):
            SparseModel(model, plan)
    with sparse.entered():
        pass


@torch.no_grad()
@pytest.mark.parametrize("changes", PLANS, ids=["any", "hot"])
def test_on_a_card_no_down_rows_are_kept_between_entries(
    model: Any, changes: dict[str, Any]
) -> None:
    plan, ids = random_tiny_plan(model, **changes), prompt(90)
    with sparse_prefill(model, plan, "torch"):
        expected = model(ids).logits
    twin = on_card(model)
    with simulated_card():
        sparse = SparseModel(twin, plan, "torch")
        for _ in range(2):
            with sparse.entered():
                logits = twin(ids.to(CARD)).logits
            torch.testing.assert_close(logits.cpu(), expected, atol=2e-5, rtol=1e-4)
            assert all(layer.w_down_t.numel() == 0 for layer in sparse.prepared.values())
