"""Outputs of the ranks of a tensor-parallel group against the whole layer."""

from typing import Any

import pytest
import torch
from fused_ffn import fused_ffn
from torch import Tensor

from ffbench.integrations.vllm.layer import BatchFFN
from ffbench.integrations.vllm.positions import RequestRows, batch_layout
from ffbench.integrations.vllm.shards import rank_layer, rank_plan, rank_problems
from ffbench.methods.plan import SparsePlan
from ffbench.methods.plan_files import plan_settings
from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.prefill_state import Prefill
from ffbench.models.random_models import random_plan

TOKENS, BLOCK, LAYER = 29, 8, 1
ROUNDING = 2.0**-24  # of float32


@pytest.fixture(scope="module")
def model() -> Any:
    return load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]


def plan_for(model: Any, **changed: Any) -> SparsePlan:
    surrogate = {"name": "surrogate", "rank": 6, "output_map_rank": 4}
    node: dict[str, Any] = {"selector": {"name": "trained"}, "scheduler": {"name": "uniform"}}
    sizes = {"block_size": BLOCK, "sparsity": 0.5, "first_dense": 0, "last_dense": 0}
    plan = random_plan(model, plan_settings(node | {"compensator": surrogate} | sizes | changed))
    generator = torch.Generator().manual_seed(3)
    for layer in plan.layers:
        layer.order = torch.randperm(len(layer.order), generator=generator)
    return plan


def rank_output(model: Any, plan: SparsePlan, rank: int, size: int, x: Tensor) -> Tensor:
    ffn = gated_ffns(model)[LAYER]
    width = len(ffn.w_gate) // size
    own = slice(rank * width, (rank + 1) * width)
    prefill = Prefill(chosen=[])
    part = BatchFFN(
        index=LAYER,
        mlp=fused_ffn(ffn, own),
        activation=ffn.activation,
        plan=rank_plan(plan, rank, size),
        prefill=prefill,
        backend="torch",
    )
    rows = RequestRows(start=0, end=len(x), offset=0, prompt_tokens=len(x))
    return part.forward(x, batch_layout(plan.settings, [rows], len(x)))


def reference(model: Any, plan: SparsePlan, size: int, x: Tensor) -> tuple[Tensor, float]:
    """Each rank's share of neurons by its own scores, with masks and in float64; and the largest
    sum of the absolute values of an output's products.
    """
    ffn, layer = gated_ffns(model)[LAYER], plan.layers[LAYER]
    gate, up, down = (w.double() for w in (ffn.w_gate, ffn.w_up, ffn.w_down))
    c, f = layer.compensation, len(gate)
    assert c.output_map is not None
    x64 = x.double()
    a = torch.nn.functional.silu(x64 @ gate.T) * (x64 @ up.T)
    estimate = (x64 @ c.projection.double().T) @ c.activation_map.double().T + c.mean.double()
    y, largest = torch.empty_like(x64), 0.0
    for start in range(0, len(x), BLOCK):
        rows = slice(start, min(start + BLOCK, len(x)))
        scores = layer.predictor.scores(x[rows][None])[0]
        keep = torch.zeros(f, dtype=torch.bool)
        for rank in range(size):
            own = torch.arange(rank * f // size, (rank + 1) * f // size)
            hot = [n for n in own.tolist() if n in layer.order[: layer.hot].tolist()]
            others = [n for n in own.tolist() if n not in hot]
            share = round((layer.kept - layer.hot) * len(others) / (f - layer.hot))
            best = scores[others].topk(share).indices
            keep[hot] = True
            keep[torch.tensor(others)[best]] = True
        # hot neurons are exact; an estimate stands in for the others, corrected where kept
        values = torch.where(keep, a[rows], estimate[rows])
        y[rows] = values @ down.T
        terms = (a[rows].abs() + estimate[rows].abs()) @ down.abs().T
        largest = max(largest, float(terms.max()))
    return y + c.output_map.of(x).double(), largest


@pytest.mark.parametrize("hot", [0.0, 0.25])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_ranks_add_up_to_the_layer(model: Any, size: int, hot: float) -> None:
    plan = plan_for(model, hot_fraction=hot)
    x = torch.randn(TOKENS, 64, generator=torch.Generator().manual_seed(1))
    total = sum(rank_output(model, plan, rank, size, x) for rank in range(size))
    expected, largest = reference(model, plan, size, x)
    # a sum of n products is off by at most n roundings of their absolute values
    atol = 160 * ROUNDING * largest
    torch.testing.assert_close(total.double(), expected, rtol=0, atol=atol)
    assert atol < 1e-2 * float(expected.abs().max())


def test_ranks_at_density_one_are_the_dense_layer(model: Any) -> None:
    plan = plan_for(model, sparsity=0.0, compensator={"name": "none"})
    x = torch.randn(TOKENS, 64, generator=torch.Generator().manual_seed(1))
    total = sum(rank_output(model, plan, rank, 2, x) for rank in range(2))
    dense = gated_ffns(model)[LAYER].module(x)
    torch.testing.assert_close(total, dense, rtol=0, atol=160 * ROUNDING * float(x.abs().max()))


def test_kept_neurons_are_shared_among_ranks(model: Any) -> None:
    plan = plan_for(model, hot_fraction=0.25)
    layer = plan.layers[LAYER]
    ranks = [rank_layer(layer, rank, 4) for rank in range(4)]
    assert sum(part.hot for part in ranks) == layer.hot
    assert abs(sum(part.kept for part in ranks) - layer.kept) <= 2  # half a neuron a rank
    assert all(part.problem() is None for part in ranks)
    assert [part.compensation.output_map is None for part in ranks] == [False, True, True, True]


def test_what_ranks_cannot_share_is_refused(model: Any) -> None:
    plan = plan_for(model)
    assert rank_problems(plan, 1) == rank_problems(plan, 2) == []
    assert "tensor_parallel_size 3 does not divide the plan's 160" in rank_problems(plan, 3)[0]
    groups = plan_for(model, group_size=16)
    assert "would cut the plan's groups of 16 neurons" in rank_problems(groups, 2)[0]
    assert rank_plan(groups, 0, 1) is groups
