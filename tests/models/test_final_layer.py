"""The final-layer rule against the whole forward pass: logits, cache, generation, restoring."""

from typing import Any

import pytest
import torch
from tiny_plans import BLOCK, DENSE_FAMILIES, prompt, random_tiny_plan, tiny_model
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from ffbench.models.adapters import decoder_layers
from ffbench.models.final_layer import final_layer_rule
from ffbench.models.forward import with_cache
from ffbench.models.sparse_prefill import sparse_prefill

TOKENS = 5 * BLOCK + 3


@pytest.fixture(scope="module", params=DENSE_FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_model(request.param)


def prefill(model: Any, ids: Tensor, **more: Any) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Logits of the last token, and keys and values of each layer."""
    cache = DynamicCache()
    with torch.no_grad():
        logits = model(ids, logits_to_keep=1, **with_cache(model, cache), **more).logits
    return logits, [(layer.keys, layer.values) for layer in cache.layers]


def counted(model: Any) -> list[int]:
    """Rows that each call of the last layer's down projection gets."""
    rows: list[int] = []
    part = decoder_layers(model)[-1].mlp.down_proj
    part.register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[-2]))
    return rows


def test_logits_and_cache_are_those_of_the_whole_pass(model: Any) -> None:
    ids = prompt(TOKENS)
    expected, before = prefill(model, ids)
    rows = counted(model)
    with final_layer_rule(model):
        logits, cache = prefill(model, ids)
    assert rows == [1]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    for (keys, values), (keys_before, values_before) in zip(cache, before, strict=True):
        torch.testing.assert_close(keys, keys_before, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(values, values_before, atol=1e-5, rtol=1e-5)


def test_a_padded_batch_and_a_second_chunk(model: Any) -> None:
    ids = torch.cat([prompt(TOKENS, 1), prompt(TOKENS, 2)])
    mask = torch.ones_like(ids)
    mask[1, :BLOCK] = 0
    expected, _ = prefill(model, ids, attention_mask=mask)
    with final_layer_rule(model):
        logits, _ = prefill(model, ids, attention_mask=mask)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    whole, _ = prefill(model, ids)
    with final_layer_rule(model), torch.no_grad():
        cache = DynamicCache()
        for part in (ids[:, :BLOCK], ids[:, BLOCK:]):
            logits = model(part, logits_to_keep=1, **with_cache(model, cache)).logits
    torch.testing.assert_close(logits, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("left_padding", [0, BLOCK + 3])
def test_it_works_with_sparse_prompts(model: Any, left_padding: int) -> None:
    plan = random_tiny_plan(model)
    ids = prompt(TOKENS, 3)
    mask = torch.ones_like(ids)
    mask[:, :left_padding] = 0
    with sparse_prefill(model, plan, "torch"):
        expected, _ = prefill(model, ids, attention_mask=mask)
        with final_layer_rule(model):
            logits, _ = prefill(model, ids, attention_mask=mask)
    with final_layer_rule(model), sparse_prefill(model, plan, "torch"):
        other_way_round, _ = prefill(model, ids, attention_mask=mask)
    dense, _ = prefill(model, ids, attention_mask=mask)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other_way_round, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits, dense, atol=1e-3)


def test_generated_tokens_are_the_same(model: Any) -> None:
    ids = prompt(TOKENS, 4)
    expected = model.generate(ids, max_new_tokens=6, do_sample=False)
    rows = counted(model)
    with final_layer_rule(model):
        assert torch.equal(model.generate(ids, max_new_tokens=6, do_sample=False), expected)
    assert rows == [1] * 6


def test_other_passes_and_the_model_afterwards_are_whole(model: Any) -> None:
    ids, layer = prompt(TOKENS, 5), decoder_layers(model)[-1]
    implementation, attributes = model.config._attn_implementation, set(layer.__dict__)
    with torch.no_grad():
        expected = model(ids, use_cache=True).logits
        with final_layer_rule(model):
            assert torch.equal(model(ids, use_cache=True).logits, expected)
            hidden = model(ids, logits_to_keep=1, output_hidden_states=True, use_cache=True)
            uncached = model(ids, logits_to_keep=1, use_cache=False).logits
        whole = model(ids, logits_to_keep=1, output_hidden_states=True, use_cache=True)
    assert torch.equal(hidden.hidden_states[-1], whole.hidden_states[-1])
    torch.testing.assert_close(uncached, expected[:, -1:])
    assert model.config._attn_implementation == implementation
    assert set(layer.__dict__) == attributes and "forward" not in model.__dict__


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("gemma2", {}),
        ("gemma3_text", {}),
        ("olmo2", {}),
        ("phi3", {}),
        ("mistral", {"sliding_window": 16}),
        ("granite", {}),
    ],
)
def test_other_families(family: str, more: dict[str, Any]) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 16}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 200}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **sizes, **heads, **ids, **more)
    model = AutoModelForCausalLM.from_config(config).eval()
    tokens = prompt(60, 7) % 197 + 3
    with torch.no_grad():
        expected = model(tokens, logits_to_keep=1, use_cache=True).logits
        with final_layer_rule(model):
            logits = model(tokens, logits_to_keep=1, use_cache=True).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_an_error_inside_leaves_the_model_whole(model: Any) -> None:
    ids, layer = prompt(TOKENS, 6), decoder_layers(model)[-1]
    with pytest.raises(RuntimeError), final_layer_rule(model):
        layer.self_attn.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError()))
        prefill(model, ids)
    layer.self_attn._forward_hooks.clear()
    assert "forward" not in layer.mlp.__dict__ and model.config._attn_implementation != (
        "ffbench_keys_only"
    )
