"""Share a global number of kept neurons out over the layers, exactly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ffbench.sparsity.groups import group_sums


@dataclass
class Evidence:
    """What a scheduler may look at; the functions measure on calibration text when they are called.

    layers, f: number of layers and of neurons in each; density: the share to keep over all layers;
    mixing() -> token-mixing score of each layer; gains(kind) ->
    [layers, f], what keeping each neuron is worth, by a measure of GAINS.
    """

    layers: int
    f: int
    density: float
    mixing: Callable[[], list[float]]
    gains: Callable[[str], Tensor]

    @property
    def total(self) -> int:
        """Neurons to keep over all layers: at least one a layer."""
        return min(max(round(self.layers * self.f * self.density), self.layers), self.layers * self.f)


SCHEDULERS: dict[str, Callable[[Evidence], list[int]]] = {}
GAINS = ("cost", "curvature")


def scheduler(name: str) -> Callable:
    """Register a scheduler: Evidence -> kept neurons of each layer, 1..f each, `evidence.total` in all."""

    def add(function: Callable[[Evidence], list[int]]) -> Callable[[Evidence], list[int]]:
        SCHEDULERS[name] = function
        return function

    return add


def schedule(name: str, evidence: Evidence, group: int = 1) -> list[int]:
    """Kept neurons of each layer by the scheduler `name`, in whole groups of neighbours of the gains' columns.

    The total is that of single neurons to within half a group, and never below one group a layer.
    """
    units = replace(evidence, f=evidence.f // group, gains=lambda kind: group_sums(evidence.gains(kind), group))
    return [count * group for count in SCHEDULERS[name](units)]


@scheduler("uniform")
def uniform(evidence: Evidence) -> list[int]:
    """The same density everywhere; rounding is spread so that the budget is met exactly."""
    return allot([1.0] * evidence.layers, evidence.f, evidence.total)


@scheduler("token_mixing")
def token_mixing(evidence: Evidence) -> list[int]:
    """Kept neurons grow with a layer's token-mixing score (the paper's idea; the formula is our design).

    score = mean attention mass that a query gives to other tokens than itself and the first (sink) token. The
    share of a layer is 1/2 + 1/2 score / mean(score).
    """
    scores = evidence.mixing()
    mean = sum(scores) / len(scores)
    shares = [0.5 + 0.5 * s / mean for s in scores] if mean > 0 else [1.0] * len(scores)
    return allot(shares, evidence.f, evidence.total)


@scheduler("sensitivity")
def sensitivity(evidence: Evidence) -> list[int]:
    """Keep the neurons that are worth most by the measured cost of each layer's sparsity (our design).

    Greedy, and best possible for gains that add up: every neuron costs the same FLOPs, in its own three products
    and in the estimate's, so the budget is a number of neurons.
    """
    return worth_most(evidence, "cost")


@scheduler("curvature")
def curvature(evidence: Evidence) -> list[int]:
    """As `sensitivity`, by the second-order KL of leaving each neuron out (our design)."""
    return worth_most(evidence, "curvature")


def worth_most(evidence: Evidence, kind: str) -> list[int]:
    """Count by layer of the neurons with the largest gains, whichever layer they are in; each layer keeps one."""
    gains = evidence.gains(kind).clone()
    first = gains.argmax(1, keepdim=True)
    gains.scatter_(1, first, torch.inf)
    chosen = gains.flatten().topk(evidence.total).indices
    kept: list[int] = torch.bincount(chosen // evidence.f, minlength=evidence.layers).tolist()
    return kept


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
