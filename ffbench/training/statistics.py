"""What calibration text says about a layer besides the fits: material of static rules and
thresholds.
"""

import torch
from torch import Tensor

from ffbench.methods.linalg import Moments
from ffbench.methods.statistics import STATISTIC_AXES
from ffbench.methods.tensors import AxisTensors
from ffbench.training.layer_walk import LayerData

SAMPLED_TOKENS = 64  # per window: quantiles of 200 steps need a few thousand rows in all
STEPS = 200


def quantile_levels(values: Tensor) -> Tensor:
    """Quantiles of `values` in steps of 1/STEPS, [STEPS + 1], float32: entry i is not exceeded by a
    share i/STEPS.
    """
    ordered = values.float().flatten().sort().values
    places = torch.linspace(0, len(ordered) - 1, STEPS + 1, dtype=torch.float64).round().long()
    return ordered[places.to(ordered.device)]


def up_second(moments: Moments, w_up: Tensor) -> Tensor:
    """E (Wu_j x)^2 of every neuron [f], from the inputs' second moments."""
    w = w_up.double()
    return ((w @ (moments.xx / moments.count)) * w).sum(1).float()


def layer_statistics(moments: Moments, data: LayerData) -> AxisTensors:
    """The statistics of STATISTIC_AXES, float32; quantiles over SAMPLED_TOKENS evenly spaced tokens
    of each window.
    """
    chosen = []
    for x in data.inputs:
        places = torch.linspace(0, len(x) - 1, min(SAMPLED_TOKENS, len(x))).round().long()
        chosen.append(x[places.to(x.device)])
    rows = torch.cat(chosen)
    values = {
        "mean": (moments.a / moments.count).float(),
        "second": (moments.aa / moments.count).float(),
        "up_second": up_second(moments, data.ffn.w_up),
        "input_levels": quantile_levels(rows.abs()),
        "gate_levels": quantile_levels(data.ffn.gate(rows).abs()),
        "activation_levels": quantile_levels(data.activations(rows).abs()),
    }
    return AxisTensors(values, dict(STATISTIC_AXES))
