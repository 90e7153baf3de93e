"""Blocks that keep different numbers of neurons, and R-Sparse's remainder, against the masked dense
FFN."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ffbench.evaluation.kept_neurons import chosen_neurons
from ffbench.methods.compensators.remainder import remainder, remainder_factors
from ffbench.methods.plan import PlanSettings
from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import FAMILIES, ModelSpec, load_tiny
from ffbench.models.shapes import random_plan
from ffbench.models.sparse_prefill import Prefill, SparseFFN, sparse_prefill

BLOCK = 16


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return load_tiny(ModelSpec("tiny", "tiny", request.param))[0]


def masked(one: SparseFFN, x: Tensor, kept: list[Tensor]) -> Tensor:
    """The FFN of x [T, d] with the estimate in place of what a block skips."""
    a, layer = one.activations(x), one.layer
    mask = torch.zeros_like(a)
    mask[:, : layer.hot] = 1
    for i, row in enumerate(kept):
        mask[i * BLOCK : (i + 1) * BLOCK, row] = 1
    return (mask * a + (1 - mask) * layer.surrogate.estimate(x)) @ one.w_down_t


@pytest.mark.parametrize("scheduler", ["adaptive", "adaptive_energy"])
@pytest.mark.parametrize(
    ("tokens", "hot"), [(7 * BLOCK, 0.0), (5 * BLOCK + 3, 0.0), (6 * BLOCK, 0.5)]
)
def test_uneven_blocks_are_computed_exactly(
    model: Any, scheduler: str, tokens: int, hot: float
) -> None:
    plan = random_plan(model, PlanSettings("oracle", "surrogate", scheduler, BLOCK, 0.5, hot, 8))
    x = (
        torch.randn(tokens, 64, generator=torch.Generator().manual_seed(0))
        * torch.linspace(0.1, 3, tokens)[:, None]
    )
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        one = SparseFFN(ffn, layer, plan, Prefill(), "torch")
        whole = tokens // BLOCK * BLOCK
        kept = one.choose(x[:0], x[:whole].view(-1, BLOCK, 64))
        counts = [len(row) for row in kept]
        assert (
            len(set(counts)) > 1
            and sum(counts) <= (layer.kept - layer.hot) * len(kept) < sum(counts) + 32
        )
        if whole < tokens:
            kept += one.choose(x[whole - BLOCK : whole], x[whole:][None])
        found, share = one.by_blocks(x[:0], x)
        torch.testing.assert_close(found, masked(one, x, kept), atol=1e-4, rtol=1e-3)
        assert share == pytest.approx(0.5, abs=0.08)


def test_density_is_met_on_average(model: Any) -> None:
    plan = random_plan(model, PlanSettings("trained", "none", "adaptive", BLOCK, 0.5))
    with sparse_prefill(model, plan, "torch") as usage:
        model(torch.randint(3, 259, (1, 10 * BLOCK)))
    assert usage.density == pytest.approx((2 + 8 * 0.5) / 10, abs=0.02)


@pytest.mark.parametrize("hot", [0.0, 0.5])
def test_rsparse_adds_its_remainder(model: Any, hot: float) -> None:
    plan = random_plan(model, PlanSettings("static", "none", "uniform", BLOCK, 0.5, hot))
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        layer.extra |= remainder_factors(ffn.w_gate, ffn.w_up, ffn.w_down, 9)
        one, x = SparseFFN(ffn, layer, plan, Prefill(), "torch"), torch.randn(3 * BLOCK, 64)
        kept = one.choose(x[:0], x.view(3, BLOCK, 64))
        added = remainder(layer.extra, ffn.module.act_fn, x, kept, layer.hot, BLOCK)
        torch.testing.assert_close(
            one.by_blocks(x[:0], x)[0], masked(one, x, kept) + added, atol=1e-4, rtol=1e-3
        )
        torch.manual_seed(0)


def test_uneven_blocks_cannot_be_recorded(model: Any) -> None:
    plan = random_plan(model, PlanSettings("oracle", "none", "adaptive_energy", BLOCK, 0.5))
    windows = torch.randint(3, 259, (1, 9 * BLOCK), generator=torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="cannot be recorded"):
        chosen_neurons(model, plan, windows, "torch")
