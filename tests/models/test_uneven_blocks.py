"""Blocks that keep different numbers of neurons, and every compensator, against the masked dense
FFN in NumPy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_plans import BLOCK, DENSE_FAMILIES, prompt, random_tiny_plan, tiny_model
from torch import Tensor

from ffbench.evaluation.kept_neurons import chosen_neurons
from ffbench.methods.block_counts import RULES
from ffbench.methods.compensators import COMPENSATORS
from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.compensators.rsparse import LowRankWeightsState
from ffbench.methods.flops import flops_of
from ffbench.models.adapters import gated_ffns
from ffbench.models.prefill_state import Prefill
from ffbench.models.sparse_ffn import SparseFFN
from ffbench.models.sparse_prefill import sparse_prefill


@pytest.fixture(params=DENSE_FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_model(request.param)


def array(value: Tensor) -> np.ndarray:
    return value.double().numpy()


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def keep_mask(sparse: SparseFFN, tokens: int, kept: list[Tensor]) -> np.ndarray:
    """1 for the neurons of the plan's order that each token's block keeps, [T, f]."""
    mask = np.zeros((tokens, len(sparse.layer.order)))
    mask[:, : sparse.layer.hot] = 1
    for i, row in enumerate(kept):
        mask[i * BLOCK : (i + 1) * BLOCK, row.numpy()] = 1
    return mask


def no_estimate(sparse: SparseFFN, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.zeros((len(x), len(sparse.w_down_t)))


def mean_estimate(sparse: SparseFFN, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    state = sparse.layer.compensation
    assert isinstance(state, AffineState)
    return (1 - mask) * array(state.mean) @ array(sparse.w_down_t)


def affine_estimate(sparse: SparseFFN, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    state = sparse.layer.compensation
    assert isinstance(state, AffineState)
    estimate = x @ array(state.projection).T @ array(state.activation_map).T + array(state.mean)
    return (1 - mask) * estimate @ array(sparse.w_down_t)


def map_of_the_output(sparse: SparseFFN, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    output_map = sparse.layer.compensation.output_map
    assert output_map is not None
    moved = x @ array(output_map.projection).T @ array(output_map.expansion).T
    return moved + array(output_map.bias)


def low_rank_weights(sparse: SparseFFN, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    state = sparse.layer.compensation
    assert isinstance(state, LowRankWeightsState)
    gate, up = (
        x @ (array(left) @ array(right)).T
        for left, right in ((state.gate_left, state.gate_right), (state.up_left, state.up_right))
    )
    return (1 - mask) * silu(gate) * up @ array(state.down_left) @ array(state.down_right).T


ADDED: dict[str, Callable[[SparseFFN, np.ndarray, np.ndarray], np.ndarray]] = {
    "none": no_estimate,
    "bias": mean_estimate,
    "surrogate": affine_estimate,
    "lowrank": map_of_the_output,
    "rsparse": low_rank_weights,
}


def expected(sparse: SparseFFN, name: str, x: Tensor, kept: list[Tensor]) -> np.ndarray:
    """Kept neurons exact, and what the compensator adds for the skipped ones."""
    wg, wu = array(sparse.ffn.w_gate), array(sparse.ffn.w_up)
    rows, mask = array(x), keep_mask(sparse, len(x), kept)
    exact = mask * silu(rows @ wg.T) * (rows @ wu.T) @ array(sparse.w_down_t)
    added = ADDED[name](sparse, rows, mask)
    return exact + (added if added.shape == exact.shape else 0)


def test_every_compensator_has_a_reference() -> None:
    assert set(ADDED) == set(COMPENSATORS)


@pytest.mark.parametrize("name", sorted(COMPENSATORS))
@pytest.mark.parametrize("hot", [0.0, 0.5])
def test_a_compensator_is_its_definition(name: str, hot: float) -> None:
    model = tiny_model()
    plan = random_tiny_plan(model, selector="static", compensator=name, hot_fraction=hot)
    x = torch.randn(3 * BLOCK + 5, 64, generator=torch.Generator().manual_seed(0))
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        sparse = SparseFFN(ffn, layer, plan, Prefill(), "torch")
        kept = sparse.chooser.dynamic_of(x[:0], x)
        y = sparse.sparse(x[:0], x)
        np.testing.assert_allclose(y.numpy(), expected(sparse, name, x, kept), atol=1e-4, rtol=1e-3)
        state = layer.compensation
        order = torch.randperm(160, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(state.permuted(order).estimate(x), state.estimate(x)[:, order])
        shapes = {name: tuple(value.shape) for name, value in state.tensors().items()}
        assert {n: len(axes) for n, axes in state.all_axes().items() if n in shapes} == {
            n: len(shape) for n, shape in shapes.items()
        }


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("tokens", "hot"), [(7 * BLOCK, 0.0), (5 * BLOCK + 3, 0.0), (6 * BLOCK, 0.5)]
)
def test_uneven_blocks_are_computed_exactly(model: Any, rule: str, tokens: int, hot: float) -> None:
    plan = random_tiny_plan(
        model,
        selector="oracle",
        compensator="surrogate",
        scheduler={"name": "per_block", "rule": rule},
        hot_fraction=hot,
    )
    x = (
        torch.randn(tokens, 64, generator=torch.Generator().manual_seed(0))
        * torch.linspace(0.1, 3, tokens)[:, None]
    )
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        sparse = SparseFFN(ffn, layer, plan, Prefill(), "torch")
        whole = tokens // BLOCK * BLOCK
        kept = sparse.chooser.dynamic(x[:0], x[:whole].view(-1, BLOCK, 64))
        counts = [len(row) for row in kept]
        budget = (layer.kept - layer.hot) * len(kept)
        assert len(set(counts)) > 1 and sum(counts) <= budget < sum(counts) + 32
        if whole < tokens:
            kept += sparse.chooser.dynamic(x[whole - BLOCK : whole], x[whole:][None])
        y, share = sparse.by_blocks(x[:0], x, 0)
        np.testing.assert_allclose(
            y.numpy(), expected(sparse, "surrogate", x, kept), atol=1e-4, rtol=1e-3
        )
        lengths = [BLOCK] * (whole // BLOCK) + [tokens - whole] * (whole < tokens)
        rows = [(len(row) + layer.hot) * n for row, n in zip(kept, lengths, strict=True)]
        assert share == pytest.approx(sum(rows) / (len(layer.order) * tokens))


def test_a_layer_that_keeps_every_neuron_is_the_dense_ffn(model: Any) -> None:
    plan = random_tiny_plan(model, compensator="surrogate")
    layers = [replace(layer, kept=len(layer.order)) for layer in plan.layers]
    plan = replace(plan, layers=layers)
    x = torch.randn(3 * BLOCK + 5, 64, generator=torch.Generator().manual_seed(0))
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        prefill = Prefill()
        sparse = SparseFFN(ffn, layer, plan, prefill, "torch")
        sparse.chooser.dynamic_of = pytest.fail  # type: ignore[assignment]
        with torch.no_grad():
            torch.testing.assert_close(sparse.sparse(x[:0], x), ffn.module(x))
        assert prefill.used == len(layer.order) * len(x)
    assert flops_of(plan).ratio == 1.0 and flops_of(plan).compensator == 0.0


def test_density_is_met_on_average(model: Any) -> None:
    plan = random_tiny_plan(model, scheduler="per_block")
    with sparse_prefill(model, plan, "torch") as usage:
        model(prompt(10 * BLOCK))
    # 80 of 160 neurons in each of eight blocks are 20 whole tiles of 32: nothing is rounded off
    assert usage.density == pytest.approx((2 + 8 * 0.5) / 10)


def test_uneven_blocks_cannot_be_recorded(model: Any) -> None:
    plan = random_tiny_plan(
        model, selector="oracle", scheduler={"name": "per_block", "rule": "energy"}
    )
    with pytest.raises(ValueError, match="keep different numbers"):
        chosen_neurons(model, plan, prompt(9 * BLOCK, 1), "torch")
