"""Share a global number of kept neurons out over the layers, exactly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ffbench.methods.groups import group_sums


@dataclass
class Evidence:
    """What a scheduler may look at; the functions measure on calibration text when they are called.

    layers, f: number of layers and of neurons in each; density: the share to keep over all layers;
    mixing(kind) -> token-mixing score of each layer, by a definition of MIXING; gains(kind) ->
    [layers, f], what keeping each neuron is worth, by a measure of GAINS.
    """

    layers: int
    f: int
    density: float
    mixing: Callable[[str], list[float]]
    gains: Callable[[str], Tensor]

    @property
    def total(self) -> int:
        """Neurons to keep over all layers: at least one a layer."""
        return min(
            max(round(self.layers * self.f * self.density), self.layers), self.layers * self.f
        )


SCHEDULERS: dict[str, Callable[[Evidence], list[int]]] = {}
PER_BLOCK: dict[str, str] = {}
MIXING = ("others", "with_sink", "far")
GAINS = ("cost", "curvature")


def scheduler(name: str, per_block: str | None = None) -> Callable:
    """Register a scheduler: Evidence -> kept neurons of each layer, 1..f each, `evidence.total` in
    all.

    With `per_block` the blocks of a prompt share a layer's neurons out by that rule
    (`ffbench.methods.block_counts`).
    """

    def add(function: Callable[[Evidence], list[int]]) -> Callable[[Evidence], list[int]]:
        SCHEDULERS[name] = function
        if per_block:
            PER_BLOCK[name] = per_block
        return function

    return add


def schedule(name: str, evidence: Evidence, group: int = 1) -> list[int]:
    """Kept neurons of each layer by the scheduler `name`, in whole groups of neighbours of the
    gains' columns.

    The total is that of single neurons to within half a group, and never below one group a layer.
    """
    units = replace(
        evidence, f=evidence.f // group, gains=lambda kind: group_sums(evidence.gains(kind), group)
    )
    return [count * group for count in SCHEDULERS[name](units)]


@scheduler("uniform")
def uniform(evidence: Evidence) -> list[int]:
    """The same density everywhere; rounding is spread so that the budget is met exactly."""
    return allot([1.0] * evidence.layers, evidence.f, evidence.total)


@scheduler("adaptive", per_block="mass")
def adaptive(evidence: Evidence) -> list[int]:
    """Every layer has the same density on average; its blocks share it by the mass of their scores
    (our design).
    """
    return uniform(evidence)


@scheduler("adaptive_energy", per_block="energy")
def adaptive_energy(evidence: Evidence) -> list[int]:
    """As `adaptive`, with scores compared between blocks as they are: blocks with more energy left
    get more.
    """
    return uniform(evidence)


def by_mixing(evidence: Evidence, kind: str, floor: float) -> list[int]:
    """Shares floor + (1 - floor) score / mean(score)."""
    scores = evidence.mixing(kind)
    mean = sum(scores) / len(scores)
    shares = [floor + (1 - floor) * s / mean for s in scores] if mean > 0 else [1.0] * len(scores)
    return allot([max(share, 1e-6) for share in shares], evidence.f, evidence.total)


@scheduler("token_mixing")
def token_mixing(evidence: Evidence) -> list[int]:
    """Kept neurons grow with a layer's token-mixing score (the paper's idea; the formula is our
    design).

    score = mean attention mass that a query gives to other tokens than itself and the first (sink)
    token. The share of a layer is 1/2 + 1/2 score / mean(score).
    """
    return by_mixing(evidence, "others", 0.5)


@scheduler("token_mixing_sink")
def token_mixing_sink(evidence: Evidence) -> list[int]:
    """Ablation: mass given to the sink counts as mixing."""
    return by_mixing(evidence, "with_sink", 0.5)


@scheduler("token_mixing_far")
def token_mixing_far(evidence: Evidence) -> list[int]:
    """Ablation: only mass given to tokens that are at least 128 before the query counts, the sink
    left out.
    """
    return by_mixing(evidence, "far", 0.5)


@scheduler("token_mixing_no_floor")
def token_mixing_no_floor(evidence: Evidence) -> list[int]:
    """Ablation: shares in proportion to the score, without the floor of one half."""
    return by_mixing(evidence, "others", 0.0)


@scheduler("token_mixing_inverse")
def token_mixing_inverse(evidence: Evidence) -> list[int]:
    """Control: layers that mix less get more, 3/2 - 1/2 score / mean(score)."""
    return by_mixing(evidence, "others", 1.5)


@scheduler("sensitivity")
def sensitivity(evidence: Evidence) -> list[int]:
    """Keep the neurons that are worth most by the measured cost of each layer's sparsity (our
    design).

    Greedy, and best possible for gains that add up: every neuron costs the same FLOPs, in its own
    three products and in the estimate's, so the budget is a number of neurons.
    """
    return worth_most(evidence, "cost")


@scheduler("curvature")
def curvature(evidence: Evidence) -> list[int]:
    """As `sensitivity`, by the second-order KL of leaving each neuron out (our design)."""
    return worth_most(evidence, "curvature")


def worth_most(evidence: Evidence, kind: str) -> list[int]:
    """Count by layer of the neurons with the largest gains, whichever layer they are in; each layer
    keeps one.
    """
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
