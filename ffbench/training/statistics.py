"""What calibration text says about a layer besides the fits: the raw material of static rules and
thresholds.
"""

import torch
from torch import Tensor

from ffbench.methods.moments import Moments
from ffbench.training.layer_walk import LayerData

SAMPLED = 64
STEPS = 200


def levels(values: Tensor) -> Tensor:
    """Quantiles of `values` in steps of 1/STEPS, [STEPS + 1], float32: entry i is not exceeded by a
    share i/STEPS.
    """
    ordered = values.float().flatten().sort().values
    places = torch.linspace(0, len(ordered) - 1, STEPS + 1, dtype=torch.float64).round().long()
    return ordered[places.to(ordered.device)]


def up_second(moments: Moments, w_up: Tensor) -> Tensor:
    """E (Wu_j x)^2 of every neuron [f], from the inputs' second moments."""
    w = w_up.double().cpu()
    return ((w @ (moments.xx / moments.count)) * w).sum(1).float()


def layer_statistics(moments: Moments, data: LayerData) -> dict[str, Tensor]:
    """A layer's `extra` tensors, float32.

    neuron_mean, neuron_second [f]: E a_j and E a_j^2; neuron_up_second [f]: E of the up product
    squared. input_levels, gate_levels, activation_levels [STEPS + 1]: quantiles of |x|, |act(gate)|
    and |a| over SAMPLED evenly spaced tokens of each window.
    """
    module = data.ffn.module
    chosen = []
    for x in data.inputs:
        chosen.append(x[torch.linspace(0, len(x) - 1, min(SAMPLED, len(x))).round().long()])
    rows = torch.cat(chosen)
    gate = module.act_fn(module.gate_proj(rows))  # type: ignore[operator]
    return {
        "neuron_mean": (moments.a / moments.count).float(),
        "neuron_second": (moments.aa / moments.count).float(),
        "neuron_up_second": up_second(moments, data.ffn.w_up),
        "input_levels": levels(rows.abs()),
        "gate_levels": levels(gate.abs()),
        "activation_levels": levels(data.activations(rows).abs()),
    }
