"""The same density in every layer."""

from dataclasses import dataclass
from typing import ClassVar

from ffbench.methods.schedulers.base import LayerMeasurements, Scheduler, scheduler
from ffbench.methods.schedulers.budget import allot


@scheduler
@dataclass(frozen=True)
class Uniform(Scheduler):
    """The same density in every layer; rounding is spread so that the budget is met exactly."""

    name: ClassVar[str] = "uniform"

    def kept(self, layers: LayerMeasurements) -> list[int]:
        """Equal shares."""
        return allot([1.0] * layers.layers, layers.f, layers.total)
