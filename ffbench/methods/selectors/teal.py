"""TEAL (arXiv 2408.14690): inputs of small magnitude are left out of each matrix product, token by
token.
"""

from torch import Tensor

from ffbench.methods.selectors.registry import TokenScene, token_rule
from ffbench.methods.selectors.thresholds import threshold


@token_rule("teal", skips_inputs=True)
def teal(scene: TokenScene) -> tuple[Tensor, float]:
    """Zero the inputs of gate, up and down below the layer's percentile of |x| on calibration text.

    The same share is asked of the three matrices (TEAL also searches shares by matrix and layer;
    here the scheduler gives the layers theirs). The share of products that were computed is
    reported.
    """
    levels, skipped = scene.layer.extra, 1 - scene.density
    into = scene.x.abs() > threshold(levels["input_levels"], skipped)
    x = scene.x * into
    h = scene.act(x @ scene.w_gate.T) * (x @ scene.w_up.T)
    used = h.abs() > threshold(levels["activation_levels"], skipped)
    return h * used, (2 * into.float().mean().item() + used.float().mean().item()) / 3
