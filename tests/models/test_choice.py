"""What every selector chooses inside a plan: K neurons, sorted, the hot ones always, whole
groups."""

from typing import Any

import pytest
import torch
from tiny_plans import BLOCK, prompt, random_tiny_plan, tiny_model

from ffbench.methods.selectors import SELECTORS
from ffbench.models.adapters import gated_ffns
from ffbench.models.block_ffn import BlockChooser, rectangle
from ffbench.models.sparse_prefill import sparse_prefill


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model("qwen2")


@pytest.mark.parametrize("name", sorted(SELECTORS))
@pytest.mark.parametrize(("hot", "group"), [(0.0, 1), (0.25, 1), (1.0, 1), (0.5, 8)])
@pytest.mark.parametrize("before", [0, BLOCK])
def test_k_neurons_are_kept(model: Any, name: str, hot: float, group: int, before: int) -> None:
    plan = random_tiny_plan(
        model,
        selector=name,
        compensator="surrogate",
        sparsity=0.45,
        hot_fraction=hot,
        group_size=group,
    )
    g = torch.Generator().manual_seed(0)
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        chooser = BlockChooser(ffn, layer, plan.settings)
        blocks = torch.randn(4, BLOCK, 64, generator=g)
        rows = chooser.dynamic(torch.randn(before, 64, generator=g), blocks)
        assert len(rows) == 4 and layer.hot == round(hot * layer.kept / group) * group
        neurons, real = chooser.neurons(rows)
        assert neurons.shape == (4, layer.kept) and real is None
        for row in rows:
            assert len(row) == layer.kept - layer.hot and row.dtype == torch.int64
            assert (row.diff() > 0).all() and ((row >= layer.hot) & (row < 160)).all()
            groups = row.view(-1, group)
            assert (groups[:, 0] % group == 0).all() and (groups.diff(dim=1) == 1).all()


@pytest.mark.parametrize(
    "selector",
    [
        "static",
        {"name": "static", "statistic": "flap"},
        "weight_norm",
        "svd_gate",
        "trained",
        {"name": "trained_lowrank", "rank": 8},
        "probe",
    ],
    ids=str,
)
def test_a_moved_hot_set_changes_only_what_is_kept(model: Any, selector: Any) -> None:
    ids, logits = prompt(5 * BLOCK), []
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for seed in (0, 1):
        plan = random_tiny_plan(
            model, selector=selector, compensator="surrogate", sparsity=0.0, hot_fraction=0.5
        )
        for layer in plan.layers:
            layer.order = torch.randperm(160, generator=torch.Generator().manual_seed(seed))
        with sparse_prefill(model, plan, "torch"):
            logits.append(model(ids).logits)
    torch.testing.assert_close(logits[0], logits[1], atol=2e-5, rtol=1e-4)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_the_first_block_may_be_short(model: Any) -> None:
    """Blocks of `leading` tokens, whole ones and a short one select from their own tokens."""
    plan = random_tiny_plan(model, selector="oracle")
    chooser = BlockChooser(gated_ffns(model)[0], plan.layers[0], plan.settings)
    x = torch.randn(3 + 2 * BLOCK + 5, 64, generator=torch.Generator().manual_seed(0))
    rows = chooser.dynamic_of(x[:0], x, leading=3)
    cuts = [0, 3, 3 + BLOCK, 3 + 2 * BLOCK, len(x)]
    assert len(rows) == 4
    for row, start, end in zip(rows, cuts, cuts[1:], strict=False):
        assert torch.equal(row, chooser.dynamic(x[:0], x[None, start:end])[0])


def test_uneven_blocks_make_no_table() -> None:
    with pytest.raises(ValueError, match="cannot be put into one table"):
        rectangle([torch.arange(3), torch.arange(4)])
