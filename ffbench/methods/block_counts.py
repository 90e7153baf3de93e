"""Share a layer's kept neurons out over the blocks of a prompt (our design)."""

import torch
from torch import Tensor

TILE = 32  # neurons; counts are whole tiles of the kernels
WHOLE = "whole"
RULES = ("mass", "energy", WHOLE)


def winners(values: Tensor, total: int) -> Tensor:
    """How many of the `total` largest of values [n, f] each row has, int64 [n]; of equal values
    those of earlier rows win.
    """
    if not total:
        return torch.zeros(len(values), dtype=torch.int64, device=values.device)
    # several times faster than topk, which sorts what it finds
    least = values.flatten().kthvalue(values.numel() - total + 1).values
    above, equal = (values > least).sum(1), (values == least).sum(1)
    before = equal.cumsum(0) - equal
    return above + (total - above.sum() - before).clamp_min(0).minimum(equal)


def whole_blocks(scores: Tensor, total: int, tile: int) -> list[int]:
    """All neurons for the blocks with the largest sums of scores [n, f], none for the others; the
    block at the edge of the budget gets the tiles that are left.
    """
    f, left = scores.shape[1], total // tile * tile
    counts = [0] * len(scores)
    for i in scores.sum(1).argsort(descending=True, stable=True).tolist():
        counts[i] = f if left >= f else left
        left -= counts[i]
    return counts


def block_counts(scores: Tensor, total: int, rule: str, tile: int = TILE) -> list[int]:
    """Neurons of each block: multiples of `tile`, or all there are, `total` rounded down to tiles
    in all.

    scores [n, f], not negative. The pairs of block and neuron with the largest scores win. `energy`
    compares scores as they are, `mass` after each block's are scaled to sum one: a block whose
    scores are spread out gets more. What a block won is rounded to tiles by the largest remainders.
    `whole` gives a block all neurons or none: tokens are skipped, in place of neurons.

    Raises ValueError for an unknown rule or a total that is not in 0..n * f.
    """
    count, f = scores.shape
    if rule not in RULES:
        raise ValueError(f"rule: {rule!r} is unknown; valid: {', '.join(RULES)}")
    if not 0 <= total <= count * f:
        raise ValueError(f"total: {total} is not in 0..{count * f}")
    if total == count * f:
        return [f] * count
    values = scores.float()
    if rule == WHOLE:
        return whole_blocks(values, total, tile)
    if rule == "mass":
        values = values / values.sum(1, keepdim=True).clamp_min(1e-30)
    won = winners(values, total).double() / tile
    tiles = won.floor()
    left = total // tile - int(tiles.sum())
    order = (won - tiles).argsort(descending=True, stable=True).tolist()
    limit = f // tile
    while left > 0:
        open_ones = [i for i in order if tiles[i] < limit]
        for i in open_ones[:left]:
            tiles[i] += 1
        left -= min(left, len(open_ones))
        if not open_ones:
            break
    return [int(one) * tile for one in tiles]
