"""The better dense models give the dense model's answer."""

from typing import Any

import pytest
import torch
from tiny_plans import DENSE_FAMILIES, prompt, tiny_model

from ffbench.evaluation import baselines
from ffbench.models.adapters import gated_ffns


@torch.no_grad()
@pytest.mark.parametrize("family", DENSE_FAMILIES)
def test_the_last_token_and_the_cache_are_the_dense_ones(family: str) -> None:
    model, ids, calls = tiny_model(family), prompt(40), []
    dense = model(ids, use_cache=True, logits_to_keep=1)
    module: Any = gated_ffns(model)[-1].module
    hook = module.gate_proj.register_forward_hook(lambda *_: calls.append(1))
    with baselines.merged_gate_up(model):
        better = model(ids, use_cache=True, logits_to_keep=1)
    hook.remove()
    torch.testing.assert_close(better.logits, dense.logits, atol=1e-5, rtol=1e-4)
    for a, b in zip(better.past_key_values.layers, dense.past_key_values.layers, strict=True):
        torch.testing.assert_close((a.keys, a.values), (b.keys, b.values), atol=1e-5, rtol=1e-4)
    assert calls == []
    assert all("forward" not in vars(ffn.module) for ffn in gated_ffns(model))


@torch.no_grad()
def test_a_compiled_model_gives_the_dense_logits_and_is_restored() -> None:
    model = tiny_model()
    for tokens in (40, 23, 40):
        ids = prompt(tokens)
        dense = model(ids, use_cache=True, logits_to_keep=1)
        with baselines.compiled(model, "aot_eager"):
            better = model(ids, use_cache=True, logits_to_keep=1)
        torch.testing.assert_close(better.logits, dense.logits, atol=1e-5, rtol=1e-4)
        assert better.past_key_values.get_seq_length() == tokens
    assert "forward" not in vars(model)
