"""What every selector chooses inside a plan: K neurons, sorted, the hot ones always, whole
groups."""

from typing import Any

import pytest
import torch

from ffbench.methods.plan import PlanSettings
from ffbench.methods.selectors import SELECTORS
from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.shapes import random_plan
from ffbench.models.sparse_prefill import Prefill, SparseFFN, sparse_prefill

BLOCK = 16
BLOCK_WISE = sorted(name for name, one in SELECTORS.items() if one.block_wise)


@pytest.fixture(scope="module")
def model() -> Any:
    return load_tiny(ModelSpec("tiny", "tiny", "qwen2"))[0]


@pytest.mark.parametrize("name", BLOCK_WISE)
@pytest.mark.parametrize(("hot", "group"), [(0.0, 1), (0.25, 1), (1.0, 1), (0.5, 8)])
@pytest.mark.parametrize("before", [0, BLOCK])
def test_k_neurons_are_kept(model: Any, name: str, hot: float, group: int, before: int) -> None:
    plan = random_plan(
        model, PlanSettings(name, "surrogate", "uniform", BLOCK, 0.45, hot, 8, group_size=group)
    )
    g = torch.Generator().manual_seed(0)
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        one = SparseFFN(ffn, layer, plan, Prefill(), "torch")
        rows = one.choose(
            torch.randn(before, 64, generator=g), torch.randn(4, BLOCK, 64, generator=g)
        )
        assert len(rows) == 4 and layer.hot == round(hot * layer.kept / group) * group
        for row in rows:
            assert len(row) == layer.kept - layer.hot and row.dtype == torch.int64
            assert (row.diff() > 0).all() and ((row >= layer.hot) & (row < 160)).all()
            assert (row.view(-1, group)[:, 0] % group == 0).all() and (
                row.view(-1, group).diff(dim=1) == 1
            ).all()


@pytest.mark.parametrize(
    "name", ["static", "static_flap", "weight_norm", "svd_gate", "trained", "probe"]
)
def test_a_moved_hot_set_changes_only_what_is_kept(model: Any, name: str) -> None:
    ids, found = (
        torch.randint(3, 259, (1, 5 * BLOCK), generator=torch.Generator().manual_seed(0)),
        [],
    )
    before = {key: one.clone() for key, one in model.state_dict().items()}
    for seed in (0, 1):
        plan = random_plan(model, PlanSettings(name, "surrogate", "uniform", BLOCK, 0.0, 0.5, 8))
        for layer in plan.layers:
            layer.order = torch.randperm(160, generator=torch.Generator().manual_seed(seed))
        with sparse_prefill(model, plan, "torch"):
            found.append(model(ids).logits)
    torch.testing.assert_close(found[0], found[1], atol=2e-5, rtol=1e-4)
    assert all(torch.equal(before[key], one) for key, one in model.state_dict().items())
