"""Joint tuning and the sensitivity of layers on tiny models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kl_rounding import kl_rounding, sensitive
from tiny_plans import BLOCK, plan_settings, tiny_model
from tiny_text import windows

from ffbench.methods.plan import SparsePlan
from ffbench.methods.similar_blocks import BLOCKS
from ffbench.models.adapters import gated_ffns
from ffbench.models.forward import divergence, last_hidden
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.training.layer_fit import build_plan, fit_layer
from ffbench.training.layer_walk import walk_layers
from ffbench.training.sensitivity import layer_costs, neuron_values
from ffbench.training.tails import TailWindow, block_tail_windows
from ffbench.training.tuning import trainable_ffn as forms
from ffbench.training.tuning import tune as module
from ffbench.training.tuning.teacher import save_teacher
from ffbench.training.tuning.tune import tune

WEIGHTS = {"continuation": 0.5, "copy": 0.5}


def plan_of(
    model: Any, selector: str = "trained", kept: int = 40, hot_fraction: float = 0.0
) -> SparsePlan:
    settings = plan_settings(
        selector=selector, compensator="surrogate", hot_fraction=hot_fraction, last_dense=0
    )
    layers = walk_layers(model, windows(2, 300))
    fits = [fit_layer(data, settings.compensator) for data in layers]
    return build_plan(settings, {}, fits, [kept] * len(fits), gated_ffns(model))


def tails_of(plan: SparsePlan, count: int = 2, seed: int = 2) -> list[TailWindow]:
    return block_tail_windows(windows(count, 8 * BLOCK, seed), plan.settings)


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize(
    ("selector", "hot"),
    [("static", 0.0), ("trained", 0.0), ("trained", 0.5), ("oracle", 0.0), ("griffin", 0.0)],
)
def test_the_trainable_forward_is_the_sparse_one(
    model: Any, selector: str, hot: float, blocks: str
) -> None:
    plan, ids = plan_of(model, selector, hot_fraction=hot), windows(1, 5 * BLOCK, 1)[0]
    plan = replace(plan, settings=replace(plan.settings, blocks=blocks))
    with sparse_prefill(model, plan, "reference"), torch.no_grad():
        expected = last_hidden(model, ids)
    with forms.trainable(model, plan), torch.no_grad():
        trained = last_hidden(model, ids)
    torch.testing.assert_close(trained, expected, atol=1e-4, rtol=1e-3)
    assert all("forward" not in vars(ffn.module) for ffn in gated_ffns(model))


def test_hot_neurons_are_always_kept(model: Any) -> None:
    plan = plan_of(model, hot_fraction=0.5)
    with forms.trainable(model, plan) as layers:
        kept, _ = layers[0].kept(torch.randn(BLOCK, 64), torch.randn(3, BLOCK, 64))
    hot = set(plan.layers[0].order[: plan.layers[0].hot].tolist())
    assert len(hot) == 20 and all(hot <= set(row.tolist()) for row in kept)


def divergence_of(model: Any, plan: SparsePlan, window: TailWindow) -> float:
    at = torch.cat([window.positions[name] for name in WEIGHTS])
    dense = last_hidden(model, window.ids)[at]
    with sparse_prefill(model, plan, "reference") as prefill:
        prefill.dense_from = [window.end]
        return divergence(model, dense, last_hidden(model, window.ids)[at]).item()


def test_tuning_comes_nearer_and_leaves_the_model_alone(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RATES", dict.fromkeys(module.RATES, 0.03))
    plan = plan_of(model)
    text = tails_of(plan)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grads = [weight.requires_grad for weight in model.parameters()]
    save_teacher(model, text, list(WEIGHTS), tmp_path)
    tuned = tune(model, plan, text, WEIGHTS, tmp_path, 30, tmp_path)
    after = replace(plan, layers=tuned)
    with torch.no_grad():
        assert divergence_of(model, after, text[0]) < 0.9 * divergence_of(model, plan, text[0])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [weight.requires_grad for weight in model.parameters()] == grads
    assert all(weight.grad is None for weight in model.parameters())
    assert len((tmp_path / "losses.json").read_text().split(",")) == 30


def test_a_stopped_tuning_resumes_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY", 2)
    model = tiny_model()
    plan = plan_of(model)
    text = tails_of(plan)
    save_teacher(model, text, list(WEIGHTS), tmp_path)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = tune(model, plan, text, WEIGHTS, tmp_path, 7, whole)
    calls = 0

    def stopped(*given: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 11:  # two calls per step: in the middle of the sixth
            raise KeyboardInterrupt
        return divergence(*given)

    monkeypatch.setattr(module, "divergence", stopped)
    with pytest.raises(KeyboardInterrupt):
        tune(model, plan, text, WEIGHTS, tmp_path, 7, parts)
    resumed = tune(model, plan, text, WEIGHTS, tmp_path, 7, parts)
    assert calls == 11 + 2 * 3  # resumed after step 4
    for a, b in zip(resumed, expected, strict=True):
        assert all(torch.equal(value, b.tensors()[name]) for name, value in a.tensors().items())


@pytest.mark.parametrize("selector", ["static", "trained"])
def test_recomputed_layers_have_the_same_gradients(model: Any, selector: str) -> None:
    plan = plan_of(model, selector)
    (window,) = tails_of(plan, 1)
    at = torch.cat([window.positions[name] for name in WEIGHTS])
    with torch.no_grad():
        dense = last_hidden(model, window.ids)[at]
    found = []
    for recompute in (False, True):
        with forms.trainable(model, plan, recompute) as layers:
            for layer in layers:
                layer.end = window.end
            divergence(model, dense, last_hidden(model, window.ids)[at]).backward()
            leaves = [one for layer in layers for one in layer.parameters.values()]
            found.append([one.grad for one in leaves if one.grad is not None])
    assert len(found[0]) == len(found[1]) > 2 * len(plan.layers)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert any(bool(one.any()) for one in found[0])
    assert not any("forward" in vars(layer) for layer in model.model.layers)


def test_contexts_hold_whole_blocks(tmp_path: Path) -> None:
    model = tiny_model()
    plan = plan_of(model)
    (window,) = tails_of(plan, 1)
    with pytest.raises(ValueError, match="whole blocks of 16"):
        uneven = replace(window, end=window.end - 3)
        tune(model, plan, [uneven], WEIGHTS, tmp_path, 1, tmp_path)
    for size in (16, 48, 128, 256, 512):
        settings = replace(plan.settings, block_size=size, first_dense=128)
        (window,) = block_tail_windows(windows(1, max(1024, 3 * size + 128)), settings)
        assert window.first % size == 0 and window.first >= 128
        assert window.end > window.first and (window.end - window.first) % size == 0


def test_layer_costs_against_whole_forwards(model: Any) -> None:
    plan = plan_of(sensitive(model))
    text, names = tails_of(plan, seed=4), ["continuation", "full"]
    expected = {name: [0.0] * len(plan.layers) for name in names}
    for window in text:
        dense = last_hidden(model, window.ids)
        for index in range(len(plan.layers)):
            alone = [
                layer if at == index else replace(layer, kept=len(layer.order))
                for at, layer in enumerate(plan.layers)
            ]
            with sparse_prefill(model, replace(plan, layers=alone), "reference") as prefill:
                prefill.dense_from = [window.end]
                sparse = last_hidden(model, window.ids)
            for name in names:
                at = window.positions[name]
                kl = divergence(model, dense[at], sparse[at]).item()
                expected[name][index] += kl / len(text)
    costs = layer_costs(model, plan, text, names)
    for name in names:
        for found, kl in zip(costs[name], expected[name], strict=True):
            assert found == pytest.approx(kl, abs=kl_rounding(model, text[0].ids, max(kl, 0)))
    # no answer reads the last layer's FFN of a context token; the tail's own differs by rounding
    rounding = kl_rounding(model, text[0].ids, 0.0)
    assert costs["continuation"][-1] == pytest.approx(0, abs=rounding)
    assert min(*expected["full"], expected["continuation"][0]) > 100 * rounding
    with pytest.raises(ValueError, match="without hot neurons"):
        layer_costs(model, plan_of(model, hot_fraction=0.5), text, names)


def test_values_by_hand() -> None:
    energies = torch.tensor([[4.0, 1.0, 3.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    values = neuron_values([0.6, 0.2], energies, [2, 2])
    torch.testing.assert_close(values, torch.tensor([[0.8, 0.2, 0.6, 0.4], [0.1, 0.1, 0.1, 0.1]]))
