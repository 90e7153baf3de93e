"""Quantiles and second moments of a layer against plain torch."""

from typing import Any

import pytest
import torch
from tiny_plans import tiny_model

from ffbench.methods.linalg import Moments
from ffbench.training.layer_walk import walk_layers
from ffbench.training.statistics import SAMPLED_TOKENS, STEPS, layer_statistics, quantile_levels


@pytest.mark.parametrize("count", [1, 7, 201, 5000])
def test_levels_are_quantiles(count: int) -> None:
    values = torch.randn(count, generator=torch.Generator().manual_seed(count))
    levels = quantile_levels(values)
    assert levels.shape == (STEPS + 1,) and levels[0] == values.min() and levels[-1] == values.max()
    expected = torch.quantile(values, torch.linspace(0, 1, STEPS + 1), interpolation="nearest")
    assert (levels - expected).abs().max() < (0.02 if count == 5000 else 1e-6) or count == 7


def test_statistics_are_those_of_the_tokens() -> None:
    model: Any = tiny_model()
    ids = torch.randint(3, 259, (3, 300), generator=torch.Generator().manual_seed(0))
    for data in walk_layers(model, ids):
        moments = Moments.zeros(64, 160)
        for x, a in data:
            moments.add(x, a)
        levels = layer_statistics(moments, data)
        x, a = (torch.cat(parts) for parts in zip(*data, strict=True))
        torch.testing.assert_close(levels["mean"], a.mean(0), rtol=1e-3, atol=1e-7)
        torch.testing.assert_close(levels["second"], a.square().mean(0), rtol=1e-3, atol=1e-9)
        up = (x @ data.ffn.w_up.T).square().mean(0)
        torch.testing.assert_close(levels["up_second"], up, rtol=1e-3, atol=1e-6)
        share = (a.abs() <= levels["activation_levels"][STEPS // 2]).float().mean().item()
        assert (
            abs(share - 0.5) < 0.03
            and len(levels["input_levels"]) == STEPS + 1
            and len(data.inputs[0]) > SAMPLED_TOKENS
        )
        gate = torch.nn.functional.silu(x @ data.ffn.w_gate.T).abs()
        assert abs((gate <= levels["gate_levels"][STEPS // 4]).float().mean().item() - 0.25) < 0.03
