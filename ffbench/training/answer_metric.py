"""How much an error of an FFN's output changes the answer: a metric of outputs by direction (our
design).

To second order, an error e of a layer's output at a context token costs e^T F e / 2 nats of the
answer's KL, with F the Fisher information (`training.curvature`). The size |e|^2, by which
reconstruction errors are usually judged, takes every direction for equally important.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

MIX = 0.02  # of the mean direction's weight goes to every direction: none may count for nothing
FLOOR = 1e-6  # of the strongest layer's mean weight: for layers that no answer reads


def combined_metric(
    fisher: dict[str, Tensor], scales: dict[str, float], weights: dict[str, float]
) -> Tensor:
    """One metric [layers, d, d] of several objectives' Fisher information [layers, d, d] each,
    float32: divided by the objective's scale and weighted, with MIX and FLOOR on the diagonal.
    """
    total = sum(weights.values())
    parts = [fisher[n] * (weight / total / max(scales[n], 1e-30)) for n, weight in weights.items()]
    metric = torch.stack(parts).sum(0)
    mean = metric.diagonal(dim1=1, dim2=2).mean(1)
    extra = MIX * mean + FLOOR * mean.max().clamp_min(1e-30)
    return metric + torch.diag_embed(extra[:, None].expand(-1, metric.shape[1]))


def neuron_importance(metric: Tensor, w_down: Tensor) -> Tensor:
    """Weight of each neuron's output by a metric [d, d] over its length, [f] with mean one:
    w_j^T M w_j / |w_j|^2 for the columns w_j of w_down [d, f].
    """
    down = w_down.float()
    metric = metric.to(down.device)
    weight = (down * (metric @ down)).sum(0) / down.square().sum(0).clamp_min(1e-30)
    return weight / weight.mean().clamp_min(1e-30)


def importances(metric: Tensor, w_downs: Sequence[Tensor]) -> list[Tensor]:
    """`neuron_importance` of every layer, on the CPU."""
    return [neuron_importance(m, w).cpu() for m, w in zip(metric, w_downs, strict=True)]
