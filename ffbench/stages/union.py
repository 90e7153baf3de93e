"""How far the tokens of a block agree on their neurons: what block-wise sparsity can and cannot reach."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Agreement:
    """Means over blocks. union: share of neurons in any token's top K; mass: share of the energy in the block's top K."""

    union: float
    mass: float


def top_mask(energy: Tensor, kept: int) -> Tensor:
    """True for the `kept` largest values of each row of energy [n, f]."""
    best = energy.topk(kept, dim=1).indices
    return torch.zeros_like(energy, dtype=torch.bool).scatter_(1, best, True)


def agreement(energy: Tensor, block: int, kept: int) -> Agreement:
    """Agreement of whole blocks of tokens; energy [T, f] is what each token's neurons are worth, not negative.

    With block = 1 both figures are those of free per-token choice. Raises ValueError when no whole block fits.
    """
    count, f = len(energy) // block, energy.shape[1]
    if not count:
        raise ValueError(f"union: {len(energy)} tokens hold no whole block of {block}")
    whole = energy[:count * block].view(count, block, f)
    union = top_mask(whole.flatten(0, 1), kept).view(count, block, f).any(1).float().mean().item()
    sums = whole.sum(1)
    held = sums.topk(kept, dim=1).values.sum(1) / sums.sum(1).clamp_min(1e-30)
    return Agreement(union, held.mean().item())
