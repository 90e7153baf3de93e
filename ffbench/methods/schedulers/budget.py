"""Two ways to meet a budget of neurons exactly: by shares of layers, and by values of neurons."""

from collections.abc import Sequence

import torch
from torch import Tensor


def keep_most_valuable(values: Tensor, total: int) -> list[int]:
    """Count by layer of the `total` units with the largest values [layers, f], whichever layer they
    are in; each layer keeps at least one.

    Best possible for values that add up: every neuron costs the same FLOPs, in its own three
    products and in the estimate's, so the budget is a number of neurons.
    """
    values = values.clone()
    first = values.argmax(1, keepdim=True)
    values.scatter_(1, first, torch.inf)
    chosen = values.flatten().topk(total).indices
    kept: list[int] = torch.bincount(chosen // values.shape[1], minlength=len(values)).tolist()
    return kept


def whole_layers(values: Tensor, total: int, share: float) -> list[int]:
    """`keep_most_valuable`, but layers that would keep more than `share` of their f are whole.

    A whole layer is the dense FFN: it has no error, gathers nothing, and needs neither selector nor
    compensator, so near density 1 it costs less time than a sparse one. The other layers share what
    is left of the budget; a layer stays sparse if that left another one without a neuron.
    """
    layers, f = values.shape
    kept = keep_most_valuable(values, total)
    whole: list[int] = []
    while True:
        others = [i for i in range(layers) if i not in whole]
        more = [i for i in others if share * f < kept[i] < f]
        if not more:
            return kept
        best = max(more, key=lambda i: kept[i])
        rest = [i for i in others if i != best]
        left = total - f * (len(whole) + 1)
        if left < len(rest):
            return kept
        whole.append(best)
        kept = [f] * layers
        if rest:
            for i, count in zip(rest, keep_most_valuable(values[rest], left), strict=True):
                kept[i] = count


def allot(shares: Sequence[float], f: int, total: int) -> list[int]:
    """Integers in 1..f in proportion to `shares` that sum to `total`."""
    count = len(shares)
    low, high = 0.0, f / min(shares) + 1.0
    for _ in range(100):
        middle = (low + high) / 2
        filled = sum(min(max(share * middle, 1.0), float(f)) for share in shares)
        low, high = (middle, high) if filled < total else (low, middle)
    exact = [min(max(share * high, 1.0), float(f)) for share in shares]
    kept = [min(int(value), f) for value in exact]
    order = sorted(range(count), key=lambda i: kept[i] - exact[i])
    position = 0
    while sum(kept) < total:
        layer = order[position % count]
        kept[layer] += kept[layer] < f
        position += 1
    return kept
