"""Share a layer's kept neurons out over the blocks of a prompt (our design).

Nothing here reads a tensor's values, so on a card the host does not wait.
"""

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


def whole_blocks(scores: Tensor, total: int) -> Tensor:
    """All neurons for the blocks with the largest sums of scores [n, f], none for the others; the
    block at the edge of the budget gets what is left. int64 [n].
    """
    count, f = scores.shape
    order = scores.sum(1).argsort(descending=True, stable=True)
    left = total - f * torch.arange(count, device=scores.device)
    return torch.empty_like(left).index_copy_(0, order, left.clamp(0, f))


def whole_tiles(won: Tensor, tiles: int, limit: int, tile: int) -> Tensor:
    """Neurons won [n] as numbers of tiles [n], `tiles` in all, each at most `limit`.

    What is left after rounding down is given out one tile at a time, in rounds over the blocks that
    have room, those with the largest remainders first. Less than `tiles` if no block has room.
    """
    share = won.double() / tile
    floor = share.floor()
    room, left = limit - floor, tiles - floor.sum()
    # what all blocks together take in the first 0, 1, 2, ... rounds
    rounds = torch.arange(limit + 1, dtype=room.dtype, device=room.device)
    taken = torch.minimum(room[:, None], rounds).sum(0)
    fits = taken <= left
    complete, rest = fits.sum() - 1, left - (taken * fits).amax()
    order = (share - floor).argsort(descending=True, stable=True)
    open_ones = (room > complete).index_select(0, order)
    last = open_ones & (open_ones.cumsum(0) <= rest)
    given = torch.minimum(room, complete).index_add(0, order, last.to(room.dtype))
    return (floor + given).long()


def neurons_shared(blocks: int, f: int, total: int, rule: str, tile: int = TILE) -> int:
    """The sum of what `block_counts` gives to blocks of f neurons."""
    if total == blocks * f:
        return total
    most = blocks * f if rule == WHOLE else blocks * (f // tile) * tile
    return min(total // tile * tile, most)


def block_counts(scores: Tensor, total: int, rule: str, tile: int = TILE) -> Tensor:
    """Neurons of each block, int64 [n]: multiples of `tile`, or all there are, `total` rounded down
    to tiles in all.

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
        return torch.full((count,), f, device=scores.device)
    values = scores.float()
    if rule == WHOLE:
        return whole_blocks(values, total // tile * tile)
    if rule == "mass":
        values = values / values.sum(1, keepdim=True).clamp_min(1e-30)
    return whole_tiles(winners(values, total), total // tile, f // tile, tile) * tile
