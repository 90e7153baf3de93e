"""A tiny random Qwen2 model with a byte tokenizer, written the ways that users have models on
disk."""

from pathlib import Path
from typing import Any

import gguf
import torch

from ffbench.models.tiny import SIZES

WORDS = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
LAYER_WORDS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def alphabet() -> list[str]:
    """GPT-2's printable spelling of the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]


def tokens() -> list[str]:
    """The vocabulary: bytes, one merged token, an end token."""
    letters = alphabet()
    return [*letters, letters[32] + "t", "<|endoftext|>"]


def tiny_qwen2(seed: int = 3) -> Any:
    """A model with random weights: d = 64, f = 160, two layers, biases in attention, tied
    embeddings."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        **SIZES | {"vocab_size": len(tokens())},
        max_position_embeddings=4096,
        rope_theta=10000.0,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        eos_token_id=len(tokens()) - 1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
        for name, one in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(one, std=0.1)
    return model.eval()


def write_tokenizer(folder: Path) -> None:
    """The tokenizer of bytes: 258 tokens."""
    from transformers import GPT2Tokenizer

    words = tokens()
    GPT2Tokenizer(
        vocab={word: i for i, word in enumerate(words)},
        merges=[(alphabet()[32], "t")],
        eos_token="<|endoftext|>",
    ).save_pretrained(folder)


def write_folder(folder: Path) -> Path:
    """The model as `save_pretrained` writes it, with its tokenizer."""
    tiny_qwen2().save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_gguf(folder: Path) -> Path:
    """The same model as one float32 GGUF file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    model, words = tiny_qwen2(), tokens()
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "qwen2")
    c = model.config
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(c.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(words)
    writer.add_token_types([1] * (len(words) - 1) + [3])
    writer.add_token_merges([f"{alphabet()[32]} t"])
    writer.add_eos_token_id(len(words) - 1)
    for name, one in model.model.state_dict().items():
        if name.startswith("layers."):
            _, number, rest = name.split(".", 2)
            part, kind = rest.rsplit(".", 1)
            writer.add_tensor(f"blk.{number}.{LAYER_WORDS[part]}.{kind}", one.numpy())
        else:
            writer.add_tensor(WORDS[name], one.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder
