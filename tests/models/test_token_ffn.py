"""Per-token rules against loops over tokens in NumPy, and inside a model."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_plans import plan_settings, prompt, random_tiny_plan, tiny_model
from torch import Tensor

from ffbench.evaluation.speed import prefill_times
from ffbench.methods.compensators.affine import AffineState
from ffbench.methods.flops import flops_of
from ffbench.methods.plan import LayerPlan, untimed
from ffbench.methods.token_rules import TOKEN_RULES
from ffbench.methods.token_rules.base import threshold
from ffbench.models.adapters import gated_ffns
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.models.token_ffn import token_forward

RULES = sorted(TOKEN_RULES)
RANK = 4  # of the remainder of inputs


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


def plan_of(model: Any, name: str, compensator: str = "none", sparsity: float = 0.4) -> Any:
    rule = {"name": name} | ({"rank": RANK} if name == "rsparse_inputs" else {})
    return random_tiny_plan(model, selector=rule, compensator=compensator, sparsity=sparsity)


def top(values: np.ndarray, count: int) -> np.ndarray:
    """1 where a value is among the `count` largest of its row."""
    mask = np.zeros_like(values)
    for row, line in zip(mask, values, strict=True):
        row[sorted(range(len(line)), key=lambda i: -line[i])[:count]] = 1
    return mask


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


class Reference:
    """The rules' outputs by their definitions; every product of the kept entries is written out."""

    def __init__(self, ffn: Any, layer: LayerPlan, x: Tensor) -> None:
        arrays = (x, ffn.w_gate, ffn.w_up, ffn.w_down)
        self.x, self.wg, self.wu, self.wd = (value.double().numpy() for value in arrays)
        self.layer, self.density = layer, layer.kept / len(self.wg)
        s = layer.compensation
        assert isinstance(s, AffineState)
        p, v, c = (t.double().numpy() for t in (s.projection, s.activation_map, s.mean))
        self.estimate = c + self.x @ p.T @ v.T
        self.gate = silu(self.x @ self.wg.T)
        self.a = self.gate * (self.x @ self.wu.T)

    def limit(self, name: str) -> float:
        return threshold(self.layer.statistics[name], 1 - self.density)

    def masked(self, mask: np.ndarray) -> np.ndarray:
        return (mask * self.a + (1 - mask) * self.estimate) @ self.wd.T

    def oracle_token(self) -> np.ndarray:
        energies = (self.a - self.estimate) ** 2 * (self.wd**2).sum(0)
        return self.masked(top(energies, self.layer.kept))

    def cats(self) -> np.ndarray:
        return self.masked((np.abs(self.gate) > self.limit("gate_levels")).astype(float))

    def down(self, h: np.ndarray) -> np.ndarray:
        return (h * (np.abs(h) > self.limit("activation_levels"))) @ self.wd.T

    def teal(self) -> np.ndarray:
        cut = self.x * (np.abs(self.x) > self.limit("input_levels"))
        return self.down(silu(cut @ self.wg.T) * (cut @ self.wu.T))

    def rsparse_inputs(self) -> np.ndarray:
        large = np.abs(self.x) > self.limit("input_levels")
        # the factors have a test of their own; an approximate SVD would move values over the limit
        factors = {n: t.double().numpy() for n, t in self.layer.selector_tensors.values.items()}
        gate, up = (
            (self.x * large) @ w.T
            + (self.x * ~large) @ (factors[f"{name}_left"] @ factors[f"{name}_right"]).T
            for name, w in (("gate", self.wg), ("up", self.wu))
        )
        return self.down(silu(gate) * up)

    def wina_rule(self) -> np.ndarray:
        count = round(self.density * self.x.shape[1])
        gate, up = (
            (self.x * top(np.abs(self.x) * np.sqrt((w**2).sum(0)), count)) @ w.T
            for w in (self.wg, self.wu)
        )
        h = silu(gate) * up
        kept = top(np.abs(h) * np.sqrt((self.wd**2).sum(0)), self.layer.kept)
        return (h * kept) @ self.wd.T


def test_every_token_rule_has_a_reference() -> None:
    assert [name for name in RULES if not hasattr(Reference, name)] == []


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("tokens", [1, 23])
def test_a_rule_is_its_definition(model: Any, name: str, tokens: int) -> None:
    plan = plan_of(model, name, "surrogate" if name in ("cats", "oracle_token") else "none")
    x = torch.randn(tokens, 64, generator=torch.Generator().manual_seed(2))
    for ffn, layer in zip(gated_ffns(model), plan.layers, strict=True):
        y, share = token_forward(ffn, layer, plan.settings.selector, x)
        expected = getattr(Reference(ffn, layer, x), name)()
        np.testing.assert_allclose(y.numpy(), expected, atol=5e-5, rtol=1e-3)
        assert 0.4 < share < 0.8 if tokens > 1 else 0 < share < 1


@pytest.mark.parametrize("name", RULES)
def test_rules_run_on_prompts_and_report_what_they_kept(model: Any, name: str) -> None:
    ids = prompt(75)
    with sparse_prefill(model, plan_of(model, name), "torch") as usage:
        logits = model(ids).logits
    assert torch.isfinite(logits).all() and (logits - model(ids).logits).abs().max() > 1e-4
    assert 0.2 < usage.density < 1


@pytest.mark.parametrize("name", ["oracle_token", "wina_rule"])
def test_a_rule_that_keeps_everything_is_dense(model: Any, name: str) -> None:
    plan, ids = plan_of(model, name, sparsity=0.0), prompt(75)
    with sparse_prefill(model, plan, "torch"):
        logits = model(ids).logits
    torch.testing.assert_close(logits, model(ids).logits, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", RULES)
def test_rules_are_never_timed_and_have_no_hot_set(model: Any, name: str) -> None:
    plan = plan_of(model, name)
    assert "token by token" in (untimed(plan.settings) or "")
    assert untimed(plan_settings()) is None
    with pytest.raises(ValueError, match="token by token"):
        prefill_times(model, plan, [32], 1, 1, "torch")
    plan.layers[0].hot = 8
    with pytest.raises(ValueError, match="hot_fraction"), sparse_prefill(model, plan, "torch"):
        model(torch.full((1, 75), 5))


def test_costs_of_rules(model: Any) -> None:
    dense = 6 * 64 * 160
    assert flops_of(plan_of(model, "cats")).selector == pytest.approx(2 * 64 * 64 / dense)
    assert flops_of(plan_of(model, "teal")).selector == 0
    assert flops_of(plan_of(model, "wina_rule")).selector == 0
    assert flops_of(plan_of(model, "oracle_token")).selector == pytest.approx(2 / 3)
    remainder = flops_of(plan_of(model, "rsparse_inputs")).selector
    assert remainder == pytest.approx(4 * RANK * (64 + 160) / dense)


def test_a_threshold_is_between_its_neighbours() -> None:
    grid = torch.tensor([0.0, 1.0, 4.0])
    assert [threshold(grid, share) for share in (0, 0.25, 0.5, 0.75, 1)] == [0, 0.5, 1, 2.5, 4]
