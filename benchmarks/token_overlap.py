"""How far the tokens of a block agree on their neurons: what block-wise sparsity can and cannot
reach.
"""

import torch
from torch import Tensor


def top_mask(energy: Tensor, kept: int) -> Tensor:
    """True for the `kept` largest values of each row of energy [n, f]."""
    best = energy.topk(kept, dim=1).indices
    return torch.zeros_like(energy, dtype=torch.bool).scatter_(1, best, True)


def whole_blocks(rows: Tensor, block: int) -> Tensor:
    """Whole blocks [n, block, f] of rows [T, f]. Raises ValueError if none fits."""
    count = len(rows) // block
    if not count:
        raise ValueError(f"union: {len(rows)} tokens hold no whole block of {block}")
    return rows[: count * block].view(count, block, rows.shape[1])


def union_share(chosen: Tensor, block: int) -> float:
    """Share of neurons that any token of a block chose, mean over blocks; chosen [T, f] is true or
    false.
    """
    return whole_blocks(chosen, block).any(1).float().mean().item()


def mass_share(energy: Tensor, block: int, kept: int) -> float:
    """Share of a block's energy in its best `kept` neurons, mean over blocks; energy [T, f], not
    negative.
    """
    sums = whole_blocks(energy, block).sum(1)
    return (sums.topk(kept, dim=1).values.sum(1) / sums.sum(1).clamp_min(1e-30)).mean().item()
