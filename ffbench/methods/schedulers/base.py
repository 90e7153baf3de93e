"""What a scheduler is: it gives each layer its share of a global number of kept neurons."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from ffbench.methods.groups import group_sums
from ffbench.methods.registry import Method, Registry


@dataclass(frozen=True)
class LayerMeasurements:
    """What a scheduler may look at; the functions measure on calibration text when they are called.

    layers, f: number of layers, and of units (neurons or groups) in each. density: the share to
    keep over all layers. token_mixing(mass) -> score of each layer by a definition of attention
    mass. neuron_values(measure) -> [layers, f], what keeping each unit is worth by a measure.
    """

    layers: int
    f: int
    density: float
    token_mixing: Callable[[str], list[float]]
    neuron_values: Callable[[str], Tensor]

    @property
    def total(self) -> int:
        """Units to keep over all layers: at least one per layer."""
        most = self.layers * self.f
        return min(max(round(most * self.density), self.layers), most)


@dataclass(frozen=True)
class Scheduler(Method, ABC):
    """Turns a global density into kept neurons per layer; meets the budget exactly."""

    # stages of training whose results the scheduler reads; see ffbench.experiment.stages
    measurements: ClassVar[tuple[str, ...]] = ()

    @property
    def per_block(self) -> str | None:
        """Rule by which the blocks of a prompt share a layer's neurons (`methods.block_counts`);
        None if every block keeps the same number.
        """
        return None

    @abstractmethod
    def kept(self, layers: LayerMeasurements) -> list[int]:
        """Kept units of each layer, 1..f each, `layers.total` in all."""


SCHEDULERS: Registry[Scheduler] = Registry("scheduler")
scheduler = SCHEDULERS.add


def schedule(method: Scheduler, layers: LayerMeasurements, group_size: int = 1) -> list[int]:
    """Kept neurons of each layer, in whole groups of neighbours of the neuron values' columns.

    The total is that of single neurons to within half a group, and never below one group per layer.
    """
    units = replace(
        layers,
        f=layers.f // group_size,
        neuron_values=lambda measure: group_sums(layers.neuron_values(measure), group_size),
    )
    return [count * group_size for count in method.kept(units)]


def by_width(widths: Sequence[int], kept: Callable[[int, int], list[int]]) -> list[int]:
    """Kept neurons of FFNs with `widths` neurons: those of one width f share a budget of their own,
    kept(how many, f).
    """
    counts: dict[int, Iterator[int]] = {f: iter(kept(n, f)) for f, n in Counter(widths).items()}
    return [next(counts[f]) for f in widths]
