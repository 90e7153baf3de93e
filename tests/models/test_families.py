"""Every supported family of Hugging Face models with tiny random weights: checks, dense and sparse
prefill against the family's own code."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import FAMILIES, FUSED, tiny_family
from tiny_plans import plan_settings, prompt

from ffbench.models.adapters import gated_ffns
from ffbench.models.checks import check_loaded
from ffbench.models.config_checks import config_problems
from ffbench.models.forward import check_logits
from ffbench.models.random_models import random_plan
from ffbench.models.sparse_prefill import sparse_prefill

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_checks_pass(family: str) -> None:
    model = tiny_family(family)
    assert config_problems(json.loads(model.config.to_json_string())) == []
    check_loaded(model, range(259))
    check_logits(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_static_sparsity_equals_a_model_without_the_skipped_neurons(family: str) -> None:
    model, ids = tiny_family(family), prompt(50)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    settings = plan_settings(selector="static", first_dense=0, last_dense=0, hot_fraction=0.5)
    plan = random_plan(model, settings)
    for layer in plan.layers:  # hot neurons are moved to the front of the weights
        layer.order = layer.predictor.prior.argsort(descending=True)
    pruned = copy.deepcopy(model)
    for layer in range(len(plan.layers)):
        skipped = plan.layers[layer].predictor.prior.argsort()[: 160 - plan.layers[layer].kept]
        pruned.model.layers[layer].mlp.down_proj.weight[:, skipped] = 0
    dense = model(ids).logits
    with sparse_prefill(model, plan, "reference") as usage:
        sparse = model(ids).logits
    # two orders of summation of 160 float32 products through two layers
    torch.testing.assert_close(sparse, pruned(ids).logits, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(sparse, dense, rtol=1e-3, atol=1e-4)
    assert usage.density == pytest.approx(0.5)
    after = model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert torch.equal(model(ids).logits, dense)


@pytest.mark.parametrize("family", FUSED)
def test_fused_weights_are_views(family: str) -> None:
    model = tiny_family(family)
    ffn = gated_ffns(model)[1]
    fused = model.model.layers[1].mlp.gate_up_proj.weight
    assert ffn.w_gate.shape == ffn.w_up.shape == (160, 64)
    assert ffn.w_gate.data_ptr() == fused.data_ptr()
    assert ffn.w_up.data_ptr() == fused[160:].data_ptr()
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ffn.activations(x) @ ffn.w_down.T, ffn.module(x))


def test_a_fused_matrix_of_another_size_is_refused() -> None:
    from ffbench.models.errors import UnsupportedModelError

    model = tiny_family("phi3")
    mlp: Any = model.model.layers[0].mlp
    mlp.gate_up_proj = torch.nn.Linear(64, 300, bias=False)
    with pytest.raises(UnsupportedModelError, match="300 rows; gate and up of 160 neurons"):
        gated_ffns(model)


def test_the_documentation_names_every_family() -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    assert [family for family in FAMILIES if f"`{family}`" not in text] == []
