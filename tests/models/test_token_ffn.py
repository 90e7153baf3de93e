"""Per-token rules against loops over tokens in NumPy, and inside a model."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu

from ffbench.evaluation.speed import prefill_times
from ffbench.methods.flops import flops_of
from ffbench.methods.plan import LayerPlan, PlanSettings
from ffbench.methods.selectors import SELECTORS, Scene, untimed
from ffbench.methods.selectors.thresholds import threshold
from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.shapes import random_plan
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.models.token_ffn import token_forward
from ffbench.training.statistics import levels

RULES = sorted(name for name, one in SELECTORS.items() if not one.block_wise)


@pytest.fixture(scope="module")
def model() -> Any:
    return load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]


def plan_of(model: Any, name: str, compensator: str = "none", sparsity: float = 0.4) -> Any:
    plan = random_plan(model, PlanSettings("static", compensator, "uniform", 16, sparsity, rank=8))
    plan.settings = PlanSettings(name, compensator, "uniform", 16, sparsity, rank=8)
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        x = torch.randn(400, 64, generator=torch.Generator().manual_seed(1))
        gate = silu(x @ ffn.w_gate.T)
        layer.extra |= {
            "input_levels": levels(x.abs()),
            "gate_levels": levels(gate.abs()),
            "activation_levels": levels((gate * (x @ ffn.w_up.T)).abs()),
        }
    return plan


def top(values: np.ndarray, count: int) -> np.ndarray:
    """1 where a value is among the `count` largest of its row."""
    mask = np.zeros_like(values)
    for row, line in zip(mask, values, strict=True):
        row[sorted(range(len(line)), key=lambda i: -line[i])[:count]] = 1
    return mask


def expected(name: str, ffn: Any, layer: LayerPlan, x: Tensor) -> np.ndarray:
    """The rule's output by its definition; every product of the kept entries is written out."""
    x_, wg, wu, wd = (one.double().numpy() for one in (x, ffn.w_gate, ffn.w_up, ffn.w_down))
    kept, f, d = layer.kept, len(wg), x_.shape[1]
    s = layer.surrogate
    estimate = s.c.double().numpy() + x_ @ s.p.double().numpy().T @ s.v.double().numpy().T
    silu_ = lambda g: g / (1 + np.exp(-g))
    gate, up = silu_(x_ @ wg.T), x_ @ wu.T
    a = gate * up
    if name == "oracle_token":
        mask = top((a - estimate) ** 2 * (wd**2).sum(0), kept)
        return (mask * a + (1 - mask) * estimate) @ wd.T
    if name == "cats":
        mask = (np.abs(gate) > threshold(layer.extra["gate_levels"], 1 - kept / f)).astype(float)
        return (mask * a + (1 - mask) * estimate) @ wd.T
    if name == "teal":
        cut = x_ * (np.abs(x_) > threshold(layer.extra["input_levels"], 1 - kept / f))
        h = silu_(cut @ wg.T) * (cut @ wu.T)
        return (h * (np.abs(h) > threshold(layer.extra["activation_levels"], 1 - kept / f))) @ wd.T
    count = round(kept / f * d)
    g, u = (x_ * top(np.abs(x_) * np.sqrt((w**2).sum(0)), count) for w in (wg, wu))
    h = silu_(g @ wg.T) * (u @ wu.T)
    return (h * top(np.abs(h) * np.sqrt((wd**2).sum(0)), kept)) @ wd.T


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("tokens", [1, 23])
def test_a_rule_is_its_definition(model: Any, name: str, tokens: int) -> None:
    plan = plan_of(model, name, "surrogate" if name in ("cats", "oracle_token") else "none")
    x = torch.randn(tokens, 64, generator=torch.Generator().manual_seed(2))
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        found, share = token_forward(ffn, layer, SELECTORS[name], x)
        np.testing.assert_allclose(
            found.numpy(), expected(name, ffn, layer, x), atol=2e-5, rtol=1e-3
        )
        assert 0.4 < share < 0.8 if tokens > 1 else 0 < share < 1


@pytest.mark.parametrize("name", RULES)
def test_rules_run_on_prompts_and_report_what_they_kept(model: Any, name: str) -> None:
    ids = torch.randint(3, 259, (1, 75), generator=torch.Generator().manual_seed(0))
    with sparse_prefill(model, plan_of(model, name), "torch") as usage:
        found = model(ids).logits
    assert torch.isfinite(found).all() and (found - model(ids).logits).abs().max() > 1e-4
    assert 0.2 < usage.density < 1


@pytest.mark.parametrize("name", sorted(set(RULES) - {"cats", "teal"}))
def test_a_rule_that_keeps_everything_is_dense(model: Any, name: str) -> None:
    plan, ids = plan_of(model, name, sparsity=0.0), torch.randint(3, 259, (1, 75))
    with sparse_prefill(model, plan, "torch"):
        found = model(ids).logits
    torch.testing.assert_close(found, model(ids).logits, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", RULES)
def test_rules_are_never_timed_and_score_no_blocks(model: Any, name: str) -> None:
    plan = plan_of(model, name)
    assert "token by token" in (untimed(plan) or "")
    with pytest.raises(ValueError, match="token by token"):
        prefill_times(model, plan, [32], 1, 1, "torch")
    with pytest.raises(TypeError, match=f"{name!r} works token by token"):
        SELECTORS[name](
            Scene(
                plan.layers[0],
                torch.zeros(0, 64),
                torch.zeros(1, 4, 64),
                silu,
                silu,
                torch.ones(160),
                0,
            )
        )
    plan.layers[0].hot = 8
    with pytest.raises(ValueError, match="hot_fraction"), sparse_prefill(model, plan, "torch"):
        model(torch.full((1, 75), 5))


def test_costs_of_rules(model: Any) -> None:
    dense = 6 * 64 * 160
    assert flops_of(plan_of(model, "cats"))["selector"] == pytest.approx(2 * 64 * 64 / dense)
    assert (
        flops_of(plan_of(model, "teal"))["selector"]
        == flops_of(plan_of(model, "wina"))["selector"]
        == 0
    )
    assert flops_of(plan_of(model, "oracle_token"))["selector"] == pytest.approx(2 / 3)


def test_a_threshold_is_between_its_neighbours() -> None:
    grid = torch.tensor([0.0, 1.0, 4.0])
    assert [threshold(grid, share) for share in (0, 0.25, 0.5, 0.75, 1)] == [0, 0.5, 1, 2.5, 4]
