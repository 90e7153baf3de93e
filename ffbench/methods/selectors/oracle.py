"""The block oracle: what a selector would choose that knew every activation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ffbench.methods.energy import residual_energy
from ffbench.methods.selectors.base import Selector, SelectorInputs, dense_gate_and_up, selector

if TYPE_CHECKING:
    from ffbench.methods.plan import LayerPlan


@selector
@dataclass(frozen=True)
class Oracle(Selector):
    """Mean residual energy of each block from its exact activations: a bound, no speedup."""

    name: ClassVar[str] = "oracle"

    def flops(self, layer: "LayerPlan", d: int, block_size: int) -> float:
        """The dense gate and up products."""
        return dense_gate_and_up(layer, d)

    def scores(self, inputs: SelectorInputs) -> Tensor:
        """E (a_j - a_hat_j)^2 |Wd_j|^2 over each block's tokens."""
        rows = []
        for x in inputs.blocks:
            estimate = inputs.layer.compensation.estimate(x)
            energy = residual_energy(inputs.activations(x), estimate, inputs.down_norms)
            rows.append(energy.mean(0))
        return torch.stack(rows)
