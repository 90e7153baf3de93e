"""GRIFFIN's statistic of an earlier block (arXiv 2404.01365; there it is taken on the prompt and
used for decoding).
"""

import torch
from torch import Tensor

from ffbench.methods.selectors.registry import Scene, exact, selector


def griffin_statistic(a: Tensor) -> Tensor:
    """GRIFFIN's neuron score: rows of a [T, f] normalised, then column L2 norms [f]."""
    a = a.float()
    return (a / a.norm(dim=1, keepdim=True).clamp_min(1e-12)).norm(dim=0)


@selector("first_block")
def first_block(scene: Scene) -> Tensor:
    """The statistic of the block before the first sparse one, for all blocks; the static prior
    where there is none.

    The block is dense anyway, so its activations count as free.
    """
    if not len(scene.before):
        return scene.layer.predictor.prior.expand(len(scene.blocks), -1)
    return griffin_statistic(scene.activations(scene.before)).expand(len(scene.blocks), -1)


@selector("previous_block", flops=exact)
def previous_block(scene: Scene) -> Tensor:
    """The statistic of the preceding block's exact activations, which are computed dense: accuracy
    only.
    """
    earlier = [scene.before, *scene.blocks[:-1]]
    return torch.stack(
        [
            griffin_statistic(scene.activations(x)) if len(x) else scene.layer.predictor.prior
            for x in earlier
        ]
    )
