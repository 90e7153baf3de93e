"""The per-token oracle: how far neuron sparsity could go without blocks."""

import torch
from torch import Tensor

from ffbench.methods.compensators.surrogate import residual_energy
from ffbench.methods.selectors.registry import TokenScene, exact, token_rule


def mixed(scene: TokenScene, a: Tensor, kept: Tensor) -> Tensor:
    """Exact activations a [T, f] where `kept`, the plan's estimate elsewhere; in the dtype of a."""
    return torch.where(kept, a, scene.layer.surrogate.estimate(scene.x).to(a.dtype))


@token_rule("oracle_token", flops=exact)
def oracle_token(scene: TokenScene) -> tuple[Tensor, float]:
    """The K neurons of each token with the largest residual energy: an upper bound for any choice
    of neurons.
    """
    a = scene.act(scene.x @ scene.w_gate.T) * (scene.x @ scene.w_up.T)
    energy = residual_energy(
        a, scene.layer.surrogate.estimate(scene.x), scene.w_down.float().norm(dim=0)
    )
    best = energy.topk(scene.layer.kept, dim=1).indices
    kept = torch.zeros_like(energy, dtype=torch.bool).scatter_(1, best, True)
    return mixed(scene, a, kept), scene.density
