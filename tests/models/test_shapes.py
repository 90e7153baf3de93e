"""The table of true shapes against published parameter counts, and what is built from it."""

import json
from pathlib import Path

import pytest
import torch

from ffbench.models import random_models, shapes
from ffbench.models.loading import ModelError

PARAMETERS = {  # as the models' cards state them
    "smollm2-135m": 134_515_008,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "llama3.2-1b": 1_235_814_400,
    "llama3.2-3b": 3_212_749_824,
    "llama3.1-8b": 8_030_261_248,
    "qwen3-8b": 8_190_735_360,
}


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_parameter_count(name: str) -> None:
    from transformers import AutoModelForCausalLM

    shape = shapes.SHAPES[name]
    config = shapes.shape_config(name, shape.layers)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    assert model.model.rotary_emb.rope_type == "default"
    # the rest are norms and biases
    matrices = shape.outer_weights + shape.layers * shape.layer_weights
    assert 0.999 * PARAMETERS[name] < matrices <= PARAMETERS[name]


@pytest.mark.parametrize(
    ("name", "gib", "layers"),
    [
        ("llama3.1-8b", 80, 32),
        ("llama3.1-8b", 24, 29),
        ("llama3.1-8b", 8, 4),
        ("llama3.2-1b", 12, 16),
    ],
)
def test_a_card_measures_as_many_layers_as_it_holds(
    name: str, gib: int, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {torch.device("cuda", 1): gib << 30}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device], 99 << 30))
    card, cpu = torch.device("cuda", 1), torch.device("cpu")
    assert shapes.measured_layers(name, card) == layers
    assert shapes.measured_layers(name, cpu) == shapes.SHAPES[name].measured_layers
    s = shapes.SHAPES[name]
    ffn = 2 * s.hidden * s.intermediate * 2  # bytes of a down matrix and a predictor
    used = 2 * s.outer_weights + layers * (2 * s.layer_weights + ffn) + shapes.RESERVE
    assert layers == s.measured_layers or used <= gib << 30


def test_unknown_names() -> None:
    with pytest.raises(ModelError, match="'llama-9b' is unknown; did you mean 'llama3"):
        random_models.build_shape("llama-9b")
    with pytest.raises(ModelError, match="model.dtype: 'f8' is unknown"):
        random_models.build_shape("smollm2-135m", "f8")


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


def test_a_config_file_gives_its_own_shape(tmp_path: Path) -> None:
    config = {"model_type": "phi3", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 300}
    config |= {"num_hidden_layers": 3, "num_attention_heads": 4, "pad_token_id": 0}
    path = tmp_path / "my_phi" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(config))
    model = random_models.build_shape(str(path), "float32")
    assert type(model).__name__ == "Phi3ForCausalLM" and len(model.model.layers) == 3
    assert model.model.layers[2].mlp.down_proj.weight.shape == (64, 96)
    assert shapes.shown_name(str(path)) == shapes.shown_name(str(path.parent)) == "my_phi"
    assert len(random_models.build_shape(str(path.parent)).model.layers) == 3


def test_of_a_large_model_some_layers_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    sizes = {"hidden_size": 32, "intermediate_size": 64, "vocab_size": 99}
    path.write_text(json.dumps({"model_type": "qwen3", "num_hidden_layers": 9} | sizes))
    assert shapes.shape_config(str(path)).num_hidden_layers == 9
    monkeypatch.setattr(shapes, "LARGE", 1000)
    config = shapes.shape_config(str(path))
    assert config.num_hidden_layers == len(config.layer_types) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"model_type": "nonesuch"}', "does not know model_type 'nonesuch'"),
        ('{"model_type": "gpt2"}', "its FFN has no gate"),
        ('{"model_type": "bert"}', "BertLMHeadModel has no decoder layers"),
        ('{"model_type": "t5"}', "cannot be used"),
    ],
)
def test_config_files_that_cannot_be_used(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=message) as refused:
        shapes.shape_config(str(path))
    assert str(refused.value).startswith("shape: ") and "\n" not in str(refused.value)
    with pytest.raises(ModelError, match="none.json is not a file"):
        shapes.shape_config(str(tmp_path / "none.json"))
