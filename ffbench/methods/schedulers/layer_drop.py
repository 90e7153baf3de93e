"""Whole layers by depth: the FFNs of the last layers are left out for the context."""

from dataclasses import dataclass
from typing import ClassVar

from ffbench.methods.schedulers.base import LayerMeasurements, Scheduler, scheduler


@scheduler
@dataclass(frozen=True)
class LayerDrop(Scheduler):
    """The first layers keep every neuron, the last ones a single neuron, the layer between them
    what the budget leaves.

    The FFN part of what POP does in prefill (arXiv 2602.03295: deep layers are omitted for the
    context). POP also leaves out their attention, gives the omitted layers key-value projections of
    their own and finds the layers by Fisher information of gates; here the depth alone decides (our
    design).
    """

    name: ClassVar[str] = "layer_drop"

    def kept(self, layers: LayerMeasurements) -> list[int]:
        """All, then one each."""
        left = layers.total - layers.layers
        kept = []
        for _ in range(layers.layers):
            more = min(layers.f - 1, left)
            kept.append(1 + more)
            left -= more
        return kept
