"""CATS (arXiv 2404.08763): neurons whose gate is small are left out, token by token."""

from torch import Tensor

from ffbench.methods.plan import LayerPlan
from ffbench.methods.selectors.oracle_token import mixed
from ffbench.methods.selectors.registry import TokenScene, token_rule
from ffbench.methods.selectors.thresholds import threshold


def cost(layer: LayerPlan, d: int, block: int) -> float:
    """The gate rows of the neurons that are then left out."""
    return 2.0 * d * (len(layer.order) - layer.kept)


@token_rule("cats", flops=cost)
def cats(scene: TokenScene) -> tuple[Tensor, float]:
    """Keep neurons with |act(gate)| above the layer's percentile on calibration text, as many as
    the schedule grants.

    What a kept share of tokens' neurons really is varies with the text and is reported. The whole
    gate product is computed. With a compensator the estimate takes the place of what is left out
    (our addition).
    """
    gate = scene.act(scene.x @ scene.w_gate.T)
    kept = gate.abs() > threshold(scene.layer.extra["gate_levels"], 1 - scene.density)
    return mixed(scene, gate * (scene.x @ scene.w_up.T), kept), kept.float().mean().item()
