"""Quantiles and second moments of a layer against plain torch."""

from typing import Any

import pytest
import torch

from ffbench.methods.moments import Moments
from ffbench.models.loading import ModelSpec, load_tiny
from ffbench.training.layer_walk import walk_layers
from ffbench.training.statistics import SAMPLED, STEPS, layer_statistics, levels


@pytest.mark.parametrize("count", [1, 7, 201, 5000])
def test_levels_are_quantiles(count: int) -> None:
    values = torch.randn(count, generator=torch.Generator().manual_seed(count))
    found = levels(values)
    assert found.shape == (STEPS + 1,) and found[0] == values.min() and found[-1] == values.max()
    expected = torch.quantile(values, torch.linspace(0, 1, STEPS + 1), interpolation="nearest")
    assert (found - expected).abs().max() < (0.02 if count == 5000 else 1e-6) or count == 7


def test_statistics_are_those_of_the_tokens() -> None:
    model: Any = load_tiny(ModelSpec("tiny", "tiny", "llama"))[0]
    ids = torch.randint(3, 259, (3, 300), generator=torch.Generator().manual_seed(0))
    for data in walk_layers(model, ids):
        moments = Moments.zeros(64, 160)
        for x, a in data:
            moments.add(x, a)
        found = layer_statistics(moments, data)
        x, a = (torch.cat(parts) for parts in zip(*data, strict=True))
        torch.testing.assert_close(found["neuron_mean"], a.mean(0), rtol=1e-3, atol=1e-7)
        torch.testing.assert_close(found["neuron_second"], a.square().mean(0), rtol=1e-3, atol=1e-9)
        up = (x @ data.ffn.w_up.T).square().mean(0)
        torch.testing.assert_close(found["neuron_up_second"], up, rtol=1e-3, atol=1e-6)
        share = (a.abs() <= found["activation_levels"][STEPS // 2]).float().mean().item()
        assert (
            abs(share - 0.5) < 0.03
            and len(found["input_levels"]) == STEPS + 1
            and len(data.inputs[0]) > SAMPLED
        )
        gate = torch.nn.functional.silu(x @ data.ffn.w_gate.T).abs()
        assert abs((gate <= found["gate_levels"][STEPS // 4]).float().mean().item() - 0.25) < 0.03
