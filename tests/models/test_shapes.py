"""The table of true shapes against published parameter counts, and what is built from it."""

import pytest
import torch

from ffbench.methods.plan import PlanSettings
from ffbench.models import shapes
from ffbench.models.loading import ModelError
from ffbench.models.sparse_prefill import sparse_prefill

PARAMETERS = {  # as the models' cards state them
    "smollm2-135m": 134_515_008,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "llama3.2-1b": 1_235_814_400,
    "llama3.1-8b": 8_030_261_248,
    "qwen3-8b": 8_190_735_360,
}


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_parameter_count(name: str) -> None:
    from transformers import AutoModelForCausalLM

    config = shapes.shape_config(name)
    assert config.num_hidden_layers == shapes.SHAPES[name].measured_layers
    config.num_hidden_layers = shapes.SHAPES[name].layers
    if hasattr(config, "layer_types"):
        config.layer_types = ["full_attention"] * config.num_hidden_layers
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    assert model.model.rotary_emb.rope_type == "default"


def test_unknown_names() -> None:
    with pytest.raises(ModelError, match="'llama-9b' is unknown; valid: smollm2-135m"):
        shapes.build_shape("llama-9b")
    with pytest.raises(ModelError, match="model.dtype: 'f8' is unknown"):
        shapes.build_shape("smollm2-135m", "f8")


@pytest.mark.parametrize(
    "compensator", ["none", "bias", "surrogate", "surrogate_tuned", "lowrank", "rsparse"]
)
def test_small_shape_runs_sparse(monkeypatch: pytest.MonkeyPatch, compensator: str) -> None:
    small = shapes.ModelShape("qwen3", 64, 160, 9, 2, 4, 2, 16, 300, 1e6, True)
    monkeypatch.setitem(shapes.SHAPES, "small", small)
    model = shapes.build_shape("small", "bfloat16")
    assert model.dtype == torch.bfloat16 and model.config._attn_implementation == "sdpa"
    settings = PlanSettings("trained", compensator, "uniform", 16, 0.5, rank=8)
    with (
        sparse_prefill(model, shapes.random_plan(model, settings), "torch") as usage,
        torch.no_grad(),
    ):
        assert torch.isfinite(model(torch.arange(80).unsqueeze(0)).logits).all()
    assert usage.density == pytest.approx(0.5 * 3 / 5 + 2 / 5)


@pytest.mark.parametrize("compensator", ["none", "bias", "surrogate", "lowrank", "rsparse"])
def test_random_plans_cost_what_fitted_ones_do(compensator: str) -> None:
    from ffbench.methods.flops import compensator_flops
    from ffbench.models.adapters import gated_ffns
    from ffbench.models.loading import ModelSpec, load_tiny
    from ffbench.training.layer_fit import build_plan, fit_layer
    from ffbench.training.layer_walk import LayerData

    model = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    settings = PlanSettings("static", compensator, "uniform", 16, 0.5, rank=8)
    ffn = gated_ffns(model)[0]
    data = LayerData(ffn, [torch.randn(200, 64, generator=torch.Generator().manual_seed(0))], [])
    fitted = build_plan(settings, {}, [fit_layer(data, compensator, 8, 80)], [80]).layers[0]
    drawn = shapes.random_plan(model, settings).layers[0]
    assert compensator_flops(drawn, 64) == compensator_flops(fitted, 64)
    assert {name: one.shape for name, one in drawn.extra.items() if "remainder" in name} == {
        name: one.shape for name, one in fitted.extra.items() if "remainder" in name
    }
    assert bool(drawn.surrogate.c.any()) == bool(fitted.surrogate.c.any())


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("llama32_1b", "llama3.2-1b"),
        ("qwen3_06b", "qwen3-0.6b"),
        ("smollm2_135m", "smollm2-135m"),
        ("tiny_llama", None),
    ],
)
def test_shape_of_a_configured_model(model: str, shape: str | None) -> None:
    assert shapes.shape_of(model) == shape
