"""Prompts in chunks: blocks at absolute positions, and modules that were patched before."""

from typing import Any

import pytest
import torch
from tiny_plans import BLOCK, prompt, random_tiny_plan, tiny_model

from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import gated_ffns
from ffbench.models.errors import UnsupportedModelError
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.models.tiny import SIZES

TOKENS = 7 * BLOCK + 5
PREVIOUS = {"name": "griffin", "block": "previous"}


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


@torch.no_grad()
def in_chunks(model: Any, plan: SparsePlan, ids: Any, size: int) -> tuple[Any, list, float]:
    from transformers import DynamicCache

    cache, logits = DynamicCache(), []
    with sparse_prefill(model, plan, "torch") as prefill:
        prefill.prompt_tokens, prefill.chosen = ids.shape[1], []
        for part in ids.split(size, 1):
            logits.append(model(part, past_key_values=cache, use_cache=True).logits)
        layers = [
            torch.cat([kept for layer, kept in prefill.chosen if layer == i])
            for i in range(len(plan.layers))
        ]
        return torch.cat(logits, 1), layers, prefill.density


@pytest.mark.parametrize("selector", ["trained", "oracle", "griffin", PREVIOUS], ids=str)
@pytest.mark.parametrize("first", [BLOCK, 5, 2 * BLOCK])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_chunks_of_whole_blocks_are_one_pass(
    model: Any, selector: Any, first: int, blocks: int
) -> None:
    plan = random_tiny_plan(model, selector=selector, compensator="surrogate", first_dense=first)
    whole = in_chunks(model, plan, prompt(TOKENS), TOKENS)
    chunks = in_chunks(model, plan, prompt(TOKENS), blocks * BLOCK)
    assert all(torch.equal(a, b) for a, b in zip(whole[1], chunks[1], strict=True))
    torch.testing.assert_close(whole[0], chunks[0], atol=2e-5, rtol=1e-4)
    assert whole[2] == pytest.approx(chunks[2]) and whole[2] < 1


def test_generate_in_chunks(model: Any) -> None:
    plan, ids = random_tiny_plan(model, compensator="surrogate"), prompt(TOKENS)
    texts, densities = [], []
    for options in ({}, {"prefill_chunk_size": 2 * BLOCK}):
        with sparse_prefill(model, plan, "torch") as prefill:
            mask = torch.ones_like(ids)
            texts.append(
                model.generate(
                    ids, attention_mask=mask, max_new_tokens=5, do_sample=False, **options
                )
            )
            densities.append(prefill.density)
    assert torch.equal(texts[0], texts[1]) and densities[0] == pytest.approx(densities[1])


def test_a_block_above_the_dense_tokens_is_short_at_first(model: Any) -> None:
    plan = random_tiny_plan(model, block_size=2 * BLOCK, first_dense=BLOCK, last_dense=BLOCK)
    with sparse_prefill(model, plan, "torch") as prefill, torch.no_grad():
        prefill.chosen = []
        model(prompt(TOKENS))
    # rows 16 to 32 alone, then whole blocks of 32, then a short one
    assert {len(kept) for _, kept in prefill.chosen} == {4}
    assert prefill.density == pytest.approx(1 - 0.5 * (TOKENS - 2 * BLOCK) / TOKENS)


@torch.no_grad()
def test_what_was_patched_before_is_used_while_decoding_and_put_back(model: Any) -> None:
    calls: list[int] = []
    module: Any = gated_ffns(model)[0].module
    plain = module.forward

    def patched(x: Any) -> Any:
        calls.append(x.shape[1])
        return plain(x)

    module.forward = patched
    try:
        with sparse_prefill(model, random_tiny_plan(model), "torch"):
            cache = model(prompt(70), use_cache=True).past_key_values
            assert calls == []
            model(prompt(1), past_key_values=cache, use_cache=True)
            assert calls == [1]
        assert module.__dict__["forward"] is patched
        model(prompt(9))
        assert calls == [1, 9]
    finally:
        del module.forward


def normed_model() -> Any:
    """BitNet: its FFN has a norm before the down projection, under names that look plain."""
    from transformers import AutoModelForCausalLM, BitNetConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(
            BitNetConfig(**SIZES, hidden_act="silu", pad_token_id=0)
        ).eval()


def test_an_ffn_that_computes_something_else_is_refused(model: Any) -> None:
    other = normed_model()
    with (
        pytest.raises(UnsupportedModelError, match="layer 0: BitNetMLP does not compute silu"),
        sparse_prefill(other, random_tiny_plan(model), "torch"),
    ):
        pass
    assert "forward" not in vars(gated_ffns(other)[0].module)


def test_offloaded_weights_are_refused_and_the_model_still_runs(model: Any) -> None:
    accelerate = pytest.importorskip("accelerate")
    plan, away = random_tiny_plan(model), tiny_model()
    accelerate.cpu_offload(away, execution_device=torch.device("cpu"))
    before = away(prompt(9)).logits
    with (
        pytest.raises(UnsupportedModelError, match="weights are offloaded"),
        sparse_prefill(away, plan, "torch"),
    ):
        pass
    assert torch.equal(away(prompt(9)).logits, before)
