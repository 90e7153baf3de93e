"""Models and plans of random numbers: true sizes, no row twice, runnable by every method."""

from typing import Any

import pytest
import torch
from tiny_plans import node, plan_settings, tiny_model

from ffbench.methods.compensators import COMPENSATORS
from ffbench.models import random_models, shapes
from ffbench.models.sparse_prefill import sparse_prefill


def test_random_weights_repeat_numbers_but_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    small = shapes.ModelShape("qwen2", 64, 160, 2, 2, 4, 2, 16, 300, 1e6, True)
    monkeypatch.setitem(shapes.SHAPES, "small", small)
    monkeypatch.setattr(random_models, "DRAWN", 1009)
    model, again, other = (random_models.build_shape("small", seed=seed) for seed in (3, 3, 4))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    ffn, attention = model.model.layers[1].mlp, model.model.layers[1].self_attn
    assert torch.equal(ffn.up_proj.weight, again.model.layers[1].mlp.up_proj.weight)
    assert not torch.equal(ffn.up_proj.weight, other.model.layers[1].mlp.up_proj.weight)
    for weight in (model.lm_head.weight, ffn.up_proj.weight, ffn.down_proj.weight):
        assert len(weight.unique(dim=0)) == len(weight)
        # 1009 draws: their spread is known to 1 in 45, so five times that
        assert weight.std().item() == pytest.approx(0.02, rel=5 / 45)
    assert torch.equal(model.model.norm.weight, torch.ones(64))
    assert torch.equal(attention.q_proj.bias, torch.zeros(64))


MAPPED = {"name": "surrogate", "output_map_rank": 4}


@pytest.mark.parametrize("compensator", [*sorted(COMPENSATORS), MAPPED], ids=str)
def test_small_shape_runs_sparse(monkeypatch: pytest.MonkeyPatch, compensator: Any) -> None:
    small = shapes.ModelShape("qwen3", 64, 160, 9, 2, 4, 2, 16, 300, 1e6, True)
    monkeypatch.setitem(shapes.SHAPES, "small", small)
    model = random_models.build_shape("small", "bfloat16")
    assert model.dtype == torch.bfloat16 and model.config._attn_implementation == "sdpa"
    plan = random_models.random_plan(model, plan_settings(compensator=compensator))
    with sparse_prefill(model, plan, "torch") as usage, torch.no_grad():
        assert torch.isfinite(model(torch.arange(80).unsqueeze(0)).logits).all()
    assert usage.density == pytest.approx(0.5 * 3 / 5 + 2 / 5)


@pytest.mark.parametrize("compensator", sorted(COMPENSATORS))
def test_random_plans_cost_what_fitted_ones_do(compensator: str) -> None:
    from ffbench.models.adapters import gated_ffns
    from ffbench.training.layer_fit import build_plan, fit_layer, refit_layer
    from ffbench.training.layer_walk import LayerData

    model, settings = tiny_model(), plan_settings(selector="static", compensator=compensator)
    ffn = gated_ffns(model)[0]
    data = LayerData(ffn, [torch.randn(200, 64, generator=torch.Generator().manual_seed(0))], [])
    fit = fit_layer(data, settings.compensator)
    if settings.compensator.refits_for_kept:
        fit = refit_layer(data, settings.compensator, fit, 80)
    made = build_plan(settings, {}, [fit], [80], [ffn]).layers[0]
    random = random_models.random_plan(model, settings).layers[0]
    stored = [
        {name: (t.shape, t.dtype) for name, t in layer.predictor.tensors().items()}
        for layer in (made, random)
    ]
    assert stored[0] == stored[1]
    fitted, drawn = made.compensation, random.compensation
    assert drawn.flops(64, 80, 0) == fitted.flops(64, 80, 0)
    sizes = [{name: t.shape for name, t in state.tensors().items()} for state in (drawn, fitted)]
    assert sizes[0] == sizes[1] and node(compensator)["name"] == settings.compensator.name
