"""Whitened coordinates of tuning, and the input factors that the teacher keeps."""

from pathlib import Path
from typing import Any

import torch
from tiny_plans import plan_settings
from tiny_text import windows

from ffbench.methods.compensators import OutputMap
from ffbench.methods.plan import SparsePlan
from ffbench.models.adapters import gated_ffns
from ffbench.training.layer_fit import build_plan, fit_layer
from ffbench.training.layer_walk import walk_layers
from ffbench.training.tails import tail_window
from ffbench.training.tuning import teacher
from ffbench.training.tuning.trainable_ffn import TrainableFFN
from ffbench.training.tuning.tune import RATES
from ffbench.training.tuning.whitening import READS_INPUT, Whitened


def plan_of(model: Any) -> SparsePlan:
    settings = plan_settings(compensator={"name": "surrogate", "output_map_rank": 4})
    layers = walk_layers(model, windows(2, 300))
    fits = [fit_layer(data, settings.compensator) for data in layers]
    for fit in fits:
        output_map = OutputMap(torch.randn(4, 64), torch.randn(64, 4), torch.randn(64))
        fit.compensation = fit.compensation.with_output_map(output_map)
    return build_plan(settings, {}, fits, [40] * len(fits), gated_ffns(model))


def test_factors_are_those_of_the_inputs(model: Any, tmp_path: Path) -> None:
    text, names = [tail_window(ids, 16, 64) for ids in windows(3, 96)], ["continuation", "copy"]
    teacher.save_teacher(model, text, names, tmp_path)
    factors = teacher.load_factors(tmp_path)
    seen: dict[int, list[torch.Tensor]] = {}
    hooks = [
        ffn.module.register_forward_pre_hook(
            lambda module, args, i=i: seen.setdefault(i, []).append(args[0][0])
        )
        for i, ffn in enumerate(gated_ffns(model))
    ]
    with torch.no_grad():
        for window in text:
            model(window.ids[None])
    for hook in hooks:
        hook.remove()
    assert len(factors) == len(seen)
    for i, factor in enumerate(factors):
        x = torch.cat(seen[i]).double()
        second = x.T @ x / len(x)
        second += (
            teacher.RIDGE * second.diagonal().mean() * torch.eye(len(second), dtype=torch.float64)
        )
        torch.testing.assert_close(
            (factor.double() @ factor.double().T), second, rtol=1e-4, atol=1e-5
        )
    hidden = teacher.load_hidden(tmp_path)
    assert {name: len(rows) for name, rows in hidden.items()} == {
        f"{i}.{name}": len(window.positions[name])
        for i, window in enumerate(text)
        for name in names
    }


def test_leaves_stand_for_the_same_parameters(model: Any) -> None:
    plan = plan_of(model)
    for ffn, one in zip(gated_ffns(model), plan.layers, strict=True):
        layer = TrainableFFN(ffn, one, plan)
        before = {name: value.detach().clone() for name, value in layer.parameters.items()}
        generator = torch.Generator().manual_seed(3)
        mixing = torch.eye(64) + 0.05 * torch.randn(64, 64, generator=generator)
        x = torch.randn(500, 64, generator=generator) * torch.logspace(-1, 1, 64) @ mixing
        factor = torch.linalg.cholesky(x.double().T @ x.double() / len(x)).float()
        # a product of 64 terms with the factor or its inverse, relative to the result
        rounding = 64 * 2.0**-24 * torch.linalg.cond(factor.double()).item()
        whitened = Whitened(layer, factor)
        whitened.apply()
        assert set(whitened.leaves) == set(before) == set(RATES)
        for name, value in before.items():
            given_back = layer.parameters[name].detach()
            if name in READS_INPUT:
                error = (given_back - value).norm(dim=1) / value.norm(dim=1)
                assert error.max() <= 2 * rounding
            else:
                torch.testing.assert_close(given_back, value)
        lengths = ffn.w_down.float().norm(dim=0)
        torch.testing.assert_close(
            whitened.leaves["activation_map"].detach(), before["activation_map"] * lengths[:, None]
        )
        # equal steps of a leaf, from zero here, change the features equally, whatever the input's
        # scale; two products, squared
        step = torch.randn(whitened.leaves["projection"].shape, generator=generator)
        with torch.no_grad():
            whitened.leaves["projection"].copy_(step)
        whitened.apply()
        features = x @ layer.parameters["projection"].detach().T
        torch.testing.assert_close(
            features.square().mean(0), step.square().sum(1), rtol=4 * rounding, atol=0.0
        )
        assert torch.equal(
            layer.layer.compensation.projection, layer.parameters["projection"].detach()
        )
        assert all(leaf.requires_grad and leaf.is_leaf for leaf in whitened.leaves.values())
