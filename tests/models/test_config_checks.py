"""What config.json alone tells of a model."""

import json
from typing import Any

import pytest

from ffbench.models import config_checks
from ffbench.models.experts import SPARSE_MIXTURES
from ffbench.models.loading import ModelSpec, load_model
from ffbench.models.tiny import FAMILIES

CONFIGS = [
    ({"model_type": "gpt2"}, "has no gate"),
    ({"model_type": "phi", "hidden_act": "silu"}, "fc1 and fc2"),
    ({"model_type": "gpt_oss", "num_local_experts": 32}, "multiply by up + 1"),
    (
        {"model_type": "mixtral", "num_local_experts": 8},
        "model: mixtral is a mixture of experts (num_local_experts=8)",
    ),
    ({"model_type": "qwen3_moe", "num_experts": 64}, "num_experts=64"),
    ({"model_type": "llama", "mlp_bias": True}, "mlp_bias=true"),
    ({"model_type": "x", "hidden_act": "quick_gelu"}, "activation 'quick_gelu'"),
    ({"model_type": "llama", "hidden_act": ["silu"]}, "activation ['silu'] is not supported"),
    (
        {"layer_types": ["full_attention", "linear_attention"]},
        "layers of type linear_attention keep",
    ),
    ({"text_config": {"layers_block_type": ["mamba", "conv"]}}, "layers of type mamba, conv keep"),
    ({"hidden_size": 0}, "config.json has hidden_size=0; a whole number above 0"),
    ({"num_attention_heads": "4"}, "has num_attention_heads='4'"),
    ({"max_position_embeddings": -1}, "has max_position_embeddings=-1"),
    ({"intermediate_size": 10**30}, "has intermediate_size=1000"),
    ({"vocab_size": float("nan")}, "has vocab_size=nan"),
    ({"num_hidden_layers": True}, "has num_hidden_layers=True"),
    ({"text_config": {"intermediate_size": [160, 0]}}, "has intermediate_size=[160, 0]"),
    ({"text_config": {"activation_sparsity_pattern": [0.95, 0.0]}}, "thresholds its own gate"),
    (
        {"model_type": "llama", "quantization_config": {"quant_method": "awq"}},
        "weights are quantised (awq)",
    ),
]


@pytest.mark.parametrize(("config", "text"), CONFIGS, ids=[text for _, text in CONFIGS])
def test_what_a_configuration_tells(config: dict[str, Any], text: str) -> None:
    (problem,) = config_checks.config_problems(config)
    assert text in problem


def test_sound_configurations_pass() -> None:
    for family in FAMILIES:
        model = load_model(ModelSpec("t", "tiny", family))[0]
        config = json.loads(model.config.to_json_string())
        assert config_checks.config_problems(config, SPARSE_MIXTURES) == []
        assert config_checks.structure_problem(model.config) is None
    assert (
        config_checks.config_problems({"text_config": {"activation_sparsity_pattern": [0.0]}}) == []
    )
    assert config_checks.config_problems({"num_experts": 1}) == []


def test_a_mixture_is_refused_where_it_is_not_covered() -> None:
    config = {"model_type": "olmoe", "num_experts": 64}
    (problem,) = config_checks.config_problems(config)
    assert "num_experts=64), which is not supported here; choose a dense model" in problem
    (problem,) = config_checks.config_problems(
        {"num_experts": 4, "model_type": "x"}, SPARSE_MIXTURES
    )
    assert f"choose {', '.join(SPARSE_MIXTURES)}, or a dense model" in problem
    sound = {"model_type": "qwen3_moe", "num_experts": 4, "mlp_only_layers": [0]}
    assert config_checks.config_problems(sound, SPARSE_MIXTURES) == []


def test_lengths_are_held_against_the_models_positions() -> None:
    config = {"max_position_embeddings": 512}
    length = config_checks.UsedLength
    lengths = {
        "task.max_length": length(512),
        "speed.lengths": length(513),
        "fidelity.contexts": length(512, 256, "a tail of 255 + 1"),
        "scheduler": length(1024, 600, "a passage"),
    }
    assert config_checks.position_problems(config, lengths) == [
        "speed.lengths: 513 tokens, but the model has 512 positions; choose 512 or fewer",
        "fidelity.contexts: 512 + a tail of 255 + 1 = 768 tokens, but the model has 512 positions; "
        "choose 256 or fewer",
        "scheduler: 1024 + a passage = 1624 tokens, but the model has 512 positions; a passage "
        "alone is too long: leave it out or choose another model",
    ]
    assert config_checks.position_problems({"text_config": config}, {"a": length(600)})
    assert config_checks.position_problems({}, {"a": length(10**9)}) == []


@pytest.mark.parametrize(("size", "fits"), [(1, True), (8, True), (16, True), (7, False)])
def test_groups_must_divide_the_width(size: int, fits: bool) -> None:
    problems = config_checks.group_problems({"intermediate_size": 160}, size)
    assert (problems == []) == fits
    assert fits or "does not divide the model's 160 neurons" in problems[0]
