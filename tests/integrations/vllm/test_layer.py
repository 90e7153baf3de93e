"""A serving batch's FFN against the Hugging Face path on the same plan."""

from typing import Any

import pytest
import torch
from fused_ffn import fused_ffn
from torch import Tensor

from ffbench.integrations.vllm.layer import BatchFFN
from ffbench.integrations.vllm.positions import RequestRows, batch_layout
from ffbench.methods.plan import SparsePlan
from ffbench.methods.plan_files import plan_settings
from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.prefill_state import Prefill
from ffbench.models.random_models import random_plan
from ffbench.models.sparse_prefill import sparse_prefill

TOKENS, BLOCK, LAYER = 61, 8, 1
# float32 sums of a few hundred products in another order; outputs are below 1
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model() -> Any:
    return load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]


def plan_for(model: Any, sparsity: float) -> SparsePlan:
    methods = {"selector": "trained", "compensator": "none", "scheduler": "uniform"}
    settings = {"block_size": BLOCK, "sparsity": sparsity, "first_dense": 5, "last_dense": 7}
    return random_plan(
        model, plan_settings({n: {"name": m} for n, m in methods.items()} | settings)
    )


def batch_ffn(model: Any, plan: SparsePlan) -> BatchFFN:
    ffn = gated_ffns(model)[LAYER]
    return BatchFFN(
        index=LAYER,
        mlp=fused_ffn(ffn),
        activation=ffn.activation,
        plan=plan,
        prefill=Prefill(),
        backend="torch",
    )


def forward(ffn: BatchFFN, x: Tensor, requests: list[RequestRows]) -> Tensor:
    return ffn.forward(x, batch_layout(ffn.sparse.plan.settings, requests, len(x)))


def hugging_face(model: Any, plan: SparsePlan) -> tuple[Tensor, Tensor]:
    """The layer's inputs and outputs [T, d] in one sparse pass."""
    seen: list[Tensor] = []
    hook = model.model.layers[LAYER].mlp.register_forward_hook(
        lambda module, args, output: seen.extend([args[0][0], output[0]])
    )
    ids = torch.randint(3, 259, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), sparse_prefill(model, plan, "torch"):
        model(ids)
    hook.remove()
    return seen[0], seen[1]


def test_the_counts_are_those_of_the_hugging_face_pass(model: Any) -> None:
    plan = plan_for(model, 0.5)
    ids = torch.randint(3, 259, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), sparse_prefill(model, plan, "torch") as prefill:
        model(ids)
    x, _ = hugging_face(model, plan)
    ffn = batch_ffn(model, plan)
    batch = torch.cat([x[:3], x])  # decoded tokens in front count nowhere
    forward(ffn, batch, [chunk(0, 70, 1), chunk(1, 70, 1), chunk(2, 70, 1), chunk(3, 0, TOKENS)])
    assert ffn.prefill.density == pytest.approx(prefill.density)
    assert ffn.prefill.total == TOKENS * ffn.neurons


def chunk(start: int, offset: int, count: int, prompt: int = TOKENS) -> RequestRows:
    return RequestRows(start=start, end=start + count, offset=offset, prompt_tokens=prompt)


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_chunks_of_whole_blocks_equal_the_hugging_face_pass(model: Any, sparsity: float) -> None:
    plan = plan_for(model, sparsity)
    x, expected = hugging_face(model, plan)
    ffn = batch_ffn(model, plan)
    for sizes in ([61], [16, 8, 37]):
        parts, offset = [], 0
        for size in sizes:
            rows = x[offset : offset + size]
            parts.append(forward(ffn, rows, [chunk(0, offset, size)]))
            offset += size
        torch.testing.assert_close(torch.cat(parts), expected, rtol=0, atol=TOLERANCE)
    dense = gated_ffns(model)[LAYER].module(x)
    assert torch.allclose(expected, dense, atol=TOLERANCE) == (sparsity == 0)
    assert (ffn.prefill.density == 1) == (sparsity == 0)


def test_mixed_batch_keeps_requests_apart(model: Any) -> None:
    plan = plan_for(model, 0.5)
    x, expected = hugging_face(model, plan)
    dense = gated_ffns(model)[LAYER].module(x)
    batch = torch.cat([x[:1], x[16:40], x[:10], x[:3]])
    requests = [chunk(0, 70, 1), chunk(1, 16, 24), chunk(25, 0, 10, prompt=10)]
    y = forward(batch_ffn(model, plan), batch, requests)
    # decoded, then the long prompt's chunk, a prompt shorter than its dense ends, rows of padding
    wanted = torch.cat([dense[:1], expected[16:40], dense[:10], dense[:3]])
    torch.testing.assert_close(y, wanted, rtol=0, atol=TOLERANCE)


def test_a_chunk_that_begins_inside_a_block_keeps_the_other_blocks(model: Any) -> None:
    plan = plan_for(model, 0.5)
    x, expected = hugging_face(model, plan)
    y = forward(batch_ffn(model, plan), x[20:], [chunk(0, 20, 41)])
    torch.testing.assert_close(y[4:], expected[24:], rtol=0, atol=TOLERANCE)


def test_weights_of_another_size_are_refused(model: Any) -> None:
    plan, ffn = plan_for(model, 0.5), gated_ffns(model)[LAYER]
    with pytest.raises(ValueError, match="layer 1: the plan has"):
        BatchFFN(
            index=LAYER,
            mlp=fused_ffn(ffn, slice(1, None)),
            activation="silu",
            plan=plan,
            prefill=Prefill(),
        )
