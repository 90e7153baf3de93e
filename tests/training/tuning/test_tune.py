"""Joint tuning and the sensitivity of layers on tiny models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_text import windows

from ffbench.evaluation.fidelity import last_hidden
from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.methods.similar_blocks import BLOCKS
from ffbench.models.adapters import gated_ffns
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.training.layer_fit import build_plan, fit_layer
from ffbench.training.layer_walk import walk_layers
from ffbench.training.sensitivity import layer_costs, neuron_gains
from ffbench.training.tuning import trainable_ffn as forms
from ffbench.training.tuning import tune as module
from ffbench.training.tuning.teacher import POSITIONS, positions_of, save_teacher, window_tokens
from ffbench.training.tuning.tune import divergence, tune

BLOCK = 16


def plan_of(
    model: Any, selector: str = "trained", kept: int = 40, hot_fraction: float = 0.0
) -> SparsePlan:
    settings = PlanSettings(
        selector, "surrogate", "uniform", BLOCK, 0.5, hot_fraction, 8, dense_last=False
    )
    fits = [fit_layer(data, "surrogate", 8, kept) for data in walk_layers(model, windows(2, 300))]
    return build_plan(settings, {}, fits, [kept] * len(fits))


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize(
    ("selector", "hot"),
    [("static", 0.0), ("trained", 0.0), ("trained", 0.5), ("oracle", 0.0), ("first_block", 0.0)],
)
def test_the_trainable_forward_is_the_sparse_one(
    model: Any, selector: str, hot: float, blocks: str
) -> None:
    plan, ids = plan_of(model, selector, hot_fraction=hot), windows(1, 5 * BLOCK, 1)[0]
    plan = replace(plan, settings=replace(plan.settings, blocks=blocks))
    with sparse_prefill(model, plan, "reference"), torch.no_grad():
        expected = last_hidden(model, ids)
    with forms.trainable(model, plan), torch.no_grad():
        found = last_hidden(model, ids)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert all("forward" not in vars(ffn.module) for ffn in gated_ffns(model))


def test_hot_neurons_are_always_kept(model: Any) -> None:
    plan = plan_of(model, hot_fraction=0.5)
    with forms.trainable(model, plan) as layers:
        kept = layers[0].kept(torch.randn(BLOCK, 64), torch.randn(3, BLOCK, 64))
    hot = set(plan.layers[0].order[: plan.layers[0].hot].tolist())
    assert len(hot) == 20 and all(hot <= set(row.tolist()) for row in kept)


def divergence_of(model: Any, plan: SparsePlan, ids: torch.Tensor) -> float:
    dense = last_hidden(model, ids)
    with sparse_prefill(model, plan, "reference"):
        return divergence(model.lm_head, dense, last_hidden(model, ids)).item()


def test_tuning_comes_nearer_and_leaves_the_model_alone(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RATES", {name: 0.03 for name in module.RATES})
    plan, text = plan_of(model), windows(2, 6 * BLOCK, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grads = [one.requires_grad for one in model.parameters()]
    save_teacher(model, text, tmp_path)
    tuned = tune(model, plan, text, tmp_path, 30, tmp_path)
    after = replace(plan, layers=tuned)
    with torch.no_grad():
        assert divergence_of(model, after, text[0]) < 0.9 * divergence_of(model, plan, text[0])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [one.requires_grad for one in model.parameters()] == grads
    assert all(one.grad is None for one in model.parameters())
    assert len((tmp_path / "losses.json").read_text().split(",")) == 30


def test_a_stopped_tuning_goes_on_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY", 2)
    model = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    plan, text = plan_of(model), windows(2, 6 * BLOCK, 2)
    save_teacher(model, text, tmp_path)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = tune(model, plan, text, tmp_path, 7, whole)
    calls = 0

    def stopped(*given: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return divergence(*given)

    monkeypatch.setattr(module, "divergence", stopped)
    with pytest.raises(KeyboardInterrupt):
        tune(model, plan, text, tmp_path, 7, parts)
    found = tune(model, plan, text, tmp_path, 7, parts)
    assert calls == 6 + 3  # went on after step 4
    for one, other in zip(found, expected, strict=True):
        assert all(
            torch.equal(getattr(one.surrogate, name), getattr(other.surrogate, name))
            for name in "pvc"
        )
        assert torch.equal(one.predictor.weights, other.predictor.weights)
        assert torch.equal(one.predictor.prior, other.predictor.prior)


def test_windows_hold_whole_blocks(tmp_path: Path) -> None:
    model = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    with pytest.raises(ValueError, match="whole blocks of 16"):
        tune(model, plan_of(model), windows(1, 40), tmp_path, 1, tmp_path)
    for block in (16, 48, 128, 256, 512, 1024):
        assert window_tokens(block) % block == 0 and window_tokens(block) >= 2 * block
    drawn = positions_of(3, 768)
    assert len(drawn.unique()) == POSITIONS and drawn.min() >= 128 and drawn.max() < 768


def test_layer_costs_against_whole_forwards(model: Any) -> None:
    plan, text = plan_of(model), windows(2, 6 * BLOCK, 4)
    expected = [0.0] * len(plan.layers)
    for i, ids in enumerate(text):
        positions = positions_of(i, len(ids))
        dense = model(ids[None]).logits[0, positions].log_softmax(-1)
        for index in range(len(plan.layers)):
            alone = [
                layer if at == index else replace(layer, kept=len(layer.order))
                for at, layer in enumerate(plan.layers)
            ]
            with sparse_prefill(model, replace(plan, layers=alone), "reference"):
                sparse = model(ids[None]).logits[0, positions].log_softmax(-1)
            found = torch.nn.functional.kl_div(
                sparse, dense, log_target=True, reduction="batchmean"
            ).item()
            expected[index] += found / len(text)
    assert layer_costs(model, plan, text) == pytest.approx(expected, rel=1e-2)
    assert min(expected) > 0
    with pytest.raises(ValueError, match="without hot neurons"):
        layer_costs(model, plan_of(model, hot_fraction=0.5), text)


def test_gains_by_hand() -> None:
    energies = torch.tensor([[4.0, 1.0, 3.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    gains = neuron_gains([0.6, 0.2], energies, [2, 2])
    torch.testing.assert_close(gains, torch.tensor([[0.8, 0.2, 0.6, 0.4], [0.1, 0.1, 0.1, 0.1]]))
