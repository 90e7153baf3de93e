"""On a card the down weights are stored by neuron while a model runs sparse: no second copy."""

from typing import Any

import pytest
import torch
from simulated_card import CARD, CardTensor, on_card, simulated_card
from tiny_plans import prompt, random_tiny_plan, tiny_model
from torch import Tensor

from ffbench.evaluation import speed
from ffbench.models.adapters import gated_ffns
from ffbench.models.down_rows import stored_by_neuron
from ffbench.models.forward import with_cache
from ffbench.models.sparse_ffn import SparseFFN
from ffbench.models.sparse_prefill import sparse_prefill


@pytest.fixture
def cpu() -> Any:
    return tiny_model()


def storages(value: Any, seen: dict[int, Tensor], depth: int = 6) -> dict[int, Tensor]:
    """The distinct storages of the tensors that are reachable from an object."""
    if isinstance(value, CardTensor):
        seen[value.inner.untyped_storage().data_ptr()] = value.inner
    elif depth and isinstance(value, (list, tuple)):
        for one in value:
            storages(one, seen, depth - 1)
    elif depth and isinstance(value, dict):
        storages(list(value.values()), seen, depth - 1)
    elif depth and hasattr(value, "__dict__"):
        storages(list(vars(value).values()), seen, depth - 1)
    return seen


def resident(model: Any) -> int:
    """Bytes on the card of a model's parameters and of the FFNs that replace its own."""
    seen = storages(list(model.parameters()), {})
    for ffn in gated_ffns(model):
        forward = vars(ffn.module).get("forward")
        storages(getattr(forward, "__self__", None), seen)
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


@torch.no_grad()
@pytest.mark.parametrize("hot", [0.0, 0.5])
def test_a_prepared_model_holds_its_ffn_weights_once(cpu: Any, hot: float) -> None:
    model = on_card(cpu)
    plan = random_tiny_plan(cpu, selector="static", hot_fraction=hot)
    with simulated_card():
        before = resident(model)
        with sparse_prefill(model, plan, "torch"):
            for ffn in gated_ffns(model):
                owner = vars(ffn.module)["forward"].__self__
                assert isinstance(owner, SparseFFN) and owner.w_down_t.inner.is_contiguous()
                assert owner.w_down_t.inner.data_ptr() == ffn.w_down.inner.data_ptr()
            extra = resident(model) - before
    matrices = [layer.predictor.weights for layer in plan.layers]
    brought = sum(weights.untyped_storage().nbytes() for weights in matrices)
    # beside the predictor a plan brings vectors
    down = sum(ffn.w_down.numel() for ffn in gated_ffns(cpu)) * 4
    assert brought <= extra < brought + down / 4


@torch.no_grad()
@pytest.mark.parametrize("hot", [0.0, 0.5])
def test_the_weights_are_as_before_afterwards(cpu: Any, hot: float) -> None:
    model = on_card(cpu)
    plan = random_tiny_plan(cpu, selector="static", hot_fraction=hot)
    for layer in plan.layers:
        layer.order = torch.randperm(160, generator=torch.Generator().manual_seed(3))
    with simulated_card():
        parameters = [ffn.w_down for ffn in gated_ffns(model)]
        with pytest.raises(KeyError), sparse_prefill(model, plan, "torch"):
            raise KeyError
        after = [ffn.module.down_proj.weight for ffn in gated_ffns(model)]
    for old, new, plain in zip(parameters, after, gated_ffns(cpu), strict=True):
        assert new is old and new.inner.is_contiguous() and new.is_contiguous()
        assert torch.equal(new.inner, plain.w_down)


@torch.no_grad()
def test_experts_weights_are_as_before_afterwards() -> None:
    plain = tiny_model("olmoe")
    plain.set_experts_implementation("eager")  # the grouped one needs a real card
    model = on_card(plain)
    plan = random_tiny_plan(plain, selector="static")
    for layer in plan.layers:
        layer.order = torch.randperm(160, generator=torch.Generator().manual_seed(3))
    with simulated_card(), sparse_prefill(model, plan, "torch"):
        pass
    for old, new in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(new.inner, old)


@torch.no_grad()
def test_decoding_reads_the_same_values(cpu: Any) -> None:
    ids = prompt(70)
    plan = random_tiny_plan(cpu, compensator="surrogate", hot_fraction=0.5)
    with sparse_prefill(cpu, plan, "torch"):
        cache = cpu(ids, use_cache=True).past_key_values
        expected = cpu(prompt(1), **with_cache(cpu, cache)).logits
    model = on_card(cpu)
    with simulated_card(), sparse_prefill(model, plan, "torch"):
        cache = model(ids.to(CARD), use_cache=True).past_key_values
        logits = model(prompt(1).to(CARD), **with_cache(model, cache)).logits.cpu()
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_nothing_changes_on_a_cpu(cpu: Any) -> None:
    ffn = gated_ffns(cpu)[0]
    with stored_by_neuron(ffn):
        assert ffn.w_down.is_contiguous()


@torch.no_grad()
@pytest.mark.parametrize("tokens", [20, 70])
def test_the_dense_part_is_the_modules_own_on_a_card(cpu: Any, tokens: int) -> None:
    rows: list[int] = []
    plan = random_tiny_plan(cpu, compensator="surrogate")
    model = on_card(cpu)
    for ffn in gated_ffns(model):
        ffn.module.down_proj.register_forward_hook(lambda _, args, out: rows.append(len(args[0])))
    with simulated_card(), sparse_prefill(model, plan, "torch"):
        rows.clear()  # each FFN is checked once with a row of its own
        logits = model(prompt(tokens).to(CARD)).logits.cpu()
    dense = min(tokens, plan.settings.first_dense + plan.settings.last_dense)
    assert rows == [dense] * len(plan.layers)
    with sparse_prefill(cpu, plan, "torch"):
        torch.testing.assert_close(logits, cpu(prompt(tokens)).logits, atol=2e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("hot", [0.0, 0.5])
def test_the_dense_arm_of_a_timing_keeps_its_own_storage(
    cpu: Any, hot: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids = on_card(cpu), prompt(70)
    plan = random_tiny_plan(cpu, compensator="surrogate", hot_fraction=hot)
    for layer in plan.layers:
        layer.order = torch.randperm(160, generator=torch.Generator().manual_seed(3))
    expected = cpu(ids).logits
    with simulated_card():
        sparse = speed.twin_of(model, own_storage=True)
        own = speed.twin_of(sparse)
        with (
            sparse_prefill(sparse, plan, "torch", keep_storage=True),
            sparse_prefill(own, speed.always_dense(plan), "torch"),
        ):
            for a, b, c in zip(*(gated_ffns(m) for m in (model, sparse, own)), strict=True):
                assert a.w_down.inner.is_contiguous() and b.w_down is c.w_down
                assert b.w_down.inner.T.is_contiguous()
            logits = model(ids.to(CARD)).logits.cpu()
            same = own(ids.to(CARD)).logits.cpu()
        after = model(ids.to(CARD)).logits.cpu()
    for one in (logits, same, after):
        torch.testing.assert_close(one, expected, atol=2e-5, rtol=1e-4)
    for ffn, plain in zip(gated_ffns(model), gated_ffns(cpu), strict=True):
        assert torch.equal(ffn.w_down.inner, plain.w_down)
