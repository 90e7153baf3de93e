"""Score the neurons of one layer for each sparse block of one prompt."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ffbench.sparsity.plan import LayerPlan
from ffbench.sparsity.surrogate import residual_energy

SELECTORS: dict[str, Callable[["Scene"], Tensor]] = {}
NEEDS_DENSE_ACTIVATIONS = frozenset({"oracle", "previous_block"})


@dataclass
class Scene:
    """What a selector may look at.

    before [B, d]: the block ahead of the sparse ones (empty when there is none); blocks [n, B, d]: the sparse
    blocks' inputs; activations: maps inputs [T, d] to exact activations [T, f]; down_norms [f].
    """

    layer: LayerPlan
    before: Tensor
    blocks: Tensor
    activations: Callable[[Tensor], Tensor]
    down_norms: Tensor
    seed: int


def selector(name: str) -> Callable:
    """Register a selector: Scene -> scores [n, f], larger is kept first."""

    def add(function: Callable[[Scene], Tensor]) -> Callable[[Scene], Tensor]:
        SELECTORS[name] = function
        return function

    return add


def griffin_statistic(a: Tensor) -> Tensor:
    """GRIFFIN's neuron score (arXiv 2404.01365): rows of a [T, f] normalised, then column L2 norms [f]."""
    a = a.float()
    return (a / a.norm(dim=1, keepdim=True).clamp_min(1e-12)).norm(dim=0)


@selector("oracle")
def oracle(scene: Scene) -> Tensor:
    """Mean residual energy of each block from its exact activations: an upper bound, no speedup."""
    rows = []
    for x in scene.blocks:
        estimate = scene.layer.surrogate.estimate(x)
        rows.append(residual_energy(scene.activations(x), estimate, scene.down_norms).mean(0))
    return torch.stack(rows)


@selector("random")
def random(scene: Scene) -> Tensor:
    """Uniform random scores from the plan's seed."""
    generator = torch.Generator().manual_seed(scene.seed)
    return torch.rand(len(scene.blocks), scene.down_norms.numel(), generator=generator)


@selector("weight_norm")
def weight_norm(scene: Scene) -> Tensor:
    """Norm of each neuron's down column, the same for every block."""
    return scene.down_norms.expand(len(scene.blocks), -1)


@selector("static")
def static(scene: Scene) -> Tensor:
    """Mean residual energy over the calibration text, the same for every block."""
    return scene.layer.predictor.prior.expand(len(scene.blocks), -1)


@selector("first_block")
def first_block(scene: Scene) -> Tensor:
    """GRIFFIN's statistic on the block before the first sparse one, reused; static where there is none."""
    if not len(scene.before):
        return static(scene)
    return griffin_statistic(scene.activations(scene.before)).expand(len(scene.blocks), -1)


@selector("previous_block")
def previous_block(scene: Scene) -> Tensor:
    """GRIFFIN's statistic on the preceding block's exact activations; accuracy only, it computes them dense."""
    earlier = [scene.before, *scene.blocks[:-1]]
    return torch.stack([griffin_statistic(scene.activations(x)) if len(x) else scene.layer.predictor.prior
                        for x in earlier])


@selector("trained")
def trained(scene: Scene) -> Tensor:
    """The trained predictor's score."""
    return scene.layer.predictor.scores(scene.blocks)
