"""Tiny random models with a tokenizer of bytes, for tests and first tries."""

from typing import Any

import torch

from ffbench.models.errors import ModelError
from ffbench.suggestions import unknown_name

SIZES = {
    "vocab_size": 259,  # the tokenizer's: bytes and three special ids
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
# tiny families, by model_type, with what only they have
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "olmoe": {"num_experts": 8, "num_experts_per_tok": 2},
    "qwen3_moe": {
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 96,
        "norm_topk_prob": True,
    },
    "qwen2_moe": {
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 96,
        "shared_expert_intermediate_size": 128,
    },
    "glm4_moe": {
        "num_hidden_layers": 3,  # the first has no experts
        "first_k_dense_replace": 1,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_shared_experts": 2,
        "moe_intermediate_size": 96,
        "num_mtp_layers": 0,
    },
}


class ByteTokenizer:
    """UTF-8 bytes shifted by three special ids; serves the tiny random models of tests."""

    pad_token_id, bos_token_id, eos_token_id = 0, 1, 2
    all_special_ids = (0, 1, 2)
    chat_template = None

    def __len__(self) -> int:
        return 259

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`, with the begin token when asked for."""
        ids = [byte + 3 for byte in text.encode("utf-8")]
        return [self.bos_token_id] + ids if add_special_tokens else ids

    def decode(self, ids: Any, skip_special_tokens: bool = True) -> str:
        """Text of token ids; special ids are dropped."""
        return bytes(int(i) - 3 for i in ids if 3 <= int(i) < 259).decode("utf-8", errors="replace")


def tiny_config(family: str, **changes: Any) -> Any:
    """Configuration of a tiny model: d = 64, f = 160, two layers, where FAMILIES says nothing else;
    `changes` come on top. Raises ModelError.
    """
    from transformers import CONFIG_MAPPING

    if family not in FAMILIES:
        raise ModelError(unknown_name("model.location (tiny family)", family, FAMILIES))
    config_class: Any = CONFIG_MAPPING[family]
    return config_class(
        **SIZES | FAMILIES[family] | changes,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )


def tiny_model(family: str, **changes: Any) -> Any:
    """Random model of one family of FAMILIES, seed 0, as `tiny_config` has it; float32, on the CPU.
    Raises ModelError.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    config = tiny_config(family, **changes)
    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model_class(config)
