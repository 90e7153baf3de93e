"""Neurons by the second-order loss of leaving each one out (our design)."""

from dataclasses import dataclass
from typing import ClassVar

from ffbench.methods.schedulers.base import LayerMeasurements, Scheduler, scheduler
from ffbench.methods.schedulers.budget import keep_most_valuable


@scheduler
@dataclass(frozen=True)
class Curvature(Scheduler):
    """Keep the neurons that are worth most by half their residual energy times the curvature of the
    loss along their down columns.

    Which loss counts is set by the run's objective: what the tokens after the context see.
    """

    name: ClassVar[str] = "curvature"
    measurements: ClassVar[tuple[str, ...]] = ("curvature",)

    def kept(self, layers: LayerMeasurements) -> list[int]:
        """The most valuable neurons of all layers."""
        return keep_most_valuable(layers.neuron_values("curvature"), layers.total)
