"""The trained predictor as a selector."""

from torch import Tensor

from ffbench.methods.plan import LayerPlan
from ffbench.methods.selectors.registry import Scene, selector


def cost(layer: LayerPlan, d: int, block: int) -> float:
    """One map of the block's mean input, shared out over its tokens."""
    return layer.predictor.flops(block) / block


@selector("trained", flops=cost)
def trained(scene: Scene) -> Tensor:
    """The predictor's score (our design; see `ffbench.methods.predictor`)."""
    return scene.layer.predictor.scores(scene.blocks)
