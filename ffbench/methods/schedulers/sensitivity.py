"""Neurons by the measured cost of each layer's sparsity (our design)."""

from dataclasses import dataclass
from typing import ClassVar

from ffbench.methods.schedulers.base import LayerMeasurements, Scheduler, scheduler
from ffbench.methods.schedulers.budget import keep_most_valuable


@scheduler
@dataclass(frozen=True)
class Sensitivity(Scheduler):
    """Keep the neurons that are worth most by the loss with one layer sparse at a time."""

    name: ClassVar[str] = "sensitivity"
    measurements: ClassVar[tuple[str, ...]] = ("sensitivity",)

    def kept(self, layers: LayerMeasurements) -> list[int]:
        """The most valuable neurons of all layers."""
        return keep_most_valuable(layers.neuron_values("sensitivity"), layers.total)
