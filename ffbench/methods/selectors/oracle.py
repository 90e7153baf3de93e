"""The block oracle: what a selector would choose that knew every activation."""

import torch
from torch import Tensor

from ffbench.methods.compensators.surrogate import residual_energy
from ffbench.methods.selectors.registry import Scene, exact, selector


@selector("oracle", flops=exact)
def oracle(scene: Scene) -> Tensor:
    """Mean residual energy of each block from its exact activations: an upper bound, no speedup
    (our design).
    """
    rows = []
    for x in scene.blocks:
        estimate = scene.layer.surrogate.estimate(x)
        rows.append(residual_energy(scene.activations(x), estimate, scene.down_norms).mean(0))
    return torch.stack(rows)
