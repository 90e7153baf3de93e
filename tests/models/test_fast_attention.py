"""Attention by chunks against float64, and what of it is left to torch."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from onednn_calls import needs_onednn
from torch import Tensor
from torch.nn import functional

from ffbench.models import fast_attention as module
from ffbench.models.fast_attention import SDPA, attention, chunked_attention, fast_attention
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.tiny import SIZES
from ffbench.training.token_mixing import token_mixing_scores

pytestmark = needs_onednn
TINY = ModelSpec("tiny", "tiny", "llama")


@pytest.fixture(autouse=True)
def _on_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "onednn_is_faster", lambda: True)


@pytest.fixture
def chunked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Shapes of the queries that were attended by chunks."""
    seen = []
    real = module.chunked_attention

    def counted(query: Tensor, *rest: Any) -> Tensor:
        seen.append(tuple(query.shape))
        return real(query, *rest)

    monkeypatch.setattr(module, "chunked_attention", counted)
    return seen


def tensors(
    heads: int, groups: int, tokens: int, keys: int | None = None, batch: int = 1, width: int = 16
) -> list[Tensor]:
    keys = tokens if keys is None else keys
    shapes = ((batch, heads, tokens), (batch, groups, keys), (batch, groups, keys))
    return [torch.randn(*shape, width) for shape in shapes]


def reference(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float
) -> Tensor:
    """Softmax attention in float64, written out."""
    shared = query.shape[1] // key.shape[1]
    key, value = (one.double().repeat_interleave(shared, 1) for one in (key, value))
    scores = query.double() @ key.transpose(2, 3) * scaling
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    weights = (scores + mask).softmax(-1).nan_to_num(0.0)
    return (weights @ value).transpose(1, 2)


@pytest.mark.parametrize("tokens", [1, 16, 127, 128, 129, 500])
@pytest.mark.parametrize(("heads", "groups"), [(9, 3), (4, 4), (7, 1), (2, 2)])
@pytest.mark.parametrize("batch", [1, 2])
def test_causal(tokens: int, heads: int, groups: int, batch: int) -> None:
    query, key, value = tensors(heads, groups, tokens, batch=batch)
    result = chunked_attention(query, key, value, None, 0.2)
    assert result.is_contiguous()
    expected = reference(query, key, value, None, 0.2)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
@pytest.mark.parametrize("by_head", [False, True])
@pytest.mark.parametrize("by_row", [False, True])
def test_given_masks(kind: torch.dtype, by_head: bool, by_row: bool) -> None:
    query, key, value = tensors(6, 2, 45, keys=77, batch=2)
    mask = torch.rand(2 if by_row else 1, 6 if by_head else 1, 45, 77) < 0.7
    mask[..., 0] = True
    if kind == torch.float32:
        mask = torch.randn(mask.shape).masked_fill(~mask, -torch.inf)
    result = chunked_attention(query, key, value, mask, 0.25)
    expected = reference(query, key, value, mask, 0.25)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_query_that_sees_nothing_is_zero() -> None:
    query, key, value = tensors(2, 1, 20)
    mask = torch.ones(1, 1, 20, 20, dtype=torch.bool).tril()
    mask[..., :5, :] = False
    result = chunked_attention(query, key, value, mask, 0.25)
    assert not result[:, :5].any() and result.isfinite().all()


class Layer:
    """What transformers passes as the attention module."""

    is_causal, num_key_value_groups, training = True, 2, False


@pytest.mark.parametrize(
    ("change", "by_chunks"),
    [
        ({}, True),
        ({"tokens": 15}, False),  # short: one call of torch's is as fast
        ({"keys": 60}, False),  # causal without a mask: which keys are seen is transformers' matter
        ({"dtype": torch.float64}, False),
        ({"is_causal": False}, False),
        ({"learned": True}, False),
    ],
)
def test_what_goes_to_torch(chunked: list[Any], change: dict[str, Any], by_chunks: bool) -> None:
    given = {"tokens": 40, "keys": None, "dtype": torch.float32, "learned": False} | change
    query, key, value = (
        one.to(given["dtype"]).requires_grad_(given["learned"])
        for one in tensors(4, 2, given["tokens"], given["keys"])
    )
    causal = given.get("is_causal")
    result, _ = attention(Layer(), query, key, value, None, is_causal=causal)
    assert bool(chunked) is by_chunks
    if given["keys"] is None:
        expected = functional.scaled_dot_product_attention(
            query, key, value, is_causal=causal is not False, enable_gqa=True
        )
        torch.testing.assert_close(result, expected.transpose(1, 2))


@pytest.mark.parametrize("shape", [(1, 1, 1, 40), (1, 1, 40, 50), (1, 2, 40, 40), (3, 1, 40, 40)])
def test_a_mask_of_another_shape_is_left_to_torch(shape: tuple[int, ...]) -> None:
    mask = torch.ones(shape, dtype=torch.bool)
    assert not module.applies(*tensors(4, 2, 40, batch=2), mask, causal=True)


def test_autocast_goes_to_torch(chunked: list[Any]) -> None:
    query, key, value = tensors(4, 4, 40)
    with torch.autocast("cpu", torch.bfloat16):
        result, _ = attention(Layer(), query, key, value, None, is_causal=True)
    assert not chunked and result.dtype == torch.bfloat16


def prompts() -> dict[str, dict[str, Tensor]]:
    ids = torch.arange(2, 62).unsqueeze(0)
    padded = torch.cat([ids, ids])
    mask = torch.ones_like(padded)
    mask[1, :20] = 0
    return {"whole": {"input_ids": ids}, "padded": {"input_ids": padded, "attention_mask": mask}}


@pytest.mark.parametrize("given", prompts().values(), ids=prompts())
@torch.no_grad()
def test_same_logits_of_a_model(chunked: list[Any], given: dict[str, Tensor]) -> None:
    model, _ = load_tiny(TINY)
    expected = model(**given).logits
    with fast_attention(model):
        result = model(**given).logits
        assert len(chunked) == model.config.num_hidden_layers
    real = given.get("attention_mask", torch.ones_like(given["input_ids"])).bool()
    torch.testing.assert_close(result[real], expected[real])
    assert model.config._attn_implementation == SDPA


@torch.no_grad()
def test_a_tail_after_a_cached_prompt(chunked: list[Any]) -> None:
    from transformers import DynamicCache

    model, _ = load_tiny(TINY)
    ids = torch.arange(2, 92).unsqueeze(0)
    expected = model(ids).logits[:, 50:]
    with fast_attention(model):
        cache = DynamicCache()
        model(ids[:, :50], past_key_values=cache)
        result = model(ids[:, 50:], past_key_values=cache).logits
    assert {shape[2] for shape in chunked} == {50, 40}
    torch.testing.assert_close(result, expected)


@torch.no_grad()
def test_a_sliding_window(chunked: list[Any]) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(**SIZES, sliding_window=16, attn_implementation=SDPA)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MistralForCausalLM(config).eval()
    ids = torch.arange(2, 62).unsqueeze(0)
    expected = model(ids, use_cache=False).logits
    with fast_attention(model):
        torch.testing.assert_close(model(ids, use_cache=False).logits, expected)
    assert len(chunked) == 2
    model.config.sliding_window = None
    assert not torch.allclose(model(ids, use_cache=False).logits, expected), "no window was used"


@torch.no_grad()
def test_bfloat16_is_left_alone(chunked: list[Any]) -> None:
    model, _ = load_tiny(replace(TINY, dtype="bfloat16"))
    ids = torch.arange(2, 62).unsqueeze(0)
    expected = model(ids).logits
    with fast_attention(model):
        assert torch.equal(model(ids).logits, expected)
    assert not chunked


def test_token_mixing_looks_at_eager_attention_and_puts_ours_back() -> None:
    model, _ = load_tiny(TINY)
    windows = torch.arange(2, 202).view(2, 100)
    expected = token_mixing_scores(model, windows)
    assert module.use_fast_attention(model) is model.config
    assert token_mixing_scores(model, windows) == expected
    assert model.config._attn_implementation == module.NAME


def test_other_attention_stays() -> None:
    model, _ = load_tiny(TINY)
    model.set_attn_implementation("eager")
    with fast_attention(model):
        assert model.config._attn_implementation == "eager"


def test_restored_after_an_error() -> None:
    model, _ = load_tiny(TINY)
    with pytest.raises(KeyError), fast_attention(model):
        raise KeyError
    assert model.config._attn_implementation == SDPA
