"""Neurons by the second-order loss of leaving each one out (our design)."""

from dataclasses import dataclass
from typing import ClassVar

from ffbench.methods.block_counts import RULES
from ffbench.methods.registry import between, one_of
from ffbench.methods.schedulers.base import LayerMeasurements, Scheduler, scheduler
from ffbench.methods.schedulers.budget import whole_layers

EQUAL = "equal"


@scheduler
@dataclass(frozen=True)
class Curvature(Scheduler):
    """Keep the neurons that are worth most by half their residual energy times the curvature of the
    loss along their down columns.

    Which loss counts is set by the run's objective: what the tokens after the context see. blocks:
    `equal` keeps the same number of a layer's neurons in every block of a prompt; `mass` and
    `energy` let blocks share them by their scores. dense_above: a layer that would keep more than
    this share of its neurons is dense (1: none is made so).
    """

    name: ClassVar[str] = "curvature"
    measurements: ClassVar[tuple[str, ...]] = ("curvature",)

    blocks: str = EQUAL
    dense_above: float = 1.0

    def problems(self) -> list[str]:
        """An unknown rule, or a share that is not in 0..1."""
        return [
            *one_of("blocks", self.blocks, (EQUAL, *RULES)),
            *between("dense_above", self.dense_above, 0, 1),
        ]

    @property
    def per_block(self) -> str | None:
        """The rule by which blocks share a layer's neurons."""
        return None if self.blocks == EQUAL else self.blocks

    def kept(self, layers: LayerMeasurements) -> list[int]:
        """The most valuable neurons of all layers."""
        values = layers.neuron_values("curvature")
        return whole_layers(values, layers.total, self.dense_above)
