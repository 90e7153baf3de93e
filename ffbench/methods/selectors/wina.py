"""WINA (arXiv 2505.19427): inputs are ranked by their size times the norm of the weights that they
meet.
"""

import torch
from torch import Tensor

from ffbench.methods.selectors.registry import TokenScene, token_rule


def largest(x: Tensor, weight: Tensor, density: float) -> Tensor:
    """X [T, n] with only the share `density` of each row kept that has the largest |x_i| |W[:, i]|;
    W [m, n].
    """
    score = x.float().abs() * weight.float().norm(dim=0)
    best = score.topk(max(1, round(density * x.shape[1])), dim=1).indices
    return torch.zeros_like(x).scatter_(1, best, x.gather(1, best))


@token_rule("wina", skips_inputs=True)
def wina(scene: TokenScene) -> tuple[Tensor, float]:
    """Keep the best share of the inputs of gate, up and down, each ranked with its own matrix's
    column norms.

    The paper states the rule for every matrix; its published code is reported to use norms for the
    gate only.
    """
    gate = largest(scene.x, scene.w_gate, scene.density) @ scene.w_gate.T
    up = largest(scene.x, scene.w_up, scene.density) @ scene.w_up.T
    return largest(scene.act(gate) * up, scene.w_down, scene.density), scene.density
