"""Whitened coordinates of tuning, and the input factors that the teacher keeps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_text import windows

from ffbench.methods.compensators.surrogate import OutputMap
from ffbench.methods.plan import PlanSettings, SparsePlan
from ffbench.models.adapters import gated_ffns
from ffbench.training.layer_fit import build_plan, fit_layer
from ffbench.training.layer_walk import walk_layers
from ffbench.training.tuning import teacher
from ffbench.training.tuning.trainable_ffn import TrainableFFN
from ffbench.training.tuning.whitening import Whitened

BLOCK = 16


def plan_of(model: Any) -> SparsePlan:
    settings = PlanSettings("trained", "surrogate_map", "uniform", BLOCK, 0.5, rank=8, map_rank=4)
    fits = [fit_layer(data, "surrogate", 8, 40) for data in walk_layers(model, windows(2, 300))]
    for fit in fits:
        fit.output_map = OutputMap(torch.randn(4, 64), torch.randn(64, 4), torch.randn(64))
    return build_plan(settings, {}, fits, [40] * len(fits))


def test_factors_are_those_of_the_inputs(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "SINK_TOKENS", 7)
    text = windows(3, 96)
    teacher.save_teacher(model, text, tmp_path)
    factors = teacher.load_factors(tmp_path)
    seen: dict[int, list[torch.Tensor]] = {}
    hooks = [
        ffn.module.register_forward_pre_hook(
            lambda module, args, i=i: seen.setdefault(i, []).append(args[0][0, 7:])
        )
        for i, ffn in enumerate(gated_ffns(model))
    ]
    with torch.no_grad():
        for ids in text:
            model(ids[None])
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
    assert teacher.load_hidden(tmp_path).shape[:2] == (3, 96 - 7)


def test_leaves_stand_for_the_same_parameters(model: Any) -> None:
    plan = plan_of(model)
    for ffn, one in zip(gated_ffns(model), plan.layers, strict=True):
        layer = TrainableFFN(ffn, one, plan)
        before = {name: value.detach().clone() for name, value in layer.parameters.items()}
        generator = torch.Generator().manual_seed(3)
        mixing = torch.eye(64) + 0.05 * torch.randn(64, 64, generator=generator)
        x = torch.randn(500, 64, generator=generator) * torch.logspace(-1, 1, 64) @ mixing
        factor = torch.linalg.cholesky(x.double().T @ x.double() / len(x)).float()
        whitened = Whitened(layer, factor)
        whitened.apply()
        assert (
            set(whitened.leaves)
            == set(before)
            == {"p", "v", "c", "weights", "log_prior", "map_p", "map_u", "map_b"}
        )
        for name, value in before.items():
            torch.testing.assert_close(layer.parameters[name].detach(), value, rtol=1e-3, atol=1e-4)
        lengths = ffn.w_down.float().norm(dim=0)
        torch.testing.assert_close(whitened.leaves["v"].detach(), before["v"] * lengths[:, None])
        # equal steps of a leaf change the features equally, whatever the input's scale
        step = torch.randn(whitened.leaves["p"].shape, generator=generator)
        with torch.no_grad():
            whitened.leaves["p"] += step
        whitened.apply()
        change = x @ (layer.parameters["p"].detach() - before["p"]).T
        torch.testing.assert_close(
            change.square().mean(0), step.square().sum(1), rtol=2e-2, atol=0.0
        )
        assert torch.equal(layer.layer.surrogate.p, layer.parameters["p"].detach())
        assert all(leaf.requires_grad and leaf.is_leaf for leaf in whitened.leaves.values())
