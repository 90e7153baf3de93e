"""Tiny random models of every family that FFBench supports."""

from typing import Any

import torch

FUSED = ("phi3", "glm", "glm4")
FAMILIES = [
    "llama",
    "mistral",
    "ministral",
    "ministral3",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "olmo",
    "olmo2",
    "olmo3",
    "smollm3",
    "granite",
    "cohere",
    "cohere2",
    "stablelm",
    "exaone4",
    "ernie4_5",
    "seed_oss",
    "helium",
    "hunyuan_v1_dense",
    "vaultgemma",
    "cwm",
    "diffllama",
    "hyperclovax",
] + list(FUSED)
# configurations whose defaults for long texts do not fit 4096 positions
EXTRA: dict[str, dict[str, Any]] = {
    "cwm": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
}


def tiny_family(name: str, **changes: Any) -> Any:
    """A model of transformers' model_type `name`: d = 64, f = 160, two layers, seed 0."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = CONFIG_MAPPING[name](
        **{
            "vocab_size": 259,
            "hidden_size": 64,
            "intermediate_size": 160,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 4096,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        | EXTRA.get(name, {})
        | changes
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    return model.eval().requires_grad_(False)
