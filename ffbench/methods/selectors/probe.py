"""A few tokens of the block through gate and up first, shrunk towards the static prior (Probe
Pruning).
"""

import torch
from torch import Tensor

from ffbench.methods.compensators.surrogate import residual_energy
from ffbench.methods.plan import LayerPlan
from ffbench.methods.selectors.registry import Scene, selector

SHARE = 1 / 32
PRIOR_TOKENS = 8


def probes_of(block: int) -> int:
    """Probe tokens of a block."""
    return max(1, round(block * SHARE))


def cost(layer: LayerPlan, d: int, block: int) -> float:
    """Gate and up of the probe tokens and their estimate, shared out over the block's tokens."""
    f, rank = len(layer.order), layer.surrogate.rank
    return probes_of(block) * (4.0 * d * f + 2.0 * rank * (d + f)) / block


def shrunk(scene: Scene, probes: Tensor) -> Tensor:
    """Mean residual energy [n, f] of probe tokens [n, k, d], averaged with the prior as if it were
    8 more tokens.
    """
    count, k, d = probes.shape
    rows = probes.reshape(count * k, d)
    energy = residual_energy(
        scene.activations(rows), scene.layer.surrogate.estimate(rows), scene.down_norms
    )
    mean = energy.view(count, k, -1).mean(1)
    return (k * mean + PRIOR_TOKENS * scene.layer.predictor.prior) / (k + PRIOR_TOKENS)


@selector("probe", flops=cost)
def probe(scene: Scene) -> Tensor:
    """Evenly spaced probe tokens, one in 32 (our choice of tokens; the idea is Probe Pruning's,
    arXiv 2502.15618).

    Probe Pruning scores neuron j by |Wd_j|^2 times the probes' squared activations, mixed with
    calibration statistics; here the energy is what the surrogate leaves over, and the mixing
    weights are our design.
    """
    size = scene.blocks.shape[1]
    k = probes_of(size)
    places = ((torch.arange(k, device=scene.blocks.device) + 0.5) * size / k).long()
    return shrunk(scene, scene.blocks[:, places])


@selector("probe_norm", flops=cost)
def probe_norm(scene: Scene) -> Tensor:
    """The tokens with the largest input norm as probes.

    Probe Pruning (arXiv 2502.15618) ranks tokens by the norm of the residual stream. An FFN sees
    its normalised input only, whose norm stands in for it here.
    """
    k = probes_of(scene.blocks.shape[1])
    places = scene.blocks.float().norm(dim=2).topk(k, dim=1).indices
    return shrunk(
        scene, scene.blocks.gather(1, places[..., None].expand(-1, -1, scene.blocks.shape[2]))
    )
