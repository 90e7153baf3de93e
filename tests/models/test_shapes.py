"""The table of true shapes against published parameter counts, and what is built from it."""

import pytest
import torch

from ffbench.models import shapes
from ffbench.models.loading import ModelError
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.sparsity.plan import PlanSettings

PARAMETERS = {  # as the models' cards state them
    "smollm2-135m": 134_515_008, "qwen2.5-0.5b": 494_032_768, "qwen3-0.6b": 596_049_920,
    "llama3.2-1b": 1_235_814_400, "llama3.1-8b": 8_030_261_248, "qwen3-8b": 8_190_735_360,
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


@pytest.mark.parametrize("compensator", ["none", "bias", "surrogate"])
def test_small_shape_runs_sparse(monkeypatch: pytest.MonkeyPatch, compensator: str) -> None:
    small = shapes.ModelShape("qwen3", 64, 160, 9, 2, 4, 2, 16, 300, 1e6, True)
    monkeypatch.setitem(shapes.SHAPES, "small", small)
    model = shapes.build_shape("small", "bfloat16")
    assert model.dtype == torch.bfloat16 and model.config._attn_implementation == "sdpa"
    settings = PlanSettings("trained", compensator, "uniform", 16, 0.5, rank=8)
    with sparse_prefill(model, shapes.random_plan(model, settings), "torch") as usage, torch.no_grad():
        assert torch.isfinite(model(torch.arange(80).unsqueeze(0)).logits).all()
    assert usage.density == pytest.approx(0.5 * 3 / 5 + 2 / 5)
