"""Share a global number of kept neurons out over the layers, exactly."""

from collections.abc import Callable, Sequence

SCHEDULERS: dict[str, Callable[[Sequence[float], int, float], list[int]]] = {}


def register(name: str) -> Callable:
    """Add a scheduler: (layer scores, f, density) -> kept neurons per layer."""

    def add(function: Callable) -> Callable:
        SCHEDULERS[name] = function
        return function

    return add


@register("uniform")
def uniform(scores: Sequence[float], f: int, density: float) -> list[int]:
    """The same density everywhere; rounding is spread so that the sum is round(layers * f * density)."""
    return allot([1.0] * len(scores), f, density)


@register("token_mixing")
def token_mixing(scores: Sequence[float], f: int, density: float) -> list[int]:
    """Kept neurons grow with a layer's token-mixing score (the paper's idea; the formula is our design).

    score = mean attention mass that a query gives to other tokens than itself and the first (sink) token. The
    share of a layer is 1/2 + 1/2 score / mean(score).
    """
    mean = sum(scores) / len(scores)
    return allot([0.5 + 0.5 * s / mean for s in scores] if mean > 0 else [1.0] * len(scores), f, density)


def allot(shares: Sequence[float], f: int, density: float) -> list[int]:
    """Integers in 1..f in proportion to `shares` that sum to round(layers * f * density)."""
    count = len(shares)
    total = min(max(round(count * f * density), count), count * f)
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
