"""Maps of the output: the closed form against least squares, and what they do to a plan's error."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_plans import BLOCK, plan_settings
from tiny_text import windows

from ffbench.methods.linalg import Moments
from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import decoder_layers, gated_ffns
from ffbench.models.forward import last_hidden
from ffbench.models.sparse_prefill import sparse_prefill
from ffbench.training import output_map
from ffbench.training.layer_fit import build_plan, fit_layer
from ffbench.training.layer_walk import walk_layers
from ffbench.training.output_map import fit_output_map, fit_output_maps, load_maps, save_maps
from ffbench.training.tuning.trainable_ffn import TrainableFFN, trainable


def plan_of(model: Any, selector: str = "trained", hot_fraction: float = 0.0) -> SparsePlan:
    settings = plan_settings(
        selector=selector,
        compensator={"name": "surrogate", "output_map_rank": 12},
        hot_fraction=hot_fraction,
        last_dense=0,
    )
    layers = walk_layers(model, windows(2, 300))
    fits = [fit_layer(data, settings.compensator) for data in layers]
    return build_plan(settings, {}, fits, [40] * len(fits), gated_ffns(model))


def test_full_rank_is_ridge_regression_and_less_is_its_best_approximation() -> None:
    generator = torch.Generator().manual_seed(1)

    def whole(most: int, *shape: int) -> torch.Tensor:
        return torch.randint(-most, most + 1, shape, generator=generator).float()

    x = whole(5, 500, 6)  # whole numbers: the float32 sums of the moments are exact
    missing = x @ whole(3, 6, 6) + whole(2, 500, 6) + 3
    moments = Moments.zeros(6, 6)
    moments.add(x, missing)
    ones = torch.cat([x, torch.ones(500, 1)], 1).double()
    expected = ones @ torch.linalg.lstsq(ones, missing.double()).solution
    errors = []
    for rank in range(1, 7):
        fitted = fit_output_map(moments, rank, ridge=0.0)
        estimate = fitted.of(x)
        errors.append((estimate - missing).double().square().sum().item())
    # two products of 6 terms and rounded factors: at most 16 roundings of the sum of magnitudes
    sizes = x.abs() @ fitted.projection.abs().T @ fitted.expansion.abs().T
    allowed = 16 * 2.0**-24 * (sizes + fitted.bias.abs())
    assert ((estimate - expected).abs() <= allowed).all()
    # Eckart and Young: rank r loses exactly the discarded singular values of the fitted values
    values = torch.linalg.svdvals(expected - expected.mean(0)).square()
    lost = [values[rank:].sum().item() for rank in range(1, 7)]
    rounded = 2 * (allowed * (expected - missing).abs()).sum().item()
    for error, more in zip(errors, lost, strict=True):
        assert error - errors[5] == pytest.approx(more, rel=1e-6, abs=rounded)
    assert torch.equal(fit_output_map(moments, 9, ridge=0.0).expansion, fitted.expansion)
    with pytest.raises(ValueError, match=r"compensator\.output_map_rank: 0 is too small"):
        fit_output_map(moments, 0)


@pytest.mark.parametrize(("selector", "hot"), [("trained", 0.0), ("static", 0.0), ("trained", 0.5)])
def test_a_plan_with_maps_is_nearer_to_the_dense_model(
    model: Any, selector: str, hot: float
) -> None:
    plan, text = plan_of(model, selector, hot), windows(20, 6 * BLOCK + 5, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    maps = fit_output_maps(model, plan, text, 12)
    mapped = replace(
        plan,
        layers=[
            replace(layer, compensation=layer.compensation.with_output_map(one))
            for layer, one in zip(plan.layers, maps, strict=True)
        ],
    )
    errors = []
    with torch.no_grad():
        for one in (plan, mapped):
            with sparse_prefill(model, one, "reference"):
                sparse = [last_hidden(model, ids[: 6 * BLOCK]) for ids in text]
            errors.append(
                sum(
                    (last_hidden(model, ids[: 6 * BLOCK]) - found).square().sum().item()
                    for ids, found in zip(text, sparse, strict=True)
                )
            )
    assert errors[1] < 0.95 * errors[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with trainable(model, mapped), torch.no_grad():
        found = last_hidden(model, text[-1][: 6 * BLOCK])
    torch.testing.assert_close(found, sparse[-1], atol=1e-4, rtol=1e-3)
    assert all("forward" not in vars(ffn.module) for ffn in gated_ffns(model))


def test_maps_learn_no_choice_of_neurons(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its float32 copies of a full predictor would take 7.5 GB of an 8B model's card."""
    plan = plan_of(model)
    with trainable(model, plan) as learning:
        assert "predictor_weights" in learning[0].parameters
    with trainable(model, plan, learns_choice=False) as keeping:
        assert set(keeping[0].parameters) == {"projection", "activation_map", "mean"}
    monkeypatch.setattr(TrainableFFN, "soft_choice", lambda *_: pytest.fail("borderline neurons"))
    assert len(fit_output_maps(model, plan, windows(2, 6 * BLOCK), 3)) == len(plan.layers)


def test_maps_survive_their_file(model: Any, tmp_path: Path) -> None:
    maps = fit_output_maps(model, plan_of(model), windows(2, 6 * BLOCK), 3)
    save_maps(maps, tmp_path)
    for before, after in zip(maps, load_maps(tmp_path), strict=True):
        x = torch.randn(5, 64)
        assert torch.equal(before.of(x), after.of(x))


def test_attention_runs_once_per_layer_and_window(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, text, runs = plan_of(model), windows(3, 6 * BLOCK, 2), [0]
    attention = type(decoder_layers(model)[0].self_attn)
    plain = attention.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        runs[0] += 1
        return plain(*args, **kwargs)

    monkeypatch.setattr(attention, "forward", counted)
    once = fit_output_maps(model, plan, text, 12)
    # one more window is read for the arguments that layers get
    assert runs[0] == (len(text) + 1) * len(plan.layers)
    monkeypatch.setattr(output_map, "attended_again", lambda layer, attended: nullcontext())
    twice = fit_output_maps(model, plan, text, 12)
    assert runs[0] == (3 * len(text) + 2) * len(plan.layers)
    for one, other in zip(once, twice, strict=True):
        assert torch.equal(one.expansion, other.expansion)
        assert torch.equal(one.bias, other.bias)


def test_windows_must_hold_two_blocks(model: Any) -> None:
    with pytest.raises(ValueError, match="do not hold two blocks of 16"):
        fit_output_maps(model, plan_of(model), windows(1, 31), 12)


def test_on_dense_inputs_only_the_first_layer_s_map_is_the_same(model: Any) -> None:
    plan, text = plan_of(model), windows(6, 6 * BLOCK, 2)
    sparse, dense = (
        fit_output_maps(model, plan, text, 12, dense_inputs) for dense_inputs in (False, True)
    )
    torch.testing.assert_close(
        dense[0].expansion @ dense[0].projection, sparse[0].expansion @ sparse[0].projection
    )
    assert not torch.allclose(
        dense[1].expansion @ dense[1].projection,
        sparse[1].expansion @ sparse[1].projection,
        rtol=1e-2,
    )
    assert all("forward" not in vars(ffn.module) for ffn in gated_ffns(model))
