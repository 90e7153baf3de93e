"""Controls that look at no data: random scores, and the norms of the weights."""

import torch
from torch import Tensor

from ffbench.methods.selectors.registry import Scene, selector


@selector("random")
def random(scene: Scene) -> Tensor:
    """Uniform random scores from the plan's seed, other ones for each block."""
    generator = torch.Generator().manual_seed(scene.seed)
    return torch.rand(len(scene.blocks), scene.down_norms.numel(), generator=generator)


def norms(w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> dict[str, Tensor]:
    """Norm of each neuron's gate row times that of its up row."""
    return {"neuron_weight_norm": w_gate.float().norm(dim=1) * w_up.float().norm(dim=1)}


@selector("weight_norm", prepare=norms)
def weight_norm(scene: Scene) -> Tensor:
    """Norm of the gate row times norm of the up row, for every block: GRIFFIN's static control
    (arXiv 2404.01365).
    """
    return scene.layer.extra["neuron_weight_norm"].expand(len(scene.blocks), -1)
